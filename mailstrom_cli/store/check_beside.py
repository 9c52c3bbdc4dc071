"""Checking what lies beside messages: corrupt/, tmp/, keys/, hosts/, marks/ and notes/."""

from __future__ import annotations

import fcntl
import os
import stat
from functools import partial

from mailstrom_cli.mail.status import STATES
from mailstrom_cli.store import files, keys, layout, notes, sweep, verdict
from mailstrom_cli.store.base import RATE
from mailstrom_cli.store.corrupt import reason_for, set_aside
from mailstrom_cli.store.entry import DamagedEntry
from mailstrom_cli.store.fault import EXHAUSTED, Fault, settle
from mailstrom_cli.store.lease import first_line
from mailstrom_cli.store.schedule import DISTANT
from mailstrom_cli.store.sidecar import parse
from mailstrom_cli.store.verdict import ERROR, NOTE, REMOVED, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from mailstrom_cli.store.check_root import Directories

ROUNDS = 3  # as in `tree`
FRESH = 60.0  # seconds for which an empty file may be one that its writer has not locked yet


class Beside:
    """directories: of the spool, by name."""

    def __init__(self, directories: Directories, now: float, repair: bool) -> None:
        self._directories = directories
        self._now = now
        self._repair = repair

    def corrupt(self) -> Iterator[Finding]:
        """What was set aside, and why; it is left to a person."""
        for name in self._names(layout.CORRUPT):
            reason = reason_for(name, self._directories[layout.CORRUPT])
            what = f"set aside: {reason or 'its reason is not known'}"
            yield Finding(NOTE, f"{layout.CORRUPT}/{name}", what)

    def tmp(self) -> Iterator[Finding]:
        """What writers left behind, as `sweep` judges it."""
        yield from settle(self._abandoned, repair=self._repair)

    def small_files(self) -> Iterator[Finding]:
        """What is wrong with the files in keys/, hosts/, marks/ and notes/."""
        for directory in (layout.KEYS, layout.HOSTS, layout.MARKS, layout.NOTES):
            for name in self._names(directory):
                yield from settle(partial(self._look, directory, name), repair=self._repair)

    def _names(self, directory: str) -> list[str]:
        return sorted(os.listdir(self._directories[directory])) if directory in self._directories else []

    # --- tmp/ ---

    def _abandoned(self) -> Iterator[Fault]:
        for name in self._names(layout.TMP):
            tmp = self._directories[layout.TMP]
            try:
                held = os.stat(name, dir_fd=tmp, follow_symlinks=False)
            except FileNotFoundError:
                continue
            age = self._now - held.st_ctime
            if age <= sweep.ABANDONED:
                continue
            where, hours = f"{layout.TMP}/{name}", f"{age / 3600:.0f} h"
            if stat.S_ISDIR(held.st_mode) and sweep.being_written(name, tmp):
                yield Fault(Finding(NOTE, where, f"a writer has been at it for {hours}"))
            else:
                what = f"a writer left it {hours} ago"
                yield Fault(Finding(NOTE, where, what, REMOVED), partial(sweep.sweep_tmp, tmp, self._now))

    # --- files ---

    def _look(self, directory: str, name: str) -> Iterator[Fault]:
        where, fd = f"{directory}/{name}", self._directories[directory]
        try:
            held = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return
        planted = list(verdict.no_regular(where, held))
        if planted:
            yield from (
                Fault(finding, partial(self._set_aside, directory, name, finding.what)) for finding in planted
            )
            return
        for finding in verdict.wrong_mode(where, held, files.PRIVATE_FILE):
            yield Fault(finding, lambda: os.chmod(name, files.PRIVATE_FILE, dir_fd=fd))
        if held.st_size == 0 and abs(self._now - held.st_mtime) < FRESH:
            return
        look = {
            layout.KEYS: self._key, layout.HOSTS: self._host, layout.MARKS: self._mark,
            layout.NOTES: self._note,
        }[directory]  # fmt: skip
        yield from look(where, name, fd)

    def _set_aside(self, directory: str, name: str, what: str) -> None:
        set_aside(name, what, self._directories[directory], self._directories[layout.CORRUPT])

    def _key(self, where: str, name: str, directory: int) -> Iterator[Fault]:
        with Locked(name, directory) as file:
            data = file.read()
        if data is None:
            return  # a submit is at it
        found = keys.parse(data)
        if found is None:
            what = "it names no message, and the next submit under it takes it"
            yield Fault(Finding(NOTE, where, what, REMOVED), lambda: _remove(name, directory, data))
            return
        id, digest = found
        try:
            envelope = self._envelope(id)
        except (DamagedEntry, OSError):
            return  # which is told where the message lies
        if envelope is None:
            what = f"its message, {id}, is gone"
            yield Fault(Finding(NOTE, where, what, REMOVED), lambda: _remove(name, directory, data))
        elif _file_of(envelope.get("key")) != name:
            what = f"it names the message {id}, whose key is another"
            yield Fault(Finding(ERROR, where, what, REMOVED), lambda: _remove(name, directory, data))
        elif digest != (right := envelope.get("digest") or "-"):
            what = f"its digest is not that of its message, {id}"
            line = f"{id} {right}\n".encode()
            repair = "written anew"
            yield Fault(Finding(ERROR, where, what, repair), lambda: _write(name, directory, data, line))

    def _envelope(self, id: str) -> Mapping[str, Any] | None:
        """The first line of the sidecar of a message; None when it is in none of the four states. Raises
        DamagedEntry and OSError."""
        for _ in range(ROUNDS):
            for state in STATES:
                try:
                    directory = files.open_directory(id, self._directories[state])
                except FileNotFoundError:
                    continue
                try:
                    lines, _ = parse(first_line(directory))
                    return lines[0] if lines else {}
                finally:
                    os.close(directory)
        return None

    def _host(self, where: str, name: str, directory: int) -> Iterator[Fault]:
        state = notes.host_in(directory, name)
        what = ""
        if state is None:
            what = "it cannot be read, which is as good as missing"
        elif state.until > self._now + DISTANT:
            what = f"its back-off, until {verdict.moment(state.until)}, is that of a clock that was ahead"
        if what:
            yield Fault(Finding(NOTE, where, what, REMOVED), lambda: files.discard(name, directory))

    def _note(self, where: str, name: str, directory: int) -> Iterator[Fault]:
        if notes.note_in(directory, name) is None:
            what = "it cannot be read, which is as good as missing"
            yield Fault(Finding(NOTE, where, what, REMOVED), lambda: files.discard(name, directory))

    def _mark(self, where: str, name: str, directory: int) -> Iterator[Fault]:
        of_rate = name.startswith((files.file_name(RATE), "%"))
        with Locked(name, directory) as file:
            data = file.read()
        if data is not None:
            for finding in verdict.of_mark(where, _time(data), self._now, of_rate=of_rate):
                yield Fault(finding, lambda: _remove(name, directory, data))


class Locked:
    """A small file, locked while it is looked at or changed, unless somebody else has it."""

    def __init__(self, name: str, directory: int) -> None:
        self.fd = -1
        try:
            self.fd = files.open_regular(name, os.O_RDWR, directory)
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (OSError, files.NotRegular) as error:
            self.__exit__()
            if isinstance(error, OSError) and error.errno in EXHAUSTED:
                raise

    def read(self) -> bytes | None:
        """What it holds, of which 256 octets are enough; None when it cannot be had."""
        return None if self.fd < 0 else os.pread(self.fd, 256, 0)

    def __enter__(self) -> Locked:
        return self

    def __exit__(self, *_: object) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _remove(name: str, directory: int, data: bytes) -> None:
    """Remove a file that still holds this, under its lock: whoever waits for that looks again."""
    with Locked(name, directory) as file:
        if file.read() == data:
            os.unlink(name, dir_fd=directory)


def _write(name: str, directory: int, data: bytes, line: bytes) -> None:
    """Write a file anew that still holds this, under its lock, and sync it."""
    with Locked(name, directory) as file:
        if file.read() == data:
            os.ftruncate(file.fd, 0)
            os.pwrite(file.fd, line, 0)
            os.fsync(file.fd)


def _file_of(key: object) -> str:
    return keys.file_name(key) if isinstance(key, str) else ""


def _time(data: bytes) -> float | None:
    try:
        return float(data)
    except ValueError:
        return None
