"""A command that stands still after a system call of one's choice, so that something can happen there."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tests.peers.needs import lacking, need

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HERE = Path(__file__).parents[2]
MAILSTROM = (sys.executable, "-m", "mailstrom_cli")
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
CALLS = re.compile(r"^(?:\d+ +)?([a-z0-9_]+)\(")


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
    it; an empty one: nowhere.
    """

    def __init__(
        self,
        command: Sequence[str],
        calls: Sequence[str],
        before: Sequence[str],
        environment: Mapping[str, str],
        stdin: bytes = b"",
    ) -> None:
        self._trace = [need("strace"), "-e", f"trace={','.join(calls)}"]
        if before:
            number = before.count(before[-1])  # strace counts the calls of each name
            self._trace += ["-e", f"inject={before[-1]}:signal=STOP:when={number}"]
        self._command = command
        self._environment = environment
        self._stdin = stdin
        self.halted = False
        self.calls: list[str] = []
        """The names of those it has made, in order."""

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
        self._follow()
        return self

    def _follow(self) -> None:
        for line in self._told:
            if line.startswith(b"--- stopped by SIGSTOP"):
                self.halted = True
                return
            if found := CALLS.match(line.decode(errors="replace")):
                self.calls.append(found[1])

    def go_on(self) -> Done:
        """To its end."""
        (child,) = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGCONT)
        return self.end()

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
    trial = [need("strace"), "-o", "/dev/null", "-e", "inject=fsync:signal=STOP:when=1", "true"]
    if subprocess.run(trial, capture_output=True).returncode != 0:
        lacking("strace may not trace here")
