"""Power cuts: the real commands, on a disk that loses its power after each of their system calls.

    python -m tests.crash.power            # every call of every command, on every file system (as root)

A command runs until its n-th call and stands still. The disk is cut, the command killed, the disk mounted
again; then it is looked at what is there, and the rest of the work is done as the next commands would do it.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from tests.peers.scripted import Script, ScriptedServer

from .commands import COMMANDS
from .disk import JOURNAL, KINDS, SYNCED, WRITTEN, Cut, Disk
from .halt import Halted, need_strace
from .place import Place, look

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .commands import Command


class Cuts:
    """One command, cut in one way on one disk. survives: it goes on, on a disk that fails at every call."""

    def __init__(
        self, disk: Disk, command: Command, how: Cut, beside: Path, *, survives: bool = False
    ) -> None:
        self._disk, self._command, self._how, self._beside = disk, command, how, beside
        self._survives = survives
        self._number = 0
        self.outcomes: Counter[str] = Counter()

    def every(self) -> None:
        """After each of its calls, and after its end."""
        calls = self._to_the_end()
        for number in range(1, len(calls) + 1):
            self.one(calls[:number])

    def boundaries(self) -> None:
        """After the first and the last of each row of calls of one kind, and after its end."""
        calls = self._to_the_end()
        chosen = [(number, name) for number, name in enumerate(calls, 1) if name in self._command.boundaries]
        kinds = [None, *(name for _, name in chosen), None]
        for at, (number, name) in enumerate(chosen, 1):
            if name != kinds[at - 1] or name != kinds[at + 1]:
                self.one(calls[:number])

    def _to_the_end(self) -> list[str]:
        """The calls of a run that is cut when it is over."""
        calls = self.one()
        if self._command.expected not in calls:
            os.sync()
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
            with Halted(words, calls, before, place.environment, stdin) as running:
                halted = running.halted
                if not halted:
                    done = running.end()
                    assert done.code == 0, done.err
                self._disk.cut(self._how)
                if halted:
                    done = running.go_on() if self._survives else running.kill()
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


def cuts(kind: str, command: Command, how: Cut, *, survives: bool = False, all: bool = False) -> Counter[str]:
    """Cut a command at every call, or at the boundaries, on a new disk: how often each outcome came."""
    need_strace()
    with tempfile.TemporaryDirectory() as folder, Disk(kind) as disk:
        run = Cuts(disk, command, how, Path(folder) / "beside", survives=survives)
        run.every() if all and not command.large else run.boundaries()
    return run.outcomes


def main(names: Sequence[str]) -> None:
    """The long form: every call, every kind of cut, on every file system (or those named)."""
    began, count, failures = time.monotonic(), 0, 0
    for kind in names or KINDS:
        for command in COMMANDS:
            for how, survives in ((SYNCED, False), (JOURNAL, False), (WRITTEN, False), (SYNCED, True)):
                way = f"{kind:15} {command.name:24} {'goes on' if survives else how.name:8}"
                try:
                    outcomes = cuts(kind, command, how, survives=survives, all=True)
                except AssertionError as error:
                    failures += 1
                    print(way, "FAILED:", error, *error.__notes__, flush=True)
                    continue
                count += outcomes.total()
                told = ", ".join(f"{times} {name}" for name, times in sorted(outcomes.items()))
                print(f"{way} {outcomes.total():4} cuts: {told}", flush=True)
    print(f"{count} cuts in {time.monotonic() - began:.0f} s, {failures} failures")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main(sys.argv[1:])
