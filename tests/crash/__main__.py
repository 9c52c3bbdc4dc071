"""`python -m tests.crash`: every fault at every point, and a table of what came of them."""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from . import inject, matrix
from .inject import KILL, ON, ONCE
from .scenario import SCENARIOS

PATIENCE = 12.0
"""Seconds that a `run` has for trying again what failed: its first pause is 5, and the machine may be
busy."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {' '.join(SCENARIOS)}")
    parser.add_argument("--kinds", default=f"{KILL},{ONCE},{ON}", help="of faults (default: %(default)s)")
    parser.add_argument("--errors", help="only these, as EIO,EMFILE")
    parser.add_argument("--at", default="", metavar="TEXT", help="only at calls that have this in their line")
    parser.add_argument(
        "--from", type=int, default=1, dest="first", metavar="N", help="go on at the Nth point"
    )
    parser.add_argument("--dir", help="a folder for the spools (default: the system's for temporary files)")
    given = parser.parse_args()
    if unknown := set(given.scenarios) - SCENARIOS.keys():
        parser.error(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    return given


def main() -> int:
    given = arguments()
    strace = shutil.which("strace")
    if strace is None:
        raise SystemExit("strace is not installed")
    folder = Path(tempfile.mkdtemp(prefix="mailstrom-crash-", dir=given.dir))
    bad: list[matrix.Verdict] = []
    rows = []
    for name in given.scenarios or SCENARIOS:
        begun = time.monotonic()
        plan = matrix.plan(SCENARIOS[name], folder / name, strace)
        points = [call for call in plan.points if given.at in str(call)][given.first - 1 :]
        errors = frozenset(given.errors.split(",")) if given.errors else None
        failing = inject.outermost(points) if SCENARIOS[name].repeats else None
        faults = inject.faults(points, tuple(given.kinds.split(",")), errors, failing)
        print(f"\n{name}: {len(points)} points")
        count: Counter[str] = Counter()
        before = len(bad)
        verdicts = matrix.verdicts(plan, faults, folder / name, strace, PATIENCE)
        for number, (call, each) in enumerate(
            itertools.groupby(verdicts, lambda v: v.fault.call), given.first
        ):
            told = list(each)
            count.update(v.fault.kind for v in told)
            bad += [v for v in told if v.problems]
            print(f"{number:4}  {call!s:60}  {'  '.join(_short(v) for v in told)}", flush=True)
            for verdict in told:
                if verdict.problems:
                    print(f"      {verdict}", flush=True)
        runs = [count[kind] for kind in (KILL, ONCE, ON)]
        rows.append((name, len(points), *runs, len(bad) - before, time.monotonic() - begun))
    for verdict in bad:
        print(f"\n{verdict}")
    print(f"\n{'scenario':14}{'points':>8}{'kill':>8}{'once':>8}{'on':>8}{'wrong':>8}{'seconds':>9}")
    for row in rows:
        print("{:14}{:8}{:8}{:8}{:8}{:8}{:9.0f}".format(*row))
    if not bad:
        shutil.rmtree(folder)
    return bool(bad)


def _short(verdict: matrix.Verdict) -> str:
    """`kill`, or the error and the exit code, `+` when it failed from there on; `!` when something is
    wrong."""
    fault = verdict.fault
    what = KILL if fault.kind == KILL else f"{fault.error}{'+' * (fault.kind == ON)}={verdict.code}"
    return what + "!" * bool(verdict.problems)


if __name__ == "__main__":
    sys.exit(main())
