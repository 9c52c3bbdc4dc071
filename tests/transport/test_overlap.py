"""Many messages over few connections that break at any point: what is told, against what the servers have."""

from __future__ import annotations

import asyncio
import io
import itertools
from random import Random
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.config.via import parse_via
from mailstrom_cli.mail.envelope import Envelope, Recipient
from mailstrom_cli.policy.classify import Circumstances
from mailstrom_cli.transport.base import Job

from ..peers.model import Heard, Model, Said
from ..peers.process import free_port
from .sending import Names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailstrom_cli.mail.status import Result

    from .sending import Sender

HOSTS = ("127.0.0.1", "127.0.0.2")
ACCEPTS = {"mail": 250, "rcpt": 250, "data": 354, "dot": 250, "bdat": 250, "rset": 250, "quit": 221}
MESSAGES, SLOTS = 40, 3
FAULTS = ["drop", "reset", "stall", "garbage", "garbage", "cut"]
QUICK = {f"smtp_timeout_{stage}": 0.5 for stage in ("mail", "rcpt", "data", "dot", "block", "rset", "quit")}


class Server:
    """Two hosts, whose connections mostly fail some replies after they began. heard: of all connections."""

    def __init__(self, offered: frozenset[str], rng: Random) -> None:
        self.models: list[Model] = []
        self.open = 0
        self.faults = 0
        self.errors: list[BaseException] = []
        self._offered, self._rng, self._numbers = offered, rng, itertools.count(1)

    @property
    def heard(self) -> list[Heard]:
        return [heard for model in self.models for heard in model.heard]

    def _decide(self, stage: str) -> int:
        if stage not in ("rset", "quit") and self._rng.random() < 0.04:
            return self._rng.choice([450, 550])
        return 421 if stage != "quit" and self._rng.random() < 0.006 else ACCEPTS[stage]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except AssertionError as error:
            self.errors.append(error)
        finally:
            self.open -= 1
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        rng = self._rng
        writer.write(b"220 here\r\n")
        await reader.readuntil(b"\r\n")
        writer.write(
            "\r\n".join(["250-here", *(f"250-{word}" for word in self._offered), "250 HELP\r\n"]).encode()
        )
        model = Model(self._offered, self._decide, keeps=rng.random() < 0.5, numbers=self._numbers)
        self.models.append(model)
        replies = rng.randrange(1, 60)  # before something happens
        while data := await reader.read(rng.choice([40, 1000, 100_000])):
            model.feed(data)
            await asyncio.sleep(rng.random() * 0.003)  # meanwhile the next one may arrive
            while model.unread:
                said = model.unread.pop(0)
                replies -= 1
                if replies == 0 and said.code not in (221, 421):
                    self.faults += 1
                    if await self._fail(rng.choice(FAULTS), said, reader, writer):
                        return
                else:
                    writer.write(said.line)
            if model.over:
                return

    async def _fail(
        self, how: str, said: Said, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Instead of a reply. Whether that was the end."""
        if how == "garbage":
            writer.write(b"what?\r\n")
            return False
        if how == "cut":
            writer.write(said.line[:5])
        elif how == "reset":
            writer.transport.abort()
        elif how == "stall":
            await writer.drain()
            while await reader.read(100_000):
                pass
        return True


async def deliver_all(sender: Sender, rng: Random) -> dict[str, list[Result]]:
    """Many jobs in few slots, each given up when only replies are waited for. -> results by reverse-path"""
    slots = asyncio.Semaphore(SLOTS)
    via = parse_via("mx:")

    async def final(results: Sequence[Result]) -> None: ...

    async def one(n: int, body: bytes) -> tuple[str, list[Result]]:
        to = tuple(Recipient(f"r{i}.{n}@example.test") for i in range(rng.randrange(1, 4)))
        envelope = Envelope(f"s{n}@example.org", to, f"<{n}@example.org>", len(body))
        await slots.acquire()
        held = [True]

        def sent(done: bool) -> None:
            if done and held:
                held.clear()
                slots.release()

        job = Job(
            str(n), envelope, to, "example.test", lambda: io.BytesIO(body), final, Circumstances(), sent
        )
        try:
            return envelope.reverse_path, await sender.smtp.deliver(job, via)
        finally:
            sent(True)

    return dict(await asyncio.gather(*(one(n, body_of(n)) for n in range(MESSAGES))))


def body_of(n: int) -> bytes:
    """Mostly short; some too long to be sent before the envelope is answered."""
    return b"Subject: %d\r\n\r\n.dot\r\n" % n + b"line\r\n" * (30_000 if n % 13 == 5 else n)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "offered",
    [
        frozenset({"PIPELINING", "CHUNKING"}),
        frozenset({"PIPELINING"}),
        frozenset({"CHUNKING"}),
        frozenset[str](),
    ],
    ids=lambda words: "+".join(sorted(words)) or "neither",
)
def test_what_is_told_is_what_the_servers_have(sender, offered: frozenset[str], seed: int) -> None:
    rng = Random(seed)
    server = Server(offered, rng)
    port = free_port(*HOSTS)
    names = Names({"example.test": [(10, "a"), (20, "b")]}, {"a": [HOSTS[0]], "b": [HOSTS[1]]})
    client: Sender = sender(names, smtp_port=port, tls_level="none", **QUICK)

    async def run() -> dict[str, list[Result]]:
        listeners = [await asyncio.start_server(server.serve, host, port) for host in HOSTS]
        results = await deliver_all(client, rng)
        await client.smtp.close()
        assert not client.smtp._pool._free
        async with asyncio.timeout(5):  # no connection is left behind
            while server.open:
                await asyncio.sleep(0.01)
        for listener in listeners:
            listener.close()
        return results

    told = client.run(run())
    assert not server.errors
    assert server.faults
    assert sum(r.status == "delivered" for results in told.values() for r in results) > MESSAGES // 2
    for n in range(MESSAGES):
        check(f"s{n}@example.org", body_of(n), told[f"s{n}@example.org"], server.heard)


def check(sender: str, body: bytes, results: list[Result], all_heard: list[Heard]) -> None:
    heard = sorted((h for h in all_heard if h.sender == sender), key=lambda h: h.mail.number)
    for told in results:
        accepted = [h for h in heard if h.accepted(told.address)]
        meant = [said for h in heard if (said := h.meant_for(told.address)) is not None]
        assert len(accepted) <= 1, f"{told.address} has it {len(accepted)} times"
        assert all(h.message == body for h in accepted)
        if told.status == "delivered":
            assert [told.text] == [f"reply {s.number}" for h in accepted if (s := h.meant_for(told.address))]
        elif accepted:
            assert told.maybe_delivered, f"{told.address} may have it, of which nothing is told: {told}"
        if told.code is not None and told.code != 421:  # that one ends the transactions behind it, too
            assert (told.code, told.text) in [(s.code, f"reply {s.number}") for s in meant]
        if told.maybe_delivered:  # by the last one that was asked
            assert accepted in ([], [h for h in heard if told.address in h.recipients][-1:])
