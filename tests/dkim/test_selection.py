"""For whom a message is signed."""

from __future__ import annotations

import pytest

from mailstrom_cli.dkim.selection import author_domains, signing_domain
from mailstrom_cli.mail.header import split_header


@pytest.mark.parametrize(
    ("header", "domains"),
    [
        ("From: Ann <ann@Example.ORG>", ["example.org"]),
        ("From: a@example.org, b@example.net, c@example.org", ["example.org", "example.net"]),
        ('from:\r\n "x@evil.test" (y@evil.test)\r\n <a@example.org>', ["example.org"]),
        ("From: =?utf-8?q?x=40evil=2Etest?= <a@example.org>", ["example.org"]),
        ("From: a@bücher.example", ["xn--bcher-kva.example"]),
        ("From: Team: a@example.org;", ["example.org"]),
        ("From: nobody:;", []),
        ("From: a@b@c", []),
        ("Sender: a@example.org", []),
        ("From: a@[192.0.2.1]", ["[192.0.2.1]"]),
    ],
)
def test_the_domains_of_the_author(header: str, domains: list[str]) -> None:
    assert list(author_domains(split_header(f"{header}\r\n\r\n".encode()).fields)) == domains


@pytest.mark.parametrize(
    ("domain", "entries", "chosen"),
    [
        ("example.org", {"example.org"}, "example.org"),
        ("a.b.example.org", {"example.org", "b.example.org"}, "b.example.org"),
        ("a.b.example.org", {"example.org", "a.example.org"}, "example.org"),
        ("badexample.org", {"example.org"}, None),
        ("example.org", {"a.example.org"}, None),
        ("example.org", set(), None),
        ("[192.0.2.1]", {"example.org"}, None),
    ],
)
def test_the_nearest_domain_that_has_keys(domain: str, entries: set[str], chosen: str | None) -> None:
    assert signing_domain(domain, entries) == chosen
