"""`dead.letter` in the caller's home: where a message is kept that was read from stdin and not stored."""

from __future__ import annotations

import os
import stat
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailstrom_cli.cli.source import Data

NAME = "dead.letter"


def home() -> str:
    """The caller's home: $HOME, or what the password file says."""
    return os.environ.get("HOME") or os.path.expanduser("~")


def save(data: Data, sender: str, now: float, folder: str) -> str:
    """Append the message to the mbox `dead.letter` in the folder (mboxrd; nobody else may read it), and give
    its path. Raises OSError, also when what is there is no plain file of the caller's own."""
    path = os.path.join(folder, NAME)
    # O_NONBLOCK: a FIFO of this name would wait for ever.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(path, flags, 0o600)
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1 or about.st_uid != os.geteuid():
            raise OSError(None, "not a plain file of the caller", path)
        os.fchmod(fd, 0o600)
        # In one write, so that letters of processes that die at once do not mix.
        rest = memoryview(_mbox(data, sender, now))
        while rest:
            rest = rest[os.write(fd, rest) :]
    finally:
        os.close(fd)
    return path


def _mbox(data: Data, sender: str, now: float) -> bytes:
    """The message as one of an mbox: a separator line before, an empty line after, `From ` quoted within."""
    import re

    who = "".join(sender.split()) or "MAILER-DAEMON"
    text = re.sub(rb"^(>*From )", rb">\1", bytes(data).replace(b"\r\n", b"\n"), flags=re.MULTILINE)
    end = b"\n" if text.endswith(b"\n") else b"\n\n"
    return f"From {who} {time.ctime(now)}\n".encode() + text + end
