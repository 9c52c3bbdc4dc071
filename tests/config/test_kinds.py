"""Durations, sizes and the other kinds of settings."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstrom_cli.config import kinds
from mailstrom_cli.config.kinds import format_duration, format_size, parse_duration, parse_size
from mailstrom_cli.config.text import split_address


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("2h", 7200), ("5d", 432000), ("1h30m", 5400), ("1h 30m", 5400),
     ("1d1h1m1s", 90061), ("0", 0), ("0.25s", 0.25), ("1.5h", 5400), (" 5m ", 300)],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", " ", "s", "5x", "5M", "5 m", "m5", "30m1h", "1h1h", "-5m", "+5m", "1..5s", ".5s", "5.s", "٣s",
     "9999999999999999s", "1_000s", "1h,30m", "5m.", "1e3s", "5", "90", "00", "1m30", "0.5"],
)  # fmt: skip
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError):
        parse_duration(text)


@pytest.mark.parametrize("held", [5, 0.25, "5", "1m30"])
def test_a_number_without_a_unit_is_no_duration_and_is_told_so(held: Any) -> None:
    with pytest.raises(ValueError, match="has no unit; write 90s, 5m, 2h or 5d"):
        kinds.duration().read(held)


@given(st.integers(0, kinds.CENTURY * 1000))
@settings(max_examples=300)
def test_a_duration_to_the_millisecond_is_read_back(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.text(max_size=12) | st.text("0123456789.dhms -", max_size=12))
@settings(max_examples=300)
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert 0 <= seconds < float("inf")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (5400, "1h30m"), (604800, "7d"), (300, "5m"), (0.5, "0.5s")]
)
def test_durations_are_written_short(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "octets"),
    [("50MiB", 52428800), ("10MB", 10_000_000), ("512KiB", 524288), ("1.5 KiB", 1536), ("7", 7), ("7B", 7),
     ("1gib", 1 << 30), ("2TB", 2 * 10**12), ("0", 0), ("0B", 0)],
)  # fmt: skip
def test_sizes(text: str, octets: int) -> None:
    assert parse_size(text) == octets


@pytest.mark.parametrize(
    "text", ["", "MiB", "50M", "50 m", "-1B", "1.5B", "1e6", "5PiB", "1,5MB", "0x10", "1.0001KiB"]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError):
        parse_size(text)


@given(
    st.integers(0, 1 << 53)
    | st.builds(lambda n, p: n << p, st.integers(0, 4096), st.sampled_from([10, 20, 30]))
)
@settings(max_examples=300)
def test_a_size_is_read_back(octets: int) -> None:
    octets = min(octets, 10**15 - 1)
    assert parse_size(format_size(octets)) == octets


@given(st.text(max_size=12) | st.text("0123456789.KMGTiB ", max_size=12))
@settings(max_examples=300)
def test_any_text_is_a_size_or_refused(text: str) -> None:
    try:
        octets = parse_size(text)
    except ValueError:
        return
    assert isinstance(octets, int) and octets >= 0


GOOD = [
    (kinds.HELO_NAME, "mail.example.org", "mail.example.org"),
    (kinds.HELO_NAME, "[192.0.2.1]", "[192.0.2.1]"),
    (kinds.HELO_NAME, "[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
    (kinds.DOMAIN, "bücher.example", "bücher.example"),
    (kinds.ADDRESS, "2001:DB8:0::1", "2001:db8::1"),
    (kinds.SPOOL, "postgres://db.example.org/mail", "postgres://db.example.org/mail"),
    (kinds.SPOOL, "/srv/mail", "/srv/mail"),
    (kinds.RESOLVER, "system", ("system",)),
    (kinds.RESOLVER, "quad9", ("9.9.9.9", "149.112.112.112", "2620:fe::fe", "2620:fe::9")),
    (kinds.RESOLVER, ["127.0.0.1:5353", "2001:db8::1", "[2001:db8::1]:54", "192.0.2.1:53"],
     ("127.0.0.1:5353", "2001:db8::1", "[2001:db8::1]:54", "192.0.2.1")),
    (kinds.WORDS, ["pass", "show"], ("pass", "show")),
    (kinds.PATTERN, "*@example.net", "*@example.net"),
    (kinds.PATTERN, "*@*.example.net", "*@*.example.net"),
    (kinds.PATTERN, "*.example.net", "*.example.net"),
    (kinds.PATTERN, "*", "*"),
    (kinds.PATTERN, "bounce-*@example.net", "bounce-*@example.net"),
    (kinds.SENDER_PATTERN, "<>", "<>"),
    (kinds.RESOLVER, "tls://9.9.9.9#dns.quad9.net", ("tls://9.9.9.9#dns.quad9.net",)),
    (kinds.RESOLVER, "TLS://127.0.0.1:8853#Name.Test", ("tls://127.0.0.1:8853#name.test",)),
    (kinds.RESOLVER, "tls://[2001:DB8::1]:8853#n", ("tls://[2001:db8::1]:8853#n",)),
    (kinds.RESOLVER, "tls://2001:db8::1:853", ("tls://[2001:db8::1:853]",)),
    (kinds.RESOLVER, "tls://9.9.9.9:853", ("tls://9.9.9.9",)),
    (kinds.RESOLVER, "https://DNS.Quad9.net:443/dns-query", ("https://dns.quad9.net/dns-query",)),
    (kinds.RESOLVER, ["https://[::1]:8443/q", "::1"], ("https://[::1]:8443/q", "::1")),
    (kinds.RESOLVER, ["tls://9.9.9.9", "quad9"],
        ("tls://9.9.9.9", "9.9.9.9", "149.112.112.112", "2620:fe::fe", "2620:fe::9")),
    (kinds.FLAG, True, True), (kinds.FLAG, False, False),
    (kinds.integer(-1, 5), -1, -1),
    (kinds.integer(1, 5), 2.0, 2),
    (kinds.duration(zero=True), 0, 0),
    (kinds.duration(), "0.25s", 0.25),
    (kinds.size(0), 1024, 1024),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "held", "read"), GOOD)
def test_a_kind_reads_what_it_expects(kind: kinds.Kind, held: Any, read: Any) -> None:
    assert kind.read(held) == read


BAD = [
    (kinds.HELO_NAME, "a b"), (kinds.HELO_NAME, "[x]"), (kinds.HELO_NAME, "bücher.example"),
    (kinds.HELO_NAME, 1),
    (kinds.HELO_NAME, "a" * 64), (kinds.HELO_NAME, "a." * 127 + "a"), (kinds.HELO_NAME, "a\n"),
    (kinds.DOMAIN, "@example.org"), (kinds.DOMAIN, "example.org."), (kinds.DOMAIN, None),
    (kinds.ADDRESS, "192.0.2.256"), (kinds.ADDRESS, "[::1]"),
    (kinds.PATH, "relative"), (kinds.PATH, "/a\0"), (kinds.SPOOL, "mail"), (kinds.SPOOL, ["/a"]),
    (kinds.RESOLVER, []), (kinds.RESOLVER, ["system", "192.0.2.1"]), (kinds.RESOLVER, "dns.example.org"),
    (kinds.RESOLVER, [1]), (kinds.RESOLVER, ["192.0.2.1:0"]), (kinds.RESOLVER, {}), (kinds.RESOLVER, "[::1"),
    (kinds.RESOLVER, "tls://"), (kinds.RESOLVER, "tls:9.9.9.9"), (kinds.RESOLVER, "tls://9.9.9.9/q"),
    (kinds.RESOLVER, "tls://9.9.9.9#a#b"), (kinds.RESOLVER, "tls://9.9.9.9#-x"), (kinds.RESOLVER, "udp://::1"),
    (kinds.RESOLVER, "https:///q"), (kinds.RESOLVER, "https://-x/q"), (kinds.RESOLVER, "https://[::1/q"),
    (kinds.RESOLVER, "https://[x]/q"), (kinds.RESOLVER, "https://a.test:x/q"), (kinds.RESOLVER, "https://::1/q"),
    (kinds.RESOLVER, "https://bücher.test/q"), (kinds.RESOLVER, "https://a.test/ q"),
    (kinds.FLAG, 1), (kinds.FLAG, "true"), (kinds.FLAG, []),
    (kinds.WORDS, []), (kinds.WORDS, "pass show"), (kinds.WORDS, [1]), (kinds.WORDS, [""]),
    (kinds.WORDS, ["a\n"]),
    (kinds.PATTERN, ""), (kinds.PATTERN, "@example.net"), (kinds.PATTERN, "a@b@c"), (kinds.PATTERN, "a b@c"),
    (kinds.PATTERN, "a@"), (kinds.PATTERN, "<>"), (kinds.PATTERN, "a@.example"), (kinds.PATTERN, 1),
    (kinds.VIAS, []), (kinds.VIAS, ""), (kinds.VIAS, [""]), (kinds.VIAS, ["mx:", 1]), (kinds.VIAS, 1),
    (kinds.TEXT, ""), (kinds.TEXT, "a\rb"), (kinds.TEXT, "a\x85b"), (kinds.TEXT, "a\x7f"),
    (kinds.TEXT, "a\tb"),
    (kinds.integer(1, 5), 0), (kinds.integer(1, 5), 6), (kinds.integer(1, 5), True),
    (kinds.integer(1, 5), "2"),
    (kinds.integer(1, 5), 1.5), (kinds.integer(1, 5), float("nan")), (kinds.integer(1, 5), float("inf")),
    (kinds.decimal(0, 1), 1.1), (kinds.decimal(0, 1), float("nan")), (kinds.decimal(0, 1), "0.5"),
    (kinds.duration(), 0), (kinds.duration(), 0.0001), (kinds.duration(), -1), (kinds.duration(), "36526d"),
    (kinds.duration(), float("inf")), (kinds.duration(), float("nan")), (kinds.duration(), True),
    (kinds.duration(), []), (kinds.duration(), 10**400),
    (kinds.size(1024), 1023), (kinds.size(0), 1.5), (kinds.size(0), float("inf")), (kinds.size(0), False),
    (kinds.choice("a", "b"), "c"), (kinds.choice("a", "b"), []), (kinds.choice("a", "b"), 1),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "held"), BAD)
def test_a_kind_refuses_with_value_error_only(kind: kinds.Kind, held: Any) -> None:
    with pytest.raises(ValueError):
        kind.read(held)


@pytest.mark.parametrize(
    ("text", "address"),
    [("192.0.2.1", ("192.0.2.1", 53)), ("192.0.2.1:54", ("192.0.2.1", 54)),
     ("2001:db8::1", ("2001:db8::1", 53)),
     ("[2001:db8::1]", ("2001:db8::1", 53)), ("[2001:db8::1]:54", ("2001:db8::1", 54))],
)  # fmt: skip
def test_addresses_with_and_without_a_port(text: str, address: tuple[str, int]) -> None:
    assert split_address(text, 53) == address


def test_paths_of_the_environment_start_in_the_working_directory(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert kinds.SPOOL.from_text("spool") == f"{tmp_path}/spool"
    assert kinds.SPOOL.from_text("~/spool") == "/home/me/spool"
    assert kinds.SPOOL.from_text("memory://x") == "memory://x"
    assert kinds.SPOOL.read(kinds.SPOOL.from_text("memory:")) == "memory:"
    assert kinds.PATH.read("~/ca.pem") == "/home/me/ca.pem"
