"""Fields are slices of the message with the lines they stand on."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstrom_cli.mail import header as header_module
from mailstrom_cli.mail.header import MAX_HEADER, split_header

LINES = ["From: a@b.example", "Subject: x", " folded", "\tagain", "X-Y:", ""]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_fields_keep_their_folding_and_know_their_lines(end: str) -> None:
    data = end.join([*LINES, "body", ""]).encode()
    header = split_header(data)
    assert [(f.line, f.name, f.key, f.raw, f.body) for f in header.fields] == [
        (1, "From", "from", b"From: a@b.example\r\n", b"a@b.example"),
        (2, "Subject", "subject", b"Subject: x\r\n folded\r\n\tagain\r\n", b"x folded\tagain"),
        (5, "X-Y", "x-y", b"X-Y:\r\n", b""),
    ]
    assert header.octets == b"".join(f.raw for f in header.fields)
    assert (header.lines, header.blank, header.mbox, header.fault) == (6, True, False, None)
    assert data[header.end :] == f"body{end}".encode()


@pytest.mark.parametrize(
    ("data", "names", "body", "blank"),
    [
        (b"", [], b"", False),
        (b"\nbody", [], b"body", True),
        (b"\r\nbody", [], b"body", True),
        (b"\rbody", [], b"body", True),
        (b"A: b", ["A"], b"", False),
        (b"A: b\n", ["A"], b"", False),
        (b"A: b\n\n", ["A"], b"", True),
        (b"A: b\n\r\nx", ["A"], b"x", True),
        (b"A: b\r\n\nx", ["A"], b"x", True),
        (b"A: b\r\r\nC: d\r\r\n\r\r\nx", ["A", "C"], b"x", True),
        (b"A: b\r\r\r\r\n\r\r\r\n\nx", ["A"], b"\nx", True),
        (b"A: b\r\r\nC: d\n\nx", ["A", "C"], b"x", True),
        (b"\r\r\nbody", [], b"body", True),
        (b"A: b\rC: d\r\rx\r", ["A", "C"], b"x\r", True),
        (b"A: b\n\n\nx", ["A"], b"\nx", True),
        (b"A: b\n \n\tc\n\nx", ["A"], b"x", True),
        (b"From a@b.example Tue Nov 24\nA: b\n\nx", ["A"], b"x", True),
        (b"From : a@b.example\n\nx", ["From"], b"x", True),
        (b"From a@b.example Tue Nov 24\n\nx", [], b"x", True),
    ],
)
def test_the_header_ends_at_the_first_empty_line(
    data: bytes, names: list[str], body: bytes, blank: bool
) -> None:
    header = split_header(data)
    assert ([f.name for f in header.fields], data[header.end :], header.blank) == (names, body, blank)
    assert header.fault is None


@pytest.mark.parametrize(
    ("data", "line", "says"),
    [
        (b"hello\nA: b\n", 1, "`hello` is no header field: it has no colon"),
        (b"A: b\nC: d\n e\nhello world\nE: f\n\n", 4, "`hello world` is no header field: it has no colon"),
        (b" A: b\n", 1, "starts with a blank, which continues a field"),
        (b": b\n", 1, "has no field name before the colon"),
        (b"A b: c\n", 1, "its name would have a space in it"),
        (b"A\xfc: c\n", 1, "its name would have octet 0xFC in it"),
        (b"A\0: c\n", 1, "octet 0x00"),
        (b"hello\n x: y\n\n", 1, "`hello` is no header field: it has no colon"),
        (b"From x\nFrom y\nA: b\n", 2, "`From y`"),
        (b">From x\nA: b\n", 1, "no colon"),
        (b"\x1b[2J" + b"z" * 900 + b"\n", 1, "..."),
    ],
)
def test_a_line_that_is_no_field_is_named(data: bytes, line: int, says: str) -> None:
    fault = split_header(data).fault
    assert fault is not None
    assert fault[0] == line
    assert says in fault[1]
    assert fault[1].isprintable()
    assert len(fault[1]) < 200


@pytest.mark.parametrize(
    "data",
    [b"A: b\rC: d\n\nx", b"A: b\r\rC: d\n\nx", b"A: b\n \r \n\nx", b"A: \rC: d\r\n\r\nx", b"A: b\nC: d\r"],
)
def test_a_lone_cr_begins_neither_a_field_nor_the_body(data: bytes) -> None:
    header = split_header(data)
    assert [f.name for f in header.fields] == (["A", "C"] if data.endswith(b"\r") else ["A"])
    assert re.search(rb"\r(?!\n)", header.octets)
    assert data[header.end :] == (b"" if data.endswith(b"\r") else b"x")


def test_a_header_is_found_beyond_the_first_window() -> None:
    for end in (b"\n", b"\r\n", b"\r"):
        data = (b"X-N: " + b"v" * 60 + end) * 1000 + end + b"body"
        header = split_header(data)
        assert len(header.fields) == 1000
        assert data[header.end :] == b"body"


@pytest.mark.parametrize("around", range(-3, 4))
def test_an_empty_line_across_the_window_is_seen(around: int) -> None:
    for end in (b"\n", b"\r\n", b"\r"):
        first = b"A: b" + end
        data = first + b"B: " + b"c" * ((1 << 14) + around - len(first) - 3) + end + end + b"body"
        assert data[split_header(data).end :] == b"body"


def test_a_header_without_end_is_refused_not_kept() -> None:
    header = split_header(b"a: b\n" * (MAX_HEADER // 4))
    assert header.fault is not None
    assert "the header section has over" in header.fault[1]
    assert header.fields == ()


def test_fields_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_module, "MAX_FIELDS", 3)
    assert split_header(b"a: b\n" * 3).fault is None
    assert split_header(b"a: b\n" * 4).fault == (4, "the header has over 3 fields")


@given(
    st.lists(st.sampled_from([b"A", b":", b" ", b"\r", b"\n", b"\r\n", b"From ", b"\xff"]), max_size=16).map(
        b"".join
    )
)
@settings(max_examples=600, deadline=None)
def test_the_parts_are_the_whole(data: bytes) -> None:
    """Separator line, fields, empty line and body, put together, are the message with CRLF line ends."""
    header = split_header(data)
    ends = rb"\r*\n" if b"\n" in data else rb"\r"
    lines = re.sub(ends, b"\r\n", data)
    rest = re.sub(ends, b"\r\n", data[header.end :])
    whole = header.octets + (b"\r\n" if header.blank else b"") + rest
    if header.mbox:
        whole = lines[: lines.index(b"\n") + 1 if b"\n" in lines else len(lines)] + whole
    assert whole.removesuffix(b"\r\n") == lines.removesuffix(b"\r\n")
    if header.fault is None:
        assert b"".join(f.raw for f in header.fields) == header.octets
    else:
        assert header.octets.startswith(b"".join(f.raw for f in header.fields))
    assert header.lines == len(
        re.findall(
            ends + rb"|(?<=.)(?<!\n)\Z" * (ends != rb"\r") + rb"|(?<=[^\r\n])\Z",
            data[: header.end],
            re.DOTALL,
        )
    )
