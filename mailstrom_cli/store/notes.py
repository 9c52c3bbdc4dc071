"""What a spool keeps beside messages: the back-off of next hops, named times, and notes.

All are advice. What is lost in a power cut costs an attempt, a repeated report or another look, so nothing is
synced; what cannot be read is as good as not there.
"""

from __future__ import annotations

import fcntl
import os

from mailstrom_cli.store import files
from mailstrom_cli.store.base import NOTE_OCTETS, RATE, HostState, Note
from mailstrom_cli.store.sidecar import encode, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT = 86400.0  # seconds that a host's state is of use after its back-off ended, and a rate's mark
LARGEST_FILE = 8 * NOTE_OCTETS  # of a note: in JSON an octet may take six


def read_host(hosts: int, next_hop: str) -> HostState | None:
    """The back-off state of a next hop; hosts: the directory."""
    return host_in(hosts, files.file_name(next_hop))


def host_in(hosts: int, name: str) -> HostState | None:
    """The back-off state in a file of this name."""
    try:
        fd = files.open_regular(name, os.O_RDONLY, hosts)
        try:
            (held,), _ = parse(files.read_all(fd))
        finally:
            os.close(fd)
        return HostState(int(held["failures"]), float(held["until"]), str(held["reason"]))
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


def write_host(hosts: int, tmp: int, next_hop: str, state: HostState | None) -> None:
    """Replace the back-off state of a next hop, or forget it."""
    name = files.file_name(next_hop)
    if state is None:
        files.discard(name, hosts)
        return
    line = {
        "next_hop": next_hop,
        "failures": state.failures,
        "until": state.until,
        "reason": state.reason,
    }
    _replace(name, hosts, tmp, encode(line))


def _replace(name: str, directory: int, tmp: int, data: bytes) -> None:
    """A whole file in the place of what the name was."""
    passing = f"host-{os.urandom(8).hex()}"
    fd = files.create(passing, tmp)
    try:
        try:
            files.write_all(fd, data)
        finally:
            os.close(fd)
        try:
            os.rename(passing, name, src_dir_fd=tmp, dst_dir_fd=directory)
        except IsADirectoryError:  # nor is that one of ours
            files.discard(name, directory)
            os.rename(passing, name, src_dir_fd=tmp, dst_dir_fd=directory)
    except BaseException:
        files.discard(passing, tmp)
        raise


def sweep_hosts(hosts: int, now: float) -> int:
    """Forget the hosts whose back-off ended long ago, and what cannot be read: how many."""
    removed = 0
    for name in os.listdir(hosts):
        state = host_in(hosts, name)
        if state is None or state.until < now - KEPT:
            files.discard(name, hosts)
            removed += 1
    return removed


def note_name(kind: str, name: str) -> str:
    """The name of the file of a note."""
    return files.file_name(f"{kind} {name}")


def note_in(notes: int, file: str) -> tuple[str, str, Note] | None:
    """Kind, name and note of a file of this name; notes: the directory."""
    try:
        fd = files.open_regular(file, os.O_RDONLY, notes)
        try:
            if os.fstat(fd).st_size > LARGEST_FILE:
                return None
            (held,), _ = parse(files.read_all(fd))
        finally:
            os.close(fd)
        kind, name = str(held["kind"]), str(held["name"])
        if note_name(kind, name) != file:
            return None
        return kind, name, Note(str(held["text"]), float(held["until"]))
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


def read_note(notes: int, kind: str, name: str) -> Note | None:
    found = note_in(notes, note_name(kind, name))
    return found[2] if found is not None else None


def write_note(notes: int, tmp: int, kind: str, name: str, note: Note | None) -> None:
    """Replace a note, or forget it."""
    file = note_name(kind, name)
    if note is None:
        files.discard(file, notes)
        return
    check_note(note)
    line = {"kind": kind, "name": name, "until": note.until, "text": note.text}
    _replace(file, notes, tmp, encode(line))


def check_note(note: Note) -> None:
    """Raises ValueError for one that is too long."""
    if len(note.text.encode("utf-8", "surrogatepass")) > NOTE_OCTETS:
        raise ValueError(f"a note of more than {NOTE_OCTETS} octets is too long")


def list_notes(notes: int, wanted: str) -> Iterator[tuple[str, Note]]:
    """All of one kind, each with its name."""
    for file in os.listdir(notes):
        if file.startswith((files.file_name(wanted + " "), "%")):  # a long name has a digest
            found = note_in(notes, file)
            if found is not None and found[0] == wanted:
                yield found[1:]


def sweep_notes(notes: int, now: float) -> int:
    """Forget the notes that nobody needs any more, and what cannot be read: how many."""
    removed = 0
    for file in os.listdir(notes):
        found = note_in(notes, file)
        if found is None or not found[2].until >= now:
            files.discard(file, notes)
            removed += 1
    return removed


def sweep_rates(marks: int, now: float) -> int:
    """Forget the marks of rate limits whose time is past: how many. Only one of them has a digest as name."""
    removed = 0
    for name in os.listdir(marks):
        if name.startswith((files.file_name(RATE), "%")):
            when = exchange_mark(marks, name, None, encoded=True)
            if when is None or when < now - KEPT:
                files.discard(name, marks)
                removed += 1
    return removed


def exchange_mark(marks: int, name: str, when: float | None, *, encoded: bool = False) -> float | None:
    """What the named time was, after which it is `when`, unless None. Two processes never get the same.
    encoded: the name is that of its file."""
    file = name if encoded else files.file_name(name)
    if when is None:
        try:
            fd = files.open_regular(file, os.O_RDONLY, marks)
        except (FileNotFoundError, files.NotRegular):
            return None
    else:
        fd = _create_mark(file, marks)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH if when is None else fcntl.LOCK_EX)
        try:
            before = float(os.pread(fd, 64, 0))
        except ValueError:
            before = None
        if when is not None:
            os.ftruncate(fd, 0)
            files.write_all(fd, b"%r\n" % when)
        return before
    finally:
        os.close(fd)


def _create_mark(file: str, marks: int) -> int:
    """The file of a named time, new if it is missing; what is no file of ours gives way to one."""
    while True:
        try:
            return files.open_regular(file, os.O_RDWR | os.O_CREAT, marks)
        except FileNotFoundError:  # swept by now
            continue
        except files.NotRegular:
            files.discard(file, marks)
