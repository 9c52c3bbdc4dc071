"""Runs cells beside each other through one transport, while others of its queue go to a good server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mailstrom_cli.config.schema import Auth

from ..peers.process import free_port
from ..peers.scripted import Script, ScriptedServer
from ..transport.sending import MESSAGE, Names, Sender, settings
from .cells import LMTP, Cell, Told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from pathlib import Path
    from typing import Any

    from mailstrom_cli.mail.status import Result

    from ..peers.certs import Certificates

SECONDS, PATIENT = 1.0, 6.0
"""The time-out of every stage; and where a machine was so busy that it hit those who were only slow."""
AT_ONCE = 24
BOUND = 12
"""An attempt that takes more time-outs than that is a fault: no stage may take more than its own."""
BIG = b"Message-ID: <1@example.org>\r\n\r\n" + (b"x" * 998 + b"\r\n") * 7_000
STAGES = (
    "connect",
    "greeting",
    "ehlo",
    "starttls",
    "auth",
    "mail",
    "rcpt",
    "data",
    "block",
    "dot",
    "rset",
    "quit",
)


class Narrow(ScriptedServer):
    """With a small receive buffer, so that a client stands in its message when nobody reads."""

    def start(self) -> Narrow:
        super().start()
        assert self._listener is not None
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        return self


@dataclass
class Seen:
    """What came of one attempt."""

    results: list[Result]
    seconds: float
    good: list[tuple[str, str]]
    asked: bool
    """The good server was."""
    faults: list[str]


@dataclass
class Ground:
    """Where cells meet: a port that is free on all loopback addresses used, files, certificates."""

    folder: Path
    certificates: Certificates
    seconds: float = SECONDS
    port: int = field(default_factory=lambda: free_port("127.0.0.1"))

    def __post_init__(self) -> None:
        (self.folder / "big").write_bytes(BIG)
        (self.folder / "small").write_bytes(MESSAGE)
        self.password = self.folder / "password"
        self.password.write_text("secret\n")
        self.password.chmod(0o600)

    def sender(self, cells: Sequence[Cell], level: str) -> Sender:
        login = Auth("robot", password_file=str(self.password))
        auth = {
            f"{side}{n}.example.test": login for n, cell in enumerate(cells) if cell.login for side in "ahg"
        }
        timeouts: dict[str, Any] = {f"smtp_timeout_{stage}": self.seconds for stage in STAGES}
        held = settings(
            smtp_port=self.port, tls_level=level, tls_ca_file=self.certificates.ca_file, auth=auth,
            limits_messages_per_connection=1, **timeouts,
        )  # fmt: skip
        hosts = {f"{side}{n}.example.test": [address(n, side)] for n in range(len(cells)) for side in "ahg"}
        return Sender(held, Names({}, hosts))


def address(n: int, side: str) -> str:
    """The loopback address of one of the servers of the n-th cell."""
    return f"127.{ord(side)}.{n >> 8}.{n & 255}"


async def _attempt(ground: Ground, sender: Sender, n: int, cell: Cell, side: str) -> Seen:
    """side: "a": the hostile one is alone; "h": a good one is next."""
    loop = asyncio.get_running_loop()
    hostile, good = f"{side}{n}.example.test", f"g{n}.example.test"
    context = ground.certificates.context()
    friendly = Script(
        lmtp=cell.mode == LMTP, chunking=cell.mode in ("chunk", "at once"), keep_bodies=False,
        tls=context if cell.login or cell.level != "none" else None,
        mechanisms=("PLAIN",) if cell.login else (), users={"robot": "secret"},
    )  # fmt: skip
    faults: list[str] = []
    async with contextlib.AsyncExitStack() as running:
        first = None
        if cell.kind != "refused" or cell.stage != "connect":
            first = await running.enter_async_context(
                _server(cell.script(context), address(n, side), ground.port)
            )
        second = None
        if side == "h":
            second = await running.enter_async_context(_server(friendly, address(n, "g"), ground.port))
        scheme = "lmtp" if cell.mode == LMTP else "smtp"
        via = ",".join(f"{scheme}://{name}:{ground.port}" for name in (hostile, good)[: 2 if second else 1])
        message = BIG if cell.long else MESSAGE
        path = ground.folder / ("big" if cell.long else "small")
        begun = loop.time()
        results = await sender.attempt(
            via,
            *(f"{r}@example.test" for r in cell.recipients),
            message=message,
            opener=lambda: path.open("rb"),
        )
        seconds = (loop.time() - begun) / ground.seconds
        if first is not None:
            first.release()
            with contextlib.suppress(TimeoutError):
                await asyncio.to_thread(first.wait, lambda s: all(x.end != "open" for x in s.sessions), 10.0)
            faults += [f"{x} is left open" for x in first.sessions if x.end == "open"]
        if second is not None:
            faults += [f"to the good server: {v}" for v in second.violations]
        delivered = second.delivered() if second is not None else []
        asked = second is not None and bool(second.sessions)
    return Seen(results, seconds, delivered, asked, faults)


@contextlib.asynccontextmanager
async def _server(script: Script, host: str, port: int) -> AsyncIterator[ScriptedServer]:
    server = Narrow(script, host=host, port=port).start()
    try:
        yield server
    finally:
        await asyncio.to_thread(server.stop)


def judge(cell: Cell, alone: Seen, pair: Seen) -> list[str]:
    """What is wrong with what came of a cell; nothing, if all is as it has to be."""
    faults = [*alone.faults, *pair.faults]
    wanted = cell.outcome()
    for told, want in zip(alone.results, wanted, strict=True):
        faults += _compare(cell, told, want)
    for told, want, address in zip(pair.results, wanted, cell.recipients, strict=True):
        if want.next:
            if (told.status, (told.host or "?")[0]) != ("delivered", "g"):
                faults.append(f"the next server was not used: {told.status} {told.host} {told.text}")
        else:
            faults += _compare(cell, told, want)
        got = [a for a, _ in pair.good].count(f"{address}@example.test")
        if got != want.next:
            faults.append(f"the next server got {address} {got} times")
    if pair.asked != any(want.next for want in wanted):
        faults.append(f"the next server was {'' if pair.asked else 'not '}asked")
    for seen in (alone, pair):
        if seen.seconds > BOUND:
            faults.append(f"took {seen.seconds:.1f} time-outs")
    return faults


def _compare(cell: Cell, told: Result, want: Told) -> list[str]:
    enhanced, text = told.enhanced, told.text
    if cell.kind == "reset" and cell.stage in ("connect", "greeting") and enhanced == "4.4.1":
        enhanced, text = "4.4.2", want.words  # it overtook the end of connect(2)
    got = (told.status, told.code, enhanced, told.unreachable, told.maybe_delivered)
    meant = (want.status, want.code, want.enhanced, want.unreachable, want.maybe)
    faults = [f"{got} instead of {meant}: {told.text}"] if got != meant else []
    if want.words not in text:
        faults.append(f"{want.words!r} is not in {text!r}")
    if not told.text.isprintable() or len(told.text) > 1000:
        faults.append(f"what it says is no short plain line: {told.text[:200]!r}")
    return faults


async def _bystander(sender: Sender, server: ScriptedServer, n: int) -> list[str]:
    """Another message of the queue."""
    body = b"Message-ID: <other%d@example.org>\r\n\r\nHello\r\n" % n
    (told,) = await sender.attempt(f"smtp://127.0.0.1:{server.port}", f"other{n}@example.test", message=body)
    return [] if told.status == "delivered" else [f"another message was {told.status}: {told.text}"]


async def _all(ground: Ground, sender: Sender, numbered: Sequence[tuple[int, Cell]]) -> dict[Cell, list[str]]:
    limit = asyncio.Semaphore(AT_ONCE)
    others: list[str] = []

    async def one(n: int, cell: Cell, bystanders: ScriptedServer) -> tuple[Cell, list[str]]:
        async with limit:
            alone, pair, other = await asyncio.gather(
                _attempt(ground, sender, n, cell, "a"),
                _attempt(ground, sender, n, cell, "h"),
                _bystander(sender, bystanders, n),
            )
        others.extend(other)
        return cell, judge(cell, alone, pair)

    with ScriptedServer(Script(keep_bodies=False, tls=ground.certificates.context())) as bystanders:
        found = dict(await asyncio.gather(*(one(n, cell, bystanders) for n, cell in numbered)))
        if len(bystanders.delivered()) != len(numbered) or bystanders.duplicates() or bystanders.violations:
            others.append(f"{len(bystanders.delivered())} of {len(numbered)} others arrived: {others}")
    if others:
        found[numbered[0][1]] += others
    return found


class _Record(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def run(cells: Sequence[Cell], folder: Path, certificates: Certificates) -> dict[Cell, list[str]]:
    """What is wrong with each cell, and stays so when there is more time."""
    found = _run(cells, Ground(folder, certificates))
    again = [cell for cell in cells if found[cell]]
    return {**found, **_run(again, Ground(folder, certificates, PATIENT))} if again else found


def _run(cells: Sequence[Cell], ground: Ground) -> dict[Cell, list[str]]:
    """All of one level of TLS go through one transport, at the same time."""
    record = _Record()
    log = logging.getLogger("mailstrom")
    log.addHandler(record)
    found: dict[Cell, list[str]] = {}
    try:
        for level in ("none", "encrypt"):
            numbered = [(n, cell) for n, cell in enumerate(cells) if cell.level == level]
            if numbered:
                found.update(_one_level(ground, cells, level, numbered))
    finally:
        log.removeHandler(record)
    if record.lines and found:
        found[next(iter(found))].append(f"the log has {record.lines}")
    return found


def _one_level(
    ground: Ground, cells: Sequence[Cell], level: str, numbered: Sequence[tuple[int, Cell]]
) -> dict[Cell, list[str]]:
    sender = ground.sender(cells, level)
    sender.run(asyncio.sleep(0))
    before = len(os.listdir("/proc/self/fd"))
    found: dict[Cell, list[str]] = sender.run(_all(ground, sender, numbered))
    sender.run(sender.smtp.close())
    sender.run(asyncio.sleep(0))
    left = len(os.listdir("/proc/self/fd")) - before
    sender.close()
    if left:
        found[numbered[0][1]].append(f"{left} descriptors are left open")
    return found


def table(found: dict[Cell, list[str]]) -> Iterable[str]:
    """A line a stage and kind, and how many of its modes came out right."""
    rows: dict[tuple[str, str], list[bool]] = {}
    for cell, faults in found.items():
        rows.setdefault((cell.stage, cell.kind), []).append(not faults)
    for (stage, kind), right in rows.items():
        yield f"{stage:12} {kind:10} {sum(right):3} of {len(right):3}"
