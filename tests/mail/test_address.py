"""RFC 5321 mailboxes: what is accepted, its canonical form, and what is said of the rest."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstrom_cli.mail.address import (
    AddressError,
    Mailbox,
    mailbox,
    needs_smtputf8,
    parse_mailbox,
    parse_reverse_path,
    unbracketed,
)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("a@example.org", "a@example.org"),
        ("a.b+c@Example.ORG", "a.b+c@example.org"),
        ("MiXed@example.org", "MiXed@example.org"),
        ("!#$%&'*+-/=?^_`{|}~@example.org", "!#$%&'*+-/=?^_`{|}~@example.org"),
        ('"a"@example.org', "a@example.org"),
        ('"a.b"@example.org', "a.b@example.org"),
        (r'"\a\.b"@example.org', "a.b@example.org"),
        ('"a b"@example.org', '"a b"@example.org'),
        ('"a@b"@example.org', '"a@b"@example.org'),
        ('".a"@example.org', '".a"@example.org'),
        ('"a..b"@example.org', '"a..b"@example.org'),
        (r'"a\"b\\c"@example.org', r'"a\"b\\c"@example.org'),
        ('""@example.org', '""@example.org'),
        ("a@localhost", "a@localhost"),
        ("a@1.example", "a@1.example"),
        ("a@x--y.example", "a@x--y.example"),
        ("a@[192.0.2.1]", "a@[192.0.2.1]"),
        ("a@[IPv6:2001:DB8::1]", "a@[IPv6:2001:db8::1]"),
        ("a@[ipv6:::]", "a@[IPv6:::]"),
        ("a@[IPv6:1:2:3:4:5:6:7:8]", "a@[IPv6:1:2:3:4:5:6:7:8]"),
        ("a@[IPv6:1:2:3:4:5:6:192.0.2.1]", "a@[IPv6:1:2:3:4:5:6:c000:201]"),
        ("a@[IPv6:::ffff:192.0.2.1]", "a@[IPv6:::ffff:c000:201]"),
        ("a@[IPv6:2001:0db8:0:0:0:0:0:1]", "a@[IPv6:2001:db8::1]"),
        ("a@[IPv6:1:0:0:2:0:0:0:3]", "a@[IPv6:1:0:0:2::3]"),
        ("a@[IPv6:1::]", "a@[IPv6:1::]"),
        ("a@[192.000.002.001]", "a@[192.0.2.1]"),
        ("a@[x-tag:content@here]", "a@[x-tag:content@here]"),
        ("jürgen@exämple.org", "jürgen@xn--exmple-cua.org"),
        ("用户@例子.测试", "用户@xn--fsqu00a.xn--0zwm56d"),
        ("a@EXÄMPLE.org", "a@xn--exmple-cua.org"),
        ("a@xn--EXMPLE-CUA.org", "a@xn--exmple-cua.org"),
        ("a@हिन्दी.test", "a@xn--j2bd4cyah0f.test"),
        ('"ü b"@example.org', '"ü b"@example.org'),
        ("a" * 64 + "@example.org", "a" * 64 + "@example.org"),
        ("a@" + "b" * 63 + ".example", "a@" + "b" * 63 + ".example"),
        ("a@" + ".".join(["b" * 49] * 5) + ".ee", "a@" + ".".join(["b" * 49] * 5) + ".ee"),
    ],
)
def test_a_mailbox_has_its_canonical_form(text: str, canonical: str) -> None:
    assert str(parse_mailbox(text)) == canonical


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the address is empty"),
        ("@example.org", "nothing before the @"),
        ("a@", "nothing after the @"),
        ("a", "`a` has no domain"),
        ("postmaster", "no `origin` is configured"),
        ("a b@example.org", "a space at character 2"),
        ("a(c)@example.org", "`(` at character 2"),
        ("Bob <b@example.org>", "give what is between < and > alone"),
        (".a@example.org", "starts with a dot"),
        ("a.@example.org", "ends with a dot"),
        ("a..b@example.org", "two dots in a row"),
        ("a@b@example.org", "a second @"),
        ('"a', "no closing"),
        ('"a\\', "no closing"),
        ('"a"b@example.org', "after the closing quote, at character 4"),
        ('"\\ü"@example.org', "a backslash before `ü`"),
        ("a@example.org.", "ends with a dot"),
        ("a@.example.org", "a dot at its start"),
        ("a@example..org", "two in a row"),
        ("a@-x.example", "starts or ends with a hyphen"),
        ("a@x-.example", "starts or ends with a hyphen"),
        ("a@x_y.example", "`_` in it"),
        ("a@x y.example", "a space in it"),
        ("a@exam☃ple.org", "`☃` in it"),
        ("a@[192.0.2]", "not an IPv4 address"),
        ("a@[192.0.2.256]", "not an IPv4 address"),
        ("a@[2001:db8::1]", "an IPv6 address is written [IPv6:...]"),
        ("a@[192.0.2.1", "not of the form [address]"),
        ("a@[192.0.2.1]x", "not of the form [address]"),
        ("a@[IPv6:1:2:3]", "not an IPv6 address"),
        ("a@[IPv6:1::2:3:4:5:6:7:8]", "not an IPv6 address"),
        ("a@[IPv6:1:::2]", "not an IPv6 address"),
        ("a@[IPv6:1:2:3:4:5:6:7:192.0.2.1]", "not an IPv6 address"),
        ("a@[IPv6:12345::]", "not an IPv6 address"),
        ("a@[tag:]", "[tag:address]"),
        ("a@[-:x]", "[tag:address]"),
        ("a@[x:[y]", "not of the form"),
        ("a" * 65 + "@example.org", "has 65 octets; 64 are the most"),
        ("ü" * 33 + "@example.org", "has 66 octets; 64 are the most"),
        ('"' + "a" * 62 + ' "@example.org', "has 65 octets; 64 are the most"),
        ("a@" + "b" * 64 + ".example", "more than 63 characters"),
        ("a@" + ".".join(["b" * 50] * 5) + ".e", "the most"),
        ("a@" + ".".join(["b" * 49] * 5) + ".eee", "255 octets; 254 are the most"),
        ("a\rb@example.org", "U+000D at position 2"),
        ("a@example.org\n", "U+000A at position 14"),
        ("a\0@example.org", "U+0000 at position 2"),
        ("a\t@example.org", "U+0009"),
        ('"a\x7f"@example.org', "U+007F"),
        ("a\x85@example.org", "U+0085"),
        ("a\u2028@example.org", "U+2028"),
        ("a\u202eb@example.org", "U+202E"),
        ("a\ud800@example.org", "U+D800"),
    ],
)
def test_an_error_tells_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_mailbox(text)
    assert says in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "origin", "canonical"),
    [
        ("root", "Example.org", "root@example.org"),
        ('"a b"', "example.org", '"a b"@example.org'),
        ("Postmaster", "example.org", "Postmaster@example.org"),
        ("root@localhost", "example.org", "root@localhost"),
    ],
)
def test_a_bare_name_gets_the_origin(text: str, origin: str, canonical: str) -> None:
    assert str(parse_mailbox(text, origin)) == canonical


def test_an_origin_that_is_no_domain_completes_nothing() -> None:
    with pytest.raises(AddressError, match="a space in it"):
        parse_mailbox("root", "not a domain")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", ""),
        ("<>", ""),
        (" <> ", ""),
        ("a@Example.org", "a@example.org"),
        ("<a@example.org>", "a@example.org"),
    ],
)
def test_a_reverse_path_may_be_null(text: str, path: str) -> None:
    assert parse_reverse_path(text) == path


def test_angle_brackets_come_off_in_a_pair() -> None:
    assert unbracketed("<a@example.org>") == "a@example.org"
    assert unbracketed("<a@example.org") == "<a@example.org"


def test_only_addresses_beyond_ascii_need_smtputf8() -> None:
    assert needs_smtputf8("ü@example.org")
    assert not needs_smtputf8(str(parse_mailbox("a@exämple.org")))
    assert not needs_smtputf8('"a b"@xn--exmple-cua.org')


@given(
    st.text(st.characters(exclude_categories=["C", "Z"]), max_size=20),
    st.sampled_from(["a.b", "x", "[192.0.2.1]"]),
)
@settings(max_examples=200, deadline=None)
def test_what_is_formatted_parses_to_the_same_mailbox(local: str, domain: str) -> None:
    try:
        box = mailbox(local, domain)
    except AddressError:
        assert len(local.encode()) > 30  # quoting doubles some
        return
    assert parse_mailbox(str(box)) == box == Mailbox(local, domain)


@given(
    st.one_of(
        st.text(max_size=40),
        st.text(st.sampled_from('ab."\\@ []:<>(),;-1é\r\n\0'), max_size=20),
        st.builds("{}@{}".format, st.text('ab."\\ @é', max_size=9), st.text("ab.-[]:1IPv6é", max_size=12)),
    )
)
@settings(max_examples=500, deadline=None)
def test_any_text_is_a_mailbox_or_an_address_error(text: str) -> None:
    try:
        box = parse_mailbox(text)
    except AddressError as error:
        assert str(error).isprintable()
    else:
        assert str(box).isprintable()
        assert parse_mailbox(str(box)) == box
