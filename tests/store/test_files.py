"""The file system as a spool needs it: what is judged is what was opened, and no error of it is lost."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.errors import TEMPORARY, MailstromError
from mailstrom_cli.store import files

from .samples import NOW, submission

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path):
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_what_is_judged_is_what_was_opened(tmp_path: Path, folder: int, monkeypatch) -> None:
    """A name that means something else a moment later makes nothing good."""
    (tmp_path / "elsewhere").write_text("planted")
    for link in ("name", "third"):  # one goes with the swap
        os.link(tmp_path / "elsewhere", tmp_path / link)
    opened = os.open

    def then_swap(name: str, *arguments: object, **named: object) -> int:
        fd = opened(name, *arguments, **named)  # type: ignore[arg-type]
        (tmp_path / "good").write_text("good")
        (tmp_path / "good").rename(tmp_path / "name")
        return fd

    monkeypatch.setattr(os, "open", then_swap)
    with pytest.raises(files.NotRegular):
        files.open_regular("name", os.O_RDONLY, folder)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EBADF])
def test_an_error_of_the_sync_of_a_directory_counts(folder: int, monkeypatch, number: int) -> None:
    def fails(fd: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match=os.strerror(number)):
        files.sync_directory(folder)


def test_a_failed_sync_is_final(spool, root: Path, monkeypatch) -> None:
    asked: list[int] = []

    def fails_once(fd: int) -> None:
        asked.append(fd)
        if len(asked) == 1:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails_once)
    with pytest.raises(MailstromError) as raised:
        spool.intake([submission()], NOW)
    assert raised.value.exit_code == TEMPORARY
    assert asked == asked[:1]
    assert os.listdir(root / "queued") == []


def test_an_error_of_close_is_seen(spool, root: Path, monkeypatch) -> None:
    """What was written may not be there then (close(2))."""
    closed = os.close

    def fails(fd: int) -> None:
        message = os.readlink(f"/proc/self/fd/{fd}").endswith("/message.eml")
        closed(fd)
        if message:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "close", fails)
    with pytest.raises(MailstromError) as raised:
        spool.intake([submission()], NOW)
    assert raised.value.exit_code == TEMPORARY
    assert os.listdir(root / "queued") == []


def test_no_descriptor_of_a_spool_is_inherited(spool, root: Path) -> None:
    (id,) = spool.intake([submission()], NOW)
    lock = spool.run_lock()
    assert lock.acquire() is None
    with spool.lease(id) as lease, lease.open_message():
        links = {int(fd): f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")}
        ours = [
            fd
            for fd, link in links.items()
            if os.path.lexists(link) and os.readlink(link).startswith(str(root))
        ]
        assert len(ours) > 4
        assert not any(map(os.get_inheritable, ours))
    lock.release()
