"""Converted, a message says what it said; what needs no conversion stays octet for octet."""

from __future__ import annotations

import mmap
import time
from email import message_from_bytes
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstrom_cli.mail import transfer
from mailstrom_cli.mail.convert import Impossible, long_lines, to_7bit
from mailstrom_cli.mail.mime import parse

from .mime_samples import messages, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import Message

    from mailstrom_cli.mail.content import Data

FROM = b"From: a@example.org\r\n"
SIGNED = b"Content-Type: multipart/signed; boundary=c\r\n"
EIGHT = b"Content-Transfer-Encoding: 8bit\r\n"
KOI8 = b"Content-Type: text/plain; charset=koi8-r\r\n"
MIME = FROM + b"MIME-Version: 1.0\r\n"
LONG = b"x" * 999
TEXT = b"a long line of plain text with one \xc3\xbc\r\n"
QUOTED = b"a long line of plain text with one =C3=BC\r\n"
PNG = b"\x89PNG\r\n\xff\xfe"
MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n"


def made(converted: Iterator[bytes] | Impossible) -> bytes:
    assert not isinstance(converted, Impossible), converted.reason
    return b"".join(converted)


def why_not(converted: Iterator[bytes] | Impossible) -> str:
    assert isinstance(converted, Impossible)
    return converted.reason


def contents(data: bytes) -> list[tuple[str, bytes]]:
    """The type and the decoded content of every leaf, as the standard library has them."""

    def content(part: Message) -> bytes:
        decoded = part.get_payload(decode=True)
        assert isinstance(decoded, bytes)
        return decoded

    return [
        (p.get_content_type(), content(p)) for p in message_from_bytes(data).walk() if not p.is_multipart()
    ]


SEVEN: dict[str, tuple[bytes, bytes]] = {
    "text without MIME": (
        FROM + b"Subject: x\r\n\r\n" + TEXT,
        FROM + b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + QUOTED,
    ),
    "text without MIME that is not UTF-8": (
        FROM + b"\r\n" + TEXT.replace(b"\xc3\xbc", b"\xfc"),
        MIME + b"Content-Type: text/plain; charset=unknown-8bit\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + QUOTED.replace(b"=C3=BC", b"=FC"),
    ),
    "a type without a version": (
        FROM + b"Content-Type: text/html\r\n\r\n" + TEXT,
        FROM + b"Content-Type: text/html\r\nMIME-Version: 1.0\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + QUOTED,
    ),
    "the encoding changes in its place": (
        b"content-transfer-encoding:\r\n  8BIT\r\n" + MIME + b"\r\n" + TEXT,
        b"Content-Transfer-Encoding: quoted-printable\r\n" + MIME + b"\r\n" + QUOTED,
    ),
    "of two encodings one stays": (
        MIME + b"Content-Transfer-Encoding: 8bit\r\nX: y\r\nContent-Transfer-Encoding: 7bit\r\n\r\n" + TEXT,
        MIME + b"Content-Transfer-Encoding: quoted-printable\r\nX: y\r\n\r\n" + QUOTED,
    ),
    "base64 where it is shorter": (
        MIME + b"Content-Type: text/plain; charset=koi8-r\r\n\r\n\xf0\xf2\xe9\r\n",
        MIME + KOI8 + b"Content-Transfer-Encoding: base64\r\n\r\n8PLpDQo=\r\n",
    ),
    "parts": (
        MIME + MIXED + b"Content-Transfer-Encoding: 8bit\r\n\r\nf\xc3\xbcr\r\n--b\r\n\r\nplain\r\n--b\r\n"
        b"Content-Type: image/png\r\n\r\n" + PNG + b"\r\n--b\r\n\r\n" + TEXT + b"--b--\r\n\xff\r\n",
        MIME + MIXED + b"Content-Transfer-Encoding: 7bit\r\n\r\nf??r\r\n--b\r\n\r\nplain\r\n--b\r\n"
        b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0K//4=\r\n--b\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + QUOTED + b"--b--\r\n?\r\n",
    ),
    "a message in a message": (
        MIME
        + b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n\r\nSubject: y\r\n\r\n"
        + TEXT,
        MIME + b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\nSubject: y\r\n"
        b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + QUOTED,
    ),
    "a message/global": (
        MIME
        + b"Content-Type: message/global\r\n\r\nSubject: a long line of plain text with one \xc3\xbc\r\n",
        MIME + b"Content-Type: message/global\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        b"Subject: a long line of plain text with one =C3=BC\r\n",
    ),
    "encodings that forgot something": (
        MIME + MIXED + b"\r\n--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=3D\xfc\r\n--b\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\nYW\xff\r\nI=\r\n--b--\r\n",
        MIME + MIXED + b"\r\n--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=3D=FC\r\n--b\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\nYWI=\r\n--b--\r\n",
    ),
    "a body without a header before it": (
        b"\r\n" + TEXT,
        b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + QUOTED,
    ),
    "a part without an empty line": (
        MIME + MIXED + b"\r\n--b\r\n" + TEXT + b"--b--\r\n",
        MIME
        + MIXED
        + b"\r\n--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        + QUOTED
        + b"--b--\r\n",
    ),
    "what is signed and ASCII stays": (
        MIME
        + MIXED
        + b"Content-Transfer-Encoding: 8bit\r\n\r\n--b\r\n"
        + (SIGNED + EIGHT + b"\r\n--c\r\n" + EIGHT + b"\r\nsigned \r\n--c--\r\n")
        + b"--b\r\n\r\n"
        + TEXT
        + b"--b--\r\n",
        MIME
        + MIXED
        + b"Content-Transfer-Encoding: 7bit\r\n\r\n--b\r\n"
        + (SIGNED + EIGHT + b"\r\n--c\r\n" + EIGHT + b"\r\nsigned \r\n--c--\r\n")
        + b"--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        + QUOTED
        + b"--b--\r\n",
    ),
}


@pytest.mark.parametrize("name", SEVEN)
def test_to_7_bits(name: str) -> None:
    before, after = SEVEN[name]
    assert made(to_7bit(before)) == after
    assert made(to_7bit(after)) == after


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            MIME + b"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xff\r\n--b--\r\n",
            "a part of it is signed (multipart/signed) and must not be changed",
        ),
        (
            MIME + b"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\nX: \xff\r\n\r\n\r\n--b--\r\n",
            "a part of it is signed (multipart/signed) and must not be changed",
        ),
        (
            MIME + b"Content-Type: multipart/mixed\r\n\r\n\xff\r\n",
            "a part of it is a broken 'multipart/mixed', which no encoding is allowed for",
        ),
        (
            MIME + b"Content-Type: message/partial\r\n\r\n\xff\r\n",
            "a part of it is a broken 'message/partial', which no encoding is allowed for",
        ),
        (
            MIME + b"Content-Transfer-Encoding: x-uuencode\r\n\r\n\xff\r\n",
            "a part of it has the unknown encoding 'x-uuencode'",
        ),
    ],
)
def test_what_cannot_be_converted_to_7_bits(data: bytes, reason: str) -> None:
    assert why_not(to_7bit(data)) == reason


LINES: dict[str, tuple[bytes, bytes]] = {
    "text without MIME": (
        FROM + b"\r\n=" + LONG + b"\r\nend ",
        MIME + b"Content-Type: text/plain; charset=us-ascii\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
        + (b"=3D" + b"x" * 72 + b"=\r\n" + (b"x" * 75 + b"=\r\n") * 12 + b"x" * 27 + b"\r\nend=20"),
    ),
    "LF": (
        b"From: a@example.org\nMIME-Version: 1.0\n\n" + LONG + b"\n",
        b"From: a@example.org\nMIME-Version: 1.0\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\n"
        + (b"x" * 75 + b"=\r\n") * 13 + b"x" * 24 + b"\r\n",
    ),
    "only the part that has one": (
        MIME + MIXED + b"Content-Transfer-Encoding: 8bit\r\n\r\n--b\r\nContent-Type: a/b\r\n\r\n" + LONG
        + b"\r\n--b\r\n\r\n\xff\r\n--b--\r\n",
        MIME + MIXED + b"Content-Transfer-Encoding: 8bit\r\n\r\n--b\r\nContent-Type: a/b\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n" + (b"eHh4" * 19 + b"\r\n") * 17 + b"eHh4" * 10
        + b"\r\n--b\r\n\r\n\xff\r\n--b--\r\n",
    ),
    "base64 in one line": (
        MIME + b"Content-Transfer-Encoding: base64\r\n\r\n" + b"eHh4" * 250 + b"\r\n",
        MIME + b"Content-Transfer-Encoding: base64\r\n\r\n" + (b"eHh4" * 19 + b"\r\n") * 13
        + b"eHh4" * 3 + b"\r\n",
    ),
    "quoted-printable in one line": (
        MIME + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b"=3D" * 340 + b"=\r\nx\r\n",
        MIME + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + (b"=3D" * 25 + b"=\r\n") * 13
        + b"=3D" * 15 + b"=\r\nx\r\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LINES)
def test_long_lines(name: str) -> None:
    before, after = LINES[name]
    assert made(long_lines(before)) == after
    assert made(long_lines(after)) == after


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            b"DKIM-Signature: x\r\n" + FROM + b"\r\n" + LONG,
            "its DKIM signature covers the line and must stay valid",
        ),
        (
            MIME + b"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n" + LONG + b"\r\n--b--\r\n",
            "a part of it is signed (multipart/signed) and must not be changed",
        ),
        (MIME + MIXED + b"\r\n" + LONG + b"\r\n--b\r\n\r\nx\r\n--b--\r\n", "the line is in no part"),
        (
            MIME + MIXED + b"\r\n--b\r\nX: " + LONG + b"\r\n\r\nx\r\n--b--\r\n",
            "a header field of one of its parts has a line over 998 octets",
        ),
    ],
)
def test_long_lines_that_cannot_be_mended(data: bytes, reason: str) -> None:
    assert why_not(long_lines(data)) == reason


def test_a_line_of_998_octets_stays() -> None:
    data = b"DKIM-Signature: x\r\n" + FROM + b"\r\n" + LONG[1:] + b"\r\n" + LONG[1:]
    assert made(long_lines(data)) == data


def longest(data: bytes) -> int:
    return max(map(len, data.split(b"\r\n")))


@given(messages())
@settings(max_examples=700, deadline=None)
def test_in_7_bits_a_message_says_the_same(data: bytes) -> None:
    converted = to_7bit(data)
    if isinstance(converted, Impossible):
        assert any(p.signed for p in parse(data))
        return
    after = b"".join(converted)
    assert after.isascii()
    assert contents(after) == contents(data)
    assert made(to_7bit(after)) == after
    assert [p.type for p in parse(after)] == [p.type for p in parse(data)]
    for old, new in zip(parse(data), parse(after), strict=True):
        if data[old.start : old.end].isascii():
            assert after[new.start : new.end] == data[old.start : old.end]
        elif old.is_leaf and not data[old.body : old.end].isascii():
            assert new.encoding in ("quoted-printable", "base64")
            assert longest(after[new.body : new.end]) <= 76
        elif not old.is_leaf and not all(data[p.body : p.end].isascii() for p in parse(data) if p.is_leaf):
            assert new.encoding == "7bit" or old.encoding == new.encoding


@given(messages())
@settings(max_examples=700, deadline=None)
def test_with_short_lines_a_message_says_the_same(data: bytes) -> None:
    converted = long_lines(data)
    if isinstance(converted, Impossible):
        assert any(p.signed for p in parse(data))
        return
    after = b"".join(converted)
    assert longest(after) <= 998
    assert contents(after) == contents(data)
    assert made(long_lines(after)) == after
    for old, new in zip(parse(data), parse(after), strict=True):
        if longest(data[old.start : old.end]) <= 998:
            assert after[new.start : new.end] == data[old.start : old.end]


@given(
    st.binary(max_size=300)
    | messages().flatmap(lambda m: st.integers(0, len(m)).map(lambda n: m[n:] + m[:n]))
)
@settings(max_examples=700, deadline=None)
def test_any_octets_are_converted_or_not(data: bytes) -> None:
    for convert in (to_7bit, long_lines):
        converted = convert(data)
        if not isinstance(converted, Impossible):
            after = b"".join(converted)
            assert made(convert(after)) == after
            root = parse(after)[0]
            if convert is to_7bit:
                assert after[root.body :].isascii()


@given(texts | st.binary(max_size=400).map(lambda octets: octets * 20), st.integers(1, 50))
@settings(max_examples=500, deadline=None)
def test_where_a_text_is_cut_changes_nothing(data: bytes, size: int) -> None:
    encoders: list[Callable[[Data, int, int], Iterator[bytes]]] = [
        *(transfer.quoted_printable, transfer.base64, transfer.rewrapped)
    ]
    whole = [b"".join(encode(data, 0, len(data))) for encode in encoders]
    measures = (transfer.has_long_line, transfer.shorter, transfer.is_ascii, transfer.is_utf8)
    told = [measure(data, 0, len(data)) for measure in measures]
    with pytest.MonkeyPatch.context() as patch:
        slices = transfer.slices
        patch.setattr(transfer, "slices", lambda data, start, end: slices(data, start, end, size))
        patch.setattr(transfer, "SLICE", size)
        assert [b"".join(encode(data, 0, len(data))) for encode in encoders] == whole
        assert [measure(data, 0, len(data)) for measure in measures] == told


def test_the_line_that_just_fits() -> None:
    for line, folded in ((b"x" * 76, b"x" * 76), (b"x" * 77, b"x" * 75 + b"=\r\nxx")):
        assert b"".join(transfer.quoted_printable(line, 0, len(line))) == folded


@pytest.mark.parametrize("size", [1, 3, 997, 998, 999, 1000, 1001, 1 << 16])
def test_a_long_line_is_found_wherever_the_text_is_cut(monkeypatch, size: int) -> None:
    slices = transfer.slices
    monkeypatch.setattr(transfer, "slices", lambda data, start, end: slices(data, start, end, size))
    for before in (b"", b"y\r\n", b"y" * 998 + b"\r\n", b"\r\n" * 499):
        for length in (998, 999):
            data = before + b"x" * length + b"\r\n"
            assert transfer.has_long_line(data, 0, len(data)) is (length == 999)


@pytest.mark.parametrize("line", [b"x" * 3_000_000, b"\xff" * 1_000_000, b"=" * 1_000_000, b" " * 1_000_000])
def test_a_line_of_any_length_is_taken_in_pieces(line: bytes) -> None:
    data = MIME + b"Content-Type: text/plain\r\n\r\n" + line + b"\r\n"
    chunks = list(long_lines(data))  # type: ignore[arg-type]
    assert max(map(len, chunks)) <= 1 << 20
    assert contents(b"".join(chunks)) == [("text/plain", line + b"\r\n")]
    assert longest(b"".join(chunks)) <= 76


def test_large_and_many_and_deep_in_bounded_time(tmp_path) -> None:
    head = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--b%d\r\n"
        % (n, n)
        for n in range(2000)
    )
    deep = MIME + head + b"\r\nGr\xc3\xbc\xc3\x9fe"
    many = MIME + MIXED + b"\r\n" + b"--b\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n" * 20_000
    began = time.perf_counter()
    assert made(to_7bit(deep)).isascii()
    assert made(to_7bit(many)).count(b"Content-Transfer-Encoding: base64\r\n") == 20_000
    path = tmp_path / "message"
    for kind in (b"text/plain", b"image/png"):
        path.write_bytes(MIME + b"Content-Type: " + kind + b"\r\n\r\n" + TEXT * 500_000)
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            chunks = to_7bit(mapped)
            assert not isinstance(chunks, Impossible)
            assert max(map(len, chunks)) <= 1 << 20
            del chunks
    assert time.perf_counter() - began < 30
