"""Where the messages of a spool lie: its directories, the names in them, and a message wherever it has moved.

No sidecar is read here. Errors of the system name the whole path, since a person is to find it.
"""

from __future__ import annotations

import os
import time

from mailstrom_cli.errors import NoSuchMessage
from mailstrom_cli.mail.status import FAILED, QUEUED, STATES, UNFINISHED
from mailstrom_cli.store import files, layout
from mailstrom_cli.store.base import DamagedMessage
from mailstrom_cli.store.corrupt import reason_for
from mailstrom_cli.store.entry import DamagedEntry
from mailstrom_cli.store.ids import is_id, only_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType
    from typing import TypeVar

    T = TypeVar("T")

ROUNDS = 3  # how often all states are looked through for a message that others may be moving


class below:
    """A context in which the file that an OSError names is one below this path."""

    def __init__(self, *path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            name_below(error, *self._path)


def name_below(error: OSError, *path: str) -> None:
    """Have an error name its file below this path."""
    name = error.filename if isinstance(error.filename, str) else ""
    error.filename = os.path.join(*path, name).rstrip("/")


class Tree:
    """The directories of a spool, each opened once; `close` gives the descriptors back.

    opened: when, in seconds since the epoch.
    """

    def __init__(self, path: str, create: bool) -> None:
        self.path = path
        self.opened = time.time()
        self._root = layout.open_root(path, create)
        self._directories: dict[str, int] = {}

    def close(self) -> None:
        """Give back the descriptors; the spool must not be used any more."""
        files.close(*self._directories.values(), self._root)
        self._directories, self._root = {}, -1

    def __del__(self) -> None:
        try:
            self.close()
        except (OSError, AttributeError):  # closed before, or never opened
            pass

    def directory(self, name: str) -> int:
        """The descriptor of one of the spool's directories; made again when somebody removed it."""
        if name in self._directories:
            return self._directories[name]
        with below(self.path):
            fd = layout.open_directory(name, self._root)
        kept = self._directories.setdefault(name, fd)
        if kept != fd:  # another thread was faster
            os.close(fd)
        return kept

    def scan(self, state: str) -> Iterator[tuple[str, os.stat_result]]:
        """The ids in a state, each with what lstat tells of its directory."""
        with below(self.path, state):
            for found in files.scan(".", self.directory(state)):
                if is_id(found.name):
                    try:
                        yield found.name, found.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # it moved

    def names(self, directories: Sequence[str]) -> set[str]:
        """The ids in some of the spool's directories. A message that moves meanwhile is among them: it moves
        on in the order of STATES, and only a failed one goes back."""
        wanted = [name for name in (*STATES, layout.CORRUPT) if name in directories]
        if FAILED in wanted and wanted[0] in UNFINISHED:
            wanted.insert(0, FAILED)
        return set().union(*map(self._list, wanted))

    def _list(self, directory: str) -> list[str]:
        with below(self.path, directory):
            # One of its own, since listing moves the offset.
            fd = files.open_directory(".", self.directory(directory))
            try:
                return only_ids(os.listdir(fd))
            finally:
                os.close(fd)

    def locate(self, id: str, likely: str = QUEUED) -> tuple[str, int | None]:
        """The state in which a message lies and a descriptor of its directory, None if it is no directory.
        likely: where to look first. Raises NoSuchMessage, and DamagedMessage for one that was set aside."""
        if is_id(id):
            for _ in range(ROUNDS):
                for state in (likely, *STATES):
                    try:
                        return state, files.open_directory(id, self.directory(state))
                    except FileNotFoundError:
                        continue
                    except NotADirectoryError:
                        return state, None
                    except OSError as error:
                        name_below(error, self.path, state)
                        raise
            reason = reason_for(id, self.directory(layout.CORRUPT))
            if reason is not None:
                raise self.damage(layout.CORRUPT, id, reason)
        raise NoSuchMessage(id)

    def exists(self, id: str) -> bool:
        """Whether a message is in one of the four states."""
        try:
            _, directory = self.locate(id)
        except (NoSuchMessage, DamagedMessage):
            return False
        if directory is not None:
            os.close(directory)
        return True

    def still_there(self, state: str, id: str, directory: int | None) -> bool:
        """Whether what was opened is still what the name says, so that what it lacks was not just moved
        away."""
        try:
            with below(self.path, state):
                named = os.stat(id, dir_fd=self.directory(state), follow_symlinks=False)
        except FileNotFoundError:
            return False
        return directory is None or os.path.samestat(named, os.fstat(directory))

    def visit(self, id: str, use: Callable[[int], T], likely: str = QUEUED) -> T:
        """What `use` makes of the directory of a message, wherever that is by the time it is done. likely: as
        of `locate`. Nothing here costs anything unless there is an error: there may be 100,000 messages."""
        for _ in range(ROUNDS):
            state, directory = self.locate(id, likely)
            try:
                if directory is None:
                    raise DamagedEntry("it is not a directory")
                return use(directory)
            except DamagedEntry as error:
                if self.still_there(state, id, directory):
                    raise self.damage(state, id, str(error)) from None
            except OSError as error:
                name_below(error, self.path, state, id)
                raise
            finally:
                if directory is not None:
                    os.close(directory)
        raise NoSuchMessage(id)

    def damage(self, directory: str, id: str, reason: str) -> DamagedMessage:
        """The error that names a message which lies there and cannot be read."""
        return DamagedMessage(id, reason, os.path.join(self.path, directory, id))
