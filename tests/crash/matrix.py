"""All points of a scenario: one run a fault, several at a time."""

from __future__ import annotations

import compileall
import multiprocessing
import os
import shutil
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING

from . import inject, trace
from .check import check
from .halt import HERE
from .scenario import World

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from .inject import Fault, Outcome
    from .scenario import Scenario
    from .trace import Call

BUSY = 300
"""How many calls of one name more than usual are a busy loop."""
IDLE = 3
"""How many `run` are under way for each processor: what one does most is wait for its next try."""
TRIES = 4
"""How often a run is repeated that did not come by the point as the first one did: other programs on the
machine can make a difference."""


@dataclass(frozen=True)
class Plan:
    """What a scenario does without faults: all its calls, by name how many, and those that are points."""

    scenario: Scenario
    usual: Counter[str]
    points: list[Call]


@dataclass(frozen=True)
class Verdict:
    fault: Fault
    code: int
    problems: list[str]
    err: str = ""

    def __str__(self) -> str:
        return f"{self.fault}: exit {self.code}; {'; '.join(self.problems) or 'ok'}\n{self.err}".rstrip()


def plan(scenario: Scenario, folder: Path, strace: str) -> Plan:
    """See what the command does. Raises AssertionError when something is wrong without any fault."""
    compileall.compile_dir(HERE / "mailstrom_cli", quiet=2)  # else every run would do so, and none keep it
    found: list[list[Call]] = []
    for number in range(TRIES):
        with World(scenario, folder / "plan" / f"{number}") as world:
            outcome = inject.run(world, strace)
            problems = check(world, outcome)
            assert not problems, f"{scenario.name} without faults: {problems}\n{outcome.err}"
            found.append(trace.points(outcome.calls))
        if len(found) > 1 and _same(found[-1], found[-2]):
            assert len(found[-1]) >= scenario.floor, f"{scenario.name} has only {len(found[-1])} points"
            return Plan(scenario, Counter(call.name for call in outcome.calls), found[-1])
    raise AssertionError(f"{scenario.name} never made the same calls twice: {[len(each) for each in found]}")


def _same(some: list[Call], others: list[Call]) -> bool:
    return len(some) == len(others) and all(
        a.same(b) and a.number == b.number for a, b in zip(some, others, strict=True)
    )


def verdict(plan: Plan, fault: Fault, folder: Path, strace: str, patience: float) -> Verdict:
    """What comes of one fault."""
    for number in range(TRIES):
        place = folder / f"{number}"
        with World(plan.scenario, place) as world:
            outcome = inject.run(world, strace, fault, patience)
            if not outcome.hit(fault):
                continue
            problems = _checked(world, outcome, fault)
            many = sum(call.name == fault.call.name for call in outcome.calls)
            if not fault.spins and many > plan.usual[fault.call.name] + BUSY:
                problems.append(f"{many} calls of {fault.call.name}")
        if not problems:
            shutil.rmtree(folder)
        return Verdict(fault, outcome.code, problems, outcome.err)
    struck = [call for call in outcome.calls if call.begun or call.injected]
    return Verdict(
        fault, outcome.code, [f"it hit {[str(call) for call in struck] or 'nothing'}"], outcome.err
    )


def _checked(world: World, outcome: Outcome, fault: Fault) -> list[str]:
    """As `check`; what it meets itself, such as a next run that fails, does not hold either."""
    try:
        return check(world, outcome, fault)
    except Exception as error:
        return [f"the check met {type(error).__name__}: {error}"]


def verdicts(
    plan: Plan, faults: Iterable[Fault], folder: Path, strace: str, patience: float = 0.0
) -> Iterator[Verdict]:
    """What comes of each, in order; several at a time.

    In processes: a lock that one thread takes would go on while another one starts a program, which has all
    descriptors for a moment.
    """
    todo = list(faults)
    places = [folder / str(number) for number in range(len(todo))]
    jobs = (os.cpu_count() or 1) * (IDLE if plan.scenario.command == "run" and patience else 1)
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(
            verdict, repeat(plan), todo, places, repeat(strace), repeat(patience), chunksize=2
        )
