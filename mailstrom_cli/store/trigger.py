"""The trigger: a FIFO through which `submit` wakes a flusher at once.

A line may be lost (nobody listens, the FIFO is full, the listener dies): it only says that the spool is worth
a look, and what it says can be found in the spool.
"""

from __future__ import annotations

import errno
import os
import stat

from mailstrom_cli.store import files, layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

ATOMIC = 512  # octets that no pipe tears apart (POSIX, _POSIX_PIPE_BUF)


def pieces(lines: Iterable[str]) -> list[bytes]:
    """Lines as octets, in pieces that each go into a pipe whole. Raises ValueError for what is no such
    line."""
    made = [b""]
    for line in lines:
        data = line.encode() + b"\n"
        if "\n" in line or len(data) > ATOMIC:
            raise ValueError(f"{line!r} is not one line for the trigger")
        if len(made[-1]) + len(data) > ATOMIC:
            made.append(b"")
        made[-1] += data
    return made


def pull(root: int, lines: Iterable[str]) -> bool:
    """Write lines; False when nobody listens, or not all of them went in."""
    told = pieces(lines)
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(layout.TRIGGER, flags, dir_fd=root)
        try:
            if not stat.S_ISFIFO(os.fstat(fd).st_mode):
                return False
            for piece in told:
                os.write(fd, piece)
        finally:
            os.close(fd)
    except OSError:  # ENXIO: no listener; EAGAIN: it has more to read than it can; the rest changes nothing
        return False
    return True


def listen(root: int) -> int:
    """A descriptor that reads what is pulled and never blocks; the FIFO is made again when it is missing.

    It is open for writing too, so that the last writer to leave is not taken for an end of file.
    """
    flags = os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    for _ in range(2):
        layout.fifo(root)
        try:
            fd = os.open(layout.TRIGGER, flags, dir_fd=root)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                raise
        else:
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                return fd
            os.close(fd)
        files.discard(layout.TRIGGER, root)
    raise FileExistsError(errno.EEXIST, "is not a FIFO, and comes back when removed", layout.TRIGGER)
