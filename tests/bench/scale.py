"""scale: what grows with the queue, and must not."""

from __future__ import annotations

import resource
import subprocess
import time
from typing import TYPE_CHECKING

from .group import ask, group, program, sh, until
from .mailstrom import DAY, Mailstrom
from .sinks import our_sink, smtp_sink

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .report import Report
    from .sizes import Sizes

FEW = 5  # runs of what is short
BIGGEST = 100_000  # what the goals for listing and first delivery speak of; less with --quick
SETTLE = 3.0  # seconds until `run` is measured, of which the first sweep is one
LISTINGS = {"mailstrom": ("queue",), "queue --json": ("queue", "--json"), "mailq": ("sendmail", "-bp")}
MEMORY_GOALS = {5_000: 60, 1_000_000: 150}


def scale(report: Report, state: Path, sizes: Sizes) -> None:
    for count in sizes.scale:
        report.attempt(f"scale, drain {count}", drain, report, state, count)
    for count in sizes.memory:
        report.attempt(f"scale, memory {count}", memory, report, state, count)
    biggest = max(count for count in sizes.scale if count <= BIGGEST)
    report.attempt("scale, first delivery", first_delivery, report, state, biggest)
    for count in (sizes.scale[0], biggest):
        report.attempt(f"scale, list {count}", listing, report, state, count, deep=count == biggest)
    goals(report, sizes, biggest)


def goals(report: Report, sizes: Sizes, biggest: int) -> None:
    for name in ("us_per_msg", "cpu_us_per_msg"):
        costs = [report.median("scale, drain", f"{count} queued", name) for count in sizes.scale]
        known = [cost for cost in costs if cost]
        measured = known[-1] / known[0] if len(known) == len(costs) else None
        report.goal(f"scale: {name} at {sizes.scale[-1]}, times that at {sizes.scale[0]}", measured, 1.2)
    for count in sizes.memory:
        limit = next(most for size, most in MEMORY_GOALS.items() if count <= size)
        measured = report.median("scale, memory", f"{count} queued", "pss_mb")
        report.goal(f"scale: PSS of `run`, {count} queued, MB", measured, limit)
    first = report.median("scale, first delivery", f"{biggest} due", "s")
    report.goal(f"scale: first delivery with {biggest} due, s", first, 1)
    for form, words in LISTINGS.items():
        command = " ".join(words)
        for floor in ("floor", "floor, same spool"):
            measured = report.ratio("scale, list", "s", form, floor)
            report.goal(f"scale: `{command}` of {biggest}, times the {floor}", measured, 1.5)
        first = report.median("scale, list", form, "first_line_s")
        report.goal(f"scale: first line of `{command}` of {biggest}, s", first, 0.5)
    for command in ("queue --count", "status ID"):
        few = report.median("scale, one", f"{command}, {sizes.scale[0]} queued", "ms")
        many = report.median("scale, one", f"{command}, {biggest} queued", "ms")
        measured = many / few if few and many else None
        report.goal(f"scale: `{command}` at {biggest}, times that at {sizes.scale[0]}", measured, 1.2)


def drain(report: Report, state: Path, count: int) -> None:
    """A whole queue, without what an empty one costs. Short ones are repeated."""
    label = f"{count} queued"
    for _ in range(FEW if count <= 10_000 else 1):
        with Mailstrom(state) as ours, smtp_sink():
            ours.fill(1)
            ours.flush()
            empty = ours.flush()
            filled = ours.fill(count)
            told = ours.flush(3600)
            ours.expect("delivered", count + 1)
        report.add(
            "scale, drain", label, us_per_msg=(told["s"] - empty["s"]) / count * 1e6,
            cpu_us_per_msg=(told["cpu_ms"] - empty["cpu_ms"]) / count * 1e3, msgs_per_s=count / told["s"],
            pss_mb=told["pss_mb"], fill_per_s=filled,
        )  # fmt: skip


def memory(report: Report, state: Path, count: int) -> None:
    """Of `run`, with everything deferred to tomorrow: the most it had, and what it has in the end."""
    with Mailstrom(state) as ours, group("mailstrom") as made:
        ours.fill(count, DAY)
        child = ours.start_run(made)
        seen: list[float] = []
        cpu = -1.0

        def settled() -> bool:
            """It has not worked since the last look, and not just begun."""
            nonlocal cpu
            seen.append(made.pss_mb())
            before, cpu = cpu, made.cpu_ms()
            return len(seen) > SETTLE / 0.25 and cpu - before < 2

        if not until(120, settled, 0.25):
            raise TimeoutError("`run` does not come to rest")
        if child.poll() is not None:
            raise RuntimeError("`run` has ended")
        report.add("scale, memory", f"{count} queued", pss_mb=max(seen), at_rest_mb=seen[-1])


def first_delivery(report: Report, state: Path, count: int) -> None:
    with Mailstrom(state) as ours:
        ours.fill(count)
        for _ in range(3):
            with our_sink() as sink, group("mailstrom") as made:
                began = time.monotonic()
                ours.start_run(made)
                if not until(60, lambda sink=sink: sink.tell()["messages"]):
                    raise TimeoutError("nothing is delivered within 60 s")
                first = sink.tell()["first"] - began
                report.add("scale, first delivery", f"{count} due", s=first)


def listing(report: Report, state: Path, count: int, *, deep: bool) -> None:
    with Mailstrom(state) as ours:
        ours.fill(count, DAY)
        one = sorted((ours.spool / "queued").iterdir())[count // 2].name
        for command in (["queue", "--count"], ["status", one]):
            name = "queue --count" if command[0] == "queue" else "status ID"
            for _ in range(FEW):
                began = time.perf_counter()
                try:
                    ours.run(*command)
                except RuntimeError as error:
                    print(f"scale: {name}: {error}")  # it is not there yet
                    break
                ms = (time.perf_counter() - began) * 1e3
                report.add("scale, one", f"{name}, {count} queued", ms=ms)
        if not deep:
            return
        flat = state / "flat"
        ask("floors", "make", flat, count)
        queued = ours.spool / "queued"
        for _ in range(3):  # in turn, since the machine drifts
            report.add("scale, list", "floor", **timed(program("floors", "list", flat)))
            for form, words in LISTINGS.items():
                report.add("scale, list", form, **first_and_all(ours.command(*words), count))
            same = timed(program("floors", "list", queued, "message.jsonl"))
            report.add("scale, list", "floor, same spool", **same)
        sh(["rm", "-rf", str(flat)])


def timed(command: Sequence[str]) -> dict[str, float]:
    used, began = cpu(), time.perf_counter()
    sh(command)
    return {"s": time.perf_counter() - began, "cpu_s": cpu() - used}


def first_and_all(command: Sequence[str], count: int) -> dict[str, float]:
    """Seconds until the first line of a command in a pipe, and until its end; CPU of all its processes."""
    used, began = cpu(), time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout
        lines, first = int(bool(child.stdout.readline())), time.perf_counter()
        lines += sum(1 for _ in child.stdout)
    wall = time.perf_counter() - began
    if lines < count or child.returncode:
        raise RuntimeError(f"{lines} lines of {count}, exit code {child.returncode}")
    return {"s": wall, "first_line_s": first - began, "cpu_s": cpu() - used}


def cpu() -> float:
    """CPU seconds of the processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
