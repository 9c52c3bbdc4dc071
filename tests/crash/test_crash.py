"""The fault harness as CI runs it: every kill of one submit, one flush and one run; the errors in short."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.peers.needs import lacking

from . import inject, matrix
from .inject import KILL
from .scenario import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .inject import Fault
    from .matrix import Plan

NAMES = ("submit", "flush", "run")


@pytest.fixture(scope="module")
def strace() -> str:
    path = shutil.which("strace") or lacking("strace is not installed")
    trial = [path, "-D", "-f", "-o", "/dev/null", "-e", "inject=fsync:signal=KILL:when=1", "true"]
    if subprocess.run(trial, capture_output=True).returncode != 0:
        lacking("strace may not trace here")
    return path


@pytest.fixture(scope="module")
def plan(strace: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Plan]:
    """plan(scenario): what it does without faults; each once."""
    made: dict[str, Plan] = {}

    def make(name: str) -> Plan:
        if name not in made:
            made[name] = matrix.plan(SCENARIOS[name], tmp_path_factory.mktemp(name) / name, strace)
        return made[name]

    return make


@pytest.fixture
def hold(
    strace: str,
    plan: Callable[[str], Plan],
    tmp_path_factory: pytest.TempPathFactory,
    record_property: Callable[[str, object], None],
) -> Callable[[str, Iterable[Fault], int], None]:
    """hold(scenario, faults, floor): nothing is wrong after any of them, and there are that many."""

    def check(name: str, faults: Iterable[Fault], floor: int) -> None:
        told = list(matrix.verdicts(plan(name), faults, tmp_path_factory.mktemp(name) / name, strace))
        record_property("points", len(plan(name).points))
        record_property("runs", len(told))
        print(f"{name}: {len(plan(name).points)} points, {len(told)} runs")
        assert len(told) >= floor
        wrong = [verdict for verdict in told if verdict.problems]
        assert not wrong, f"{len(wrong)} of {len(told)}:\n" + "\n".join(str(v) for v in wrong[:10])

    return check


@pytest.mark.parametrize("name", NAMES)
def test_killed_at_any_call(name: str, plan: Callable[[str], Plan], hold: Callable[..., None]) -> None:
    hold(name, inject.faults(plan(name).points, (KILL,)), SCENARIOS[name].floor)


@pytest.mark.parametrize("name", NAMES)
def test_an_error_of_any_call(name: str, plan: Callable[[str], Plan], hold: Callable[..., None]) -> None:
    hold(name, inject.short(plan(name).points), SCENARIOS[name].floor // 3)
