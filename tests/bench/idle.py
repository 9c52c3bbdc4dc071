"""idle: what `run` does when there is nothing to do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .group import group, until
from .mailstrom import DAY, Mailstrom

if TYPE_CHECKING:
    from pathlib import Path

    from .report import Report
    from .sizes import Sizes

SETTLE = 5.0  # seconds: the first sweep comes one second after the start


def idle(report: Report, state: Path, sizes: Sizes) -> None:
    for label, queued in (("nothing queued", 0), ("20 queued for tomorrow", 20)):
        with Mailstrom(state) as ours, group("mailstrom") as made:
            if queued:
                ours.fill(queued, DAY)
            child = ours.start_run(made)
            until(SETTLE, lambda child=child: child.poll() is not None)
            if child.poll() is not None:
                raise RuntimeError("`run` has ended")
            switches, cpu = made.switches(), made.cpu_ms()
            time.sleep(sizes.idle)
            report.add(
                "idle", label, seconds=sizes.idle, context_switches=made.switches() - switches,
                cpu_ms=made.cpu_ms() - cpu,
            )  # fmt: skip
        switches_seen = report.median("idle", label, "context_switches")
        report.goal(f"idle: context switches, {label}", switches_seen, 0)
