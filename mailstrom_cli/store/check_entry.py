"""Checking the messages of a state: once without a lock, and what then seems wrong again under its lease."""

from __future__ import annotations

import fcntl
import os
import stat
from functools import partial

from mailstrom_cli.mail.status import STATES
from mailstrom_cli.store import files, layout, verdict
from mailstrom_cli.store.corrupt import set_aside
from mailstrom_cli.store.entry import DamagedEntry, fold
from mailstrom_cli.store.fault import EXHAUSTED, Fault, settle
from mailstrom_cli.store.ids import is_id
from mailstrom_cli.store.lease import SpoolLease, judge, read_sidecar
from mailstrom_cli.store.sidecar import parse
from mailstrom_cli.store.verdict import ASIDE, ERROR, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailstrom_cli.store.check_root import Directories
    from mailstrom_cli.store.entry import Entry


class Held:
    """An entry as it can be had for a while: its directory, and its sidecar, which is the lease. What cannot
    be opened cannot be leased by anybody. busy: somebody else has the lease."""

    def __init__(self, id: str, parent: int) -> None:
        self.directory = self.sidecar = -1
        self.busy = False
        try:
            self.directory = files.open_directory(id, parent)
            self.sidecar = files.open_regular(layout.SIDECAR, os.O_RDWR | os.O_APPEND, self.directory)
            fcntl.flock(self.sidecar, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.busy = True
        except (OSError, files.NotRegular) as error:
            self._error = error
            if isinstance(error, OSError) and error.errno in EXHAUSTED:
                self.close()
                raise

    def copy(self) -> tuple[int, int]:
        """Descriptors of directory and sidecar that share the lease. Raises OSError when there is none."""
        if self.sidecar < 0:
            raise self._error
        return os.dup(self.directory), os.dup(self.sidecar)

    def close(self) -> None:
        files.close(*[fd for fd in (self.sidecar, self.directory) if fd >= 0])

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Entries:
    """directories: of the spool, by name.  messages: how many were looked at."""

    def __init__(self, directories: Directories, now: float, repair: bool) -> None:
        self.messages = 0
        self._directories = directories
        self._now = now
        self._repair = repair

    def check(self, state: str) -> Iterator[Finding]:
        """What is wrong with the messages in a state, sorted."""
        suspects = []
        for found in files.scan(".", self._directories[state]):
            if not is_id(found.name):
                suspects.append(found.name)
                continue
            self.messages += 1
            if self._look(state, found.name, None):
                suspects.append(found.name)
        for name in sorted(suspects):
            yield from self._settled(state, name) if is_id(name) else self._foreign(state, name)

    def _foreign(self, state: str, name: str) -> Iterator[Finding]:
        try:
            held = os.stat(name, dir_fd=self._directories[state], follow_symlinks=False)
        except FileNotFoundError:
            return
        yield verdict.foreign(f"{state}/{name}", held, "a queue id")

    def _settled(self, state: str, id: str) -> list[Finding]:
        with Held(id, self._directories[state]) as lease:
            if lease.busy:
                return []
            return list(settle(lambda: self._look(state, id, lease), repair=self._repair))

    def _look(self, state: str, id: str, lease: Held | None) -> list[Fault]:
        """What is wrong with a message that lies here, now and after the look."""
        parent, faults = self._directories[state], list[Fault]()
        where = f"{state}/{id}"
        try:
            held = os.stat(id, dir_fd=parent, follow_symlinks=False)
            try:
                for fault in self._faults(state, id, held, lease):
                    faults.append(fault)
            except DamagedEntry as error:
                faults.append(self._damaged(state, id, str(error)))
            except OSError as error:
                if error.errno in EXHAUSTED:
                    raise
                what = f"it cannot be read: {error.strerror} ({error.filename})"
                faults.append(Fault(Finding(ERROR, where, what)))
            if faults and not os.path.samestat(held, os.stat(id, dir_fd=parent, follow_symlinks=False)):
                return []
        except FileNotFoundError:
            return []  # it moved
        return faults

    def _damaged(self, state: str, id: str, what: str) -> Fault:
        return Fault(Finding(ERROR, f"{state}/{id}", what, ASIDE), partial(self._aside, state, id, what))

    def _aside(self, state: str, id: str, what: str) -> None:
        set_aside(id, what, self._directories[state], self._directories[layout.CORRUPT])

    def _faults(self, state: str, id: str, held: os.stat_result, lease: Held | None) -> Iterator[Fault]:
        """Raises DamagedEntry, and OSError; FileNotFoundError when it moved."""
        where, parent = f"{state}/{id}", self._directories[state]
        if not stat.S_ISDIR(held.st_mode):
            raise DamagedEntry(f"it is {verdict.kind(held.st_mode)}, not a directory")
        if held.st_uid != os.geteuid():
            raise DamagedEntry(f"its directory belongs to user {held.st_uid}")
        for finding in verdict.wrong_mode(where, held, files.PRIVATE_DIRECTORY):
            yield Fault(finding, lambda: os.chmod(id, files.PRIVATE_DIRECTORY, dir_fd=parent))
        directory = files.open_directory(id, parent)
        try:
            yield from self._modes(where, directory, lease)
            sidecar = read_sidecar(directory)
            lines, whole = parse(sidecar)
            entry = judge(id, directory, fold(lines))
            for finding in verdict.inside(where, os.listdir(directory)):
                yield Fault(finding)
        finally:
            os.close(directory)
        where_it_says = f"{where}/{layout.SIDECAR}"
        for finding in verdict.torn(where_it_says, len(sidecar), whole):
            yield Fault(finding, lambda: self._cut(lease, len(sidecar), whole))
        for finding in verdict.unknown(where_it_says, lines, entry):
            yield Fault(finding)
        yield from self._twice(state, id, sidecar, entry)
        for finding in verdict.misplaced(where, state, held.st_mtime_ns, entry, self._now):
            yield Fault(finding, lambda: self._put_right(state, id, lease))

    def _modes(self, where: str, directory: int, lease: Held | None) -> Iterator[Fault]:
        for name in (layout.MESSAGE, layout.SIDECAR):
            try:
                held = os.stat(name, dir_fd=directory, follow_symlinks=False)
                files.regular(name, held)
            except (FileNotFoundError, files.NotRegular):
                continue  # which is damage, and told as such
            for finding in verdict.wrong_mode(f"{where}/{name}", held, files.PRIVATE_FILE):
                yield Fault(finding, partial(_chmod, lease, name))

    def _twice(self, state: str, id: str, sidecar: bytes, entry: Entry) -> Iterator[Fault]:
        """The same message in a state before this one, where it is found first."""
        where = f"{state}/{id}"
        for other in STATES[: STATES.index(state)]:
            parent = self._directories.get(other, -1)
            if parent < 0 or not os.access(id, os.F_OK, dir_fd=parent, follow_symlinks=False):
                continue
            old = _older(parent, id, sidecar, right=entry.state == state)
            if old is None:
                what = f"it is in {other}/ too, and either tells what the other does not"
                hint = "compare their sidecars, and move one out of the spool"
                yield Fault(Finding(ERROR, where, what, hint=hint))
            elif old:
                what = f"it is an older copy of the message in {other}/"
                yield self._damaged(state, id, what)
            else:
                what = f"it is in {other}/ too, as an older copy"
                finding = Finding(ERROR, where, what, "the copy set aside in corrupt/")
                yield Fault(finding, partial(self._copy_aside, other, id, state))

    def _copy_aside(self, state: str, id: str, other: str) -> None:
        with Held(id, self._directories[state]) as lease:
            if lease.busy:
                raise BlockingIOError(0, "somebody is at it")
            self._aside(state, id, f"it is an older copy of the message in {other}/")

    def _cut(self, lease: Held | None, length: int, whole: int) -> None:
        """What a writer does before it appends, under its lease."""
        if lease is not None and os.fstat(lease.sidecar).st_size == length:
            os.ftruncate(lease.sidecar, whole)

    def _put_right(self, state: str, id: str, lease: Held | None) -> None:
        """A lease that is given back leaves the index in order."""
        if lease is None:
            return
        directory, sidecar = lease.copy()
        try:
            right = SpoolLease(id, state, directory, sidecar, self._directories.__getitem__)
        except BaseException:
            files.close(directory, sidecar)
            raise
        right.release()


def _chmod(lease: Held | None, name: str) -> None:
    if lease is not None:
        os.chmod(name, files.PRIVATE_FILE, dir_fd=lease.directory)


def _older(parent: int, id: str, sidecar: bytes, *, right: bool) -> bool | None:
    """Whether a sidecar is an earlier copy of that in another state; None when neither is. right: of two that
    are the same, this one lies where it should."""
    try:
        directory = files.open_directory(id, parent)
        try:
            there = read_sidecar(directory)
        finally:
            os.close(directory)
    except (OSError, DamagedEntry):
        return None
    return not right if sidecar == there else verdict.stale(sidecar, there)
