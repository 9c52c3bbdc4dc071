"""Reply lines, commands and dot-stuffing, for every way in which bytes can be cut."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailstrom_cli.mail.reply import Reply
from mailstrom_cli.smtp.wire import (
    END_OF_DATA,
    MAX_LINE,
    MAX_LINES,
    Malformed,
    ReplyParser,
    command,
    dot_stuffed,
    is_enhanced,
    plain,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def parse(*chunks: bytes) -> list[Reply]:
    parser, replies = ReplyParser(), []
    for chunk in chunks:
        parser.feed(chunk)
        while (reply := parser.next_reply()) is not None:
            replies.append(reply)
    return replies


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(p % (len(data) + 1) for p in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


places = st.lists(st.integers(0, 10_000), max_size=12)


# --- replies ---


def test_a_reply_of_one_line() -> None:
    assert parse(b"250 2.1.0 Sender ok\r\n") == [Reply(250, "2.1.0", ("Sender ok",))]


def test_a_reply_of_many_lines_is_one_reply_with_all_its_texts() -> None:
    (reply,) = parse(b"250-mx.example.org\r\n250-SIZE 1000\r\n250 PIPELINING\r\n")
    assert reply == Reply(250, None, ("mx.example.org", "SIZE 1000", "PIPELINING"))
    assert reply.text == "mx.example.org SIZE 1000 PIPELINING"


def test_replies_that_come_together_are_told_one_by_one() -> None:
    assert [r.code for r in parse(b"250 ok\r\n550 no\r\n354 go\r\n")] == [250, 550, 354]


def test_a_bare_line_feed_and_a_bare_code_end_a_reply_too() -> None:
    assert parse(b"220\n250 ok\n") == [Reply(220, None, ("",)), Reply(250, None, ("ok",))]


def test_the_last_line_decides_the_code_of_a_reply() -> None:
    (reply,) = parse(b"250-2.0.0 fine\r\n550 5.7.1 not fine\r\n")
    assert (reply.code, reply.enhanced) == (550, "5.7.1")
    assert reply.text == "2.0.0 fine not fine"


@pytest.mark.parametrize(
    ("line", "enhanced", "text"),
    [
        (b"550 5.1.1 No such user", "5.1.1", "No such user"),
        (b"450 4.2.0 Busy", "4.2.0", "Busy"),
        (b"250 2.0.0 Ok", "2.0.0", "Ok"),
        (b"550 5.7.123 far", "5.7.123", "far"),
        (b"550 5.1.1", "5.1.1", ""),
        (b"550 4.2.2 of another class", None, "4.2.2 of another class"),
        (b"354 2.0.0 no such class", None, "2.0.0 no such class"),
        (b"334 3.0.0 none", None, "3.0.0 none"),
        (b"550 5.1 two parts", None, "5.1 two parts"),
        (b"550 5.1.1.1 four parts", None, "5.1.1.1 four parts"),
        (b"550 5.1.1234 long", None, "5.1.1234 long"),
        (b"550 5.1.x1 letters", None, "5.1.x1 letters"),
        ("550 5.1.² superscript".encode(), None, "5.1.² superscript"),
        (b"550 5..1 empty", None, "5..1 empty"),
    ],
)
def test_an_enhanced_code_is_taken_off_only_with_the_class_of_its_reply(
    line: bytes, enhanced: str | None, text: str
) -> None:
    assert parse(line + b"\r\n") == [Reply(int(line[:3]), enhanced, (text,))]


def test_the_enhanced_code_is_taken_off_every_line() -> None:
    (reply,) = parse(b"550-5.7.1 First\r\n550 5.7.1 Second\r\n")
    assert reply == Reply(550, "5.7.1", ("First", "Second"))


@pytest.mark.parametrize("word", ["2.0.0", "4.4.7", "5.123.999"])
def test_enhanced_codes(word: str) -> None:
    assert is_enhanced(word)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\r\n",
        b"ok\r\n",
        b"25 ok\r\n",
        b"2500 ok\r\n",
        b"250_ok\r\n",
        b"199 too low\r\n",
        b"600 too high\r\n",
        b"-50 ok\r\n",
        b" 250 ok\r\n",
        "٢٥٠ ok\r\n".encode(),
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\x15\x03\x01\x00\x02\x02\x0a",
        b"250-begun\r\nthen something else\r\n",
    ],
)
def test_what_is_no_reply_is_malformed(garbage: bytes) -> None:
    with pytest.raises(Malformed):
        parse(garbage)


def test_the_error_shows_the_line_cut_and_without_control_characters() -> None:
    with pytest.raises(Malformed) as raised:
        parse(b"\x1b[31mHELLO\x07" + b"x" * 500 + b"\r\n")
    assert "HELLO" in str(raised.value)
    assert str(raised.value).startswith(r'"\x1b[31mHELLO\x07x')
    assert len(str(raised.value)) < 120


def test_a_line_of_the_longest_length_is_taken_and_one_octet_more_is_not() -> None:
    longest = b"250 " + b"x" * (MAX_LINE - 4)
    assert parse(longest + b"\n")[0].code == 250
    with pytest.raises(Malformed):
        parse(longest + b"x\n")


def test_a_line_without_end_is_given_up_before_it_grows() -> None:
    parser = ReplyParser()
    parser.feed(b"250 " + b"x" * (MAX_LINE - 4))
    assert parser.next_reply() is None
    parser.feed(b"x")
    with pytest.raises(Malformed):
        parser.next_reply()


def test_a_reply_without_end_is_given_up() -> None:
    assert parse(b"250-on\r\n" * (MAX_LINES - 1) + b"250 off\r\n")[0].lines[-1] == "off"
    with pytest.raises(Malformed):
        parse(b"250-on\r\n" * MAX_LINES)


def test_what_was_received_and_not_taken_is_pending() -> None:
    parser = ReplyParser()
    assert not parser.pending
    parser.feed(b"250-half\r\n")
    assert parser.next_reply() is None
    assert parser.pending and parser.backlog == 0
    parser.feed(b"250 whole\r\n250 and more")
    assert parser.next_reply() is not None
    assert parser.pending and parser.backlog == 12


@given(st.binary(max_size=300), places)
@example(b"250 \xff\xfe\r\n", [])
@example(b"550 \xe2\x80\xae\xc2\x9b31m\xe2\x80\xa8\r\n", [])
def test_any_bytes_give_replies_or_malformed_and_text_that_is_one_harmless_line(
    data: bytes, where: list[int]
) -> None:
    try:
        replies = parse(*cut(data, where))
    except Malformed as error:
        assert str(error).isprintable()
    else:
        for reply in replies:
            assert 200 <= reply.code <= 599
            assert reply.text.isprintable()


reply_text = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=30)
replies_on_the_wire = st.lists(
    st.tuples(st.integers(200, 599), st.lists(reply_text, min_size=1, max_size=4)), max_size=5
).map(
    lambda told: b"".join(
        f"{code}{' ' if i == len(lines) - 1 else '-'}{line}\r\n".encode()
        for code, lines in told
        for i, line in enumerate(lines)
    )
)


@given(replies_on_the_wire, places)
def test_the_same_bytes_in_any_split_give_the_same_replies(data: bytes, where: list[int]) -> None:
    whole = parse(data)
    assert parse(*cut(data, where)) == whole
    assert parse(*(data[i : i + 1] for i in range(len(data)))) == whole
    assert len(whole) == sum(line[3:4] == b" " for line in data.split(b"\r\n"))


def test_text_from_a_server_is_one_line_with_all_escaped_that_is_not_seen() -> None:
    assert plain("a\tb\x00c\x7f\x85d\u202ee\u2028f\x9bg".encode()) == r"a b\x00c\x7f\x85d\u202ee\u2028f\x9bg"
    assert plain(b"Gr\xfc\xdfe\r now\xc2\xa0") == r"Gr\xfc\xdfe\r now"
    assert plain("Grüße, 世界".encode()) == "Grüße, 世界"


# --- commands ---


def test_a_command_is_one_line() -> None:
    assert command("MAIL FROM:<é@example.org>", "SIZE=7") == "MAIL FROM:<é@example.org> SIZE=7\r\n".encode()


@pytest.mark.parametrize("bad", ["\r", "\n", "\0", "\r\nRCPT TO:<x@example.org>"])
def test_a_command_that_would_end_early_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="control character"):
        command("MAIL", f"a{bad}b")


# --- dot-stuffing ---


def unstuffed(wire: bytes) -> bytes:
    """What a server makes of it (RFC 5321, 4.5.2); the end of data must come once, at the end."""
    assert wire == END_OF_DATA or wire.endswith(b"\r\n" + END_OF_DATA)
    lines = wire.removesuffix(END_OF_DATA).split(b"\r\n")
    assert b"." not in lines
    return b"\r\n".join(line.removeprefix(b".") for line in lines)


messages = st.lists(
    st.one_of(
        st.sampled_from([b"", b".", b"..", b".x", b"x.", b"Subject: .", b"..."]), st.binary(max_size=6)
    ),
    max_size=12,
).map(lambda lines: b"".join(line.replace(b"\r", b"").replace(b"\n", b"") + b"\r\n" for line in lines))


@given(messages, places)
def test_every_chunking_is_stuffed_the_same_and_the_server_gets_the_message_back(
    message: bytes, where: list[int]
) -> None:
    wire = b"".join(dot_stuffed([message]))
    assert unstuffed(wire) == message
    assert b"".join(dot_stuffed(cut(message, where))) == wire


def test_every_single_boundary_and_every_pair_of_them() -> None:
    message = b".\r\n..\r\n.a\r\n\r\n.\r\nb.\r\n.\r\n"
    wire = b"".join(dot_stuffed([message]))
    assert b"".join(dot_stuffed([message[i : i + 1] for i in range(len(message))])) == wire
    for a in range(len(message) + 1):
        for b in range(a, len(message) + 1):
            assert b"".join(dot_stuffed([message[:a], message[a:b], message[b:]])) == wire


def test_an_empty_message_is_the_end_of_data_alone() -> None:
    assert b"".join(dot_stuffed([])) == b".\r\n"
    assert b"".join(dot_stuffed([b"", b""])) == b".\r\n"


def test_a_last_line_without_its_end_gets_one() -> None:
    assert b"".join(dot_stuffed([b"a\r\n.b"])) == b"a\r\n..b\r\n.\r\n"


def test_chunks_are_passed_on_as_they_come() -> None:
    taken: list[bytes] = []

    def chunks() -> Iterator[bytes]:
        for chunk in (b"a\r\n", b"b\r\n"):
            taken.append(chunk)
            yield chunk

    wire = dot_stuffed(chunks())
    assert next(wire) == b"a\r\n"
    assert taken == [b"a\r\n"]
