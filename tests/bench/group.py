"""Processes that are measured together and end together; and programs that are asked questions."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROGRAMS = Path(__file__).resolve().parent / "programs"
PYTHON = [sys.executable, "-P"]  # nothing of the checkout is imported
CGROUPS = (Path("/sys/fs/cgroup/cpuacct"), Path("/sys/fs/cgroup"))
SECONDS_MOST = 900.0


def within(netns: str) -> list[str]:
    return ["nsenter", f"--net=/run/netns/{netns}"] if netns else []


def program(name: str, *arguments: object) -> list[str]:
    return [*PYTHON, str(PROGRAMS / f"{name}.py"), *map(str, arguments)]


def sh(command: Sequence[str], seconds: float = SECONDS_MOST, **options: Any) -> str:
    """Its output. Raises RuntimeError with the end of all that it said."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, text=True, capture_output=True, timeout=seconds, **options
    )
    if done.returncode:
        said = (done.stdout[-200:] + done.stderr[-600:]).strip()
        raise RuntimeError(f"{' '.join(command)[:200]}: exit code {done.returncode}: {said}")
    return done.stdout


def ask(name: str, *arguments: object, netns: str = "") -> dict[str, float]:
    told: dict[str, float] = json.loads(sh(within(netns) + program(name, *arguments)))
    return told


class Group:
    """Processes in a cgroup of their own, so that short-lived children count; where there is none, what
    /proc tells of the descendants."""

    def __init__(self, name: str) -> None:
        self.dir: Path | None = None
        self.children: list[subprocess.Popen[str]] = []
        for root in CGROUPS:
            told = "cpuacct.usage" if root.name == "cpuacct" else "cpu.stat"
            path = root / f"mailstrom-bench-{os.getpid()}-{name}-{time.monotonic_ns()}"
            with contextlib.suppress(OSError):
                if (root / told).exists():
                    path.mkdir()
                    self.dir = path
                    break

    def spawn(self, command: Sequence[str], netns: str = "", **options: Any) -> subprocess.Popen[str]:
        command = within(netns) + list(command)
        if self.dir:
            command = ["sh", "-c", 'echo $$ > "$0/cgroup.procs"; exec "$@"', str(self.dir), *command]
        for stream in ("stdin", "stdout", "stderr"):
            options.setdefault(stream, subprocess.DEVNULL)
        child: subprocess.Popen[str] = subprocess.Popen(command, text=True, **options)
        self.children.append(child)
        return child

    def pids(self) -> list[int]:
        if self.dir:
            return [int(p) for p in (self.dir / "cgroup.procs").read_text().split()]
        found = [c.pid for c in self.children if c.poll() is None]
        for pid in found:  # grows meanwhile
            with contextlib.suppress(OSError):
                found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return found

    def cpu_ms(self) -> float:
        if self.dir and (usage := self.dir / "cpuacct.usage").exists():
            return int(usage.read_text()) / 1e6
        if self.dir:
            found = re.search(r"usage_usec (\d+)", (self.dir / "cpu.stat").read_text())
            return int(found[1]) / 1e3 if found else 0.0
        ticks = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += sum(map(int, stat[11:15]))
        return ticks * 1e3 / os.sysconf("SC_CLK_TCK")

    def pss_mb(self) -> float:
        return sum(_kilobytes(f"/proc/{p}/smaps_rollup", "Pss") for p in self.pids()) / 1024

    def peak_mb(self) -> float:
        """The greatest VmHWM of one of them."""
        return max((_kilobytes(f"/proc/{p}/status", "VmHWM") for p in self.pids()), default=0) / 1024

    def switches(self) -> int:
        """Context switches of every thread so far."""
        total = 0
        for pid in self.pids():
            for task in Path(f"/proc/{pid}/task").glob("*/status"):
                total += sum(map(int, re.findall(r"ctxt_switches:\s+(\d+)", task.read_text())))
        return total

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            end = time.monotonic() + 5
            while self.pids() and time.monotonic() < end:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(-1, os.WNOHANG)  # this is process 1 of its namespace: orphans come here
                time.sleep(0.02)
        for child in self.children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(1)
            for stream in (child.stdin, child.stdout):
                if stream:
                    stream.close()
        if self.dir:
            with contextlib.suppress(OSError):
                self.dir.rmdir()


def _kilobytes(path: str, key: str) -> int:
    try:
        found = re.search(rf"^{key}:\s+(\d+)", Path(path).read_text(), re.M)
    except OSError:  # it ended meanwhile
        return 0
    return int(found[1]) if found else 0


@contextlib.contextmanager
def group(name: str) -> Iterator[Group]:
    made = Group(name)
    try:
        yield made
    finally:
        made.stop()


class Asked:
    """A program of ours that prints `ready`, then answers each line with JSON."""

    def __init__(self, made: Group, command: Sequence[str], netns: str = "") -> None:
        self.group = made
        self.child = made.spawn(command, netns, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.child.stdout
        if self.child.stdout.readline().strip() != "ready":
            raise RuntimeError(f"{' '.join(command)[:200]} did not start")

    def tell(self) -> dict[str, float]:
        assert self.child.stdin and self.child.stdout
        self.child.stdin.write("?\n")
        self.child.stdin.flush()
        told: dict[str, float] = json.loads(self.child.stdout.readline())
        return told


def until(seconds: float, done: Any, pause: float = 0.05) -> bool:
    """Whether done() became true in this time."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True
