"""Where every error becomes two lines on stderr and an exit code, and the plain words that go there."""

from __future__ import annotations

import errno
import os
import sys
import time

from mailstrom_cli.errors import (
    CHECK_SPOOL,
    CONFIG,
    NO_PERMISSION,
    SOFTWARE,
    TEMPORARY,
    MailstromError,
    exhausted,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import NoReturn

INTERRUPTED = 130  # 128 + SIGINT, as a shell tells it
BROKEN_PIPE = 141  # 128 + SIGPIPE

# Out of something that comes back (or is made to): never the fault of what was asked for.
PASSING = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.EAGAIN,
    errno.EIO,
    errno.EROFS,
    errno.EFBIG,
)
# What only a hand other than ours can have put there.
PLANTED = (errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.EXDEV)
TOGETHER = 0.02  # seconds for which lines are put together
_LONGEST = 1000


def guarded(work: Callable[[], int], arguments: Sequence[str]) -> int:
    """Do the work and turn whatever it raises into a message and an exit code.

    `arguments` only tell whether -v asks for the traceback of a bug.
    """
    code = _guarded(work, arguments)
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except (OSError, ValueError):
        # Else the interpreter, which tries again at its end, would exit with a code of its own.
        _forget(2)
        sys.stderr = None
    return code


def _guarded(work: Callable[[], int], arguments: Sequence[str]) -> int:
    try:
        occupy_closed()
        code = work()
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except MailstromError as error:
        return failed(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        forget_stdout()
        return BROKEN_PIPE
    except Exception as error:
        if (lacking := exhausted(error)) is not None:
            return failed(MailstromError(lacking, exit_code=TEMPORARY))
        if isinstance(error, OSError):
            known = of_system(error)
            if known is not None:
                forget_stdout()
                return failed(known)
        if any(argument in ("-v", "--verbose") for argument in arguments):
            import traceback

            traceback.print_exc()
        text = f"{type(error).__name__}: {error}"
        return failed(
            MailstromError(f"internal error, {text}", "run it again with -v for a traceback", SOFTWARE)
        )


def end(code: int) -> NoReturn:
    """End a program of ours. What stored a message and no more ends at once: tearing the interpreter down
    takes longer than the disk did. With threads, and with what registers work for the end (logging and the
    like all import threading), it ends as every program does."""
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):
        sys.exit(code)
    if "threading" in sys.modules:
        sys.exit(code)
    os._exit(code)


def of_system(error: OSError) -> MailstromError | None:
    """An operating system's error that is no bug of ours, in our words; None for the others."""
    what = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    if error.errno in PASSING:
        return MailstromError(what, exit_code=TEMPORARY)
    if error.errno in (errno.EACCES, errno.EPERM):
        return MailstromError(what, exit_code=NO_PERMISSION)
    if error.errno in PLANTED:
        return MailstromError(what, CHECK_SPOOL, CONFIG)
    return None


def known(error: MailstromError | OSError) -> MailstromError:
    """An error in our words, so that work on other messages can go on. Raises an OSError that is a bug."""
    if isinstance(error, MailstromError):
        return error
    ours = of_system(error)
    if ours is None:
        raise error
    return ours


def failed(error: MailstromError, about: str | None = None) -> int:
    """Tell an error (`about`: of which file or id) on stderr, a line for each of its lines; its exit code."""
    for line in error.message.split("\n"):
        tell("error", f"{about}: {line}" if about else line)
    if error.hint:
        tell("hint", error.hint)
    return error.exit_code


def tell(kind: str, text: str) -> None:
    """One line on stderr, whatever the text holds; a stderr that cannot be written to is no error."""
    try:
        sys.stderr.write(f"{kind}: {one_line(text)}\n")
        sys.stderr.flush()
    except (OSError, AttributeError, ValueError):
        pass


def warn(error: MailstromError | OSError) -> None:
    """Tell on stderr of a message that cannot be shown."""
    tell("warning", known(error).message)


def write_out(text: str) -> None:
    """Write data to stdout, at once. Raises OSError; BrokenPipeError where there is no stdout."""
    if sys.stdout is None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
    sys.stdout.write(text)
    sys.stdout.flush()


def write_lines(lines: Iterable[str]) -> bool:
    """Write lines to stdout as they come, the first at once, and those that follow fast in blocks; whether
    there were any. Raises as `write_out`, and whatever `lines` does."""
    block: list[str] = []
    due = 0.0
    try:
        for line in lines:
            block.append(line)
            if (now := time.monotonic()) >= due:
                due = now + TOGETHER
                _write_block(block)
    finally:
        _write_block(block)
    return due > 0.0


def _write_block(block: list[str]) -> None:
    text = "".join([f"{line}\n" for line in block])
    block.clear()
    if text:
        write_out(text)


def write_octets(data: bytes) -> None:
    """Write octets to stdout as they are. Raises as `write_out`."""
    if sys.stdout is None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
    sys.stdout.buffer.write(data)


def one_line(text: str, longest: int = _LONGEST) -> str:
    """Text from elsewhere as one harmless line: control, C1, bidirectional and other invisible
    characters escaped, cut at `longest` characters."""
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() else escaped(c) for c in text)


def escaped(character: str) -> str:
    r"""How an unprintable character is shown: \n, \x1b, \u202e."""
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def forget_stdout() -> None:
    """Send what is still buffered for a stdout that is gone nowhere, so that the exit is quiet; who writes to
    it again learns that it is gone."""
    _forget(1)
    # As Python has it where a process began without one.
    sys.stdout = None


def _forget(number: int) -> None:
    """Let what is still buffered for a standard stream go nowhere."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, number)
        os.close(null)
    except OSError:
        pass


def occupy_closed() -> None:
    """Where a process began without stdin, stdout or stderr, keep their descriptors from files that are
    opened later: what is written to descriptor 1 would go into a message."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_WRONLY)  # gets this descriptor, as the lowest that is free
