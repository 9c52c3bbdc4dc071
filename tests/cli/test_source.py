"""Message bytes are read within the limit and in bounded memory, and an mbox is taken apart."""

from __future__ import annotations

import mmap
import os
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstrom_cli.cli import source
from mailstrom_cli.cli.source import IN_MEMORY, read_mbox, read_message
from mailstrom_cli.errors import MailstromError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT = 4 * IN_MEMORY


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """pipe(octets): stdin for the code under test is a pipe with these."""
    threads: list[threading.Thread] = []
    ends: list[int] = []
    plain_read, plain_fstat = os.read, os.fstat

    def fill(octets: bytes) -> None:
        out, into = os.pipe()
        ends.append(out)

        def write() -> None:
            with open(into, "wb") as file:
                try:
                    file.write(octets)
                except BrokenPipeError:
                    file.raw.close()

        threads.append(threading.Thread(target=write))
        threads[-1].start()
        monkeypatch.setattr(source.os, "read", lambda fd, n: plain_read(out if fd == 0 else fd, n))
        monkeypatch.setattr(source.os, "fstat", lambda fd: plain_fstat(out if fd == 0 else fd))

    yield fill
    for end in ends:
        os.close(end)
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("size", [0, 1, IN_MEMORY, IN_MEMORY + 1, LIMIT])
def test_a_file_is_read_and_a_large_one_mapped(size: int, tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(b"x" * size)
    data = read_message(str(path), LIMIT)
    assert len(data) == size
    assert isinstance(data, mmap.mmap) == (size > IN_MEMORY)


@pytest.mark.parametrize("size", [0, 1, IN_MEMORY, IN_MEMORY + 1, 3 * IN_MEMORY, LIMIT])
def test_a_pipe_is_read_whole_and_a_large_one_through_a_nameless_file(
    size: int, pipe: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    octets = (b"0123456789abcde\n" * (size // 16 + 1))[:size]
    pipe(octets)  # type: ignore[operator]
    data = read_message("-", LIMIT)
    assert data[:] == octets
    assert isinstance(data, mmap.mmap) == (size > IN_MEMORY)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("size", [LIMIT + 1, 3 * LIMIT])
def test_too_much_is_refused_from_a_file_and_from_a_pipe(size: int, pipe: object, tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(b"x" * size)
    pipe(b"x" * size)  # type: ignore[operator]
    for name in (str(path), "-"):
        with pytest.raises(MailstromError, match="larger than") as caught:
            read_message(name, LIMIT)
        assert caught.value.exit_code == 65


def test_a_nameless_file_is_made_without_o_tmpfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    fd = source._nameless()
    try:
        assert os.fstat(fd).st_nlink == 0
        assert os.fstat(fd).st_mode & 0o777 == 0o600
        assert os.listdir(tmp_path) == []
    finally:
        os.close(fd)


@pytest.mark.parametrize("make", ["missing", "directory"])
def test_what_cannot_be_read_is_66(make: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    if make == "directory":
        path.mkdir()
    with pytest.raises(MailstromError) as caught:
        read_message(str(path), LIMIT)
    assert caught.value.exit_code == 66


# --- mbox ---


def mbox(tmp_path: Path, octets: bytes) -> list[tuple[str, bytes]]:
    path = tmp_path / "box"
    path.write_bytes(octets)
    return [(name, bytes(data)) for name, data in read_mbox(str(path), LIMIT)]  # type: ignore[arg-type]


def test_an_mbox_is_taken_apart_with_places_and_without_its_quoting(tmp_path: Path) -> None:
    box = b"From a Mon\nA: 1\n\n>From here\n>>From there\nFrom the middle\n\nFrom b Tue\nB: 2\n\nx\n"
    path = tmp_path / "box"
    assert mbox(tmp_path, box) == [
        (f"{path}, message 1 (line 1)", b"A: 1\n\nFrom here\n>From there\nFrom the middle\n"),
        (f"{path}, message 2 (line 8)", b"B: 2\n\nx\n"),
    ]


def test_an_mbox_with_crlf_lines(tmp_path: Path) -> None:
    parts = mbox(tmp_path, b"From a\r\nA: 1\r\n\r\nx\r\n\r\nFrom b\r\nB: 2\r\n\r\ny\r\n")
    assert [data for _, data in parts] == [b"A: 1\r\n\r\nx\r\n", b"B: 2\r\n\r\ny\r\n"]


def test_what_is_no_mbox_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MailstromError, match="not an mbox"):
        mbox(tmp_path, b"To: b@example.net\n\nx\n")


def test_a_large_message_in_an_mbox_does_not_stop_the_others(tmp_path: Path) -> None:
    path = tmp_path / "box"
    path.write_bytes(b"From a\nA: 1\n\n" + b"x\n" * LIMIT + b"\nFrom b\nB: 2\n\ny\n")
    first, second = [data for _, data in read_mbox(str(path), LIMIT)]
    assert isinstance(first, MailstromError)
    assert second == b"B: 2\n\ny\n"


LINES = st.sampled_from([b"From x", b">From x", b">>From y", b"text", b"", b"Subject: x"])


@given(messages=st.lists(st.lists(LINES, min_size=1, max_size=5), min_size=1, max_size=4))
def test_what_is_quoted_by_mboxrd_comes_back(
    messages: list[list[bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    bodies = [b"H: 1\n\n" + b"\n".join(lines) + b"\n" for lines in messages]
    quoted = [
        b"\n".join(
            b">" + line if line.lstrip(b">").startswith(b"From ") else line for line in body.split(b"\n")
        )
        for body in bodies
    ]
    box = b"".join(b"From someone\n" + body + b"\n" for body in quoted)
    parts = mbox(tmp_path_factory.mktemp("box"), box)
    assert [data for _, data in parts] == bodies
