"""Into a Maildir: whole messages in new/, and nothing else anywhere, whatever fails."""

from __future__ import annotations

import io
import os
import stat
from typing import TYPE_CHECKING

import pytest

from .sending import MESSAGE, statuses

if TYPE_CHECKING:
    from pathlib import Path


def files(box: Path, folder: str = "new") -> list[Path]:
    return sorted((box / folder).iterdir())


def test_a_message_has_lf_lines_and_its_envelope_on_top(sender, tmp_path) -> None:
    told = sender().send(f"maildir://{tmp_path}/box", "one@example.test", "two@example.test")
    assert statuses(told) == [("delivered", None, "2.0.0")] * 2
    (file,) = files(tmp_path / "box")
    assert file.read_bytes() == (
        b"Return-Path: <ann@example.org>\nDelivered-To: one@example.test\nDelivered-To: two@example.test\n"
        + MESSAGE.replace(b"\r\n", b"\n")
    )
    assert told[0].text == f"stored as {file.name}"
    assert told[0].host == f"maildir://{tmp_path}/box"
    assert files(tmp_path / "box", "tmp") == files(tmp_path / "box", "cur") == []


def test_the_null_reverse_path(sender, tmp_path) -> None:
    sender().send(f"maildir://{tmp_path}/box", reverse_path="")
    assert files(tmp_path / "box")[0].read_bytes().startswith(b"Return-Path: <>\n")


def test_nobody_else_can_read_it(sender, tmp_path) -> None:
    before = os.umask(0)
    try:
        sender().send(f"maildir://{tmp_path}/box")
    finally:
        os.umask(before)
    assert stat.S_IMODE(files(tmp_path / "box")[0].stat().st_mode) == 0o600
    assert {stat.S_IMODE(os.stat(tmp_path / "box" / f).st_mode) for f in ("tmp", "new", "cur")} == {0o700}


def test_every_message_has_a_name_of_its_own(sender, tmp_path) -> None:
    out = sender()
    for _ in range(5):
        out.send(f"maildir://{tmp_path}/box")
    names = [f.name for f in files(tmp_path / "box")]
    assert len(set(names)) == 5
    assert all(n.startswith("0123456789abcdef.") and n.endswith(".here.example.org") for n in names)


class Chunks(io.BytesIO):
    """Gives at most so many octets at once."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__(data)
        self.most = most

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(self.most, size) if size and size > 0 else self.most)


@pytest.mark.parametrize("most", range(1, 8))
def test_line_ends_are_right_at_every_boundary(sender, tmp_path, most: int) -> None:
    sender().send(f"maildir://{tmp_path}/box", opener=lambda: Chunks(MESSAGE, most))
    body = files(tmp_path / "box")[0].read_bytes().split(b"\n", 2)[2]
    assert body == MESSAGE.replace(b"\r\n", b"\n")


class Failing(io.BytesIO):
    """Breaks after the first block, in this way."""

    def __init__(self, error: Exception) -> None:
        super().__init__(MESSAGE)
        self.error = error

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise self.error
        return super().read(20)


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyError("a bug")], ids=["disk", "bug"])
def test_a_failure_leaves_nothing_behind(sender, tmp_path, error: Exception) -> None:
    (told,) = sender().send(f"maildir://{tmp_path}/box", opener=lambda: Failing(error))
    assert (told.status, told.enhanced, told.judged) == ("deferred", "4.3.0", False)
    assert [files(tmp_path / "box", f) for f in ("tmp", "new", "cur")] == [[], [], []]


def test_a_full_disk_leaves_nothing_behind(sender, tmp_path, monkeypatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mailstrom_cli.transport.maildir.os.fsync", full)
    (told,) = sender().send(f"maildir://{tmp_path}/box")
    assert (told.status, told.unreachable) == ("deferred", True)
    assert told.text == f"cannot write to {tmp_path}/box: No space left on device"
    assert [files(tmp_path / "box", f) for f in ("tmp", "new")] == [[], []]


def test_a_place_that_cannot_be_written_to_defers(sender, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    (told,) = sender().send(f"maildir://{tmp_path}/file")
    assert (told.status, told.enhanced, told.judged) == ("deferred", "4.3.0", False)
    assert told.text == f"cannot write to {tmp_path}/file: Not a directory"
