"""One commit for all that was written to a file system: syncfs(2), where it tells of every error.

With fsync each file costs a flush of the disk's cache, three of them a message, even when the first has
written out all there is; syncfs needs one for as much as one likes. But it is not in Python's `os`, and waits
for what others have written there too: so only a large batch calls for it, and not while that is much.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

TRUSTED = (0xEF53, 0x58465342, 0x9123683E)  # ext4, XFS and Btrfs by their magic numbers (statfs(2))
SINCE = (5, 8)  # the Linux from which on syncfs tells of what could not be written
MUCH = 256 << 10  # kB


class Commit:
    """One file system. It tells of the errors of all that is written after it was made."""

    def __init__(self, fd: int, syncfs: Callable[[int], int], errno: Callable[[], int]) -> None:
        self._fd = fd
        self._syncfs = syncfs
        self._errno = errno

    def sync(self) -> None:
        """Make durable all that was written so far. Raises OSError, and then none of it may be relied on."""
        if self._syncfs(self._fd):
            number = self._errno()
            raise OSError(number, os.strerror(number))

    def close(self) -> None:
        os.close(self._fd)


def commit(directory: int) -> Commit | None:
    """For the file system of a directory; None where each file had better be synced by itself."""
    if sys.platform != "linux" or _kernel() < SINCE or _unwritten() > MUCH:
        return None
    try:
        import ctypes

        system = ctypes.CDLL(None, use_errno=True)
        syncfs, fstatfs = system.syncfs, system.fstatfs
    except (ImportError, OSError, AttributeError):  # an interpreter or a C library without one of them
        return None
    # On a descriptor of its own: an error is told once to each, and must not go to somebody else's batch.
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    held = (ctypes.c_long * 64)()  # room for a struct statfs, whose first member is the magic number
    if fstatfs(fd, held) == 0 and held[0] in TRUSTED:
        return Commit(fd, syncfs, ctypes.get_errno)
    os.close(fd)
    return None


def _kernel() -> tuple[int, ...]:
    return tuple([int(part) for part in os.uname().release.split(".")[:2] if part.isdigit()])


def _unwritten() -> int:
    """How many kB, of whomever, are in memory alone."""
    try:
        with open("/proc/meminfo", "rb") as file:
            words = file.read().partition(b"Dirty:")[2].split(None, 1)
    except OSError:
        return 0
    return int(words[0]) if words else 0
