"""The file system, as a spool needs it: modes that no umask changes, links that are never followed, short
writes that are seen, directories that are synced.

Everything is opened relative to a directory descriptor. Errors are OSError; NotRegular is what only a hand
other than ours can have put there.
"""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700


class NotRegular(ValueError):
    """A name that is not a regular file of ours with one link; the text says what it is."""


def open_directory(name: str, dir_fd: int | None = None) -> int:
    """A descriptor of a directory; NotADirectoryError for anything else, symbolic links too."""
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)


def make_directory(name: str, dir_fd: int) -> None:
    """A new directory, 0700. Raises FileExistsError."""
    os.mkdir(name, PRIVATE_DIRECTORY, dir_fd=dir_fd)
    try:
        os.chmod(name, PRIVATE_DIRECTORY, dir_fd=dir_fd)
    except BaseException:
        os.rmdir(name, dir_fd=dir_fd)
        raise


def create(name: str, dir_fd: int) -> int:
    """A new file, 0600, open for reading and writing."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, PRIVATE_FILE, dir_fd=dir_fd)
    try:
        os.fchmod(fd, PRIVATE_FILE)
    except BaseException:
        os.close(fd)
        raise
    return fd


def close(*descriptors: int) -> None:
    """Close them all, and only then raise what the first of them that failed said."""
    failed = None
    for fd in descriptors:
        try:
            os.close(fd)
        except OSError as error:
            failed = failed or error
    if failed:
        raise failed


def open_regular(name: str, flags: int, dir_fd: int | None) -> int:
    """An existing regular file of ours that has no other name; with O_CREAT a new one, if it is missing.
    Raises NotRegular.

    O_NONBLOCK, so that a FIFO put in its place cannot make us wait.
    """
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, PRIVATE_FILE, dir_fd=dir_fd)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise NotRegular(f"{name} is not a regular file") from None
        raise
    try:
        regular(name, os.fstat(fd))
        if flags & os.O_CREAT:
            os.fchmod(fd, PRIVATE_FILE)
    except BaseException:
        os.close(fd)
        raise
    return fd


def regular(name: str, held: os.stat_result) -> None:
    """Raises NotRegular unless `held` tells of a regular file of ours with one link, FileNotFoundError if it
    has none."""
    if not stat.S_ISREG(held.st_mode):
        raise NotRegular(f"{name} is not a regular file")
    if held.st_nlink == 0:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    if held.st_nlink != 1:
        raise NotRegular(f"{name} has {held.st_nlink} links")
    if held.st_uid != os.geteuid():  # who may have it open for writing
        raise NotRegular(f"{name} belongs to user {held.st_uid}")


def write_all(fd: int, data: bytes | memoryview) -> None:
    """All of it, over however many writes that takes."""
    written = os.write(fd, data)
    if written != len(data):
        rest = memoryview(data)
        while written < len(rest):
            written += os.write(fd, rest[written:])


def read_all(fd: int) -> bytes:
    """A file from its first byte, wherever its offset is."""
    size = os.fstat(fd).st_size
    data = b""
    while len(data) < size and (more := os.pread(fd, size - len(data), len(data))):
        data = data + more if data else more
    return data


def start_writing(fd: int, start: int = 0) -> None:
    """Begin to write a file's pages out, from octet `start` on, and go on: its blocks are then allocated when
    the first fsync of a batch commits, and the later ones find little left to do. This halves a submit on
    ext4. Pages that are written already lose their place in memory, so none is to be named twice."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, start, 0, os.POSIX_FADV_DONTNEED)


def sync_directory(fd: int) -> None:
    """fsync a directory; some file systems have no such thing, and answer EINVAL or ENOTSUP."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    os.fstat(fd)  # an XFS that has shut itself down answers 0 to the fsync of a directory, but EIO to this


def scan(name: str, dir_fd: int) -> Iterator[os.DirEntry[str]]:
    """What lies in a directory. On a descriptor of its own, since listing moves the descriptor's offset."""
    fd = open_directory(name, dir_fd)
    try:
        with os.scandir(fd) as found:
            yield from found
    finally:
        os.close(fd)


def discard(name: str, dir_fd: int) -> None:
    """Remove a file, or a directory with all that is in it; not there is as good."""
    try:
        try:
            os.unlink(name, dir_fd=dir_fd)
        except (IsADirectoryError, PermissionError):  # Linux says the first, POSIX the second
            try:
                os.rmdir(name, dir_fd=dir_fd)  # needs no descriptor, of which there may be none left
                return
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            fd = open_directory(name, dir_fd)
            try:
                for inside in os.listdir(fd):
                    discard(inside, fd)
            finally:
                os.close(fd)
            os.rmdir(name, dir_fd=dir_fd)
    except FileNotFoundError:
        pass


def file_name(text: str) -> str:
    """A file name for any text: letters, digits, `.`, `-` and `_` stay, the rest is percent-encoded, and what
    gets too long is a digest."""
    name = "".join(
        chr(b) if (chr(b).isalnum() and b < 128) or b in b"-_" or (b == 46 and i) else f"%{b:02X}"
        for i, b in enumerate(text.encode("utf-8", "surrogateescape"))
    )
    if 0 < len(name) <= 200:
        return name
    import hashlib

    return "%" + hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
