"""MTA-STS records and policies (RFC 8461)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstrom_cli.policy.sts import LONGEST, NoPolicy, Policy, identifier, parse

EXAMPLE = (
    b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n"
)


def test_the_example_of_the_rfc() -> None:
    assert parse(EXAMPLE) == Policy("enforce", ("mail.example.com", "*.example.net"), 604_800)


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ("mail.example.com", True),
        ("MAIL.Example.COM.", True),
        ("mx1.example.net", True),
        ("example.net", False),  # a `*.` is one label
        ("a.mx1.example.net", False),
        ("mail.example.com.evil.test", False),
        ("evilexample.net", False),
        ("", False),
    ],
)
def test_a_pattern_stands_for_one_label(host: str, wanted: bool) -> None:
    assert parse(EXAMPLE).allows(host) is wanted


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        (["v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        (["v=STSv1;id=1"], "1"),
        (["v=STSv1 ; some=thing; id = a1 ;"], "a1"),
        (["v=spf1 -all", "v=STSv1; id=7;"], "7"),
        ([], None),
        (["v=spf1 -all"], None),
        (["v=STSv1; id=1;", "v=STSv1; id=2;"], None),  # several are none
        (["v=STSv1;"], None),
        (["v=STSv1; id=;"], None),
        (["v=STSv1; id=" + "1" * 33], None),
        (["v=STSv1; id=a b"], None),
        (["v=STSv10; id=1;"], None),
        (["id=1; v=STSv1"], None),  # the version is first
    ],
)
def test_which_policy_a_domain_has(texts: list[str], wanted: str | None) -> None:
    assert identifier(texts) == wanted


@pytest.mark.parametrize(
    "octets",
    [
        b"version: STSv1\nmode: testing\nmx: a.test\nmax_age: 86400",  # LF, and the last line does not end
        b"version: STSv1\nmode: testing\nmx: a.test\nmax_age: 86400\n\n",
        b"mode:testing\nversion:STSv1\nmax_age:86400\nmx:A.test.\n",  # in any order, without blanks
        b"version: STSv1\nmode: testing\nmode: enforce\nmx: a.test\nmax_age: 86400\nmax_age: 1\nnew: thing\n",
    ],
)
def test_ways_to_write_it(octets: bytes) -> None:
    assert parse(octets) == Policy("testing", ("a.test",), 86_400)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((b"STSv1", b"STSv2"), "version"),
        ((b"enforce", b"maybe"), "mode"),
        ((b"mode: enforce\r\n", b""), "mode"),
        ((b"max_age: 604800\r\n", b""), "max_age"),
        ((b"604800", b"-1"), "max_age"),
        ((b"604800", b"99999999999"), "max_age"),
        ((b"604800", "\u0661".encode()), "max_age"),
        ((b"mail.example.com", b"*"), "mx"),
        ((b"mail.example.com", b"a.*.test"), "mx"),
        ((b"mail.example.com", b""), "mx"),
        ((b"mail.example.com", b"m\xff"), "UTF-8"),
        ((b"mail.example.com", "m\u00fc.test".encode()), "mx"),
        ((b"mx: mail.example.com\r\nmx: *.example.net\r\n", b""), "mx"),
        ((b"mode: enforce", b"<html>"), "line 2"),
    ],
)
def test_what_is_no_policy(change: tuple[bytes, bytes], said: str) -> None:
    with pytest.raises(NoPolicy, match=said):
        parse(EXAMPLE.replace(*change))


def test_a_policy_of_nothing_needs_no_mx_and_no_age_is_longer_than_a_year() -> None:
    octets = b"version: STSv1\nmode: none\nmax_age: 4000000000\n"
    assert parse(octets) == Policy("none", (), LONGEST)


@given(
    st.binary()
    | st.lists(st.sampled_from([*EXAMPLE.splitlines(), b"mx: x", b":", b"\t", b"mx"])).map(b"\n".join)
)
def test_whatever_comes_is_a_policy_or_none(octets: bytes) -> None:
    try:
        policy = parse(octets)
    except NoPolicy as error:
        assert str(error).isprintable()
    else:
        assert policy.mx or policy.mode == "none"
        assert 0 <= policy.max_age <= LONGEST
