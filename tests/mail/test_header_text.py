"""Raw text beyond ASCII becomes encoded-words: golden fields, and that readers see the same text."""

from __future__ import annotations

import email.policy
from email.parser import BytesParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstrom_cli.mail.address_list import parse_address_list
from mailstrom_cli.mail.header_text import in_ascii

PARSER = BytesParser(policy=email.policy.default)


def encoded(name: str, value: str) -> str | None:
    return in_ascii(name.lower(), name, value + "\r\n")


@pytest.mark.parametrize(
    ("name", "value", "after"),
    [
        ("Subject", " Grüße", " =?utf-8?b?R3LDvMOfZQ==?="),
        ("Subject", "Grüße", "=?utf-8?b?R3LDvMOfZQ==?="),
        (
            "Subject",
            "  all  in ASCII but this: längere  ",
            "  all  in ASCII but this: =?utf-8?q?l=C3=A4ngere?=  ",
        ),
        ("Subject", " äh  öh", " =?utf-8?b?w6RoICDDtmg=?="),
        ("Subject", " =?utf-8?q?x?= äh", " =?utf-8?q?x?= =?utf-8?q?_=C3=A4h?="),
        ("Subject", " äh =?utf-8?q?x?=", " =?utf-8?q?=C3=A4h_?= =?utf-8?q?x?="),
        ("Subject", " one\r\n zwölf\r\n\tlines", " one\r\n =?utf-8?b?enfDtmxm?=\r\n\tlines"),
        (
            "Subject",
            " " + "a long line of words " * 3 + "für alle",
            " " + "a long line of words " * 2 + "a long line of words\r\n =?utf-8?q?f=C3=BCr?= alle",
        ),
        ("X-Other", " ü", " =?utf-8?b?w7w=?="),
        ("From", " Jürgen <j@x.example>", " =?utf-8?q?J=C3=BCrgen?= <j@x.example>"),
        ("From", "Jürgen<j@x.example>", " =?utf-8?q?J=C3=BCrgen?= <j@x.example>"),
        ("To", ' "Müller, Jürgen" <j@x.example>', " =?utf-8?b?TcO8bGxlciwgSsO8cmdlbg==?= <j@x.example>"),
        ("To", ' Dr. "Ü" X <j@x.example>', " Dr. =?utf-8?b?w5w=?= X <j@x.example>"),
        ("To", " Bob <b@x.example>,Ü <j@x.example>", " Bob <b@x.example>, =?utf-8?b?w5w=?= <j@x.example>"),
        (
            "Cc",
            " j@x.example (Jürgen (ä) \\) b)",
            " j@x.example (=?utf-8?q?J=C3=BCrgen?= (=?utf-8?b?w6Q=?=) \\) b)",
        ),
        ("To", " Grüppe: a@x.example;", " =?utf-8?q?Gr=C3=BCppe?= : a@x.example;"),
        ("Resent-To", " ü (ü) <a@x.example>", " =?utf-8?b?w7w=?= (=?utf-8?b?w7w=?=) <a@x.example>"),
        ("To", ' "a" "ü"\r\n <a@x.example>', ' "a" =?utf-8?b?w7w=?=\r\n <a@x.example>'),
    ],
)
def test_words_are_encoded_where_they_must_be_and_nothing_else_changes(
    name: str, value: str, after: str
) -> None:
    assert encoded(name, value) == after + "\r\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("To", " ü@x.example"),
        ("To", " Ü <a@bücher.example>"),
        ("To", " Ü <a@x.example"),
        ("To", " ü"),
        ("To", ' "ü"@x.example'),
        ("Message-ID", " <ü@x.example>"),
        ("References", " <ü@x.example>"),
        ("Received", " from ü"),
        ("Content-Type", ' text/plain; name="ü"'),
        ("List-Id", " Ü <a.x.example>"),
        ("ARC-Seal", " ü"),
    ],
)
def test_addresses_and_what_has_another_syntax_stay(name: str, value: str) -> None:
    assert encoded(name, value) is None


WORDS = st.lists(
    st.sampled_from(
        ["a", "word", "ü", "größer", "漢字", "=?utf-8?q?x_y?=", "=?", "é́", "x" * 60, "ß" * 40, "."]
    ),
    min_size=1,
    max_size=12,
)


@given(WORDS, st.lists(st.sampled_from([" ", "  ", "\r\n ", "\t"]), min_size=12, max_size=12))
@settings(max_examples=400, deadline=None)
def test_readers_see_the_text_that_was_there(words: list[str], blanks: list[str]) -> None:
    if all(word.isascii() for word in words):
        words = [*words, "ü"]
    value = "".join(blank + word for blank, word in zip([*blanks, " "], words, strict=False))
    after = encoded("Subject", value)
    assert after is not None
    assert after.isascii()
    before_text = str(PARSER.parsebytes(f"Subject:{value}\r\n\r\n".encode())["subject"])
    after_text = str(PARSER.parsebytes(f"Subject:{after}\r\n".encode())["subject"])
    assert "".join(after_text.split()) == "".join(before_text.split())
    assert encoded("Subject", after.removesuffix("\r\n")) == after


PIECES = ["Jürgen ", '"Ü, X" ', "Bob ", '"a" ', "(ü) ", "(c(ä)) ", "=?utf-8?q?x?= ", "\r\n ", "Q. "]
ONE = st.lists(st.sampled_from(PIECES), max_size=5).map(lambda parts: "".join(parts) + "<a@x.example>")
LISTS = st.lists(ONE | st.sampled_from(["b@x.example", "Ü: c@x.example;", "ü:;"]), min_size=1, max_size=5)


@given(LISTS, st.sampled_from([",", ", ", ",\r\n "]))
@settings(max_examples=400, deadline=None)
def test_no_address_is_lost_or_changed(addresses: list[str], comma: str) -> None:
    value = " " + comma.join(addresses)
    after = encoded("To", value)
    assert after is not None
    assert after.isascii()
    assert parse_address_list(after).mailboxes == parse_address_list(value).mailboxes
    assert max(map(len, after.split("\r\n"))) <= 250
