"""The spool directory itself: its names, and how one is opened, judged and created."""

from __future__ import annotations

import errno
import os
import stat

from mailstrom_cli.errors import (
    CANT_CREATE,
    CHECK_SPOOL,
    CONFIG,
    NO_PERMISSION,
    TEMPORARY,
    MailstromError,
    NoSpool,
)
from mailstrom_cli.mail.status import QUEUED, STATES
from mailstrom_cli.store import files

FORMAT = b"mailstrom spool 1\n"
FORMAT_FILE = "format"
TMP, CORRUPT, HOSTS, KEYS, MARKS, NOTES = "tmp", "corrupt", "hosts", "keys", "marks", "notes"
DIRECTORIES = (TMP, *STATES, CORRUPT, HOSTS, KEYS, MARKS, NOTES)
TRIGGER = "trigger"
RUN_LOCK = "run.lock"

MESSAGE = "message.eml"
SIDECAR = "message.jsonl"
REASON = "reason"

_OUT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
OURS = frozenset((*DIRECTORIES, FORMAT_FILE, TRIGGER, RUN_LOCK))


def open_root(path: str, create: bool = True) -> int:
    """A descriptor of the spool at `path`, which is made when there is none, or, without `create`, missed.

    Raises MailstromError: exit code 77 when others own it or may write it, 78 when it has another format,
    73 when it cannot be created, 75 when the system is out of something or fails; NoSpool.
    """
    root = _open(path, create)
    try:
        held = os.fstat(root)
        _judge_owner(path, held)
        _judge_mode(path, held)
        if not _formatted(path, root):
            if not create:
                raise NoSpool(path)
            _fill(path, root)
    except BaseException:
        os.close(root)
        raise
    return root


def open_damaged(path: str) -> int:
    """A descriptor of the spool at `path` for who looks what is wrong with it: neither its mode nor a format
    file that cannot be read is a reason to refuse. Raises MailstromError as `open_root`."""
    root = _open(path, create=False)
    try:
        _judge_owner(path, os.fstat(root))
        if {FORMAT_FILE, QUEUED}.isdisjoint(os.listdir(root)):
            raise NoSpool(path)
        try:
            _judge_format(path, _read_format(root))
        except (OSError, files.NotRegular):
            pass
    except BaseException:
        os.close(root)
        raise
    return root


def _open(path: str, create: bool) -> int:
    if "\0" in path or not path:
        raise MailstromError(f"{path!r} is not a path for a spool", "give --spool a directory", CANT_CREATE)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        try:
            root = os.open(path, flags)
        except FileNotFoundError:
            if not create:
                raise
            _make_path(path)
            root = os.open(path, flags)
        return root
    except OSError as error:
        if isinstance(error, PermissionError) and (not create or os.path.lexists(path)):
            raise MailstromError(
                f"may not open the spool {path}: {error.strerror}",
                "choose another with --spool",
                NO_PERMISSION,
            ) from None
        if not create and isinstance(error, FileNotFoundError | NotADirectoryError):
            raise NoSpool(path) from None
        if error.errno in (*_OUT_OF, errno.EIO) and os.path.lexists(path):
            raise MailstromError(
                f"cannot open the spool {path}: {error.strerror}", "try again later", TEMPORARY
            ) from None
        raise _cannot_create(path, error) from None


def _cannot_create(path: str, error: OSError) -> MailstromError:
    where = f" ({error.filename})" if isinstance(error.filename, str) and error.filename != path else ""
    what = f"cannot create the spool {path}: {error.strerror}{where}"
    if error.errno in _OUT_OF:
        return MailstromError(what, "try again later", TEMPORARY)
    return MailstromError(what, "choose another with --spool", CANT_CREATE)


def _make_path(path: str) -> None:
    """A directory and the parents it lacks, each synced into its own parent."""
    parent = os.path.dirname(os.path.abspath(path))
    try:
        os.mkdir(path, files.PRIVATE_DIRECTORY)
    except FileExistsError:
        return  # another process was faster
    except FileNotFoundError:
        if parent == path:
            raise
        _make_path(parent)
        try:
            os.mkdir(path, files.PRIVATE_DIRECTORY)  # fails where the parent is one that can have no children
        except FileExistsError:
            return
    os.chmod(path, files.PRIVATE_DIRECTORY)
    fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        files.sync_directory(fd)
    finally:
        os.close(fd)


# A spool is refused in which somebody else could put, change or take away mail.


def _judge_owner(path: str, held: os.stat_result) -> None:
    if held.st_uid != os.geteuid():
        raise MailstromError(
            f"the spool {path} belongs to user {held.st_uid}, and this is user {os.geteuid()}",
            "run as that user, or choose another with --spool",
            NO_PERMISSION,
        )


def _judge_mode(path: str, held: os.stat_result) -> None:
    if held.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise MailstromError(
            f"the spool {path} may be written by others (mode {stat.S_IMODE(held.st_mode):04o})",
            "`mailstrom check-spool --repair` sets the mode, and aside what others put there",
            NO_PERMISSION,
        )


def _formatted(path: str, root: int) -> bool:
    """Whether the spool is complete: its format file is written last."""
    try:
        held = _read_format(root)
    except FileNotFoundError:
        return False
    except (files.NotRegular, PermissionError) as error:
        raise MailstromError(f"{path}/{FORMAT_FILE} cannot be read: {error}", CHECK_SPOOL, CONFIG) from None
    except OSError as error:
        error.filename = f"{path}/{FORMAT_FILE}"
        raise
    _judge_format(path, held)
    return bool(held)


def _read_format(root: int) -> bytes:
    fd = files.open_regular(FORMAT_FILE, os.O_RDONLY, root)
    try:
        return os.read(fd, 64)
    finally:
        os.close(fd)


def _judge_format(path: str, held: bytes) -> None:
    if held and held != FORMAT:
        said = held.split(b"\n")[0].decode("ascii", "replace")
        raise MailstromError(
            f"the spool {path} has the format {said!r}, and this mailstrom knows {FORMAT.decode().strip()!r}",
            "use the mailstrom that made it, or choose another with --spool",
            CONFIG,
        )


def _fill(path: str, root: int) -> None:
    """Make what is missing, and the format file last. Any number of processes may do so at once."""
    foreign = sorted(set(os.listdir(root)) - OURS)
    if foreign:
        raise MailstromError(
            f"{path} is not a spool, and not empty: it has {foreign[0]!r}",
            "give --spool a new or an empty directory",
            CANT_CREATE,
        )
    try:
        for name in DIRECTORIES:
            directory(name, root)
        fifo(root)
        write_format(root)
    except OSError as error:
        raise _cannot_create(path, error) from None


def write_format(root: int) -> None:
    """Say that the spool is complete."""
    fd = files.open_regular(FORMAT_FILE, os.O_RDWR | os.O_CREAT, root)
    try:
        os.pwrite(fd, FORMAT, 0)
        os.fsync(fd)
    finally:
        os.close(fd)
    files.sync_directory(root)


def open_directory(name: str, root: int) -> int:
    """A descriptor of one of the spool's directories, which is made again when somebody removed it. Raises
    OSError: ENOTDIR for what only a hand can have put there, EXDEV for a file system of its own."""
    try:
        fd = files.open_directory(name, root)
    except FileNotFoundError:
        directory(name, root)
        fd = files.open_directory(name, root)
    if os.fstat(fd).st_dev != os.fstat(root).st_dev:
        os.close(fd)
        raise OSError(errno.EXDEV, "is on another file system than the spool", name)
    return fd


def directory(name: str, root: int) -> None:
    """Make one of the spool's directories, unless it is there, and sync it into the spool."""
    try:
        files.make_directory(name, root)
    except FileExistsError:
        return
    fd = files.open_directory(name, root)
    try:
        files.sync_directory(fd)
        files.sync_directory(root)
    finally:
        os.close(fd)


def fifo(root: int) -> None:
    """Make the trigger, unless it is there."""
    try:
        os.mkfifo(TRIGGER, files.PRIVATE_FILE, dir_fd=root)
    except FileExistsError:
        return
    os.chmod(TRIGGER, files.PRIVATE_FILE, dir_fd=root)
