"""Line ends and facts of a content are the same whatever the slices it is taken in."""

from __future__ import annotations

import mmap
import os
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstrom_cli.mail.content import MAPPED, MAX_LINE, SLICE, Content, crlf, first_long_line
from mailstrom_cli.mail.transfer import slices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path


def expected(data: bytes) -> bytes:
    """The oracle: what a regular expression makes of it."""
    lines = re.sub(rb"\r+\n|\r|\n", b"\r\n", data)
    return lines if not lines or lines.endswith(b"\r\n") else lines + b"\r\n"


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        (b"", b""),
        (b"a", b"a\r\n"),
        (b"a\n", b"a\r\n"),
        (b"a\r\n", b"a\r\n"),
        (b"a\r", b"a\r\n"),
        (b"a\nb\r\nc\rd", b"a\r\nb\r\nc\r\nd\r\n"),
        (b"\r\r\n\n", b"\r\n\r\n"),
        (b"a\r\r\nb\r\r\r\n\r\rc\r\r", b"a\r\nb\r\n\r\n\r\nc\r\n\r\n"),
        (b"\n.\r\n", b"\r\n.\r\n"),
    ],
)
def test_every_line_end_becomes_one_crlf(data: bytes, sent: bytes) -> None:
    assert b"".join(Content(data).chunks()) == sent


def test_crlf_text_is_not_even_copied() -> None:
    data = b"a\r\nb\r\n"
    assert crlf(data) is data


CONTENTS = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"\r" * 20, b"a", b"\0", b"\xff", b"x" * 997, b"y" * 998]),
    max_size=12,
)


@given(CONTENTS.map(b"".join), st.integers(1, 9) | st.integers(990, 1010))
@settings(max_examples=500, deadline=None)
def test_slices_change_neither_octets_nor_facts(data: bytes, slice_size: int) -> None:
    content = Content(data, 0, slice_size)
    sent = b"".join(content.chunks())
    assert sent == expected(data)
    assert sent == b"".join(content.chunks())
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", sent)
    assert content.size == len(sent)
    assert content.returns == len(re.findall(rb"\r(?!\r*\n)", data))
    assert content.eight_bit == any(octet > 127 for octet in data)
    lengths = [len(line) for line in sent.split(b"\r\n")]
    assert content.longest == (max(lengths) if max(lengths) > MAX_LINE else 0)
    assert content.nul == (b"\0" in data)
    if content.nul:
        assert content.line_of("nul") == 1 + sent.count(b"\r\n", 0, sent.index(b"\0"))
    if content.longest:
        assert content.line_of("long") == 1 + next(i for i, n in enumerate(lengths) if n > MAX_LINE)


@pytest.mark.parametrize("length", [997, 998, 999, 1000, 1996, 5000])
def test_a_line_is_long_from_999_octets_on(length: int) -> None:
    for before in (b"", b"ab\r\n", b"z" * 998 + b"\r\n"):
        chunk = before + b"x" * length + b"\r\n" + b"y\r\n"
        assert first_long_line(chunk) == (len(before) if length > MAX_LINE else -1)


def test_a_mapped_file_is_read_from_where_its_body_starts(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(b"head" + b"line\n" * 300_000)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        content = Content(data, 4)
        chunks = list(content.chunks())
        assert b"".join(chunks) == b"line\r\n" * 300_000
        assert len(chunks) > 1
        assert max(map(len, chunks)) <= 1 << 20


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps"), reason="nothing tells of mapped memory")
def test_a_mapped_file_does_not_stay_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(b"x" * 99 + b"\n" + b"line\n" * (4 * MAPPED // 5))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        assert sum(map(len, Content(data, 100).chunks())) == path.stat().st_size - 100 + 4 * MAPPED // 5
        with open("/proc/self/smaps", encoding="utf-8", errors="replace") as told:
            mapped = told.read().partition(str(path))[2].partition("Rss:")[2].split()[0]
    assert int(mapped) * 1024 < 2 * MAPPED


@given(st.lists(st.sampled_from([b"\r", b"\n", b"a", b"\r" * 5]), max_size=8).map(b"".join))
@settings(max_examples=200, deadline=None)
def test_every_cut_of_a_line_end_is_mended(data: bytes) -> None:
    for slice_size in range(1, len(data) + 2):
        assert b"".join(Content(data, 0, slice_size).chunks()) == expected(data)
        assert b"".join(slices(data, 0, len(data), slice_size)) == re.sub(rb"\r+\n|\r|\n", b"\r\n", data)


@pytest.mark.parametrize("end", [b"", b"\n", b"a\n"])
def test_a_long_run_of_cr_takes_linear_time_and_bounded_memory(end: bytes) -> None:
    data = b"\r" * (1 << 21) + end
    content = Content(data, 0, 1 << 12)
    assert content.returns == (0 if end == b"\n" else 1 << 21)
    assert max(map(len, content.chunks())) <= 1 << 14
    assert content.size == (2 if end == b"\n" else (1 << 22) + (3 if end else 0))


def test_the_worst_expansion_stays_within_a_mebibyte() -> None:
    assert max(map(len, Content(b"\n" * (3 * SLICE)).chunks())) <= 1 << 20
