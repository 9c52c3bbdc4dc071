"""drain: a queue of 5,000 to a fast sink over loopback."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

from .group import ask
from .mailstrom import Mailstrom, message
from .postfix import Postfix
from .sinks import HOST, PORT, smtp_sink

if TYPE_CHECKING:
    from pathlib import Path

    from .report import Report
    from .sizes import Sizes

FLOORS = {"floor": (4, 1), "floor, 2 processes": (8, 2)}  # connections, processes


def postfix(state: Path, count: int) -> dict[str, float]:
    with Postfix(state) as peer:
        peer.inject(count, 4)
        held = peer.count()
        if held != count:
            raise RuntimeError(f"{held} of {count} messages are queued")
        with smtp_sink():
            cpu, began, pss = peer.group.cpu_ms(), time.perf_counter(), 0.0
            peer.release()
            looked = began
            while peer.count():
                time.sleep(0.05)
                if time.perf_counter() - looked > 0.2:
                    pss, looked = max(pss, peer.group.pss_mb()), time.perf_counter()
                if time.perf_counter() - began > 120:
                    raise TimeoutError("postfix takes more than 120 s")
            wall = time.perf_counter() - began
            cpu = peer.group.cpu_ms() - cpu
            return {"msgs_per_s": count / wall, "cpu_ms": cpu / count, "pss_mb": pss}


def floor(state: Path, count: int, connections: int, processes: int) -> dict[str, float]:
    folder, text = state / "floor", state / "floor.message"
    shutil.rmtree(folder, ignore_errors=True)
    text.write_bytes(message())
    ask("floors", "fill", folder, text, count)
    with smtp_sink():
        return ask("floors", "drain", HOST, PORT, folder, connections, processes)


def mailstrom(state: Path, count: int) -> dict[str, float]:
    with Mailstrom(state) as ours:
        ours.fill(count)
        with smtp_sink() as sink:
            told = ours.flush()
            ours.expect("delivered", count)
            sink_ms = sink.cpu_ms() / count
        return {
            "msgs_per_s": count / told["s"], "cpu_ms": told["cpu_ms"] / count, "pss_mb": told["pss_mb"],
            "sink_cpu_ms": sink_ms,
        }  # fmt: skip


def drain(report: Report, state: Path, sizes: Sizes) -> None:
    def one(label: str, work: object, *arguments: object) -> None:
        if told := report.attempt(f"drain {label}", work, state, sizes.drain, *arguments):  # type: ignore[arg-type]
            report.add("drain", label, **told)

    for _ in range(sizes.runs):
        one("postfix", postfix)
        for label, how in FLOORS.items():
            one(label, floor, *how)
        one("mailstrom", mailstrom)
    rate, cpu = "msgs_per_s", "cpu_ms"
    report.goal("drain: times Postfix", report.ratio("drain", rate, "mailstrom", "postfix"), 3, at_least=True)
    for label in FLOORS:
        measured = report.ratio("drain", rate, "mailstrom", label)
        report.goal(f"drain: times the {label}", measured, 0.5, at_least=True)
    measured = report.ratio("drain", cpu, "mailstrom", "postfix")
    report.goal("drain: CPU per message, times Postfix's", measured, 0.5)
