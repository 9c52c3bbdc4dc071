"""long: one message of 100 MB, stored and sent. The floor is `cp`, fsync and a plain socket to the same sink.

Each of the rates is of all its steps together. What any message costs, however short (the programs' start
above all), is taken off mailstrom's, and told beside it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .group import ask
from .mailstrom import Mailstrom, message
from .sinks import CHUNKING, HOST, PIPELINING, PORT, our_sink

if TYPE_CHECKING:
    from pathlib import Path

    from .report import Report
    from .sizes import Sizes

GOAL = 0.5
EXTENSIONS = {"BDAT": CHUNKING, "DATA": PIPELINING}


def long(report: Report, state: Path, sizes: Sizes) -> None:
    text = state / "long.eml"
    text.write_bytes(message(sizes.long_mb * 1_000_000))
    for _ in range(sizes.runs):
        for verb, extensions in EXTENSIONS.items():
            with our_sink(extensions):
                os.sync()
                told = ask("floors", "send", HOST, PORT, text, verb)
                durable = sizes.long_mb / sum(told.values())
                undurable = sizes.long_mb / (told["copy_s"] + told["send_s"])
                report.add(
                    "long", f"floor, {verb}", mb_per_s=durable, without_sync_mb_per_s=undurable, **told
                )
            with Mailstrom(state, limits__message_size='"200MB"') as ours, our_sink(extensions) as sink:
                short = through(ours, ours.message)
                told = through(ours, text)
                ours.expect("delivered", 2)
                if sink.tell()["octets"] < sizes.long_mb * 1_000_000:
                    raise RuntimeError("not the whole message has arrived")
                whole, start = (t["submit_s"] + t["flush_s"] for t in (told, short))
                report.add(
                    "long", f"mailstrom, {verb}", mb_per_s=sizes.long_mb / (whole - start),
                    with_start_mb_per_s=sizes.long_mb / whole, start_submit_s=short["submit_s"],
                    start_flush_s=short["flush_s"], **told,
                )  # fmt: skip
    for verb in EXTENSIONS:
        rate = report.ratio("long", "mb_per_s", f"mailstrom, {verb}", f"floor, {verb}")
        report.goal(f"long: {verb}, submit and flush, times cp, fsync and a send", rate, GOAL, at_least=True)
        for step in ("submit", "flush"):
            memory = report.median("long", f"mailstrom, {verb}", f"{step}_peak_mb")
            report.goal(f"long: {verb}, peak memory of {step}, MB", memory, 60)


def through(ours: Mailstrom, path: Path) -> dict[str, float]:
    """A submit and a flush."""
    os.sync()  # or what was written before is written out meanwhile
    submit, flush = ours.watched("submit", path), ours.flush()
    return {
        "submit_s": submit["s"], "submit_peak_mb": submit["peak_mb"],
        "flush_s": flush["s"], "flush_peak_mb": flush["peak_mb"],
    }  # fmt: skip
