"""One message's directory: opened, judged, and changed under its lease.

The lease is flock on the sidecar. The sidecar is the truth, the directory it lies in and that directory's
mtime are the index: `_index` makes them follow, and may fail, since whoever leases next repeats it.
"""

from __future__ import annotations

import errno
import os
from io import BytesIO

from mailstrom_cli.mail.status import FINAL, UNFINISHED
from mailstrom_cli.store import files, layout
from mailstrom_cli.store.entry import DamagedEntry, apply, fold
from mailstrom_cli.store.schedule import index_of, sooner
from mailstrom_cli.store.sidecar import encode, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, BinaryIO

    from mailstrom_cli.store.entry import Entry, Event

AT_ONCE = 64 * 1024
"""A message up to this long is read in one go, which costs half of a file object with its buffer."""
USUAL = 4096  # octets that hold most sidecars


def open_sidecar(directory: int, flags: int = os.O_RDONLY) -> int:
    """The sidecar in an entry's directory. Raises DamagedEntry, and OSError for what may pass: who may not
    open it now, or is out of descriptors, has no reason to call it damaged."""
    return _open(layout.SIDECAR, flags, directory)


def open_message(directory: int) -> BinaryIO:
    """The message in an entry's directory. Raises DamagedEntry."""
    return os.fdopen(_open(layout.MESSAGE, os.O_RDONLY, directory), "rb")


def _open(name: str, flags: int, directory: int) -> int:
    try:
        return files.open_regular(name, flags, directory)
    except files.NotRegular as error:
        raise DamagedEntry(str(error)) from None
    except FileNotFoundError:
        raise DamagedEntry(f"{name} is missing") from None


def read_sidecar(directory: int) -> bytes:
    """All of the sidecar in an entry's directory. Raises DamagedEntry."""
    fd = open_sidecar(directory)
    try:
        data = os.read(fd, USUAL)
        return data if len(data) < USUAL else files.read_all(fd)  # less is the end of a regular file
    finally:
        os.close(fd)


def read_lines(directory: int) -> list[dict[str, Any]]:
    """All lines of the sidecar in an entry's directory. Raises DamagedEntry."""
    return parse(read_sidecar(directory))[0]


def first_line(directory: int) -> bytes:
    """The first line of the sidecar in an entry's directory, unparsed. Raises DamagedEntry."""
    fd, data = open_sidecar(directory), b""
    try:
        while b"\n" not in data and (more := os.pread(fd, USUAL + len(data), len(data))):
            data += more
    finally:
        os.close(fd)
    return data[: data.find(b"\n") + 1]


def judge(id: str, directory: int, entry: Entry) -> Entry:
    """The entry that a sidecar tells of, if the directory can be its own. Raises DamagedEntry."""
    if entry.id != id:
        raise DamagedEntry(f"the sidecar is of message {entry.id}")
    try:
        held = os.stat(layout.MESSAGE, dir_fd=directory, follow_symlinks=False)
        files.regular(layout.MESSAGE, held)
    except FileNotFoundError:
        raise DamagedEntry(f"{layout.MESSAGE} is missing") from None
    except files.NotRegular as error:
        raise DamagedEntry(str(error)) from None
    if held.st_size != entry.envelope.size:
        raise DamagedEntry(f"{layout.MESSAGE} has {held.st_size} octets, not {entry.envelope.size}")
    return entry


class SpoolLease:
    """The Lease of the spool. It owns both descriptors, and the lock on the second.

    state_directory: gives the descriptor of a state's directory, or of tmp/.
    """

    def __init__(
        self, id: str, state: str, directory: int, sidecar: int, state_directory: Callable[[str], int]
    ) -> None:
        lines, self._length = parse(files.read_all(sidecar))
        self.entry = judge(id, directory, fold(lines))
        self._id = id
        self._state = state
        held = os.fstat(directory)
        if held.st_uid != os.geteuid():
            raise DamagedEntry(f"its directory belongs to user {held.st_uid}")
        self._mtime = held.st_mtime_ns
        self._not_before = 0.0
        self._state_directory = state_directory
        self._directory = directory
        self._sidecar = sidecar
        self._move(self.entry.state)

    def open_message(self) -> BinaryIO:
        size = self.entry.envelope.size
        if size > AT_ONCE:
            return open_message(self._directory)
        fd = _open(layout.MESSAGE, os.O_RDONLY, self._directory)
        try:
            data = os.pread(fd, size + 1, 0)
        finally:
            os.close(fd)
        if len(data) != size:
            raise OSError(errno.EIO, f"it has {len(data)} octets, not {size}", layout.MESSAGE)
        return BytesIO(data)

    def postpone(self, due: float) -> None:
        self._not_before = due
        self._utime(index_of(self.entry, due))

    def record(self, event: Event) -> Entry:
        after, line = apply(self.entry, event), encode(event)
        not_before = 0.0 if (after.next_attempt or 0.0) > event["time"] else self._not_before
        self._hasten(after, index_of(after, not_before))
        try:
            self._append(line)
        except OSError:
            self._index()
            raise
        self.entry, self._not_before = after, not_before
        self._index()
        return after

    def _hasten(self, after: Entry, mtime: int) -> None:
        """Where an event makes the message due sooner, the index is first: a crash in between then has it
        looked at too early, which harms nothing, and never too late."""
        if self._state in FINAL and after.state in UNFINISHED:
            self._move(after.state)
        if sooner(mtime, self._mtime):
            self._set_mtime(mtime)

    def _append(self, line: bytes) -> None:
        if os.fstat(self._sidecar).st_size != self._length:
            os.ftruncate(self._sidecar, self._length)  # a line that a crash or a full disk tore
        written = os.write(self._sidecar, line)
        if written != len(line):
            os.ftruncate(self._sidecar, self._length)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), layout.SIDECAR)  # a short write tells none
        self._length += written

    def _index(self) -> None:
        self._set_mtime(index_of(self.entry, self._not_before))
        self._move(self.entry.state)

    def _set_mtime(self, mtime: int) -> None:
        try:
            self._utime(mtime)
        except OSError:
            pass

    def _utime(self, mtime: int) -> None:
        if mtime != self._mtime:
            os.utime(self._directory, ns=(mtime, mtime))
            self._mtime = mtime

    def _move(self, state: str) -> None:
        try:
            if state != self._state:
                self._rename(state)
        except OSError:
            pass

    def _rename(self, state: str) -> None:
        source, target = self._state_directory(self._state), self._state_directory(state)
        os.rename(self._id, self._id, src_dir_fd=source, dst_dir_fd=target)
        self._state = state

    def remove(self) -> None:
        """Forget the message: one rename into tmp/, and what a crash leaves there is swept. Ends the
        lease."""
        self._rename(layout.TMP)
        self._close()
        files.discard(self._id, self._state_directory(layout.TMP))

    def release(self) -> None:
        if self._sidecar >= 0:
            self._index()
            self._close()

    def _close(self) -> None:
        sidecar, directory, self._sidecar, self._directory = self._sidecar, self._directory, -1, -1
        files.close(directory, sidecar)

    def __enter__(self) -> SpoolLease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
