"""File systems of a test's own: one that loses its power, and one that is soon full.

    with Disk("ext4") as disk:
        ...                        # work below disk.path
        disk.cut(SYNCED)           # from here on it fails whoever uses it, and nothing more is written
        disk.restart()             # what a machine finds when it starts again: the journal is replayed

The cut is the shutdown that ext4 and XFS have for such tests. What it does not take away is what the file
system has already handed to its device, as a drive would that lost its cache.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.peers.needs import lacking, need
from tests.peers.process import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32): EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN


@dataclass(frozen=True)
class Cut:
    """What is on the disk after it, besides what was synced; flag: of the ioctl."""

    name: str
    flag: int


SYNCED = Cut("synced", 2)  # nothing
JOURNAL = Cut("journal", 1)  # what is in the journal: names, moves and times, but not what is in new files
WRITTEN = Cut("written", 0)  # everything

_JOURNAL = ["-J", "size=4", "-E", "lazy_journal_init=0,lazy_itable_init=0"]


@dataclass(frozen=True)
class Kind:
    mkfs: tuple[str, ...]
    size: int
    options: str = "rw"

    @property
    def system(self) -> str:
        return self.mkfs[0].removeprefix("mkfs.")


KINDS = {
    "ext4": Kind(("mkfs.ext4", "-q", "-F", *_JOURNAL), 64 << 20, "errors=remount-ro"),
    # Without what ext4 does on its own for programs that do not sync.
    "ext4 unordered": Kind(("mkfs.ext4", "-q", "-F", *_JOURNAL), 64 << 20, "data=writeback,noauto_da_alloc"),
    "xfs": Kind(("mkfs.xfs", "-q"), 300 << 20, "nouuid"),  # no smaller one is made
}


class Disk:
    """A new file system on an image of its own, mounted from `with` on."""

    def __init__(self, kind: str) -> None:
        self.kind = KINDS[kind]
        self.folder = Path()
        self.path = Path()
        self._device = ""
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        _need_loop_devices()
        mkfs = need(self.kind.mkfs[0])
        self.folder = Path(tempfile.mkdtemp(prefix="ms-disk-", dir=_fast()))
        self.path, image = self.folder / "mounted", self.folder / "image"
        self._open.enter_context(in_the_end(REMOVE, self.folder))
        try:
            self.path.mkdir()
            image.touch()
            os.truncate(image, self.kind.size)
            subprocess.run([mkfs, *self.kind.mkfs[1:], image], check=True)
            self._device = _run("losetup", "--find", "--show", image).strip()
            self._mount()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _mount(self) -> None:
        system = self.kind.system
        _run("mount", "-t", system, "-o", self.kind.options, self._device, self.path, system=system)

    def cut(self, how: Cut) -> None:
        """The power is gone: every call fails from now on."""
        root = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(root, SHUTDOWN, struct.pack("I", how.flag))
        except OSError as error:
            lacking(f"{self.kind.system} cannot be shut down here: {error.strerror}")
        finally:
            os.close(root)

    def abort(self) -> None:
        """ext4 has met an error, and lets nobody write any more."""
        subprocess.run(["mount", "-o", "remount,abort", self.path], capture_output=True)

    def restart(self) -> None:
        """Mount it again; whoever had files open in it must have ended."""
        alive = Path("/sys/fs", self.kind.system, Path(self._device).name)
        assert alive.exists()
        wait_for(self._unmounted, 10, "those who were killed to have closed their files")
        try:
            wait_for(lambda: not alive.exists(), 1, "the file system to be given up")
        except TimeoutError:  # somebody was given mounts of his own meanwhile, and has this one as well
            self._copy()
        self._mount()

    def _unmounted(self) -> bool:
        return subprocess.run(["umount", self.path], capture_output=True).returncode == 0

    def _copy(self) -> None:
        """Go on with a copy of what is on the disk."""
        image, copy = self.folder / "image", self.folder / "copy"
        _run("cp", "--sparse=always", image, copy)
        _run("losetup", "-d", self._device)  # as soon as nobody has it any more
        copy.replace(image)
        self._device = _run("losetup", "--find", "--show", image).strip()

    def sync(self) -> None:
        """All that is in it is on the disk."""
        subprocess.run(["sync", "-f", self.path], check=True)


REMOVE = """
umount -l "$1/mounted"
for device in $(losetup -n -O NAME -j "$1/image"); do losetup -d "$device"; done
rm -rf "$1"
"""
UNMOUNT = 'umount -l "$1"'


@contextlib.contextmanager
def in_the_end(script: str, path: Path) -> Iterator[None]:
    """Afterwards, or when this process ends however it may, a shell script is run; $1 is the path."""
    words = ["sh", "-c", f"read -r nothing\n{script}", "sh", path]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True):
        yield  # and the pipe is closed


def _run(*words: str | Path, system: str = "") -> str:
    """What a command says; system: that it needs of the kernel."""
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        if system and f"\t{system}\n" not in Path("/proc/filesystems").read_text():
            pytest.skip(f"this kernel has no {system}")
        lacking(f"this root may not mount an image: {done.stderr.strip()}")
    return done.stdout


def _fast() -> str | None:
    """Where an image is best kept: in memory, if that has room for what is written of it."""
    memory = "/dev/shm"
    try:
        held = os.statvfs(memory)
    except OSError:
        return None
    return memory if held.f_bavail * held.f_frsize > 400 << 20 else None


def _need_loop_devices() -> None:
    """What no package can bring, such as to a container, is no fault of a CI machine: skipped there too."""
    if os.geteuid() != 0:
        lacking("only root can mount an image")
    if not os.path.exists("/dev/loop-control"):
        pytest.skip("this machine has no loop devices")


class Small:
    """A file system in memory of so many octets and inodes (0: no bound)."""

    def __init__(self, path: Path, size: int, inodes: int = 0) -> None:
        self.path = path
        self.options = f"size={size},nr_inodes={inodes},mode=700"

    @property
    def filler(self) -> Path:
        return self.path / "filler"

    def fill(self, leave: int = 0) -> None:
        """Use up the room, but for so many octets."""
        with self.filler.open("ab", buffering=0) as file:
            held = os.statvfs(self.path)
            file.write(b"\0" * max(0, held.f_bavail * held.f_frsize - leave))

    def make_room(self) -> None:
        self.filler.unlink(missing_ok=True)

    def use_inodes(self, leave: int = 0) -> None:
        """Use up the inodes, but for so many."""
        for number in range(os.statvfs(self.path).f_ffree - leave):
            (self.path / f"used-{number}").touch()

    def give_inodes(self) -> None:
        for path in self.path.glob("used-*"):
            path.unlink()

    def remount(self, option: str) -> None:
        """`ro`, `rw`, or another size. `ro` fails while a file is open for writing."""
        subprocess.run(["mount", "-o", f"remount,{option}", self.path], check=True)


@contextlib.contextmanager
def small(path: Path, size: int, inodes: int = 0) -> Iterator[Small]:
    """A Small, mounted at a new directory."""
    if os.geteuid() != 0:
        lacking("only root can mount a small file system")
    path.mkdir()
    made = Small(path, size, inodes)
    mount = ["mount", "-t", "tmpfs", "-o", made.options, "tmpfs", path]
    with in_the_end(UNMOUNT, path):
        if subprocess.run(mount, capture_output=True).returncode != 0:
            lacking("this root may not mount a tmpfs")
        yield made
