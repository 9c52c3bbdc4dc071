"""What is taken from stdin: up to a single dot, wherever a read ends."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstrom_cli.cli.sendmail.letter import until_dot

PIECES = st.lists(
    st.sampled_from([b".", b"\n", b"\r", b"\r\n", b"a", b".\n", b"\n.\n", b"..", b""]), max_size=12
)


def expected(data: bytes) -> bytes:
    """Line by line, the plain way."""
    kept = b""
    for line in data.splitlines(keepends=True) if b"\r" not in data else _lines(data):
        if line in (b".\n", b".\r\n", b".", b".\r"):
            return kept
        kept += line
    return kept


def _lines(data: bytes) -> list[bytes]:
    return [part + b"\n" for part in data.split(b"\n")[:-1]] + [data.split(b"\n")[-1]]


@pytest.mark.parametrize(
    ("given_", "kept"),
    [
        (b"a\n.\nb\n", b"a\n"),
        (b"a\r\n.\r\nb\r\n", b"a\r\n"),
        (b".\nb\n", b""),
        (b"a\n..\n.b\n. \nc\n", b"a\n..\n.b\n. \nc\n"),
        (b"a\n.", b"a\n"),
        (b"a.\n", b"a.\n"),
        (b"a\n\n.\n", b"a\n\n"),
        (b"", b""),
    ],
)
def test_a_line_of_one_dot_ends_it(given_: bytes, kept: bytes) -> None:
    assert b"".join(until_dot([given_])) == kept == expected(given_)


@given(PIECES)
@settings(max_examples=500)
def test_the_boundaries_of_reads_do_not_matter(pieces: list[bytes]) -> None:
    assert b"".join(until_dot(pieces)) == expected(b"".join(pieces))


def test_nothing_is_read_behind_the_dot() -> None:
    rest = iter([b"a\n", b".\n", b"b\n"])
    assert b"".join(until_dot(rest)) == b"a\n"
    assert list(rest) == [b"b\n"]
