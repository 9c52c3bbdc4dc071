"""slow: a link of 50 ms. Rates and round trips are those that our sink sees, so start-up does not count."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from .group import ask, group, sh, until, within
from .machine import FAR, FAR_NS, NEAR_NS, delayed_link, unlink
from .mailstrom import Mailstrom, message
from .postfix import Postfix
from .sinks import CHUNKING, PIPELINING, PORT, our_sink

if TYPE_CHECKING:
    from pathlib import Path

    from .group import Asked
    from .report import Report
    from .sizes import Sizes

ONE_WAY = 0.025
LIMIT = 120.0
COLD_LEAST = {  # connect, greeting, EHLO, then the commands up to DATA and the body, or all with BDAT
    PIPELINING: 5,
    CHUNKING: 4,
}


def seen(sink: Asked, connections: int, rtt: float) -> dict[str, float]:
    """The steady state, from the first message to the last, and how long the first one took."""
    told = sink.tell()
    each = (told["last"] - told["first"]) / max(1, told["messages"] - 1)
    return {
        "msgs_per_s": told["messages"] / (told["last"] - told["accepted"]),
        "round_trips": each * connections / rtt,
        # The sink accepts when the client has said ACK, 1.5 round trips after it began; the reply takes 0.5.
        "cold": (told["first"] - told["accepted"]) / rtt + 2,
    }


def postfix(state: Path, count: int, connections: int, rtt: float) -> dict[str, float]:
    limits = {
        "smtp_destination_concurrency_limit": connections,
        "smtp_initial_destination_concurrency": connections,
    }
    with Postfix(state, FAR, NEAR_NS, **limits) as peer:
        peer.inject(count, 4)
        with our_sink(PIPELINING, FAR, netns=FAR_NS) as sink:
            peer.release()
            if not until(LIMIT, lambda: not peer.count(), 0.1):
                raise TimeoutError(f"postfix takes more than {LIMIT:g} s")
            return seen(sink, connections, rtt)


def floor(state: Path, count: int, connections: int, rtt: float) -> dict[str, float]:
    folder, text = state / "floor", state / "floor.message"
    sh(["rm", "-rf", str(folder)])
    text.write_bytes(message())
    ask("floors", "fill", folder, text, count)
    with our_sink(PIPELINING, FAR, netns=FAR_NS) as sink:
        ask("floors", "drain", FAR, PORT, folder, connections, 1, netns=NEAR_NS)
        return seen(sink, connections, rtt)


def mailstrom(
    state: Path, count: int, connections: int, rtt: float, extensions: str = PIPELINING
) -> dict[str, float]:
    keys = {"limits__connections": connections, "limits__per_destination": connections}
    with Mailstrom(state, FAR, NEAR_NS, **keys) as ours:
        ours.fill(count)
        with our_sink(extensions, FAR, netns=FAR_NS) as sink:
            ours.flush(LIMIT)
            ours.expect("delivered", count)
            return seen(sink, connections, rtt)


def round_trip() -> float:
    """What the link really takes: the handshake of a connection."""
    program = (
        f"import socket, time\nfor _ in range(5):\n    began = time.monotonic()\n"
        f"    socket.create_connection(('{FAR}', {PORT})).close()\n    print(time.monotonic() - began)"
    )
    with our_sink(PIPELINING, FAR, netns=FAR_NS):
        told = sh([*within(NEAR_NS), "python3", "-c", program])
    return statistics.median(map(float, told.split()))


def slow(report: Report, state: Path, sizes: Sizes) -> None:
    with group("link") as link:
        delayed_link(link, ONE_WAY)
        try:
            measure(report, state, sizes)
        finally:
            unlink()
    one, many = "slow, 1 connection", "slow, 20 connections"
    chunking = "mailstrom, CHUNKING"
    trips = report.median(one, "mailstrom", "round_trips")
    report.goal("slow: round trips per message, PIPELINING", trips, 1.1)
    report.goal("slow: round trips per message, CHUNKING", report.median(one, chunking, "round_trips"), 0.5)
    for label, extensions in (("mailstrom", PIPELINING), (chunking, CHUNKING)):
        least = COLD_LEAST[extensions]
        cold = report.median(one, label, "cold")
        report.goal(f"slow: connection to first 250, {label}, round trips", cold, least + 0.3)
    rate = report.ratio(many, "msgs_per_s", "mailstrom", "postfix")
    report.goal("slow: 20 connections, times Postfix", rate, 3, at_least=True)


def measure(report: Report, state: Path, sizes: Sizes) -> None:
    rtt = round_trip()
    report.add("slow", "link", round_trip_ms=rtt * 1e3)
    for _ in range(sizes.runs):
        for connections, count in ((1, sizes.slow_one), (20, sizes.slow_many)):
            section = f"slow, {connections} connection{'s' if connections > 1 else ''}"
            for label, work, more in (
                ("postfix", postfix, ()),
                ("floor", floor, ()),
                ("mailstrom", mailstrom, ()),
                ("mailstrom, CHUNKING", mailstrom, (CHUNKING,)),
            ):
                told = report.attempt(f"{section}, {label}", work, state, count, connections, rtt, *more)
                if told:
                    report.add(section, label, **told)
