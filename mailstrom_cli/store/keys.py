"""Idempotency keys: one file a key, named by the SHA-256 of the key, holding the id and digest it stands for.

flock on the file while a submit under the key is in progress. The file is synced before its message is
published, so a key may name a message that never came to be: such a key is free.
"""

from __future__ import annotations

import fcntl
import os
import time

from mailstrom_cli.errors import CHECK_SPOOL, CONFIG, DATA, TEMPORARY, MailstromError
from mailstrom_cli.store import files
from mailstrom_cli.store.ids import is_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mailstrom_cli.mail.envelope import Envelope

PATIENCE = 5.0  # seconds that a submit waits for another under the same key


def parse(held: bytes) -> tuple[str, str] | None:
    """The id and digest in a key's file; None when a crash left it unreadable."""
    words = held.decode("ascii", "replace").split()
    return (words[0], words[1]) if len(words) == 2 and is_id(words[0]) else None


def file_name(key: str) -> str:
    """The name of a key's file."""
    import hashlib

    return hashlib.sha256(key.encode()).hexdigest()


def other_message(key: str, id: str) -> MailstromError:
    """Another message has the key."""
    return MailstromError(
        f"the key {key!r} belongs to another message, {id}", "a key names one message; take a new one", DATA
    )


class Keys:
    """The keys of one intake, locked from the first `lock` until `release`."""

    def __init__(self, directory: int, exists: Callable[[str], bool]) -> None:
        self._directory = directory
        self._exists = exists
        self._locked: dict[str, int] = {}
        self._stands_for: dict[str, tuple[str, str]] = {}
        self._new: list[str] = []

    def lock(self, keys: set[str]) -> None:
        """Lock all of these, always in one order, so that two batches cannot wait for each other."""
        for name, key in sorted((file_name(key), key) for key in keys):
            self._locked[key] = fd = _locked(name, key, self._directory)
            held = parse(os.pread(fd, 256, 0))
            if held and self._exists(held[0]):
                self._stands_for[key] = held

    def known(self, envelope: Envelope) -> str | None:
        """The id that the message already has. Raises MailstromError when another one has the key."""
        if envelope.key is None or envelope.key not in self._stands_for:
            return None
        id, digest = self._stands_for[envelope.key]
        if digest != (envelope.digest or "-"):
            raise other_message(envelope.key, id)
        return id

    def give(self, envelope: Envelope, id: str) -> None:
        """From now on the key stands for this id, if there is a key."""
        if envelope.key is not None:
            self._stands_for[envelope.key] = (id, envelope.digest or "-")
            self._new.append(envelope.key)

    def write(self) -> None:
        """Write what was given, not yet synced."""
        for key in self._new:
            fd, data = self._locked[key], " ".join(self._stands_for[key]).encode() + b"\n"
            os.ftruncate(fd, 0)
            files.write_all(fd, data)

    def sync(self) -> None:
        """Make what was written durable."""
        for key in self._new:
            os.fsync(self._locked[key])
        if self._new:
            files.sync_directory(self._directory)

    def release(self) -> None:
        try:
            files.close(*self._locked.values())
        except OSError:
            pass  # what they hold is synced, and the messages may be published by now
        self._locked.clear()


def _locked(name: str, key: str, directory: int) -> int:
    """The key's file, locked. Raises MailstromError when another submit keeps it for long."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            fd = files.open_regular(name, os.O_RDWR | os.O_CREAT, directory)
        except FileNotFoundError:  # swept by now
            continue
        except files.NotRegular as error:
            raise MailstromError(
                f"the key {key!r} cannot be looked up: keys/{error}", CHECK_SPOOL, CONFIG
            ) from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            files.regular(name, os.fstat(fd))  # swept between the two?
            return fd
        except FileNotFoundError:
            os.close(fd)
        except BlockingIOError:
            os.close(fd)
            if time.monotonic() > until:
                raise MailstromError(
                    f"another submit under the key {key!r} is in progress", "try again", TEMPORARY
                ) from None
            time.sleep(0.005)
        except BaseException:
            os.close(fd)
            raise


def sweep(directory: int, exists: Callable[[str], bool]) -> int:
    """Remove the keys whose message is gone and which nobody is using: how many."""
    removed = 0
    for name in os.listdir(directory):
        try:
            fd = files.open_regular(name, os.O_RDWR, directory)
        except (OSError, files.NotRegular):
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = parse(os.pread(fd, 256, 0))
            if not (held and exists(held[0])):
                os.unlink(name, dir_fd=directory)  # under the lock, and whoever waits for it looks again
                removed += 1
        except OSError:
            continue
        finally:
            os.close(fd)
    return removed
