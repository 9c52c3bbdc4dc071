"""The run lock: one long-running flusher a spool."""

from __future__ import annotations

import os
import time

from mailstrom_cli.errors import CHECK_SPOOL, CONFIG, MailstromError
from mailstrom_cli.store import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from filelock import FileLock

NOBODY_SAYS = "another process"


class SpoolRunLock:
    """A file lock that says who holds it. The file stays: an unlinked lock is no lock."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock: FileLock | None = None

    def acquire(self) -> str | None:
        from filelock import FileLock, Timeout

        holder = self._holder()  # before the attempt, in which an old filelock empties the file
        lock = FileLock(self._path, timeout=0, mode=files.PRIVATE_FILE, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            return self._holder() or holder or NOBODY_SAYS
        self._lock = lock
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        fd = files.open_regular(self._path, os.O_RDWR | os.O_CREAT, None)
        try:
            os.ftruncate(fd, 0)
            os.write(fd, f"pid {os.getpid()}, since {since}\n".encode())
        finally:
            os.close(fd)
        return None

    def _holder(self) -> str:
        try:
            fd = files.open_regular(self._path, os.O_RDONLY, None)
        except files.NotRegular as error:
            raise MailstromError(str(error), CHECK_SPOOL, CONFIG) from None
        except OSError:
            return ""
        try:
            return os.read(fd, 200).decode("ascii", "replace").strip()
        finally:
            os.close(fd)

    def release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None
