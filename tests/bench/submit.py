"""submit: one command at a time, and many messages at once."""

from __future__ import annotations

import os
import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from .group import PROGRAMS, PYTHON
from .mailstrom import BIN, Mailstrom, message
from .postfix import Postfix

if TYPE_CHECKING:
    from .report import Report
    from .sizes import Sizes

ONE = "submit"
BATCH = "submit batch"
NO_FILE = "mailstrom, no configuration file"
SENDMAIL = "/usr/sbin/sendmail"


def once(command: list[str], stdin: Path, environment: dict[str, str]) -> float:
    """Milliseconds from start to end of one command. Raises RuntimeError when it fails."""
    streams = [(os.POSIX_SPAWN_OPEN, 0, str(stdin), os.O_RDONLY, 0)]
    streams += [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_WRONLY, 0) for fd in (1, 2)]
    began = time.perf_counter()
    pid = os.posix_spawn(command[0], command, environment, file_actions=streams)
    status = os.waitpid(pid, 0)[1]
    took = (time.perf_counter() - began) * 1e3
    if status:
        raise RuntimeError(f"{' '.join(command)}: status {status}")
    return took


def single(report: Report, state: Path, sizes: Sizes) -> None:
    folder = state / "submits"
    folder.mkdir(exist_ok=True)
    with Postfix(state) as peer, Mailstrom(state) as ours:
        configured = {**os.environ, "MAILSTROM_CONFIG": str(ours.config)}
        bare = {**os.environ, "MAILSTROM_SPOOL": str(ours.spool), "MAILSTROM_HELO_NAME": "bench.test"}
        program = str(PROGRAMS / "submit_floor.py")
        python = PYTHON[0]
        commands = {
            "floor": [python, "-I", "-S", program, str(folder)],
            "mailstrom": ours.command("submit"),
            NO_FILE: [str(BIN / "mailstrom"), "submit"],
            "floor, with site": [python, "-I", program, str(folder)],
            "mailstrom-sendmail": [str(BIN / "mailstrom-sendmail"), "-i", "c@dest.test"],
            "postfix": [SENDMAIL, "-C", str(peer.folder / "etc"), "-i", "-f", "a@bench.test", "c@dest.test"],
            "python -c 'import click'": [python, "-c", "import click"],
            "python -I -S -c pass": [python, "-I", "-S", "-c", "pass"],
        }
        took: dict[str, list[float]] = {}
        for turn in range(sizes.submits + 2):
            for label, command in commands.items():  # in turn, since the machine drifts
                ms = once(command, ours.message, bare if label == NO_FILE else configured)
                if turn >= 2:
                    took.setdefault(label, []).append(ms)
        ours.expect("queued", 3 * (sizes.submits + 2))
        for label, all_ms in took.items():
            ms = statistics.median(all_ms)
            report.add(ONE, label, ms=ms, per_s=1e3 / ms, least_ms=min(all_ms))


def batch(report: Report, state: Path, sizes: Sizes) -> None:
    """Nothing is removed before all is measured: ext4 passes over the inodes that were freed of late."""
    count = sizes.batch
    folder, mbox = state / "eml", state / "mbox"
    folder.mkdir(exist_ok=True)
    for i in range(count):
        (folder / f"{i:05d}.eml").write_bytes(message())
    mbox.write_bytes((b"From a@bench.test Mon Jan  1 00:00:00 2024\n" + message() + b"\n") * count)
    files = [str(folder / f"{i:05d}.eml") for i in range(count)]
    with ExitStack() as kept:
        peer = kept.enter_context(Postfix(state))
        os.sync()  # or what was written before is written out meanwhile
        report.add(BATCH, "postfix", per_s=peer.inject(count, 16))
        for label, arguments in (("mailstrom", files), ("mailstrom --mbox", ["--mbox", str(mbox)])):
            own = Path(kept.enter_context(TemporaryDirectory(dir=state)))
            ours = kept.enter_context(Mailstrom(own))
            os.sync()
            began = time.perf_counter()
            ours.run("submit", *arguments)
            wall = time.perf_counter() - began
            ours.expect("queued", count)
            report.add(BATCH, label, per_s=count / wall)


def submit(report: Report, state: Path, sizes: Sizes) -> None:
    for _ in range(sizes.runs):
        report.attempt("submit, single", single, report, state, sizes)
        report.attempt("submit, batch", batch, report, state, sizes)
    for label in ("mailstrom", "mailstrom-sendmail"):
        report.goal(f"submit: {label}, times the floor", report.ratio(ONE, "ms", label, "floor"), 1.5)
        click = report.ratio(ONE, "ms", label, "python -c 'import click'")
        report.goal(f"submit: {label}, times `import click`", click, 1)
    for label in ("mailstrom", "mailstrom --mbox"):
        rate = report.ratio(BATCH, "per_s", label, "postfix")
        report.goal(f"submit: batch, {label}, times Postfix", rate, 2, at_least=True)
