"""Message bytes from stdin, files and mbox files, in bounded memory and within the size limit.

Small input is held in memory. A larger file is mapped, read-only; a larger pipe first goes to a temporary
file without a name. The limit holds while reading, so input without an end is refused, not swallowed.
"""

from __future__ import annotations

import os
import stat

from mailstrom_cli.errors import DATA, NO_INPUT, TEMPORARY, MailstromError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterable, Iterator

    Data = bytes | mmap.mmap

IN_MEMORY = 1 << 20
STDIN = "-"


def read_message(name: str, limit: int) -> Data:
    """The bytes of a file, or of stdin for "-"; at most `limit` octets.

    Raises MailstromError: 65 too large, 66 unreadable, 75 no room for a temporary file.
    """
    if name == STDIN:
        return _read(0, limit)
    fd = _open(name)
    try:
        return _read(fd, limit)
    finally:
        os.close(fd)


def read_mbox(name: str, limit: int) -> Iterator[tuple[str, bytes | MailstromError]]:
    """Each message of an mbox file, or of stdin for "-", with its name (`box, message 3 (line 120)`); none of
    one that is empty.

    A message begins with a `From ` line at the start or after an empty line; `>From ` loses one `>`
    (mboxrd). One that passes the limit is given as an error in its place. Raises MailstromError 66.
    """
    fd = 0 if name == STDIN else _open(name)
    try:
        from_start = stat.S_ISREG(os.fstat(fd).st_mode) and os.lseek(fd, 0, os.SEEK_CUR) == 0
        whole = _mapped(fd) if from_start else gather(pieces(fd), None)
    except OSError as error:
        raise _unreadable(error) from None
    finally:
        if fd:
            os.close(fd)
    if not whole:
        return
    if whole[:5] != b"From ":
        raise MailstromError(
            "not an mbox file: its first line does not begin with `From `",
            "a file with one message is given without --mbox",
            DATA,
        )
    shown = "stdin" if name == STDIN else name
    start, number, line = 0, 0, 1
    while start < len(whole):
        head = whole.find(b"\n", start) + 1 or len(whole)
        end = _next_message(whole, head)
        number += 1
        label = f"{shown}, message {number} (line {line})"
        size = max(0, end - head)
        yield label, _too_large(limit) if size > limit else _unquoted(whole[head:end])
        line += _lines(whole, start, end)
        start = end


def _next_message(whole: Data, start: int) -> int:
    """Where the next `From ` line after an empty line begins, or the end."""
    at = start - 1  # the newline before: a message may have no line at all
    while True:
        at = whole.find(b"\nFrom ", at)
        if at < 0:
            return len(whole)
        if at < start or whole[max(at - 1, 0) : at] == b"\n" or whole[max(at - 2, 0) : at] == b"\n\r":
            return at + 1
        at += 1


def _unquoted(message: bytes) -> bytes:
    """Without the empty line that ends a message in an mbox, and without mboxrd's quoting."""
    for ending, kept in ((b"\r\n\r\n", 2), (b"\n\n", 1)):
        if message.endswith(ending):
            message = message[:-kept]
            break
    if b"\n>" not in message:
        return message
    import re

    return re.sub(rb"^>(>*From )", rb"\1", message, flags=re.MULTILINE)


def _lines(whole: Data, start: int, end: int) -> int:
    count = 0
    for at in range(start, end, IN_MEMORY):
        count += whole[at : min(at + IN_MEMORY, end)].count(b"\n")
    return count


def _open(name: str) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        raise _unreadable(error) from None


def _read(fd: int, limit: int) -> Data:
    try:
        about = os.fstat(fd)
        if stat.S_ISREG(about.st_mode) and os.lseek(fd, 0, os.SEEK_CUR) == 0:
            if about.st_size > limit:
                raise _too_large(limit)
            if about.st_size > IN_MEMORY:
                return _mapped(fd)
            data = os.read(fd, about.st_size + 1)
            if len(data) == about.st_size:
                return data
            os.lseek(fd, 0, os.SEEK_SET)  # it grows or shrinks, or is one of /proc
    except OSError as error:
        raise _unreadable(error) from None
    return gather(pieces(fd), limit)


def gather(parts: Iterable[bytes], limit: int | None) -> Data:
    """All parts as one: in memory while it is small, else in a file that has no name; at most `limit` octets.

    Raises MailstromError: 65 too large, 75 no room for the file; and whatever the parts raise.
    """
    head = bytearray()
    rest = iter(parts)
    for piece in rest:
        head += piece
        if limit is not None and len(head) > limit:
            raise _too_large(limit)
        if len(head) > IN_MEMORY:
            return _spooled(bytes(head), rest, limit)
    return bytes(head)


def pieces(fd: int) -> Iterator[bytes]:
    """What a descriptor gives, as it comes. Raises MailstromError with exit code 66."""
    while True:
        try:
            piece = os.read(fd, IN_MEMORY)
        except OSError as error:
            raise _unreadable(error) from None
        if not piece:
            return
        yield piece


def _mapped(fd: int) -> Data:
    import mmap

    if os.fstat(fd).st_size == 0:
        return b""
    return mmap.mmap(fd, 0, prot=mmap.PROT_READ)


def _spooled(head: bytes, parts: Iterator[bytes], limit: int | None) -> Data:
    """The head and all parts behind it, in a file that has no name."""
    try:
        out = _nameless()
        try:
            size = len(head)
            _write(out, head)
            for piece in parts:
                size += len(piece)
                if limit is not None and size > limit:
                    raise _too_large(limit)
                _write(out, piece)
            return _mapped(out)
        finally:
            os.close(out)
    except OSError as error:
        raise MailstromError(
            f"no room to read the message: {error.strerror}", "set TMPDIR to a directory with room", TEMPORARY
        ) from None


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _nameless() -> int:
    """A new temporary file, 0600, in $TMPDIR or /var/tmp or /tmp, that vanishes when it is closed."""
    refused: OSError | None = None
    for folder in (os.environ.get("TMPDIR"), "/var/tmp", "/tmp"):  # noqa: S108  (never opened by name again)
        if not folder:
            continue
        for attempt in range(2):
            try:
                if attempt == 0 and hasattr(os, "O_TMPFILE"):
                    return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
                path = os.path.join(folder, f".mailstrom-{os.urandom(12).hex()}")
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
                os.unlink(path)
                return fd
            except OSError as error:
                refused = error
    raise refused or OSError()


def _too_large(limit: int) -> MailstromError:
    return MailstromError(
        f"the message is larger than {limit} octets",
        "[limits] message_size sets how large a message may be",
        DATA,
    )


def _unreadable(error: OSError | ValueError) -> MailstromError:
    return MailstromError(f"cannot be read: {getattr(error, 'strerror', None) or error}", None, NO_INPUT)
