"""many: many destinations, some of which are bad; and a single message beside a bulk."""

from __future__ import annotations

import ipaddress
import time
from typing import TYPE_CHECKING

from .group import group, until
from .mailstrom import Mailstrom, message
from .sinks import CHUNKING, names, our_sink

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .report import Report
    from .sizes import Sizes

HEALTHY, STALLED, REFUSED = "127.1.0.1", "127.2.0.1", "127.3.0.1"  # the first of each
LIMIT = 120.0
BAD = 0.05  # the share of the domains that stall, and of those that refuse
SECTION = "many"


def domains(first: str, count: int) -> list[str]:
    """Domains of which each has a host of its own, by `programs/names.py`."""
    start = ipaddress.ip_address(first)
    return ["a-" + str(start + i).replace(".", "-") + ".test" for i in range(count)]


def many(report: Report, state: Path, sizes: Sizes) -> None:
    for _ in range(sizes.runs):
        report.attempt("many, recipients", recipients, report, state, sizes)
        report.attempt("many, domains", mixed, report, state, sizes)
        report.attempt("many, single", single, report, state, sizes)
    measured = report.ratio(SECTION, "s", "10 % bad", "without the bad ones")
    report.goal("many: the healthy ones with 10 % bad, times without", measured, 1.1)
    alone = report.median(SECTION, "a single message beside a bulk", "s")
    report.goal("many: a single message beside a bulk, s", alone, 1)


def recipients(report: Report, state: Path, sizes: Sizes) -> None:
    """One message to many, in some domains."""
    places = domains(HEALTHY, sizes.domains)
    to = [f"r{i}@{places[i % len(places)]}" for i in range(sizes.recipients)]
    with Mailstrom(state, "mx") as ours, names(), our_sink(CHUNKING, f"{HEALTHY}+{sizes.domains}") as sink:
        flags = [word for address in to for word in ("--to", address)]
        ours.run("submit", *flags, input=message().decode())
        flushed = ours.flush()
        ours.expect("delivered", 1)
        told = sink.tell()
        report.add(
            SECTION, f"{len(to)} recipients, {len(places)} domains", s=flushed["s"], cpu_ms=flushed["cpu_ms"],
            transactions=told["messages"], connections=told["connections"],
        )  # fmt: skip


def mixed(report: Report, state: Path, sizes: Sizes) -> None:
    bad = int(sizes.many_domains * BAD)
    healthy = domains(HEALTHY, sizes.many_domains - 2 * bad)
    each = sizes.many // sizes.many_domains
    others = domains(STALLED, bad) + domains(REFUSED, bad)
    # The bad ones are spread among the others, as they are in a real queue.
    step = len(healthy) // len(others)
    spread = [name for i, one in enumerate(others) for name in (one, *healthy[i * step : (i + 1) * step])]
    spread += healthy[len(others) * step :]
    for label, some in (("without the bad ones", healthy), ("10 % bad", spread)):
        report.add(SECTION, label, **until_healthy(state, some, each, len(healthy), bad))


def until_healthy(state: Path, places: Sequence[str], each: int, healthy: int, bad: int) -> dict[str, float]:
    """From the start of `run` until the last message for a healthy domain has arrived."""
    wanted = healthy * each
    with (
        Mailstrom(state, "mx") as ours,
        names(),
        our_sink(CHUNKING, f"{HEALTHY}+{healthy}", "--stall", f"{STALLED}+{bad}") as sink,
        group("mailstrom") as made,
    ):
        ours.fill(len(places) * each, domains=places)
        began = time.monotonic()
        ours.start_run(made)
        complete = until(LIMIT, lambda: sink.tell()["messages"] >= wanted, 0.1)
        told = sink.tell()
        wall = told["last"] - began if complete else LIMIT
        if not told["messages"]:
            raise TimeoutError(f"nothing has arrived after {LIMIT:g} s")
        if not complete:
            print(f"many: {told['messages']} of {wanted} have arrived after {LIMIT:g} s")
        return {
            "s": wall, "msgs_per_s": told["messages"] / wall, "cpu_ms": made.cpu_ms() / told["messages"],
            "connections": told["connections"],
        }  # fmt: skip


def single(report: Report, state: Path, sizes: Sizes) -> None:
    """A message to somebody else, submitted while a bulk to one domain is under way."""
    bulk, other = domains(HEALTHY, 2)
    with (
        Mailstrom(state, "mx") as ours,
        names(),
        our_sink(CHUNKING, f"{HEALTHY}+2") as sink,
        group("mailstrom") as made,
    ):
        count = sizes.many * 2
        ours.fill(count, domains=[bulk])
        ours.start_run(made)
        if not until(30, lambda: sink.tell()["messages"] > count // 20, 0.01):
            raise TimeoutError("the bulk does not begin")
        began = time.monotonic()
        ours.run("submit", "--to", f"mark@{other}", input=message().decode())
        submitted = time.monotonic()
        if not until(LIMIT, lambda: sink.tell()["marked"], 0.01):
            raise TimeoutError("the single message does not arrive")
        told = sink.tell()
        report.add(
            SECTION, "a single message beside a bulk", s=told["marked"] - submitted,
            with_submit_s=told["marked"] - began, bulk_left=count + 1 - sink.tell()["messages"],
        )  # fmt: skip
