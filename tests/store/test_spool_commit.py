"""A large batch, which one commit of the file system makes durable: never less than a sync of every file."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mailstrom_cli.errors import TEMPORARY, MailstromError
from mailstrom_cli.store import commit, intake
from mailstrom_cli.store.spool import Spool, open_store
from tests.peers.needs import lacking

from .contract import octets
from .samples import BODY, NOW, submission, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MANY = intake.MANY
FAILS = f"{os.strerror(errno.EIO)}|{os.strerror(errno.ENOSPC)}"  # what a loop device says that has no room


class Told(commit.Commit):
    """A commit that tells of itself, and fails when it is told to."""

    def __init__(self, sync: Callable[[], None]) -> None:
        super().__init__(os.open("/", os.O_RDONLY), lambda _: 0, lambda: 0)
        self.sync = sync  # type: ignore[method-assign]


@pytest.fixture
def told(spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a batch does with the disk, in order."""
    calls: list[str] = []

    def telling(name: str) -> None:
        real = getattr(os, name)

        def call(*given: Any, **named: Any) -> Any:
            if not calls or calls[-1] != name:
                calls.append(name)
            return real(*given, **named)

        monkeypatch.setattr(os, name, call)

    def made(directory: int) -> commit.Commit:
        assert os.path.sameopenfile(directory, spool.directory("tmp"))
        calls.append("made")
        return Told(synced)

    def synced() -> None:
        entries = list((root / "tmp").iterdir())
        assert all((entry / "message.eml").read_bytes() == BODY for entry in entries)
        assert all((entry / "message.jsonl").read_bytes().endswith(b"\n") for entry in entries)
        keys = sum(key.stat().st_size > 0 for key in (root / "keys").iterdir())
        calls.append(f"sync {len(entries)} with {keys} keys")

    spool.directory("queued")
    for name in ("mkdir", "fsync", "rename", "posix_fadvise"):
        telling(name)
    monkeypatch.setattr(commit, "commit", made)
    return calls


def test_all_of_a_large_batch_is_synced_by_one_commit_before_any_of_it_is_published(
    spool: Spool, told: list[str]
) -> None:
    spool.intake([submission() for _ in range(MANY)], NOW)
    assert told == ["made", "mkdir", f"sync {MANY} with 0 keys", "rename", "fsync"]


def test_the_keys_of_a_large_batch_are_written_before_the_commit(spool: Spool, told: list[str]) -> None:
    spool.intake([submission(key=f"k{n}") for n in range(MANY)], NOW)
    *_, synced, rename, queued = told
    assert (synced, rename, queued) == (f"sync {MANY} with {MANY} keys", "rename", "fsync")


def test_a_batch_larger_than_what_is_held_open_is_committed_in_parts(
    spool: Spool, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "TOGETHER", MANY - 1)
    spool.intake([submission() for _ in range(MANY)], NOW)
    first, rest = f"sync {MANY - 1} with 0 keys", f"sync {MANY} with 0 keys"
    assert told == ["made", "mkdir", first, "mkdir", rest, "rename", "fsync"]


def test_a_small_batch_needs_no_commit(spool: Spool, told: list[str]) -> None:
    spool.intake([submission() for _ in range(MANY - 1)], NOW)
    assert "made" not in told
    assert "fsync" in told


def test_a_commit_that_fails_leaves_nothing_behind(
    spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failed() -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    (old,) = spool.intake([submission(key="old")], NOW)
    before = set(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(commit, "commit", lambda _: Told(failed))
    with pytest.raises(MailstromError, match="Input/output error") as refusal:
        spool.intake([submission(key=f"k{n}") for n in range(MANY)], NOW)
    assert refusal.value.exit_code == TEMPORARY
    assert visible(root) == [old]
    assert list((root / "tmp").iterdir()) == []
    assert set(os.listdir("/proc/self/fd")) == before


# --- where it is not to be trusted ---


def whole(path: Path) -> bool:
    """Whether one commit would do for what is written there."""
    directory = os.open(path, os.O_RDONLY)
    before = set(os.listdir("/proc/self/fd"))
    try:
        made = commit.commit(directory)
        if made is not None:
            made.sync()
            made.close()
        assert set(os.listdir("/proc/self/fd")) == before
        return made is not None
    finally:
        os.close(directory)


def test_a_commit_is_asked_of_file_systems_that_are_known_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not whole(Path("/proc/self"))
    kind = subprocess.run(["stat", "-fc", "%T", tmp_path], capture_output=True, text=True, check=True).stdout
    monkeypatch.setattr(commit, "_unwritten", lambda: commit.MUCH)
    assert whole(tmp_path) is (kind.strip() in ("ext2/ext3", "xfs", "btrfs"))


def test_a_commit_is_asked_of_a_kernel_that_tells_of_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "TRUSTED", {commit_magic(tmp_path)})
    monkeypatch.setattr(commit, "_unwritten", lambda: 0)
    for release, expected in (("5.8.0-generic", True), ("5.7.19", False), ("10.0", True), ("odd", False)):
        monkeypatch.setattr(os, "uname", lambda said=release: os.uname_result(("Linux", "h", said, "", "")))
        assert whole(tmp_path) is expected


def test_a_commit_does_not_wait_for_the_many_writes_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "TRUSTED", {commit_magic(tmp_path)})
    assert 0 <= commit._unwritten() < 1 << 40
    for much, expected in ((commit.MUCH, True), (commit.MUCH + 1, False)):
        monkeypatch.setattr(commit, "_unwritten", lambda held=much: held)
        assert whole(tmp_path) is expected


def commit_magic(path: Path) -> int:
    """The magic number of a file system, as stat(1) has it."""
    done = subprocess.run(["stat", "-fc", "%t", path], capture_output=True, text=True, check=True)
    return int(done.stdout, 16)


# --- on a disk ---


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[Path, str], Path]]:
    """Mounts an image, ext4 if it is new: the file and its name among the mounts are given."""
    mkfs = shutil.which("mkfs.ext4") or lacking("mkfs.ext4 is not installed")
    if os.geteuid() != 0:
        lacking("only root can mount an image")
    mounted: list[Path] = []

    def mount(image: Path, name: str) -> Path:
        if not image.exists():
            image.touch()
            os.truncate(image, 64 << 20)
            options = ["-J", "size=4", "-E", "lazy_journal_init=0,lazy_itable_init=0"]  # all written by now
            subprocess.run([mkfs, "-q", "-F", *options, image], check=True)
        path = tmp_path / name
        path.mkdir()
        if subprocess.run(["mount", "-o", "loop", image, path], capture_output=True).returncode != 0:
            lacking("this root may not mount an image")
        mounted.append(path)
        return path

    yield mount
    for path in reversed(mounted):
        subprocess.run(["umount", "-l", path], check=True)


@pytest.mark.parametrize("count", [1, MANY])
def test_what_is_on_the_disk_when_the_ids_are_told_is_all_of_the_batch(
    tmp_path: Path, disk: Callable[[Path, str], Path], count: int
) -> None:
    """The image at that moment is what a power cut leaves."""
    image, cut = tmp_path / "image", tmp_path / "cut"
    batch = [submission(key=f"k{n}", digest="d") for n in range(count)]
    with closing(open_store(str(disk(image, "before") / "spool"))) as spool:
        ids = spool.intake(batch, NOW)
        shutil.copyfile(image, cut)
    with closing(open_store(str(disk(cut, "after") / "spool"))) as again:
        assert sorted(again.ids(["queued"])) == ids
        assert all(octets(again, id) == BODY and again.read(id).state == "queued" for id in ids)
        assert again.intake(batch, NOW) == ids


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system that soon has no room for an image."""
    path = tmp_path / "small"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=9m", "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        lacking("this user may not mount a tmpfs")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_a_disk_that_fails_is_seen_and_nothing_is_published(
    tmp_path: Path, small: Path, disk: Callable[[Path, str], Path]
) -> None:
    root = disk(small / "image", "disk") / "spool"
    batch = [submission(body=b"x" * 60_000) for _ in range(MANY)]
    stored: list[str] = []
    with closing(open_store(str(root))) as spool:
        with pytest.raises(MailstromError, match=FAILS) as refusal:
            while len(stored) < 10 * MANY:
                stored += spool.intake(batch, NOW)
        assert refusal.value.exit_code == TEMPORARY
        assert sorted(spool.ids(["queued"])) == sorted(stored)
    shutil.copyfile(small / "image", tmp_path / "cut")
    with closing(open_store(str(disk(tmp_path / "cut", "after") / "spool"))) as spool:
        assert stored
        assert sorted(spool.ids(["queued"])) == sorted(stored)
        assert all(octets(spool, id) == b"x" * 60_000 for id in stored)
