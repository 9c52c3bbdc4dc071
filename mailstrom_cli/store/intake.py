"""Intake: a batch of messages made durable and published, or nothing of it.

All messages of a batch are written before the first is synced, and all are synced before the first is
published, so that they share the file system's commits; a large batch asks for one itself.
"""

from __future__ import annotations

import errno
import fcntl
import os

from mailstrom_cli.errors import CHECK_SPOOL, NO_PERMISSION, TEMPORARY, MailstromError
from mailstrom_cli.mail.status import STATES
from mailstrom_cli.store import files, layout
from mailstrom_cli.store.entry import first_line
from mailstrom_cli.store.ids import new_id
from mailstrom_cli.store.schedule import mtime
from mailstrom_cli.store.sidecar import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailstrom_cli.store.base import Submission
    from mailstrom_cli.store.commit import Commit
    from mailstrom_cli.store.keys import Keys

TOGETHER = 100  # messages held open at once, three descriptors each
MANY = 32  # messages that are worth a commit of the whole file system
LONG = 4 << 20  # octets that are worth to be written out before the message is at its end
AT_ONCE = 1 << 16  # octets of a message that are put together for one write
MIN_INODES = 100  # free inodes, where there is a floor at all

_TAKEN = (*STATES, layout.CORRUPT)  # where an id may be in use already, in the order in which messages move

_HINTS = {
    errno.ENOSPC: "make space on the file system of the spool, or choose another with --spool",
    errno.EDQUOT: "make space in the quota of the spool's owner, or choose another with --spool",
    errno.EMFILE: "raise `ulimit -n`, or submit fewer messages at once",
    errno.ENFILE: "the whole system is out of file descriptors; try again later",
    errno.ENOMEM: "the system is out of memory; try again later",
    errno.EIO: "the disk of the spool fails; see the kernel's log",
    **dict.fromkeys((errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.EXDEV), CHECK_SPOOL),
}


class Batch:
    """One intake. Everything it made is known to it, so that it can be unmade."""

    def __init__(self, path: str, root: int, tmp: int, queued: int, keys: Keys | None) -> None:
        self._path = path
        self._root = root
        self._tmp = tmp
        self._queued = queued
        self._keys = keys
        self._commit: Commit | None = None  # for a large batch, where one may be had
        self._open: list[tuple[int, int, int]] = []
        self._made: list[str] = []  # whatever is in tmp/
        self._new: list[str] = []  # what of it is to be published

    def store(self, submissions: Sequence[Submission], now: float) -> tuple[list[str], list[str]]:
        """The ids, in order, and those among them that are new. Raises MailstromError, with nothing
        stored."""
        try:
            if self._keys:
                self._keys.lock({s.envelope.key for s in submissions if s.envelope.key is not None})
            if len(submissions) >= MANY:
                from mailstrom_cli.store.commit import commit

                self._commit = commit(self._tmp)
            ids = [self._known(submission) or self._write(submission, now) for submission in submissions]
            if self._keys:
                self._keys.write()
            self._sync()
            if self._keys and not self._commit:
                self._keys.sync()
            for id in self._new:
                os.rename(id, id, src_dir_fd=self._tmp, dst_dir_fd=self._queued)
            if self._new:
                files.sync_directory(self._queued)
            return ids, self._new
        except BaseException as error:
            self._undo()
            if isinstance(error, OSError):
                raise refusal(self._path, error) from None
            raise
        finally:
            if self._commit:
                _quietly(self._commit.close)

    def _known(self, submission: Submission) -> str | None:
        return self._keys.known(submission.envelope) if self._keys else None

    def _write(self, submission: Submission, now: float) -> str:
        """One message into tmp/, not yet synced."""
        if len(self._open) >= TOGETHER:
            self._sync()
        try:
            id, directory, message, sidecar = self._create(now)
        except OSError as error:
            if error.errno != errno.EMFILE or not self._open:
                raise
            self._sync()  # gives back the descriptors of what is written so far
            id, directory, message, sidecar = self._create(now)
        envelope, size, begun = submission.envelope, 0, 0
        chunks = submission.chunks if envelope.size > AT_ONCE else [b"".join(submission.chunks)]
        for chunk in chunks:
            files.write_all(message, chunk)
            size += len(chunk)
            if size - begun >= LONG:  # the disk works while the rest is made
                files.start_writing(message, begun)
                begun = size
        if size != envelope.size:
            raise ValueError(f"the envelope tells of {envelope.size} octets, and the message has {size}")
        entry_line = first_line(id, round(now, 3), envelope)
        files.write_all(sidecar, encode(entry_line))
        due = mtime(entry_line["submitted"] if envelope.at is None else envelope.at)
        os.utime(directory, ns=(due, due))
        if not self._commit:
            files.start_writing(message, begun)
            files.start_writing(sidecar)
        if self._keys:
            self._keys.give(envelope, id)
        return id

    def _create(self, now: float) -> tuple[str, int, int, int]:
        """An entry in tmp/: its id, and descriptors of directory, message and sidecar."""
        while True:
            id = new_id(now, self._made[-1] if self._made else "")
            try:
                files.make_directory(id, self._tmp)
            except FileExistsError:
                continue
            if not self._taken(id):  # looked at now that no other submit can take it
                break
            os.rmdir(id, dir_fd=self._tmp)
        self._made.append(id)
        opened: list[int] = []
        try:
            opened.append(files.open_directory(id, self._tmp))
            opened.append(files.create(layout.MESSAGE, opened[0]))
            fcntl.flock(opened[1], fcntl.LOCK_EX | fcntl.LOCK_NB)  # "a writer is at it"
            opened.append(files.create(layout.SIDECAR, opened[0]))
        except BaseException:
            files.close(*opened)
            files.discard(id, self._tmp)
            raise
        directory, message, sidecar = opened
        self._open.append((message, sidecar, directory))
        self._new.append(id)
        return id, directory, message, sidecar

    def _taken(self, id: str) -> bool:
        """Whether a message has this id, which by chance and under a clock that stands still can be."""
        for name in _TAKEN:
            if os.access(f"{name}/{id}", os.F_OK, dir_fd=self._root, follow_symlinks=False):
                return True
        return False

    def _sync(self) -> None:
        """Make durable what is open, and close it. A failed fsync is final: it is not tried again."""
        if self._commit:
            self._commit.sync()
        else:
            for message, sidecar, directory in self._open:
                os.fsync(message)
                os.fsync(sidecar)
                files.sync_directory(directory)
        while self._open:
            files.close(*self._open.pop())

    def _undo(self) -> None:
        """Take everything back that can be; what cannot lies in tmp/, or is told in the table of states."""
        for opened in self._open:
            _quietly(files.close, *opened)
        for id in self._new:  # all: an interrupt may have come between a rename and any note of it
            _quietly(os.rename, id, id, src_dir_fd=self._queued, dst_dir_fd=self._tmp)
        for id in self._made:
            _quietly(files.discard, id, self._tmp)


def _quietly(do: Callable[..., object], *arguments: object, **named: object) -> None:
    try:
        do(*arguments, **named)
    except OSError:
        pass


def refusal(path: str, error: OSError) -> MailstromError:
    """What to tell a person when the spool at `path` could not take a message."""
    denied = error.errno in (errno.EACCES, errno.EPERM)
    return MailstromError(
        f"the message could not be stored in {path}: {error.strerror or error}",
        _HINTS.get(error.errno or 0),
        NO_PERMISSION if denied else TEMPORARY,
    )


def check_space(path: str, root: int, needed: int, floor: int) -> None:
    """Refuse what would leave less than `floor` octets, or hardly an inode, on the spool's file system."""
    held = os.statvfs(root)
    free = held.f_bavail * held.f_frsize
    if free - needed < floor:
        raise MailstromError(
            f"the file system of {path} has {free} octets free, and {floor} are to stay so"
            f" beside the message's {needed}; it was not stored",
            "make space, or set [limits] min_free lower",
            TEMPORARY,
        )
    if held.f_files and held.f_favail < MIN_INODES:
        raise MailstromError(
            f"the file system of {path} has {held.f_favail} inodes free; the message was not stored",
            "remove files there, or choose another with --spool",
            TEMPORARY,
        )
