"""Power cuts: the real commands, on a disk that loses its power after each of their system calls.

    python -m tests.crash.power            # every call of every command, on every file system (as root)
    python -m tests.crash.power xfs run    # on these file systems, of these commands
    python -m tests.crash.power written    # in these ways: synced, journal, written, "goes on"

A command runs until its n-th call and stands still. The disk is cut, the command killed, the disk mounted
again; then it is looked at what is there, and the rest of the work is done as the next commands would do it.
Of a large command, and of a batch that goes on, that is done at the first and the last of each row of calls
of one kind.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.peers.scripted import Script, ScriptedServer

from .commands import COMMANDS
from .disk import JOURNAL, KINDS, SYNCED, WRITTEN, Cut, Disk
from .halt import Halted, need_strace
from .place import Place, look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .commands import Command

NAMED = {command.name: command for command in COMMANDS}
WAYS = {
    **{how.name: (how, False) for how in (SYNCED, JOURNAL, WRITTEN)},
    "goes on": (SYNCED, True),
}
"""How it is cut, and whether the command goes on."""
ENOUGH = 5
"""Failures after which one look at a command is given up."""


class Cuts:
    """One command, cut in one way on one disk. survives: it goes on, on a disk that fails at every call."""

    def __init__(
        self, disk: Disk, command: Command, how: Cut, beside: Path, *, survives: bool = False
    ) -> None:
        self._disk, self._command, self._how, self._beside = disk, command, how, beside
        self._survives = survives
        self._number = 0
        self.outcomes: Counter[str] = Counter()

    def every(self) -> Iterator[Sequence[str]]:
        """Up to each of its calls, which are those of a run that was cut after its end."""
        calls = self._to_the_end()
        for number in range(1, len(calls) + 1):
            yield calls[:number]

    def boundaries(self) -> Iterator[Sequence[str]]:
        """Up to the first and the last of each row of calls of one kind."""
        calls = self._to_the_end()
        chosen = [(number, name) for number, name in enumerate(calls, 1) if name in self._command.boundaries]
        kinds = [None, *(name for _, name in chosen), None]
        for at, (number, name) in enumerate(chosen, 1):
            if name != kinds[at - 1] or name != kinds[at + 1]:
                yield calls[:number]

    def _to_the_end(self) -> list[str]:
        """The calls of a run that is cut when it is over."""
        calls = self.one()
        assert self._command.expected in calls
        return calls

    def one(self, before: Sequence[str] = (), wrap: Callable[[list[str]], list[str]] = list) -> list[str]:
        """After the last of these calls, or the end; the calls it had made. wrap: what is run instead of the
        command."""
        self._number += 1
        folder = self._disk.path / str(self._number)
        folder.mkdir()
        shutil.rmtree(self._beside, ignore_errors=True)
        self._beside.mkdir()
        with ScriptedServer(Script()) as server:
            place = Place(folder, self._beside, server)
            self._command.before(place)
            place.close()
            words, stdin = wrap(self._command.words(place)), self._command.stdin(place)
            self._disk.sync()
            calls = self._command.calls
            meanwhile, killed = partial(self._command.meanwhile, place), not self._survives
            with Halted(
                words, calls, before, place.environment, stdin, meanwhile, to_be_killed=killed
            ) as running:
                halted = running.halted
                if not halted:
                    done = running.end()
                    assert done.code == 0, done.err
                place.close()
                self._disk.cut(self._how)
                if halted and self._survives:
                    done = running.go_on(terminate=self._command.endless)
                elif halted:
                    done = running.kill()
            try:
                self._disk.restart()
                outcome = self._command.after(place, done, look(place))
            except AssertionError as error:
                at = f"call {len(before)}, {before[-1]}" if halted else "its end"
                error.add_note(f"{self._command.name}, cut after {at}; on the disk: {self._how.name}")
                error.add_note(f"exit code {done.code}: {done.out}{done.err}")
                raise
            finally:
                place.close()
        self.outcomes[outcome if halted else f"end: {outcome}"] += 1
        shutil.rmtree(folder)
        return done.calls


def cuts(kind: str, command: Command, how: Cut, *, survives: bool = False) -> Counter[str]:
    """Cut a command at the boundaries, on a new disk: how often each outcome came."""
    need_strace()
    with tempfile.TemporaryDirectory() as folder, Disk(kind) as disk:
        run = Cuts(disk, command, how, Path(folder) / "beside", survives=survives)
        for before in run.boundaries():
            run.one(before)
    return run.outcomes


# --- the long form ---


@dataclass(frozen=True)
class Task:
    """A command to be cut at every call whose number leaves such a rest when divided by `parts`."""

    kind: str
    name: str
    how: Cut
    survives: bool
    part: int
    parts: int

    @property
    def way(self) -> str:
        return f"{self.kind:15} {self.name:24} {'goes on' if self.survives else self.how.name:8}"


@dataclass
class Told:
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def do(task: Task) -> Told:
    """Do a task, on a disk of its own."""
    told, command = Told(), NAMED[task.name]
    with tempfile.TemporaryDirectory() as folder, Disk(task.kind) as disk:
        run = Cuts(disk, command, task.how, Path(folder) / "beside", survives=task.survives)
        try:
            few = command.large or (task.survives and command.expected == "syncfs")
            for number, before in enumerate(run.boundaries() if few else run.every()):
                if number % task.parts == task.part and len(told.failures) < ENOUGH:
                    try:
                        run.one(before)
                    except AssertionError as error:
                        told.failures.append(_text(error))
        except Exception as error:
            told.failures.append(_text(error))
    told.outcomes = run.outcomes
    return told


def _text(error: Exception) -> str:
    where = [f"{frame.name}, line {frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    return "\n    ".join([f"{type(error).__name__}: {error} ({where[-1]})", *getattr(error, "__notes__", [])])


def main(names: Sequence[str]) -> int:
    """Every call, every kind of cut, on every file system; the exit code."""
    if unknown := set(names) - KINDS.keys() - NAMED.keys() - WAYS.keys():
        raise SystemExit(f"no file system, no command and no way: {', '.join(sorted(unknown))}")
    kinds = [kind for kind in KINDS if kind in names] or list(KINDS)
    commands = [name for name in NAMED if name in names] or list(NAMED)
    ways = [WAYS[way] for way in WAYS if way in names] or list(WAYS.values())
    cores = os.cpu_count() or 1
    tasks = [
        Task(kind, name, *way, part, cores)
        for way, kind, name, part in itertools.product(ways, kinds, commands, range(cores))
    ]
    began = time.monotonic()
    cut, failed = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    with ProcessPoolExecutor(cores, multiprocessing.get_context("spawn")) as pool:
        results = zip(tasks, pool.map(do, tasks), strict=True)
        for way, each in itertools.groupby(results, lambda result: result[0].way):
            told = Told()
            for task, one in each:  # noqa: B007  (they differ in their parts)
                told.outcomes += one.outcomes
                told.failures += one.failures
            cut[task.name, task.kind] += told.outcomes.total()
            failed[task.name, task.kind] += len(told.failures)
            outcomes = ", ".join(f"{times} {name}" for name, times in sorted(told.outcomes.items()))
            print(f"{way} {told.outcomes.total():4} cuts: {outcomes}", flush=True)
            for failure in told.failures:
                print(f"  FAILED: {failure}", flush=True)
    print(f"\n{'cuts (failed)':26}" + "".join(f"{kind:>18}" for kind in kinds))
    for name in commands:
        row = (f"{cut[name, kind]} ({failed[name, kind]})" for kind in kinds)
        print(f"{name:26}" + "".join(f"{cell:>18}" for cell in row))
    print(f"{cut.total()} cuts in {time.monotonic() - began:.0f} s, {failed.total()} failures")
    return failed.total() > 0


if __name__ == "__main__":
    try:
        need_strace()
        sys.exit(main(sys.argv[1:]))
    except pytest.skip.Exception as skipped:
        sys.exit(f"not here: {skipped}")
