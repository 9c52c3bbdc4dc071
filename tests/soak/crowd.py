"""Real processes at one spool: started in any thread, killed at any time, and all at once when the power is
cut."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.crash.halt import DIES_WITH_US, HERE, MAILSTROM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

SECONDS = 300.0
"""No command takes longer."""


@dataclass
class Done:
    """A command that has ended. name: what it called itself to servers.  killed: by us.  cut: it lived when
    the power was cut.  began, ended: seconds since the epoch."""

    name: str
    words: tuple[str, ...]
    code: int
    out: str
    err: str
    began: float
    ended: float
    killed: bool
    cut: bool

    def __str__(self) -> str:
        said = self.err.strip()[-600:]
        return f"`{' '.join(self.words)[:80]}`: exit {self.code} {said}"


class Crowd:
    """All that are at work. wrap: what is run instead of a command."""

    def __init__(
        self, environment: Mapping[str, str], command: Sequence[str] = (*DIES_WITH_US, *MAILSTROM)
    ) -> None:
        self._environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment}
        self._command = command
        self._numbers = itertools.count(1)
        self._live: set[subprocess.Popen[bytes]] = set()
        self._changed = threading.Condition()
        self._open = True
        self._active = 0
        self._cuts = 0

    def call(
        self,
        *words: str,
        stdin: bytes = b"",
        kill_after: float | None = None,
        begun: Callable[[subprocess.Popen[bytes]], None] | None = None,
        seconds: float = SECONDS,
    ) -> Done:
        """Run a command to its end, or kill it after so many seconds. begun: told of its process."""
        name = f"n{next(self._numbers)}.example.test"
        with self._changed:
            self._changed.wait_for(lambda: self._open)
            self._active += 1
            cuts = self._cuts
            began = time.time()
            process = subprocess.Popen(
                [*self._command, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**self._environment, "MAILSTROM_HELO_NAME": name},
                start_new_session=True,
                cwd=HERE,
            )
            self._live.add(process)
        late = False
        try:
            if begun is not None:
                begun(process)
            try:
                out, err = process.communicate(stdin, seconds if kill_after is None else kill_after)
            except subprocess.TimeoutExpired:
                late = kill_after is None and not ends(process)
                if kill_after is not None or late:
                    kill(process)
                out, err = process.communicate()
        finally:
            assert process.stdin is not None
            process.stdin.close()  # which a second `communicate` leaves open, when not all was written
            with self._changed:
                self._live.remove(process)
                self._active -= 1
                cut = self._cuts != cuts
                self._changed.notify_all()
        killed = process.returncode == -signal.SIGKILL and kill_after is not None
        assert killed or cut or not late, f"{words} did not end: {err.decode()}"
        ended = time.time()
        return Done(name, words, process.returncode, out.decode(), err.decode(), began, ended, killed, cut)

    @contextlib.contextmanager
    def cut(self, cut: Callable[[], None]) -> Iterator[None]:
        """Nobody is at work, and nobody begins, until this is left. cut: what befalls them first."""
        with self._changed:
            self._open = False
            self._cuts += 1
            cut()
        try:
            with self._changed:
                for process in self._live:
                    kill(process)
                if not self._changed.wait_for(lambda: not self._active, SECONDS):
                    raise TimeoutError("what was killed has not ended")
            yield
        finally:
            with self._changed:
                self._open = True
                self._changed.notify_all()

    def kill_all(self) -> None:
        with self._changed:
            for process in self._live:
                kill(process)


def ends(process: subprocess.Popen[bytes]) -> bool:
    """Whether it ends soon, since it was only the machine that stood still."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=30)
    return process.poll() is not None


def kill(process: subprocess.Popen[bytes]) -> None:
    """It and what it has forked."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


class Workers:
    """Functions that are called again and again, each in a thread, until `stop`; their first failure."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []

    def start(self, work: Callable[[], object]) -> None:
        thread = threading.Thread(target=self._repeat, args=(work,), name=getattr(work, "__name__", "worker"))
        self._threads.append(thread)
        thread.start()

    def _repeat(self, work: Callable[[], object]) -> None:
        try:
            while not self.stopping.is_set():
                work()
        except BaseException as failure:
            self._failures.append(failure)
            self.stopping.set()

    def stop(self) -> None:
        """Return when each has ended what it was at. Raises what one of them raised."""
        self.stopping.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        if self._failures:
            raise self._failures[0]
