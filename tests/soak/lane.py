"""A soak in one place: submitters and flushers that are killed at random, and a server that fails at random.

On a disk of its own the power is cut now and then, and `run` is killed and begun again. In a plain folder
(`steady`) one `run` lives all the time, and is watched: it must not grow.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import statistics
import tempfile
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from mailstrom_cli.api import Mailstrom
from mailstrom_cli.config.schema import build
from mailstrom_cli.errors import OK, MailstromError, NoSpool
from mailstrom_cli.mail.status import FINAL, STATES, UNFINISHED
from tests.crash.disk import JOURNAL, SYNCED, WRITTEN, Disk
from tests.peers.scripted import ScriptedServer

from .books import Books
from .crowd import Crowd, Workers
from .load import Load
from .weather import Weather

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from .crowd import Done

STEADY = "steady"
LANES = ("ext4", "xfs", STEADY)

ENVIRONMENT = {
    "MAILSTROM_LIMITS_MIN_FREE": "0",
    "MAILSTROM_LIMITS_RECIPIENTS_PER_TRANSACTION": "10",
    "MAILSTROM_LIMITS_MESSAGES_PER_CONNECTION": "7",
    "MAILSTROM_RETRY_BASE_DELAY": "1s",
    "MAILSTROM_RETRY_FACTOR": "2",
    "MAILSTROM_RETRY_MAX_DELAY": "5s",
    "MAILSTROM_RETRY_RETRIES": "4",
}
STAGES = ("GREETING", "EHLO", "MAIL", "RCPT", "DATA", "BLOCK", "RSET", "QUIT")
KEPT = 60.0
"""Seconds that a message lies there after it has become final; then it is put into the books, and purged."""
LOOK_SECONDS = 5.0
ERROR = re.compile(r"^(\S+Z )?error: ")
IN_THE_END = 300.0
"""Seconds that all that is due may take when nothing fails any more."""
FIRST = 0.25
"""The share of a soak in which `run` takes what it needs."""
MORE_KIB, MORE_SHARE, MORE_DESCRIPTORS = 3072, 1.15, 5
"""What it may need more in the end than after that."""


class Folder:
    """A place without a disk of its own."""

    def __enter__(self) -> Folder:
        self._folder = tempfile.TemporaryDirectory(prefix="ms-soak-")
        self.path = Path(self._folder.name)
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def sync(self) -> None:
        pass


class Lane:
    """One soak. name: one of LANES.  pause: seconds between two commands of a submitter, on average.
    cut_after: the same between two power cuts.  live: for how many `run` lives.  patience: how many it waits
    for a reply, and half of those for the last one.  command: what is run as `mailstrom`."""

    def __init__(
        self,
        name: str,
        seconds: float,
        seed: int,
        *,
        pause: float = 0.3,
        cut_after: float = 60.0,
        live: float = 15.0,
        patience: float = 4.0,
        command: tuple[str, ...] = (),
    ) -> None:
        self.name, self._seconds, self._pause = name, seconds, pause
        self._cut_after, self._live = cut_after, live
        self._rng = Random(f"{seed} {name}")
        self._patience = patience
        self._weather = Weather(Random(f"{seed} {name} server"), 0.03, late=patience)
        self._command = command
        self.books = Books()
        self._memory: list[int] = []
        self._descriptors: list[int] = []
        self._runner: subprocess.Popen[bytes] | None = None

    def soak(self) -> Books:
        """All of it; the problems are in the books."""
        with (
            tempfile.TemporaryDirectory() as beside,
            ScriptedServer(self._weather.script()) as server,
            Folder() if self.name == STEADY else Disk(self.name) as disk,
        ):
            self._disk, self._server = disk, server
            self._spool = disk.path / "spool"
            self._load = Load(self._rng, Path(beside))
            environment = {
                **ENVIRONMENT,
                **{f"MAILSTROM_SMTP_TIMEOUT_{stage}": f"{self._patience}s" for stage in STAGES},
                "MAILSTROM_SMTP_TIMEOUT_DOT": f"{2 * self._patience}s",
                "MAILSTROM_SPOOL": str(self._spool),
                "MAILSTROM_VIA": f"smtp://127.0.0.1:{server.port}",
                "HOME": beside,
            }
            self._crowd = Crowd(environment, self._command) if self._command else Crowd(environment)
            workers = Workers()
            try:
                self._work(workers)
                self._weather.calm()
                self._finish(workers)
            finally:
                workers.stopping.set()
                self._crowd.kill_all()
                workers.stop()
        self._weather.tidy(server)
        self.books.problems += [f"the server says: {what}" for what in self._weather.violations]
        self.books.close(self._weather.taken)
        if self.name == STEADY:
            self._judge_growth()
        return self.books

    # --- while everything fails ---

    def _work(self, workers: Workers) -> None:
        end = time.monotonic() + self._seconds
        workers.start(self._run)
        for work in (self._submit, self._submit, self._flush):
            workers.start(work)
        cut = time.monotonic() + self._some(self._cut_after)
        while time.monotonic() < end and not workers.stopping.is_set():
            workers.stopping.wait(min(LOOK_SECONDS, max(0.0, min(cut, end) - time.monotonic())))
            self._weather.tidy(self._server)
            self._measure()
            if self.name != STEADY and time.monotonic() >= cut:
                self._cut()
                cut = time.monotonic() + self._some(self._cut_after)
            self._put_away(time.time() - KEPT)
        self._submitting = False

    def _some(self, average: float) -> float:
        """Seconds, at random, so many on average."""
        return self._rng.uniform(0.3, 1.7) * average

    _submitting = True

    def _submit(self) -> None:
        if not self._submitting:
            time.sleep(0.1)
            return
        time.sleep(self._some(self._pause))
        with self._load.any() as submit:
            # Half of what kills comes while the command begins, and half while it works.
            after = self._rng.uniform(0.0, 0.3) if self._rng.random() < 0.2 else None
            while True:
                done = self._crowd.call(*submit.words, stdin=submit.stdin, kill_after=after)
                self.books.submitted(submit, done)
                if "--key" not in submit.words or done.code == OK:
                    return
                after = None  # who does not know whether it got through says it again

    def _run(self) -> None:
        kill_after = None if self.name == STEADY or not self._submitting else self._some(self._live)
        done = self._crowd.call("run", kill_after=kill_after, begun=self._begun, seconds=1e6)
        self._runner = None
        if self._stopped and done.code == -signal.SIGTERM:
            return  # it had not even begun
        self.books.worked(done)
        self._check_log(done)
        if not (done.killed or done.cut or self._stopped):
            self.books.problem(f"`run` ended by itself: {done}")

    _stopped = False

    def _begun(self, process: subprocess.Popen[bytes]) -> None:
        self._runner = process
        if self._stopped:
            process.terminate()

    def _check_log(self, done: Done) -> None:
        """Nothing but what a server did is told, unless the disk was gone."""
        if not done.cut:
            said = [line for line in done.err.splitlines() if ERROR.search(line)]
            if said:
                self.books.problem(f"`run` said: {said[:3]}")

    def _flush(self) -> None:
        time.sleep(self._some(4 * self._pause))
        words = self._rng.choice((("flush",), ("flush",), ("flush", "--all")))
        after = self._rng.uniform(0.1, 2.0) if self._rng.random() < 0.5 else 20.0
        self.books.worked(self._crowd.call(*words, kill_after=after))

    def _measure(self) -> None:
        runner = self._runner
        if self.name == STEADY and runner is not None and runner.poll() is None:
            with contextlib.suppress(OSError, IndexError):
                status = Path(f"/proc/{runner.pid}/status").read_text()
                self._memory.append(int(status.partition("VmRSS:")[2].split()[0]))
                self._descriptors.append(len(os.listdir(f"/proc/{runner.pid}/fd")))

    # --- the disk ---

    @contextlib.contextmanager
    def _mail(self) -> Iterator[Mailstrom]:
        mail = Mailstrom(build({"spool": str(self._spool), "limits.min_free": 0}), create=False)
        try:
            yield mail
        finally:
            if mail._store is not None:
                mail.store.close()  # type: ignore[attr-defined]

    def _put_away(self, before: float) -> None:
        """What became final before this time goes from the spool into the books."""
        with self._mail() as mail, contextlib.suppress(NoSpool):
            old = [e for e in mail.queue(FINAL) if e.finished is not None and e.finished < before]
            self._disk.sync()
            for entry in old:
                try:
                    mail.store.purge(entry.id)
                except MailstromError as error:
                    self.books.problem(f"{entry.id} is {entry.state}, and cannot be removed: {error}")
                else:
                    self.books.record(entry)

    def _cut(self) -> None:
        how = self._rng.choice((SYNCED, SYNCED, JOURNAL, WRITTEN))
        self.books.counts[f"power cuts ({how.name} on the disk)"] += 1

        def cut() -> None:
            self._when = time.time()
            self._disk.cut(how)  # type: ignore[union-attr]
            time.sleep(self._rng.choice((0.0, 0.05, 0.3)))  # they go on, on a disk that fails

        with self._crowd.cut(cut):
            self._disk.restart()  # type: ignore[union-attr]
            with self._mail() as mail, contextlib.suppress(NoSpool):
                entries = list(mail.queue(STATES))
                self.books.after_cut(self._when, entries, mail.message, list(self._weather.taken))

    # --- when nothing fails any more ---

    def _finish(self, workers: Workers) -> None:
        """Wait until all is delivered, and see what is left."""
        with self._mail() as mail:  # as `run` does when it has lived for a second
            mail.store.sweep(time.time(), 0.0, 0.0)
        self.books.worked(self._crowd.call("flush", "--all"))
        self._wait_until_idle(workers)
        self._stopped = True
        workers.stopping.set()
        if self._runner is not None:
            self._runner.terminate()
        workers.stop()
        with self._mail() as mail:
            for entry in mail.queue(STATES):
                self.books.record(entry)
            if corrupt := mail.store.damaged()[0]:
                self.books.problem(f"{corrupt} messages were set aside")
            mail.store.sweep(time.time() + 7200, 0.0, 0.0)
        if left := os.listdir(self._spool / "tmp"):
            self.books.problem(f"left in tmp/: {left}")
        checked = self._crowd.call("check-spool")
        if checked.code != OK or "warning" in checked.out:
            self.books.problem(f"check-spool: {checked.out}")

    def _wait_until_idle(self, workers: Workers) -> None:
        end = time.monotonic() + IN_THE_END
        waits = 1
        while waits and time.monotonic() < end and not workers.stopping.is_set():
            workers.stopping.wait(0.3)
            with self._mail() as mail:
                waits = mail.store.count(UNFINISHED)

    # --- what `run` needs ---

    def _judge_growth(self) -> None:
        """Whether it needs more in the end than in the beginning."""
        for what, found, limit in (
            ("KiB of memory", self._memory, lambda early: early * MORE_SHARE + MORE_KIB),
            ("descriptors", self._descriptors, lambda early: early + MORE_DESCRIPTORS),
        ):
            self._judge(what, found, limit)

    def _judge(self, what: str, found: list[int], limit: Callable[[float], float]) -> None:
        part = max(1, int(len(found) * FIRST))
        if len(found) > 2 * part:
            early, late = statistics.median(found[part : 2 * part]), statistics.median(found[-part:])
            self.books.counts[f"{what} of `run`, second quarter (median)"] = int(early)
            self.books.counts[f"{what} of `run`, last quarter (median)"] = int(late)
            self.books.counts[f"{what} of `run`, most"] = max(found)
            if late > limit(early):
                self.books.problem(f"`run` grew from {early:.0f} to {late:.0f} {what}")

    def table(self) -> str:
        """What was tried and what came out."""
        counts = {
            **self.books.counts,
            "sessions": self._weather.sessions,
            "times that the server took a message": len(self._weather.taken),
            **{f"server failed at {stage}": n for stage, n in self._weather.failures.items()},
        }
        lines = [f"{self.name}: {len(self.books.problems)} problems"]
        lines += [f"    {count:7}  {what}" for what, count in sorted(counts.items())]
        lines += [f"  PROBLEM: {what}" for what in self.books.problems[:50]]
        return "\n".join(lines)
