"""long: one message of 100 MB."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .group import Asked, ask, group, program
from .mailstrom import Mailstrom, message
from .sinks import CHUNKING, HOST, PIPELINING, PORT, our_sink

if TYPE_CHECKING:
    from pathlib import Path

    from .report import Report
    from .sizes import Sizes

GOAL = 0.5
EXTENSIONS = {"mailstrom, CHUNKING": CHUNKING, "mailstrom, DATA": PIPELINING}


def long(report: Report, state: Path, sizes: Sizes) -> None:
    text = state / "long.eml"
    text.write_bytes(message(sizes.long_mb * 1_000_000))
    for _ in range(sizes.runs):
        with group("taker") as made:
            Asked(made, program("floors", "take", HOST, PORT))
            told = ask("floors", "send", HOST, PORT, text)
            both = told["copy_s"] + told["send_s"]
            report.add("long", "floor", mb_per_s=sizes.long_mb / both, **told)
        for label, extensions in EXTENSIONS.items():
            with Mailstrom(state, limits__message_size='"200MB"') as ours, our_sink(extensions) as sink:
                began = time.perf_counter()
                ours.run("submit", text)
                submitted = time.perf_counter() - began
                told = ours.flush()
                ours.expect("delivered", 1)
                if sink.tell()["octets"] < sizes.long_mb * 1_000_000:
                    raise RuntimeError("not the whole message has arrived")
                report.add(
                    "long", label, mb_per_s=sizes.long_mb / told["s"], submit_s=submitted, flush_s=told["s"],
                    peak_mb=told["peak_mb"], both_mb_per_s=sizes.long_mb / (submitted + told["s"]),
                )  # fmt: skip
    for label in EXTENSIONS:
        rate = report.ratio("long", "mb_per_s", label, "floor")
        report.goal(f"long: {label}, flush, times cp and a plain send", rate, GOAL, at_least=True)
        memory = report.median("long", label, "peak_mb")
        report.goal(f"long: {label}, peak memory, MB", memory, 60)
