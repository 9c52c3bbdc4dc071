"""The run lock: one long-running flusher a spool."""

from __future__ import annotations

import errno
import os
import time

from mailstrom_cli.errors import CHECK_SPOOL, CONFIG, TEMPORARY, MailstromError, NoRoom
from mailstrom_cli.store import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from filelock import FileLock

NOBODY_SAYS = "another process"
ROOM = 1 << 16  # octets that a flusher finds room for before it begins
FULL = (errno.ENOSPC, errno.EDQUOT)


class SpoolRunLock:
    """A file lock that says who holds it. The file stays: an unlinked lock is no lock.

    Who gets it is going to deliver, so it is refused on a disk on which nothing could be put on record: mail
    would be sent, and sent again by the next flusher, which could not know of it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock: FileLock | None = None

    def acquire(self) -> str | None:
        from filelock import FileLock, Timeout

        holder = self._holder()  # before the attempt, in which an old filelock empties the file
        lock = FileLock(self._path, timeout=0, mode=files.PRIVATE_FILE, thread_local=False)
        try:
            lock.acquire()
            self._lock = lock
            self._sign()
        except Timeout:
            return self._holder() or holder or NOBODY_SAYS
        except OSError as error:
            self.release()
            if error.errno not in (*FULL, errno.EROFS, errno.EIO):
                raise
            kind = NoRoom if error.errno in FULL else MailstromError
            raise kind(
                f"nothing can be put on record in {os.path.dirname(self._path)}: {error.strerror}",
                "until it can, nothing is delivered",
                TEMPORARY,
            ) from None
        return None

    def _sign(self) -> None:
        """Say who holds it, and try whether there is room. Raises OSError."""
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = f"pid {os.getpid()}, since {since}\n".encode()
        fd = files.open_regular(self._path, os.O_RDWR | os.O_CREAT, None)
        try:
            os.ftruncate(fd, 0)
            files.write_all(fd, line + bytes(ROOM))
        finally:
            os.ftruncate(fd, len(line))
            os.close(fd)

    def _holder(self) -> str:
        try:
            fd = files.open_regular(self._path, os.O_RDONLY, None)
        except files.NotRegular as error:
            raise MailstromError(str(error), CHECK_SPOOL, CONFIG) from None
        except OSError:
            return ""
        try:
            return os.read(fd, 200).decode("ascii", "replace").partition("\n")[0]
        finally:
            os.close(fd)

    def release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None
