"""A small world for the scheduler: a memory store, and next hops that say what a test tells them to."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from mailstrom_cli.config.schema import Limits, Retry, Settings
from mailstrom_cli.config.via import Via, parse_via
from mailstrom_cli.mail.envelope import Envelope, Recipient
from mailstrom_cli.mail.status import DEFERRED, DELIVERED, Result
from mailstrom_cli.queue.scheduler import Scheduler
from mailstrom_cli.store.base import Store, Submission
from mailstrom_cli.store.memory import open_store
from mailstrom_cli.transport.base import OPEN, Job
from mailstrom_cli.values import replace

if TYPE_CHECKING:
    from .virtual import VirtualLoop

Behaviour = Callable[[Job, str], Awaitable[str] | str]
"""(job, address) -> a reply, "unreachable", or an awaitable of one."""

SETTINGS = Settings(
    helo_name="client.test",
    via=(parse_via("mx:"),),
    retry=Retry(jitter=0),
    limits=Limits(connections=10, per_destination=4),
)


class FakeTransport:
    """Notes every attempt as (seconds since the start, id, addresses)."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.active = 0
        self.peak = 0

    async def deliver(self, job: Job, via: Via) -> list[Result]:
        world = self._world
        if world.opens:
            job.progress(OPEN)
        self.active += 1
        self.peak = max(self.peak, self.active)
        addresses = tuple(r.address for r in job.recipients)
        world.attempts.append((round(world.loop.time(), 3), job.id, addresses))
        try:
            results = []
            for address in addresses:
                said = world.behaviour(job, address)
                text = said if isinstance(said, str) else await said
                results.append(_result(address, text))
            return results
        finally:
            self.active -= 1

    async def close(self) -> None:
        pass


def _result(address: str, text: str) -> Result:
    if text == "unreachable":
        return Result(
            address, DEFERRED, "connection refused", enhanced="4.4.1", unreachable=True, judged=False
        )
    code = int(text[:3])
    status = {2: DELIVERED, 4: DEFERRED, 5: "failed"}[code // 100]
    return Result(address, status, text[4:] or "said so", code=code)


class World:
    def __init__(
        self,
        loop: VirtualLoop,
        behaviour: Behaviour,
        settings: Settings = SETTINGS,
        store: Store | None = None,
    ) -> None:
        self.loop = loop
        self.behaviour = behaviour
        self.settings = settings
        self.store: Store = store or open_store("memory:")
        self.transport = FakeTransport(self)
        self.opens = True  # servers let us in at once
        self.attempts: list[tuple[float, str, tuple[str, ...]]] = []
        self.results: list[tuple[str, str]] = []

    def submit(self, *addresses: str, **changes: object) -> str:
        message = b"From: a@example.org\r\n\r\nHello\r\n"
        envelope = Envelope(
            "a@example.org", tuple(Recipient(a) for a in addresses), "<1@example.org>", len(message)
        )
        submission = Submission(replace(envelope, **changes), [message])
        return self.store.intake([submission], self.loop.clock())[0]

    def scheduler(self, *, once: bool) -> Scheduler:
        made = Scheduler(
            self.store,
            self.settings,
            lambda scheme: self.transport,  # type: ignore[arg-type]
            self.loop.clock,
            random.Random(1),
            lambda entry, results: self.results.append((entry.id, entry.state)),
            once=once,
        )
        for item in self.store.scheduled():
            made.add(item.id, item.due)
        return made

    async def until_quiet(self, scheduler: Scheduler, until: float) -> None:
        """Run a scheduler that goes on for ever up to a time of the loop."""
        self.loop.call_at(until, scheduler.stop)
        await scheduler.run()

    def state(self, id: str) -> str:
        return self.store.read(id).state


async def forever() -> str:
    await asyncio.Event().wait()
    raise AssertionError("an event that nobody sets")
