"""Bare local names: aliases first, then the origin; loops are told, nobody gets a message twice."""

from __future__ import annotations

import pytest

from mailstrom_cli.mail.envelope import Recipient
from mailstrom_cli.mail.prepare import Context, Request, check
from mailstrom_cli.values import replace

ALIASES = {
    "root": ("ops@example.net", "admin"),
    "admin": ("root@example.com", "jo"),
    "both": ("root", "admin", "OPS2"),
    "self": ("self", "copy@example.net"),
    "a": ("b",),
    "b": ("c",),
    "c": ("a",),
    "bad": ("x y",),
    "bracketed": ("<x@example.net>",),
}
CONTEXT = Context(now=0.0, token="t", host="h.example", origin="example.org", aliases=ALIASES)
DATA = b"From: a@example.org\nTo: x@example.net\n\n"


def recipients(*names: str, context: Context = CONTEXT) -> list[tuple[str, str | None]]:
    made, findings = check(DATA, Request(recipients=names), context)
    assert made is not None, findings
    return [(r.address, r.orcpt) for r in made.envelope.recipients]


def test_an_alias_replaces_a_bare_name_and_the_original_is_kept() -> None:
    original = "rfc822;Root@example.org"
    assert recipients("Root") == [
        ("ops@example.net", original),
        ("root@example.com", original),
        ("jo@example.org", original),
    ]


def test_each_address_is_there_once() -> None:
    assert [address for address, _ in recipients("ops@example.net", "both", "root", "jo")] == [
        "ops@example.net",
        "root@example.com",
        "jo@example.org",
        "OPS2@example.org",
    ]


@pytest.mark.parametrize("name", ["root@example.org", "root@example.net", '"root"@example.org'])
def test_a_name_with_a_domain_has_no_alias(name: str) -> None:
    assert recipients(name) == [(name.replace('"', ""), None)]


def test_a_name_without_alias_gets_the_origin_and_postmaster_too() -> None:
    assert recipients("jo", "postmaster") == [("jo@example.org", None), ("postmaster@example.org", None)]
    assert recipients("Postmaster", "POSTMASTER@example.org") == [("Postmaster@example.org", None)]


def test_an_alias_may_name_itself() -> None:
    assert [address for address, _ in recipients("self")] == ["self@example.org", "copy@example.net"]


def test_without_an_origin_an_alias_is_enough() -> None:
    context = replace(CONTEXT, origin="", aliases={"root": ("ops@example.net",)})
    assert recipients("root", context=context) == [("ops@example.net", None)]
    made, _ = check(DATA.replace(b"x@example.net", b"root, y@example.net"), Request(), context)
    assert made is not None
    assert made.envelope.recipients == (Recipient("ops@example.net"), Recipient("y@example.net"))
    assert b"\r\nTo: root, y@example.net\r\n" in b"".join(made.chunks())


def test_bare_names_in_the_header_are_completed_there_and_replaced_in_the_envelope() -> None:
    made, _ = check(DATA.replace(b"x@example.net", b"R <root>"), Request(), CONTEXT)
    assert made is not None
    assert b"\r\nTo: R <root@example.org>\r\n" in b"".join(made.chunks())
    assert made.envelope.recipients[0].address == "ops@example.net"


def test_a_sender_has_no_alias() -> None:
    made, _ = check(DATA, Request(reverse_path="root"), CONTEXT)
    assert made is not None
    assert made.envelope.reverse_path == "root@example.org"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a", "recipient: the alias `a`: it leads to `a`, which leads back to it"),
        ("bad", "recipient: the alias `bad`: `x y` has a space at character 2"),
    ],
)
def test_a_wrong_alias_is_refused(name: str, says: str) -> None:
    made, findings = check(DATA, Request(recipients=(name,)), CONTEXT)
    assert made is None
    assert [f.severity for f in findings if str(f).startswith(says)] == ["refused"]


def test_a_thousand_aliases_in_a_row_are_no_depth() -> None:
    chain = {f"n{i}": (f"n{i + 1}", f"n{i + 1}") for i in range(5000)}
    context = replace(CONTEXT, aliases=chain)
    assert recipients("n0", context=context) == [("n5000@example.org", "rfc822;n0@example.org")]


def test_brackets_in_an_alias_come_off() -> None:
    assert recipients("bracketed")[0][0] == "x@example.net"
