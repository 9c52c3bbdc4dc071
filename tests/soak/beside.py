"""Every command beside every other one on one spool, and readers that look on. Nothing fails, so every
message arrives exactly once.

    python -m tests.soak.beside --minutes 5 [--seed N]

Afterwards `run` and many `flush` are begun at the same moment on the same messages, fifty times. Prints what
was tried. Exits 1 when anything does not hold.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Protocol

from mailstrom_cli.api import Mailstrom, Request, Submitted
from mailstrom_cli.config.schema import build
from mailstrom_cli.errors import OK, MailstromError
from mailstrom_cli.mail.status import DELIVERED, STATES, UNFINISHED
from tests.peers.process import wait_for
from tests.peers.scripted import Script, ScriptedServer

from .books import Books
from .crowd import Crowd, Workers
from .load import Load
from .weather import GENTLE, Weather

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping, Sequence

    from .crowd import Done

ENVIRONMENT = {
    "MAILSTROM_LIMITS_MIN_FREE": "0",
    "MAILSTROM_LIMITS_RECIPIENTS_PER_TRANSACTION": "10",
    "MAILSTROM_RETRY_BASE_DELAY": "1s",
    "MAILSTROM_RETRY_FACTOR": "1",
}
IN_THE_END = 120.0
TOO_LATE = r"is already (delivered|failed)|is delivered to everybody|a delivery is in progress"
"""What a command may say to a message with which others were faster."""


class Beside:
    """messages: what was accepted, id -> Message-ID.  frozen: times between which nobody may send a message:
    it is on hold, or cancelled."""

    def __init__(self, seconds: float, seed: int, each: int = 1) -> None:
        """each: how many of each kind work at once."""
        self._seconds, self._each = seconds, each
        self._rng = Random(f"{seed} beside")
        self._weather = Weather(Random(f"{seed} server"), 0.15, GENTLE)
        self._lock = threading.Lock()
        self.books = Books()
        self._messages: dict[str, str] = {}
        self._frozen: list[tuple[str, float, float]] = []
        self._taken_on: set[str] = set()
        self._held: set[str] = set()
        self._delivered: dict[str, float] = {}

    def work(self) -> Books:
        """All of it; the problems are in the books."""
        with (
            tempfile.TemporaryDirectory(prefix="ms-beside-") as folder,
            ScriptedServer(self._weather.script()) as server,
        ):
            self._server, self._spool = server, Path(folder) / "spool"
            self._load = Load(self._rng, Path(folder))
            self._crowd = Crowd(
                {
                    **ENVIRONMENT,
                    "MAILSTROM_SPOOL": str(self._spool),
                    "MAILSTROM_VIA": f"smtp://127.0.0.1:{server.port}",
                    "HOME": folder,
                }
            )
            mail = Mailstrom(build({"spool": str(self._spool), "limits.min_free": 0}))
            runner, workers = Workers(), Workers()
            self._mail = mail
            with closing(mail.store):  # type: ignore[type-var]
                try:
                    runner.start(self._run)
                    for work in (self._submit, self._flush, self._status, self._queue, self._mailq):
                        for _ in range(self._each):
                            workers.start(work)
                    for work in (self._freeze, self._meddle):
                        for _ in range(2 * self._each):
                            workers.start(work)
                    for work in (self._list, self._look):
                        workers.start(work)
                    workers.stopping.wait(self._seconds)
                    workers.stop()
                    self._weather.calm()
                    self._finish(runner)
                finally:
                    workers.stopping.set()
                    self._crowd.kill_all()
                    workers.stop()
                    runner.stop()
        self._close()
        return self.books

    # --- those who change something ---

    def _call(self, *words: str, stdin: bytes = b"", allowed: str = "") -> Done:
        done = self._crowd.call(*words, stdin=stdin)
        self.books.worked(done, (allowed,) if allowed else ())
        for line in done.err.splitlines():
            if not (line.startswith(("note: ", "hint: ")) or (allowed and re.search(allowed, line))):
                self.books.problem(f"{done}")
        return done

    def _submit(self) -> None:
        with self._load.any() as submit:
            done = self._crowd.call(*submit.words, stdin=submit.stdin)
            self.books.submitted(submit, done)
            if submit.valid and done.err:
                self.books.problem(f"{done}")
        with self._lock:
            ids = done.out.split()
            self._messages.update(
                zip(ids, [letter.message_id for letter in submit.letters][: len(ids)], strict=True)
            )

    def _flush(self) -> None:
        some = self._some(3)
        words = self._rng.choice(([], ["--all"], some))
        self._call("flush", *words)

    def _some(self, count: int, *, old: int = 60) -> list[str]:
        """Some of the latest messages."""
        with self._lock:
            ids = list(self._messages)[-old:]
        if not ids:
            time.sleep(0.05)
        return self._rng.sample(ids, min(count, len(ids)))

    def _freeze(self) -> None:
        """Hold a message that waits, or cancel it: then nobody sends it, until it is released or retried."""
        waiting = list(self._mail.store.ids(UNFINISHED))
        time.sleep(0.01)
        for id in self._rng.sample(waiting, min(1, len(waiting))):
            with self._lock:
                if not self._mine(id) or id in self._taken_on:
                    return
                self._taken_on.add(id)
            word, back = self._rng.choice((("hold", "release"), ("cancel", "retry")))
            if self._call(word, id, allowed=TOO_LATE).code == OK:
                begun = time.time()
                if word == "hold":
                    self._held.add(id)
                time.sleep(self._rng.uniform(0.0, 0.5))
                self._held.discard(id)
                goes_on = word == "hold" or self._rng.random() < 0.5
                self._frozen.append((id, begun, time.time() if goes_on else math.inf))
                if goes_on:
                    self._call(back, id)
                    self._taken_on.discard(id)

    def _mine(self, id: str) -> bool:
        """Whether only one at a time works on a message."""
        return id[-1] in "02468acegikmoqsuwy"

    def _meddle(self) -> None:
        """Do something to messages with which others do something, too."""
        ids = [id for id in self._some(4, old=15) if not self._mine(id)]
        if ids:
            word = self._rng.choice(("hold", "release", "release", "retry", "retry", "cancel"))
            self._call(word, *ids, allowed=TOO_LATE)

    # --- those who look ---

    def _status(self) -> None:
        if ids := self._some(3, old=1000):
            begun = time.monotonic()
            found = json.loads(self._call("status", "--json", *ids).out)
            told = found if isinstance(found, list) else [found]
            if [one["id"] for one in told] != ids:
                self.books.problem(f"`status` of {ids} told of {[one['id'] for one in told]}")
            for one in told:
                self._seen(one["id"], one["status"], begun)

    def _queue(self) -> None:
        known, held = set(self._messages), set(self._held)
        states = self._rng.choice((["--state", "all"], []))
        lines = self._call("queue", "--json", *states).out.splitlines()
        found = Counter(json.loads(line)["id"] for line in lines)
        self._complete("`queue`", found, known if states else held & self._held)

    def _mailq(self) -> None:
        self._call("sendmail", "-bp")

    def _list(self) -> None:
        begun, known = time.monotonic(), set(self._messages)
        entries = list(self._mail.queue(STATES))
        self._complete("a list", Counter(entry.id for entry in entries), known)
        for entry in entries:
            self._seen(entry.id, entry.state, begun)
        number = self._mail.store.count(STATES)
        if number < len(known):
            self.books.problem(f"{number} messages are counted, and there are {len(known)}")
        self.books.counts["lists in Python"] += 1
        time.sleep(0.01)

    def _look(self) -> None:
        for id in self._some(5):
            begun = time.monotonic()
            try:
                self._seen(id, self._mail.entry(id).state, begun)
                with self._mail.message(id) as message:
                    message.read(1)
            except MailstromError as error:
                self.books.problem(f"a reader missed {id}: {error}")
            self.books.counts["looks in Python"] += 1
        time.sleep(0.002)

    def _complete(self, who: str, found: Counter[str], known: set[str]) -> None:
        for id in known - found.keys():
            self.books.problem(f"{who} missed {id}")
        self.books.problems += [f"{who} has {id} twice" for id, times in found.items() if times > 1]

    def _seen(self, id: str, state: str, begun: float) -> None:
        """begun: when who tells this began to look."""
        if state == DELIVERED:
            self._delivered.setdefault(id, time.monotonic())
        elif self._delivered.get(id, math.inf) < begun:
            self.books.problem(f"{id} was delivered, and then seen {state}")

    # --- `run`, and the end ---

    def _run(self) -> None:
        done = self._crowd.call("run", begun=self._begun, seconds=1e6)
        self.books.worked(done)
        if done.code != OK or re.search(r"(?m)^\S+ (warning|error)", done.err):
            self.books.problem(str(done))

    def _begun(self, process: subprocess.Popen[bytes]) -> None:
        self._runner = process

    def _finish(self, runner: Workers) -> None:
        for entry in self._mail.queue(UNFINISHED):
            if entry.held:
                self._mail.release(entry.id)
        self._call("flush", "--all")
        wait_for(lambda: self._mail.store.count(UNFINISHED) == 0, IN_THE_END, "everything to be delivered")
        runner.stopping.set()
        self._runner.terminate()
        runner.stop()
        for entry in self._mail.queue(STATES):
            self.books.record(entry)
        if left := os.listdir(self._spool / "tmp"):
            self.books.problem(f"left in tmp/: {left}")
        checked = self._call("check-spool")
        if not re.search(r": ok$", checked.out.strip()):
            self.books.problem(f"check-spool: {checked.out}")
        self.books.counts["check-spool, nothing to tell"] += 1

    def _close(self) -> None:
        self._weather.tidy(self._server)
        self.books.problems += [f"the server says: {what}" for what in self._weather.violations]
        self.books.close(self._weather.taken)
        more = [what for what in self.books.counts if what.startswith(("taken again", "failed on record"))]
        self.books.problems += [f"{what}, and nothing failed" for what in more]
        for id, begun, ended in self._frozen:
            name = self.books.records[id].message_id
            for taken in self._weather.taken:
                if taken.message_id == name and begun < taken.time < ended:
                    self.books.problem(f"{id} was sent after it was held or cancelled")
        self.books.counts["held or cancelled, watched"] = len(self._frozen)
        self.books.counts["times that the server took a message"] = len(self._weather.taken)


# --- `run` and many `flush`, again and again ---


class Process(Protocol):
    """A `mailstrom` that was begun."""

    pid: int

    def end(self) -> tuple[int, str]:
        """When it has ended: its exit code, and what it said on stderr."""


def again_and_again(
    rounds: int, begin: Callable[[Mapping[str, str], Sequence[str]], Process], seed: int, messages: int = 12
) -> list[str]:
    """`run` and four `flush` are begun at the same moment, so often; what does not hold."""
    rng, problems = Random(seed), []
    with (
        tempfile.TemporaryDirectory(prefix="ms-rounds-") as folder,
        ScriptedServer(Script(keep_bodies=False)) as server,
    ):
        spool = Path(folder) / "spool"
        environment = {
            **ENVIRONMENT,
            "MAILSTROM_SPOOL": str(spool),
            "MAILSTROM_VIA": f"smtp://127.0.0.1:{server.port}",
        }
        mail = Mailstrom(build({"spool": str(spool), "limits.min_free": 0}))
        for number in range(rounds):
            ids = _submit(mail, number, messages)
            flushes = [["flush"], ["flush"], ["flush", "--all"], ["flush", *rng.sample(ids, 3)]]
            words = rng.sample([["run"], *flushes], 5)
            processes = [begin(environment, each) for each in words]
            runner = processes[words.index(["run"])]
            ended = [process.end() for process in processes if process is not runner]
            os.kill(runner.pid, signal.SIGTERM)
            code, said = runner.end()
            if code not in (OK, -signal.SIGTERM) or "error" in said:  # it may not even have begun
                ended.append((code, said))
            problems += [
                f"round {number}: exit {c} {s}" for c, s in ended if c not in (OK, -signal.SIGTERM) or _bad(s)
            ]
            states = Counter(mail.entry(id).state for id in ids)
            if states != {DELIVERED: messages}:
                problems.append(f"round {number}: {dict(states)}")
        mail.store.close()  # type: ignore[attr-defined]
        times = Counter(server.delivered())
        problems += [f"{who} got {what} {n} times" for (who, what), n in times.items() if n != 1]
        if len(times) != rounds * messages:
            problems.append(f"{len(times)} of {rounds * messages} messages arrived")
        problems += [f"left in tmp/: {name}" for name in os.listdir(spool / "tmp")]
        problems += server.violations
    return problems


def _submit(mail: Mailstrom, number: int, messages: int) -> list[str]:
    given = [
        (f"From: a@example.org\nTo: u{number}.{n}@example.net\n\n{n}\n".encode(), Request())
        for n in range(messages)
    ]
    done = mail.submit_many(given)
    return [one.id for one in done if isinstance(one, Submitted)]


def _bad(said: str) -> bool:
    return any(not re.match(r"note: |\S+ info: ", line) for line in said.splitlines())


class Command:
    """`mailstrom` as everybody runs it."""

    def __init__(self, environment: Mapping[str, str], words: Sequence[str]) -> None:
        import subprocess

        from tests.crash.halt import DIES_WITH_US, HERE, MAILSTROM

        self._process = subprocess.Popen(
            [*DIES_WITH_US, *MAILSTROM, *words],
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=HERE,
        )
        self.pid = self._process.pid

    def end(self) -> tuple[int, str]:
        _, said = self._process.communicate(timeout=IN_THE_END)
        return self._process.returncode, said.decode()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.beside")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--rounds", type=int, default=50)
    given = parser.parse_args()
    began = time.monotonic()
    books = Beside(given.minutes * 60, given.seed, each=2).work()
    for what, count in sorted(books.counts.items()):
        print(f"    {count:7}  {what}")
    problems = books.problems + again_and_again(given.rounds, Command, given.seed)
    print(f"    {given.rounds:7}  times `run` and four `flush` begun at once on 12 messages")
    for what in problems[:50]:
        print(f"  PROBLEM: {what}")
    print(f"{len(problems)} problems, {time.monotonic() - began:.0f} seconds, seed {given.seed}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
