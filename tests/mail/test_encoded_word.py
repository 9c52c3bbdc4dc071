"""Encoded-words: made so that every reader shows the text again, and looked at where they are in use."""

from __future__ import annotations

from email.header import decode_header, make_header

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstrom_cli.mail.encoded_word import MAX_WORD, ROOM, encoded_words, is_encoded_word, word_fault


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Grüße", ["=?utf-8?b?R3LDvMOfZQ==?="]),
        ("日本語", ["=?utf-8?b?5pel5pys6Kqe?="]),
        ("ä_b ?=", ["=?utf-8?b?w6RfYiA/PQ==?="]),
        ("eine längere Zeile", ["=?utf-8?q?eine_l=C3=A4ngere_Zeile?="]),
    ],
)
def test_the_shorter_encoding_is_chosen(text: str, words: list[str]) -> None:
    assert encoded_words(text) == words


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=200),
    st.integers(-5, 90),
)
@settings(max_examples=500, deadline=None)
def test_every_word_is_whole_and_short_and_all_say_the_text(text: str, room: int) -> None:
    words = encoded_words(text, room)
    assert all(len(word) <= MAX_WORD for word in words)
    assert len(words[0]) <= max(ROOM, room)
    assert all(is_encoded_word(word) for word in words)
    assert word_fault("\r\n ".join(words)) is None
    decoded = ""
    for word in words:
        ((octets, charset),) = decode_header(word)
        assert charset == "utf-8"
        decoded += octets.decode()  # fails where a character was cut in two
    assert decoded == text
    assert str(make_header(decode_header("\r\n ".join(words)))) == text


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "=?",
        "what=?x",
        "a =?utf-8?q?b?= c",
        "=?utf-8?Q?a?= =?utf-8?B?w7w=?=",
        "(=?iso-8859-1*de?q?=FC?=)",
        "=?utf-8?q??=",
        "a =?b c=? d",
        "http://x.example/?=?y",
    ],
)
def test_what_is_right_or_no_encoded_word_at_all(text: str) -> None:
    assert word_fault(text) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("=?utf-8?q?a b?=", "a blank in it"),
        ("=?utf-8?q?a", "no end"),
        ("=?utf-8?x?a?=", "neither Q nor B"),
        ("=??q?a?=", "names no charset"),
        ("=?ut f?q?a?=", "names no charset"),
        ("=?utf-8?q?=C3=B?=", "`=` that encodes nothing"),
        ("=?utf-8?q?ü?=", "must be encoded"),
        ("=?utf-8?b?w7w?=", "no good base64"),
        ("=?utf-8?b?w7w=====?=", "no good base64"),
        ("=?utf-8?q?" + "a" * 70 + "?=", "has 82 octets; 75 are the most"),
        ("x=?utf-8?q?a?=", "stands at other text"),
        ("=?utf-8?q?a?=x", "stands at other text"),
        ("=?utf-8?q?a?==?utf-8?q?b?=", "stands at other text"),
        ("fine =?utf-8?q?a?= then =?utf-8?q?b", "no end"),
    ],
)
def test_what_no_reader_decodes_is_told(text: str, says: str) -> None:
    fault = word_fault(text)
    assert fault is not None
    assert says in fault
    assert not is_encoded_word(text)


@given(st.text('=?utf-8qb ACab\r\n(),"é', max_size=60))
@settings(max_examples=400, deadline=None)
def test_any_text_has_a_verdict(text: str) -> None:
    fault = word_fault(text)
    assert fault is None or fault.isprintable()
