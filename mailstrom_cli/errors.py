"""The one exception that reaches a user, and the exit codes of sysexits(3).

MailstromError carries what a person needs: what is wrong, and a hint what to do instead. The command
line prints it in one place and exits with its code; a caller of the Python face catches it. Any other
exception is a bug of mailstrom.
"""

from __future__ import annotations

OK = 0
USAGE = 64
DATA = 65  # the message is not valid, or the key belongs to another message; the spool has faults
NO_INPUT = 66  # input unreadable, or no such id
UNAVAILABLE = 69  # some recipient failed (--wait)
SOFTWARE = 70  # our bug
OS_ERROR = 71
CANT_CREATE = 73  # the spool cannot be created
TEMPORARY = 75  # not now and nothing stored; or still deferred (--wait)
NO_PERMISSION = 77
CONFIG = 78

CHECK_SPOOL = "`mailstrom check-spool` tells what is wrong with the spool, and with --repair puts it right"

_NOT_LOADED = ("Too many open files", "failed to map segment", "annot allocate")  # in the words of ld.so(8)


class MailstromError(Exception):
    """Something a person can put right: `message` says what and where, `hint` what to do instead."""

    def __init__(self, message: str, hint: str | None = None, exit_code: int = USAGE) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code


class NoSuchMessage(MailstromError):
    """No message in the store answers to this name."""

    def __init__(
        self, name: str, hint: str = "`mailstrom queue --state all` lists every message that is still kept"
    ) -> None:
        super().__init__(f"no message {name!r} in the queue", hint, NO_INPUT)


class NoRoom(MailstromError):
    """The store is full, so that nothing more can be put on record."""


def exhausted(error: BaseException) -> str | None:
    """In words an error that has no errno and yet means that this machine is out of something which comes
    back: memory, or the descriptor or address space that a library of Python's needs. None for others."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and "malloc failure" in str(error)):
        return "out of memory"
    if isinstance(error, SystemError) and ("without exception set" in str(error) or "NULL" in str(error)):
        return "out of memory, in the interpreter itself"  # which had none left to say so
    if isinstance(error, ImportError) and any(reason in str(error) for reason in _NOT_LOADED):
        return f"a library could not be loaded: {error}"
    if isinstance(error, ImportError) and error.__context__ is not None:  # what was to stand in for it
        return exhausted(error.__context__)
    return None


class NoSpool(MailstromError):
    """There is no spool, and none was to be made."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"no spool at {path}", "`mailstrom submit` makes one; --spool names another", NO_INPUT
        )
