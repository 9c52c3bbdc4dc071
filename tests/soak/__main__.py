"""The soak: random load on a server that fails at random, with random kills and power cuts (as root).

    python -m tests.soak --minutes 60 [--seed N] [ext4] [xfs] [steady]

Prints a table for each lane. Exits 1 when anything does not hold.
"""

from __future__ import annotations

import argparse
import secrets
import subprocess
import sys
import time
import traceback

from .lane import LANES, Lane


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("lanes", nargs="*", choices=(*LANES, []), metavar="LANE")
    given = parser.parse_args()
    lanes = given.lanes or list(LANES)
    if len(lanes) > 1:
        print(f"seed {given.seed}, {given.minutes:g} minutes, {', '.join(lanes)}", flush=True)
        words = [sys.executable, "-m", "tests.soak", f"--minutes={given.minutes}", f"--seed={given.seed}"]
        running = [subprocess.Popen([*words, lane]) for lane in lanes]
        return max(abs(process.wait()) for process in running)
    began = time.monotonic()
    lane = Lane(lanes[0], given.minutes * 60, given.seed)
    try:
        lane.soak()
    except Exception as failure:
        traceback.print_exc()
        lane.books.problem(f"it ended early: {failure}")
    print(f"{lane.table()}\n    {time.monotonic() - began:7.0f}  seconds, seed {given.seed}", flush=True)
    return 1 if lane.books.problems else 0


if __name__ == "__main__":
    sys.exit(main())
