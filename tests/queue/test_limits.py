"""Connections and rates: who may connect while others stall, and how many messages leave in a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.config.schema import Rate
from mailstrom_cli.config.via import parse_via
from mailstrom_cli.mail.status import DELIVERED, QUEUED
from mailstrom_cli.queue.destinations import PATIENCE
from mailstrom_cli.queue.line import ENOUGH
from mailstrom_cli.queue.slots import STALLED
from mailstrom_cli.transport.base import OPEN, SENT
from mailstrom_cli.values import replace

from .virtual import VirtualLoop, run
from .world import SETTINGS, World, forever

if TYPE_CHECKING:
    from mailstrom_cli.config.schema import Settings
    from mailstrom_cli.transport.base import Job

CONNECTIONS = SETTINGS.limits.connections
RELAY = replace(SETTINGS, via=(parse_via("smtp://relay.example.org"),))


def limited(settings: Settings = SETTINGS, **changed: object) -> Settings:
    return replace(settings, limits=replace(settings.limits, **changed))


async def begun(world: World, seconds: float) -> asyncio.Task[None]:
    """A pass that has been under way for so long."""
    task = asyncio.ensure_future(world.scheduler(once=True).run())
    await asyncio.sleep(seconds)
    return task


async def stall_or_take(job: Job, address: str) -> str:
    if "stall" in address:
        await forever()
    job.progress(OPEN)
    return "250 ok"


def test_servers_that_keep_us_waiting_do_not_use_up_the_connections() -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, stall_or_take)
        world.opens = False
        for n in range(STALLED * CONNECTIONS):
            world.submit(f"b@{n}.stall.example.net")
        good = [world.submit(f"b@{n}.example.com") for n in range(20)]
        running = await begun(world, STALLED + 1)
        assert all(world.state(id) == DELIVERED for id in good)
        assert world.transport.active == STALLED * CONNECTIONS
        running.cancel()

    run(story)


def test_but_only_so_many_of_them_at_once() -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, stall_or_take)
        world.opens = False
        for n in range((STALLED + 3) * CONNECTIONS):
            world.submit(f"b@{n}.stall.example.net")
        running = await begun(world, 100)
        assert world.transport.active == (STALLED + 1) * CONNECTIONS
        running.cancel()

    run(story)


def test_what_was_slow_in_opening_counts_again_when_it_is_open() -> None:
    async def story(loop: VirtualLoop) -> None:
        async def slow(job: Job) -> str:
            await asyncio.sleep(3)
            job.progress(OPEN)
            await asyncio.sleep(10)
            return "250 ok"

        world = World(loop, lambda job, address: slow(job))
        world.opens = False
        for n in range(3 * CONNECTIONS):
            world.submit(f"b@{n}.example.com")
        running = await begun(world, 5)
        assert world.transport.active == 3 * CONNECTIONS
        for n in range(10):
            world.submit(f"b@{n}.example.org")
        await asyncio.sleep(7)
        assert world.transport.active == 3 * CONNECTIONS
        running.cancel()

    run(story)


def test_one_alone_waits_for_a_domain_that_has_not_answered() -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, stall_or_take)
        world.opens = False
        for _ in range(50):
            world.submit("b@stall.example.net")
        running = await begun(world, 100)
        assert world.transport.active == 1
        running.cancel()

    run(story)


@pytest.mark.parametrize(("messages", "connections"), [(1, 1), (5, 1), (6, 2), (12, 3), (200, 4)])
def test_a_few_messages_share_a_connection(messages: int, connections: int) -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, lambda job, address: forever(), RELAY)
        for _ in range(messages):
            world.submit("b@example.net")
        running = await begun(world, 1)
        assert world.transport.active == connections
        running.cancel()

    run(story)


def test_what_takes_long_on_its_connection_is_gone_round() -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, lambda job, address: forever() if "long" in address else "250 ok", RELAY)
        world.submit("long@example.net")
        await asyncio.sleep(0.01)
        short = world.submit("short@example.net")
        running = await begun(world, 4)
        assert world.state(short) == QUEUED
        await asyncio.sleep(3)
        assert world.state(short) == DELIVERED
        running.cancel()

    run(story)


def test_a_connection_that_is_free_serves_its_next_hop_first_but_not_for_ever() -> None:
    async def story(loop: VirtualLoop) -> None:
        order: list[str] = []

        async def brisk(job: Job, address: str) -> str:
            order.append(address.partition("@")[2])
            job.progress(SENT)
            return "250 ok"

        world = World(loop, brisk, limited(connections=1))
        for _ in range(30):
            world.submit("b@a.example")
        await asyncio.sleep(0.01)
        world.submit("b@b.example")
        await world.scheduler(once=True).run()
        assert 5 <= order.index("b.example") <= 15

    run(story)


def test_the_places_of_a_long_queue_to_one_domain_are_packed() -> None:
    async def story(loop: VirtualLoop) -> None:
        gate = asyncio.Event()

        async def when_open() -> str:
            await gate.wait()
            return "250 ok"

        world = World(loop, lambda job, address: when_open())
        ids = [world.submit("b@example.net") for _ in range(3 * ENOUGH)]
        scheduler = world.scheduler(once=False)
        task = asyncio.ensure_future(scheduler.run())
        await asyncio.sleep(1)
        assert len(scheduler._planned) < ENOUGH + 10
        scheduler.load(world.store.scheduled())  # tells of those that are parked, too
        gate.set()
        await asyncio.sleep(10)
        assert all(world.state(id) == DELIVERED for id in ids)
        assert max(Counter(id for _, id, _ in world.attempts).values()) == 1
        task.cancel()

    run(story)


# --- rates ---


def attempts_a_minute(world: World) -> Counter[int]:
    return Counter(int(when // 60) for when, _, _ in world.attempts)


def test_no_more_leave_for_a_next_hop_than_its_rate() -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, lambda job, address: "250 ok", limited(rate=Rate(30, 60)))
        for _ in range(100):
            world.submit("b@example.net")
        for _ in range(20):
            world.submit("b@example.org")
        await world.until_quiet(world.scheduler(once=False), 600)
        assert len(world.attempts) == 120
        told = attempts_a_minute(world)
        assert told[0] <= 30 + 20
        assert max(told[minute] for minute in range(1, 10)) <= 30
        assert max(when for when, _, _ in world.attempts) < 60 * 100 / 30 / 0.85

    run(story)


def test_nor_for_all_together() -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, lambda job, address: "250 ok", limited(total_rate=Rate(30, 60)))
        for n in range(100):
            world.submit(f"b@{n % 7}.example.net")
        await world.until_quiet(world.scheduler(once=False), 600)
        assert len(world.attempts) == 100
        assert max(attempts_a_minute(world).values()) <= 30

    run(story)


def test_a_pass_leaves_what_would_have_to_wait_and_the_next_one_keeps_to_what_it_sent(caplog) -> None:
    caplog.set_level("INFO", "mailstrom")

    async def story(loop: VirtualLoop) -> None:
        world = World(loop, lambda job, address: "250 ok", limited(RELAY, rate=Rate(40, 3600)))
        ids = [world.submit("b@example.net") for _ in range(20)]
        await world.scheduler(once=True).run()
        assert len(world.attempts) == 4
        assert loop.time() < PATIENCE
        assert sum(world.state(id) == QUEUED for id in ids) == 16
        assert "rate limit of smtp://relay.example.org: 16 left to a later pass" in caplog.text
        await world.scheduler(once=True).run()
        assert len(world.attempts) == 4
        await asyncio.sleep(3600)
        await world.scheduler(once=True).run()
        assert len(world.attempts) == 8

    run(story)


def test_a_pass_waits_for_turns_that_come_soon() -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, lambda job, address: "250 ok", limited(RELAY, rate=Rate(100, 60)))
        for _ in range(40):
            world.submit("b@example.net")
        await world.scheduler(once=True).run()
        assert len(world.attempts) == 40
        assert 15 < loop.time() < 25

    run(story)


def test_who_was_not_dialled_has_used_up_no_turn() -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, lambda job, address: "unreachable", limited(RELAY, rate=Rate(30, 3600)))
        ids = [world.submit("b@example.net") for _ in range(3)]
        for _ in range(10):
            await world.scheduler(once=True).run()  # the first dials, all others meet its back-off
        world.behaviour = lambda job, address: "250 ok"
        scheduler = world.scheduler(once=True)
        scheduler.force(ids)
        await scheduler.run()
        assert sum(world.state(id) == DELIVERED for id in ids) == 2

    run(story)
