"""The first route that matches, else `via`."""

from __future__ import annotations

import pytest

from mailstrom_cli.config.schema import Route, Settings
from mailstrom_cli.config.via import MX, Via, parse_via
from mailstrom_cli.policy.routing import NextHop, domain_of, next_hop

RELAY = (parse_via("smtp://relay.example.org"),)
OTHER = (parse_via("smtps://other.example.org:4465"),)


def way(routes: list[tuple[str | None, str | None]], sender: str, recipient: str) -> int | None:
    """Which of these routes is taken; None for none."""
    made = tuple(Route(s, r, (Via("smtp", f"r{i}", 25),)) for i, (s, r) in enumerate(routes))
    host = next_hop(Settings(route=made), sender, recipient).vias[0].host
    return int(host[1:]) if host else None


@pytest.mark.parametrize(
    ("pattern", "address", "matches"),
    [
        ("bob@example.org", "bob@example.org", True),
        ("bob@example.org", "Bob@EXAMPLE.org", True),
        ("bob@example.org", "bob@example.net", False),
        ("*@example.org", "anybody@example.org", True),
        ("*@example.org", "anybody@sub.example.org", False),
        ("bounce-*@example.org", "bounce-17@example.org", True),
        ("bounce-*@example.org", "bob@example.org", False),
        ("example.org", "bob@example.org", True),
        ("Example.ORG", "bob@example.org", True),
        ("example.org", "bob@sub.example.org", False),
        ("example.org", "bob@notexample.org", False),
        ("*.example.org", "bob@sub.example.org", True),
        ("*.example.org", "bob@a.b.example.org", True),
        ("*.example.org", "bob@example.org", False),
        ("*.example.org", "bob@badexample.org", False),
        ("*", "bob@example.org", True),
        ("*@Bücher.example", "bob@xn--bcher-kva.example", True),
        ("*.bücher.example", "bob@a.xn--bcher-kva.example", True),
        ("bü*.example", "bob@xn--bcher-kva.example", False),
        ("*", "root", True),
        ("[192.0.2.1]", "bob@[192.0.2.1]", True),
        ("[192.0.2.1]", "bob@[192.0.2.2]", False),
        ("[IPv6:2001:db8::1]", "bob@[IPv6:2001:db8::1]", True),
        ("*@[192.0.2.1]", "bob@[192.0.2.1]", True),
        ("bob@example.org", '"a@b"@example.org', False),
        ("example.org", '"a@b"@example.org', True),
    ],
)
def test_patterns_of_recipients_and_senders(pattern: str, address: str, matches: bool) -> None:
    assert (way([(None, pattern)], "ann@example.net", address) == 0) is matches
    assert (way([(pattern, None)], address, "ann@example.net") == 0) is matches


@pytest.mark.parametrize(("sender", "matches"), [("", True), ("ann@example.org", False)])
def test_the_null_sender(sender: str, matches: bool) -> None:
    assert (way([("<>", None)], sender, "bob@example.org") == 0) is matches


def test_a_domain_does_not_match_the_null_sender() -> None:
    assert way([("example.org", None), ("*@example.org", None)], "", "bob@example.org") is None


def test_both_patterns_have_to_match() -> None:
    routes: list[tuple[str | None, str | None]] = [("example.org", "example.net")]
    assert way(routes, "ann@example.org", "bob@example.net") == 0
    assert way(routes, "ann@example.com", "bob@example.net") is None
    assert way(routes, "ann@example.org", "bob@example.com") is None


def test_the_first_route_that_matches_is_taken() -> None:
    routes: list[tuple[str | None, str | None]] = [(None, "other.test"), (None, "example.org"), (None, "*")]
    assert way(routes, "", "bob@example.org") == 1
    assert way(routes, "", "bob@example.net") == 2


def test_without_a_route_via_is_taken() -> None:
    assert next_hop(Settings(via=RELAY), "", "bob@example.org") == NextHop(RELAY, "")


def test_mail_to_a_relay_shares_one_next_hop_and_mail_to_mx_one_for_each_domain() -> None:
    settings = Settings(via=(MX,), route=(Route(None, "example.net", RELAY + OTHER),))
    assert next_hop(settings, "", "a@Example.ORG") == next_hop(settings, "", "b@example.org")
    assert str(next_hop(settings, "", "a@example.org")) == "mx:example.org"
    assert str(next_hop(settings, "", "a@example.net")) == (
        "smtp://relay.example.org,smtps://other.example.org:4465"
    )
    mixed = Settings(via=(*RELAY, MX))
    assert str(next_hop(mixed, "", "a@example.org")) == "smtp://relay.example.org,mx:example.org"


@pytest.mark.parametrize(
    ("address", "domain"),
    [("a@B.org", "b.org"), ('"x@y"@b.org', "b.org"), ("root", ""), ("", ""), ("a@[IPv6:::1]", "[ipv6:::1]")],
)
def test_the_domain_of_an_address(address: str, domain: str) -> None:
    assert domain_of(address) == domain
