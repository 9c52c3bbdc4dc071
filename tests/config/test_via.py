"""URLs of how mail leaves: every form, its canonical text, and what is refused."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstrom_cli.config.via import DEFAULT_PORT, MX, Via, parse_via

FORMS = {
    "mx:": (Via("mx"), "mx:"),
    "MX:": (Via("mx"), "mx:"),
    "smtp://relay.example.org": (Via("smtp", "relay.example.org", 25), "smtp://relay.example.org"),
    "smtp://Relay.Example.ORG.": (Via("smtp", "relay.example.org", 25), "smtp://relay.example.org"),
    "smtp://relay.example.org:587": (Via("smtp", "relay.example.org", 587), "smtp://relay.example.org:587"),
    "smtp://192.0.2.1:2525/": (Via("smtp", "192.0.2.1", 2525), "smtp://192.0.2.1:2525"),
    "smtp://[2001:DB8::1]": (Via("smtp", "2001:db8::1", 25), "smtp://[2001:db8::1]"),
    "smtp://[::1]:2525": (Via("smtp", "::1", 2525), "smtp://[::1]:2525"),
    "smtps://smtp.example.org": (Via("smtps", "smtp.example.org", 465), "smtps://smtp.example.org"),
    "lmtp://localhost": (Via("lmtp", "localhost", 24), "lmtp://localhost"),
    "lmtp://localhost:2424": (Via("lmtp", "localhost", 2424), "lmtp://localhost:2424"),
    "lmtp:///run/dovecot/lmtp": (Via("lmtp", path="/run/dovecot/lmtp"), "lmtp:///run/dovecot/lmtp"),
    "maildir:///home/me/Mail/": (Via("maildir", path="/home/me/Mail"), "maildir:///home/me/Mail"),
    "maildir:///a@b/c%2Cd%20e": (Via("maildir", path="/a@b/c,d e"), "maildir:///a@b/c%2Cd%20e"),
    "maildir:///caf%C3%A9": (Via("maildir", path="/café"), "maildir:///café"),
}


@pytest.mark.parametrize("text", FORMS)
def test_each_form_is_read_and_written_canonically(text: str) -> None:
    via, canonical = FORMS[text]
    assert parse_via(text) == via
    assert str(via) == canonical


REFUSED = {
    "": '"" does not begin with mx:, smtp://, smtps://, lmtp:// or maildir://',
    "relay.example.org": '"relay.example.org" does not begin with mx:, smtp://, smtps://, lmtp:// or maildir://',
    "pop3://x": '"pop3://x" does not begin with mx:, smtp://, smtps://, lmtp:// or maildir://',
    "mx:example.org": '"mx:example.org" names a host; mx: stands alone, and a relay is smtp://host',
    "smtp:relay": '"smtp:relay" lacks the // after smtp:',
    "smtp://": '"smtp://" lacks a host name',
    "smtp://a b": '"smtp://a b" contains `?`, `#` or a space; in a path write %3F, %23 or %20',
    "smtp://a..b": '"a..b" is not a host name',
    "smtp://-a": '"-a" is not a host name',
    "smtp://a/b": '"smtp://a/b" has a path after the host',
    "smtp://a?tls=no": '"smtp://a?tls=no" contains `?`, `#` or a space; in a path write %3F, %23 or %20',
    "smtp://a:0": '"0" is not a port: a number from 1 to 65535',
    "smtp://a:65536": '"65536" is not a port: a number from 1 to 65535',
    "smtp://a:²": '"²" is not a port: a number from 1 to 65535',
    "smtp://2001:db8::1": '"smtp://2001:db8::1" has an IPv6 address without brackets, as in '
    "smtp://[2001:db8::1]:25",
    "smtp://[::1": '"smtp://[::1" has a bracket that is not closed, or no colon after it',
    "smtp://[::1]25": '"smtp://[::1]25" has a bracket that is not closed, or no colon after it',
    "smtp://[relay]": '"relay" is not an IP address',
    "smtp:///run/x": '"smtp:///run/x" names a path and no host, as in smtp://smtp.example.org',
    "maildir://home/me": '"maildir://home/me" lacks an absolute path, as in maildir:///var/mail/me',
    "maildir:///": '"maildir:///" names no path',
    "maildir:///a%2": '"maildir:///a%2" has a % without two hexadecimal digits; the sign itself is %25',
    "maildir:///a%zz": '"maildir:///a%zz" has a % without two hexadecimal digits; the sign itself is %25',
    "maildir:///a%00": 'the path of "maildir:///a%00" contains a control character or is not UTF-8',
    "maildir:///a%ff": 'the path of "maildir:///a%ff" contains a control character or is not UTF-8',
    "smtp://a\r\nQUIT": "the URL contains a carriage return",
    "maildir:///a\udcff": "the URL is not UTF-8",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_wrong_is_said(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_via(text)
    assert str(caught.value) == REFUSED[text]


@pytest.mark.parametrize(
    "text",
    ["smtp://me:s3cret@smtp.example.org", "smtp://me:s3cret/@smtp.example.org:587",
     "s3cret@smtp.example.org", "s3cret@smtp.example.org:587",
     "me:s3cret@smtp.example.org", "smtp:///me:s3cret@smtp.example.org", "nosuch://me:s3cret@smtp.example.org/x"],
)  # fmt: skip
def test_credentials_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_via(text)
    assert str(caught.value) == (
        'credentials do not belong in a URL; name the user in [auth."smtp.example.org"], '
        "with password_file or password_command"
    )


label = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=12)
hosts = st.lists(label, min_size=1, max_size=4).map(".".join)
addresses = st.one_of(hosts, st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str))
segments = st.text(
    st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="/"), min_size=1, max_size=10
)
paths = st.lists(segments, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
vias = st.one_of(
    st.just(MX),
    st.builds(Via, st.sampled_from(sorted(DEFAULT_PORT)), addresses, st.integers(1, 65535)),
    st.builds(Via, st.sampled_from(["lmtp", "maildir"]), path=paths),
)


@given(vias)
@settings(max_examples=300)
def test_the_canonical_url_is_read_back_as_the_same_value(via: Via) -> None:
    assert parse_via(str(via)) == via
    assert "," not in str(via)


@given(st.text(max_size=40) | st.text(":/[]@%.,mxstplidar0123456789", max_size=30))
@settings(max_examples=300)
def test_any_text_is_a_via_or_a_sentence(text: str) -> None:
    try:
        via = parse_via(text)
    except ValueError as error:
        assert len(error.args) == 1
        assert str(error).isprintable()
    else:
        assert parse_via(str(via)) == via
