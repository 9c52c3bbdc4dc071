"""A command that stands still after a system call of one's choice, so that something can happen there."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tests.peers.needs import lacking, need

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

HERE = Path(__file__).parents[2]
MAILSTROM = (sys.executable, "-m", "mailstrom_cli")
WHATEVER_IS_UNWRITTEN = """
import sys
from mailstrom_cli.store import commit
commit.MUCH = 1 << 40
from mailstrom_cli.__main__ import main
sys.exit(main())
"""
LARGE = (sys.executable, "-c", WHATEVER_IS_UNWRITTEN)
"""mailstrom, where a large batch is one commit however much of others' is unwritten."""
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")
SECONDS = 60.0

CHANGES = (
    *(
        "mkdir",
        "mkdirat",
        "mknod",
        "mknodat",
        "rmdir",
        "unlink",
        "unlinkat",
        "rename",
        "renameat",
        "renameat2",
    ),
    *("chmod", "fchmod", "fchmodat", "utimensat", "write", "pwrite64", "ftruncate", "fadvise64"),
    *("fsync", "fdatasync", "syncfs"),
)
"""What changes a file system, or makes a change durable."""
CALLS = re.compile(r"^(?:(\d+) +)?([a-z0-9_]+)\(")
FAST = ("--seccomp-bpf", "-f")
"""What is not traced is not slowed down: a start is five times as fast. But no signal can be sent then."""
FOR_EVER = 1 << 30
"""Microseconds."""


@dataclass
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str
    calls: list[str] = field(default_factory=list)


class Halted:
    """A command, from `with` on until after one of its calls, or its end.

    calls: the names of those that are listed.  before: the list up to where it halts, as an earlier run made
    it; an empty one: nowhere.  to_be_killed: it never goes on, which is faster.  meanwhile: is done beside
    it, and ends when `over` is true.
    """

    def __init__(
        self,
        command: Sequence[str],
        calls: Sequence[str],
        before: Sequence[str],
        environment: Mapping[str, str],
        stdin: bytes = b"",
        meanwhile: Callable[[Halted], None] | None = None,
        *,
        to_be_killed: bool = False,
    ) -> None:
        fast, halt = (FAST, f"delay_exit={FOR_EVER}") if to_be_killed else ((), "signal=STOP")
        self._trace = [need("strace"), *fast, "-e", f"trace={','.join(calls)}"]
        if before:
            number = before.count(before[-1])  # strace counts the calls of each name
            self._trace += ["-e", f"inject={before[-1]}:{halt}:when={number}"]
        self._command = command
        self._environment = environment
        self._stdin = stdin
        self._meanwhile = meanwhile
        self._first = ""  # the number of its first process
        self.halted = False
        self.over = False
        """It has halted, or ended."""
        self.calls: list[str] = []
        """The names of those that its first process has made, in order."""

    def __enter__(self) -> Halted:
        reader, writer = os.pipe()
        self._told: BinaryIO = os.fdopen(reader, "rb")
        self._input = subprocess.DEVNULL if not self._stdin else subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                [*DIES_WITH_US, *self._trace, "-o", f"/dev/fd/{writer}", *DIES_WITH_US, *self._command],
                stdin=self._input,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **self._environment},
                pass_fds=[writer],
                start_new_session=True,
                cwd=HERE,
            )
        except BaseException:
            self._told.close()
            raise
        finally:
            os.close(writer)
        if self._process.stdin is not None:
            self._process.stdin.write(self._stdin)  # which a pipe can hold
            self._process.stdin.close()
            self._process.stdin = None
        beside = threading.Thread(target=self._meanwhile, args=(self,)) if self._meanwhile else None
        if beside:
            beside.start()
        try:
            self._follow()
        finally:
            self.over = True
            if beside:
                beside.join()
        return self

    def _follow(self) -> None:
        for line in self._told:
            if found := CALLS.match(line.decode(errors="replace")):
                self._first = self._first or found[1]
                if found[1] == self._first:
                    self.calls.append(found[2])
            if line.startswith(b"--- stopped by SIGSTOP") or line.endswith(b"(DELAYED)\n"):
                self.halted = True
                return

    def go_on(self, *, terminate: bool = False) -> Done:
        """To its end, which is asked for."""
        self._signal(signal.SIGCONT)
        if terminate:
            self.terminate()
        return self.end()

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        tracer = self._process.pid
        for child in Path(f"/proc/{tracer}/task/{tracer}/children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), number)

    def kill(self) -> Done:
        """At once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return self.end()

    def end(self) -> Done:
        """Wait for it."""
        self._follow()
        out, err = self._process.communicate(timeout=SECONDS)
        return Done(self._process.returncode, out.decode(), err.decode(), self.calls)

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()
        self._told.close()


def need_strace() -> None:
    """strace, and the right to use it."""
    trial = [need("strace"), *FAST, "-o", "/dev/null", "-e", "inject=fsync:delay_exit=1:when=1", "true"]
    if subprocess.run(trial, capture_output=True).returncode != 0:
        lacking("strace may not trace here")
