"""Intake: durable before it is visible, and nothing at all when anything fails or the process is killed."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mailstrom_cli.errors import NO_PERMISSION, TEMPORARY, MailstromError, NoSuchMessage
from mailstrom_cli.store import intake, keys
from mailstrom_cli.store.base import Submission
from mailstrom_cli.store.ids import is_id
from mailstrom_cli.store.spool import Spool, open_store
from tests.peers.needs import lacking

from .contract import octets, put
from .samples import BODY, NOW, submission, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parents[2]


def descriptors() -> set[str]:
    gc.collect()  # what another test left open is closed now, and not in the middle of a count
    return set(os.listdir("/proc/self/fd"))


# --- the order of things ---


def test_nothing_is_published_before_it_is_synced(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    real_fsync, real_rename = os.fsync, os.rename

    def name(fd: int) -> str:
        return re.sub(r".*/spool/|[0-9a-z]{16}", "", os.readlink(f"/proc/self/fd/{fd}"))

    def fsync(fd: int) -> None:
        told.append(f"sync {name(fd)}")
        real_fsync(fd)

    def rename(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        told.append(f"rename {name(src_dir_fd)} {name(dst_dir_fd)}")
        real_rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    spool.intake([submission(), submission(key="k")], NOW)
    each = ["sync tmp//message.eml", "sync tmp//message.jsonl", "sync tmp/"]
    key = [next(line for line in told if line.startswith("sync keys/")), "sync keys"]
    assert told == [*each, *each, *key, "rename tmp queued", "rename tmp queued", "sync queued"]


def test_short_writes_lose_nothing(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:7]))
        id = put(spool, key="k", digest="d")
    assert octets(spool, id) == BODY
    assert spool.read(id).envelope.key == "k"
    assert put(spool, key="k", digest="d") == id


def test_a_long_message_is_written_out_while_it_comes_and_no_part_of_it_twice(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written already would be dropped from memory, where a flush looks for it."""
    told: list[tuple[int, int]] = []

    def fadvise(fd: int, start: int, length: int, advice: int) -> None:
        if os.readlink(f"/proc/self/fd/{fd}").endswith(".eml"):
            told.append((start, os.fstat(fd).st_size))

    monkeypatch.setattr(os, "posix_fadvise", fadvise)
    monkeypatch.setattr(intake, "LONG", 30)
    monkeypatch.setattr(intake, "AT_ONCE", 0)
    body = b"x" * 75
    cut = [body[at : at + 15] for at in range(0, 75, 15)]
    spool.intake([Submission(submission(body=body).envelope, cut)], NOW)
    assert told == [(0, 30), (30, 60), (60, 75)]


# --- failures ---

CALLS = ("mkdir", "chmod", "open", "fchmod", "write", "utime", "fsync", "close", "rename")
ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def failing(monkeypatch: pytest.MonkeyPatch, name: str, number: int, error: int) -> list[int]:
    """Let the call `name` fail at its time `number`, once; the list gets longer with every call."""
    real, calls = getattr(os, name), list[int]()

    def call(*given: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == number:
            if name == "close":
                real(*given)
            raise OSError(error, os.strerror(error))
        return real(*given, **named)

    monkeypatch.setattr(os, name, call)
    return calls


@pytest.mark.parametrize("name", CALLS)
def test_a_batch_of_which_any_call_fails_leaves_nothing_behind(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    spool = open_store(str(root))
    old = put(spool, key="old", digest="d")
    with pytest.raises(NoSuchMessage):
        spool.read("0" * 16)  # the directories of all states are open now
    batch = [submission(key="old", digest="d"), submission(key="new", digest="d"), submission()]
    before, failed, number = descriptors(), 0, 1
    while True:
        error = ERRORS[number % len(ERRORS)]
        with monkeypatch.context() as patch:
            calls = failing(patch, name, number, error)
            try:
                ids = spool.intake(batch, NOW)
            except MailstromError as refusal:
                failed += 1
                assert refusal.exit_code == TEMPORARY
                assert os.strerror(error) in refusal.message
                assert str(root) in refusal.message
                assert visible(root) == [old]
                assert list((root / "tmp").iterdir()) == []
                assert descriptors() == before
            else:
                if len(calls) < number:
                    break
                for id in ids[1:]:  # the call was one that an intake can do without, such as the trigger's
                    (root / "queued" / id).rename(root / "tmp" / id)
                    shutil.rmtree(root / "tmp" / id)
        number += 1
    assert failed > 0
    assert ids[0] == old
    assert set(visible(root)) == set(ids)
    assert len(set(ids)) == 3


@pytest.mark.parametrize("error", [errno.EACCES, errno.EPERM])
def test_what_may_not_be_written_is_not_permitted(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    failing(monkeypatch, "mkdir", 1, error)
    with pytest.raises(MailstromError) as refusal:
        put(spool)
    assert refusal.value.exit_code == NO_PERMISSION


def test_an_interrupt_leaves_nothing_behind(
    spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.rename

    def interrupted(*given: Any, **named: Any) -> None:
        real(*given, **named)
        monkeypatch.setattr(os, "rename", real)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        spool.intake([submission(), submission()], NOW)
    assert visible(root) == []
    assert list((root / "tmp").iterdir()) == []


def test_a_floor_on_free_space_is_kept(root: Path) -> None:
    free = os.statvfs(root.parent)
    spool = open_store(str(root), min_free=free.f_blocks * free.f_frsize * 2)
    with pytest.raises(MailstromError, match="octets free") as refusal:
        put(spool)
    assert refusal.value.exit_code == TEMPORARY
    assert visible(root) == []
    spool.min_free = 1
    assert is_id(put(spool))


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    if os.geteuid() != 0:
        lacking("only root can mount a tiny file system")
    path = tmp_path / "tiny"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k,mode=700", "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        lacking("this root may not mount a tmpfs")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_a_full_disk_takes_all_or_nothing_and_goes_on_when_there_is_room(tiny: Path) -> None:
    spool, root = open_store(str(tiny / "spool")), tiny / "spool"
    big = b"x" * 998 + b"\r\n"
    batch = [submission(body=big * 30) for _ in range(4)]
    stored: list[str] = []
    with pytest.raises(MailstromError, match="No space left on device") as refusal:
        for _ in range(50):
            stored += spool.intake(batch, NOW)
    assert refusal.value.exit_code == TEMPORARY
    assert "space" in str(refusal.value.hint)
    assert len(stored) % 4 == 0
    assert sorted(visible(root)) == sorted(stored)
    assert list((root / "tmp").iterdir()) == []
    filler = tiny / "filler"
    with pytest.raises(OSError, match="space"), filler.open("wb", buffering=0) as rest:
        while True:
            rest.write(big)
    with spool.lease(stored[0]) as lease, pytest.raises(OSError, match=r"space|written"):
        for n in range(2000):
            lease.record({"event": "other", "time": NOW, "number": n, "text": "x" * 500})
    known = len(spool.events(stored[0]))
    filler.unlink()
    with spool.lease(stored[0]) as lease:
        lease.record({"event": "other", "time": NOW})
    assert len(spool.events(stored[0])) == known + 1
    assert all(spool.read(id).state == "queued" for id in stored)
    spool.close()


FEW_DESCRIPTORS = """
import resource, sys
from mailstrom_cli.store.spool import open_store
from tests.store.samples import NOW, submission
spool = open_store(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
print(len(spool.intake([submission(key=str(n) if n < 2 else None) for n in range(60)], NOW)))
"""


def test_a_batch_is_stored_with_few_descriptors(root: Path) -> None:
    run = [sys.executable, "-c", FEW_DESCRIPTORS, str(root)]
    assert subprocess.run(run, check=True, capture_output=True, text=True, cwd=HERE).stdout == "60\n"
    assert len(visible(root)) == 60
    assert list((root / "tmp").iterdir()) == []


FILE_SIZE = """
import resource, signal, sys
from mailstrom_cli.errors import MailstromError
from mailstrom_cli.store.spool import open_store
from tests.store.samples import NOW, submission
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
spool = open_store(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    spool.intake([submission(), submission(body=b"x" * 9000)], NOW)
except MailstromError as error:
    print(error.exit_code, error)
"""


def test_a_file_that_may_not_grow_is_a_short_write_and_then_an_error(root: Path) -> None:
    run = [sys.executable, "-c", FILE_SIZE, str(root)]
    told = subprocess.run(run, check=True, capture_output=True, text=True, cwd=HERE).stdout
    assert told.startswith("75 ")
    assert os.strerror(errno.EFBIG) in told
    assert visible(root) == []
    assert list((root / "tmp").iterdir()) == []


# --- keys ---


def test_a_key_that_another_submit_keeps_is_waited_for_and_then_given_up(
    spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(spool, key="k", digest="d")
    (key,) = (root / "keys").iterdir()
    monkeypatch.setattr(keys, "PATIENCE", 0.01)
    with key.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(MailstromError, match="in progress") as refusal:
            put(spool, key="k", digest="d")
    assert refusal.value.exit_code == TEMPORARY
    assert len(visible(root)) == 1
    assert visible(root) == [put(spool, key="k", digest="d")]


def test_a_key_swept_while_it_is_waited_for_is_made_again(
    spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, swept = fcntl.flock, []

    def flock(fd: int, operation: int) -> None:
        real(fd, operation)
        if not swept and "/keys/" in os.readlink(f"/proc/self/fd/{fd}"):
            swept.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name)
            (root / "keys" / swept[0]).unlink()

    monkeypatch.setattr(fcntl, "flock", flock)
    id = put(spool, key="k", digest="d")
    assert [p.name for p in (root / "keys").iterdir()] == swept
    assert (root / "keys" / swept[0]).read_text() == f"{id} d\n"


@pytest.mark.parametrize("held", ["", "06h", "0" * 16 + " d\n", "../../../etc/x d\n", "\xff\0"])
def test_a_key_of_no_message_is_free(spool: Spool, root: Path, held: str) -> None:
    first = put(spool, key="k", digest="d")
    (key,) = (root / "keys").iterdir()
    key.write_text(held)
    second = put(spool, key="k", digest="e")
    assert second != first
    assert put(spool, key="k", digest="e") == second
