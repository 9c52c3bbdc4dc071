"""Checking what a spool is made of: its directories, format, trigger and run lock."""

from __future__ import annotations

import errno
import fcntl
import os
from functools import partial

from mailstrom_cli.store import files, layout
from mailstrom_cli.store.corrupt import set_aside
from mailstrom_cli.store.fault import EXHAUSTED, Fault, settle
from mailstrom_cli.store.verdict import ASIDE, ERROR, NOTE, WARNING, Finding, foreign, kind, wrong_mode
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOST_AND_FOUND = "lost+found"  # of a spool that is a file system of its own
DIRECTORY, FILE, FIFO = "a directory", "a file", "a FIFO"


@value
class Part:
    """What a name of the spool should be (as `verdict.kind` says it), how it is made, and what it means that
    it is missing."""

    name: str
    kind: str
    make: Callable[[int], None] | None = None
    severity: str = WARNING
    means: str = ""

    @property
    def mode(self) -> int:
        return files.PRIVATE_DIRECTORY if self.kind == DIRECTORY else files.PRIVATE_FILE


def _directory(name: str, severity: str = WARNING, means: str = "") -> Part:
    return Part(name, DIRECTORY, lambda root: layout.directory(name, root), severity, means)


# format last, as it is written last.
PARTS = (
    *(_directory(name) for name in layout.DIRECTORIES if name not in (layout.CORRUPT, layout.NOTES)),
    _directory(layout.NOTES, NOTE, ", as in a spool that an earlier version made"),
    Part(layout.TRIGGER, FIFO, layout.fifo, means=", so that nothing is sent as soon as it is submitted"),
    Part(layout.RUN_LOCK, FILE),
    Part(
        layout.FORMAT_FILE, FILE, layout.write_format, ERROR, ", so that most commands see no spool here"
    ),
)  # fmt: skip


class Directories(dict[str, int]):
    """The descriptors of a spool's directories. Raises OSError for one that could not be opened."""

    def __missing__(self, name: str) -> int:
        raise OSError(errno.ENOTDIR, f"{name}/ cannot be opened")


class Root:
    """The spool's own directory. directories: those that could be opened, by name."""

    def __init__(self, root: int) -> None:
        self._root = root
        self.directories = Directories()

    def itself(self, repair: bool) -> Iterator[Finding]:
        """What is wrong with the directory, and with that in it to which the rest may have to go."""
        yield from settle(self._look, repair=repair)
        yield from self._checked(_directory(layout.CORRUPT), repair)

    def parts(self, repair: bool) -> Iterator[Finding]:
        """What is wrong with the other names in it."""
        for part in PARTS:
            yield from self._checked(part, repair)
        for name in sorted(set(os.listdir(self._root)) - layout.OURS - {LOST_AND_FOUND}):
            held = self._held(name)
            if held is not None:
                yield foreign(name, held, "one of a spool's")

    def _checked(self, part: Part, repair: bool) -> Iterator[Finding]:
        yield from settle(partial(self._look_at, part), repair=repair)
        if part.kind == DIRECTORY:
            self._open(part.name)

    def close(self) -> None:
        files.close(*self.directories.values())
        self.directories.clear()

    def _held(self, name: str) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=self._root, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _open(self, name: str) -> None:
        try:
            self.directories[name] = files.open_directory(name, self._root)
        except OSError as error:
            if error.errno in EXHAUSTED:
                raise

    def _look(self) -> Iterator[Fault]:
        for finding in wrong_mode(".", os.fstat(self._root), files.PRIVATE_DIRECTORY, ERROR):
            yield Fault(finding, lambda: os.fchmod(self._root, files.PRIVATE_DIRECTORY))

    def _look_at(self, part: Part) -> Iterator[Fault]:
        held = self._held(part.name)
        empty = part.name == layout.FORMAT_FILE and held is not None and held.st_size == 0
        if held is None or (empty and kind(held.st_mode) == FILE):
            if part.make is not None:
                what = f"it is {'empty' if held else 'missing'}{part.means}"
                yield Fault(Finding(part.severity, part.name, what, "made"), self._maker(part))
            return
        what = self._planted(part, held)
        if what:
            yield self._aside(part, what)
            return
        if held.st_uid != os.geteuid():
            what = f"it belongs to user {held.st_uid}, not to {os.geteuid()}"
            finding = Finding(ERROR, part.name, what, f"given to user {os.geteuid()}")
            yield Fault(finding, partial(self._take_over, part.name))
        for finding in wrong_mode(part.name, held, part.mode):
            yield Fault(finding, lambda: os.chmod(part.name, part.mode, dir_fd=self._root))
        if held.st_dev != os.fstat(self._root).st_dev:
            what = "it is on another file system than the spool, and no message can be moved there"
            yield Fault(Finding(ERROR, part.name, what, hint="keep all of the spool on one file system"))

    def _planted(self, part: Part, held: os.stat_result) -> str:
        """What is wrong with something that cannot be of mailstrom's making, or ""."""
        if kind(held.st_mode) != part.kind:
            return f"it is {kind(held.st_mode)}, not {part.kind}"
        if part.kind == DIRECTORY:
            return ""
        if held.st_uid != os.geteuid():
            return f"it belongs to user {held.st_uid}"
        return f"it has {held.st_nlink} links" if held.st_nlink > 1 else ""

    def _take_over(self, name: str) -> None:
        os.chown(name, os.geteuid(), -1, dir_fd=self._root, follow_symlinks=False)

    def _maker(self, part: Part) -> Callable[[], None]:
        return lambda: part.make(self._root) if part.make else None

    def _aside(self, part: Part, what: str) -> Fault:
        if part.name == layout.CORRUPT:
            return Fault(Finding(ERROR, part.name, what, hint="move it out of the spool"))

        def mend() -> None:
            corrupt = self.directories[layout.CORRUPT]
            self._refuse_locked(part.name)
            set_aside(part.name, what, self._root, corrupt)
            self._maker(part)()

        anew = f", and {part.kind} made" if part.make else ""
        return Fault(Finding(ERROR, part.name, what, f"{ASIDE}{anew}"), mend)

    def _refuse_locked(self, name: str) -> None:
        """What is locked is not taken away from who has it."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._root)
        except OSError:
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(errno.EAGAIN, "somebody has locked it") from None
        finally:
            os.close(fd)
