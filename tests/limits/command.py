"""Commands under limits: real processes, each with those that prlimit(1) gives it, and what they leave."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from mailstrom_cli.errors import NoSpool
from mailstrom_cli.mail.status import STATES
from tests.crash.halt import DIES_WITH_US, HERE, MAILSTROM
from tests.crash.user import User
from tests.peers.needs import lacking, need

if TYPE_CHECKING:
    import resource
    from collections.abc import Sequence

SECONDS = 120.0
NOBODY = 65534


@dataclass
class Done:
    """A command that has ended. peak: its largest resident set in kB, mapped files included.
    cpu, wall: seconds."""

    code: int
    out: str
    err: str
    peak: int
    cpu: float
    wall: float


class Child(subprocess.Popen[bytes]):
    """used: what it and its children have used, once it has ended."""

    used: resource.struct_rusage

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        pid, status, self.used = os.wait4(self.pid, wait_flags)
        return pid, status


class Limited(User):
    """As `User`, and each command may be given limits: nofile=20, memory (of the address space), data, nproc,
    fsize; and another user."""

    user: int | None = None

    def prefix(self, **limits: int) -> list[str]:
        words = [*DIES_WITH_US]
        if self.user is not None:  # who may read where Python lies, wherever that is
            able = "+dac_override,+dac_read_search"
            words += [f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"]
            words += [f"--inh-caps={able}", f"--ambient-caps={able}", f"--bounding-set=-all,{able}"]
        if limits:
            words += [need("prlimit"), *[f"--{name}={value}:{value}" for name, value in limits.items()]]
        return words

    def under(
        self,
        *words: str,
        stdin: bytes | IO[bytes] | int = b"",
        stdout: IO[bytes] | int = subprocess.PIPE,
        seconds: float = SECONDS,
        before: Sequence[str] = (),
        **limits: int,
    ) -> Done:
        """Run a command, with `before` in front of it, to its end within so many seconds."""
        began = time.monotonic()
        process = Child(
            [*self.prefix(**limits), *before, *MAILSTROM, *words],
            stdin=subprocess.PIPE if isinstance(stdin, bytes) else stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env={**os.environ, **self.environment},
            cwd=HERE,
        )
        self._begun.append(process)
        try:
            out, err = process.communicate(stdin if isinstance(stdin, bytes) else None, seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{words} took more than {seconds} seconds: {err!r}") from None
        used = process.used
        return Done(
            process.returncode,
            (out or b"").decode(),
            err.decode(),
            used.ru_maxrss,
            used.ru_utime + used.ru_stime,
            time.monotonic() - began,
        )

    def ids(self, *states: str) -> list[str]:
        try:
            store = self.mail().store
        except NoSpool:
            return []
        try:
            return list(store.ids(states or STATES))
        finally:
            store.close()  # type: ignore[attr-defined]


_FOREIGN = re.compile(
    r"ERROR:root:code for hash .*?^ValueError: unsupported hash type \S+$"
    r"|Exception ignored in atexit callback: <function _release_live_locks .*?^MemoryError:? *$",
    re.S | re.M,
)
"""What Python's own hashlib writes when it finds no memory for a library, and filelock at the very end; the
program says so, too."""


def honest(done: Done, *codes: int) -> None:
    """One of these codes, and no traceback or warning of Python's; a failure has its reason."""
    assert done.code in codes, done
    said = _FOREIGN.sub("", done.err)
    for word in ("Traceback", "Warning:", "internal error", "never awaited"):
        assert word not in said, said
    assert done.code == 0 or "error: " in done.err, done


def gave_up(done: Done) -> bool:
    """Whether the interpreter itself did, before any code of ours ran or after all of it, or a library in C
    that did not look at what malloc gave it."""
    if done.code == -signal.SIGSEGV:
        return True
    if done.code == 0 or "error: " in done.err:
        return "Fatal Python error" in done.err
    of_ours = "mailstrom_cli/" in done.err
    return any(word in done.err for word in ("Fatal Python error", "lost sys.stderr")) or not of_ours


def need_another_user() -> None:
    """For limits that root is not bound by."""
    if os.geteuid() != 0:
        lacking("only root can be another user")
