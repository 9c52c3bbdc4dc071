"""The run lock: one long-running flusher a spool."""

from __future__ import annotations

import os
import time

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
        lock = FileLock(self._path, timeout=0, mode=0o600, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            return self._holder() or holder or NOBODY_SAYS
        self._lock = lock
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        fd = os.open(self._path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(fd, 0o600)
            os.write(fd, f"pid {os.getpid()}, since {since}\n".encode())
        finally:
            os.close(fd)
        return None

    def _holder(self) -> str:
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
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
