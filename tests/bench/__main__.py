"""`python -m tests.bench`: measure mailstrom beside Postfix and beside plain Python on this machine."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

from . import machine
from .report import Report
from .sizes import Sizes, full, quick

SECTIONS = ("drain", "slow", "submit", "scale", "many", "long", "idle")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"of {' '.join(SECTIONS)} (default: all)"
    )
    parser.add_argument("--runs", type=int, help="runs of each figure (default 3)")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that everything works")
    parser.add_argument("--full", action="store_true", help="with a queue of 1,000,000 (an hour more, 20 GB)")
    parser.add_argument("--out", type=Path, default=Path("bench.json"), help="where the figures go, as JSON")
    parser.add_argument("--dir", default="/var/tmp", help="a folder on the file system to measure")
    parser.add_argument("--installed", action="store_true", help="measure what the last run has installed")
    parser.add_argument("--inner", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if unknown := set(given.sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    return given


def outer(given: argparse.Namespace) -> int:
    """Install what is missing while there is a network, then go on in namespaces that have none."""
    if os.geteuid():
        raise SystemExit("it needs root: for Postfix, and for namespaces of its own")
    python = machine.install(project=not given.installed)
    state = Path(tempfile.mkdtemp(prefix="mailstrom-bench-", dir=given.dir))
    state.chmod(0o755)
    (state / "facts").write_text(json.dumps(machine.facts()))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MAILSTROM_", "XDG_"))}
    environment["HOME"] = str(state)
    environment["PATH"] = "/usr/local/sbin:/usr/sbin:/sbin:" + environment.get("PATH", "/usr/bin:/bin")
    inner = [str(python), "-m", "tests.bench", *sys.argv[1:], "--inner", str(state)]
    inner += ["--out", str(given.out.absolute())]
    try:
        return subprocess.call([*machine.UNSHARE, *inner], cwd=machine.ROOT, env=environment)
    finally:
        shutil.rmtree(state, ignore_errors=True)


def inner(given: argparse.Namespace) -> int:
    machine.enter()
    state: Path = given.inner
    sizes = quick() if given.quick else Sizes()
    sizes = full(sizes) if given.full else sizes
    sizes.runs = given.runs or sizes.runs
    report = Report(given.out, json.loads((state / "facts").read_text()))
    report.facts["sizes"] = vars(sizes)
    for name in given.sections or SECTIONS:
        began = time.monotonic()
        report.attempt(name, getattr(import_module(f".{name}", __package__), name), report, state, sizes)
        print(f"-- {name} took {time.monotonic() - began:.0f} s", flush=True)
        report.save()
    report.show()
    return 1 if report.failures else 0


if __name__ == "__main__":
    options = arguments()
    sys.exit(inner(options) if options.inner else outer(options))
