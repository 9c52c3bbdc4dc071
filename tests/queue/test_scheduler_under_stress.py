"""What must not happen: starvation, storms, retries used up at once, clocks believed too much."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from mailstrom_cli.mail.status import DEFERRED, DELIVERED, FAILED, QUEUED
from mailstrom_cli.values import replace

from .virtual import EPOCH, VirtualLoop, run
from .world import SETTINGS, World, forever


def test_thousands_of_messages_to_a_stalled_next_hop_starve_no_other() -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, lambda job, address: forever() if "stall" in address else "250 ok")
        for _ in range(6000):
            world.submit("b@stall.example.net")
        other = world.submit("b@example.com")
        scheduler = world.scheduler(once=False)
        loop.call_later(10, scheduler.stop)
        loop.call_later(11, scheduler.cancel)
        await scheduler.run()
        assert world.state(other) == DELIVERED
        assert world.transport.peak <= SETTINGS.limits.per_destination + 1

    run(story)


def test_two_processes_that_planned_the_same_message_try_it_once() -> None:
    async def story(loop: VirtualLoop) -> None:
        async def slow() -> str:
            await asyncio.sleep(30)
            return "450 busy"

        world = World(loop, lambda job, address: slow())
        ids = [world.submit("b@example.net") for _ in range(20)]
        flushes = [world.scheduler(once=True) for _ in range(4)]
        await asyncio.gather(*(flush.run() for flush in flushes))
        assert Counter(id for _, id, _ in world.attempts) == dict.fromkeys(ids, 1)
        assert {world.store.read(id).recipients[0].retries for id in ids} == {1}

    run(story)


def test_a_bug_after_the_delivery_makes_no_storm(monkeypatch, caplog) -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, lambda job, address: "250 ok")
        world.submit("b@example.net")

        def broken(*_: object) -> None:
            raise KeyError("a bug")

        monkeypatch.setattr("mailstrom_cli.queue.attempt.settle", broken)
        await world.until_quiet(world.scheduler(once=False), 86_400)
        times = [time for time, _, _ in world.attempts]
        assert times[:5] == [0, 5, 15, 35, 75]
        assert len(times) < 40

    run(story)
    assert "a bug" in caplog.text


def test_a_clock_that_was_a_year_ahead_delays_nothing_for_long() -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, lambda job, address: "250 ok")
        real = loop.clock
        loop.clock = lambda: real() + 365 * 86_400.0  # type: ignore[method-assign]
        id = world.submit("b@example.net")
        loop.clock = real  # type: ignore[method-assign]
        await world.until_quiet(world.scheduler(once=False), 86_400)
        assert world.state(id) == DELIVERED

    run(story)


@pytest.mark.parametrize("while_it_runs", [False, True])
def test_what_a_clock_ten_years_ahead_put_off_is_tried_when_the_spool_is_listed_again(
    while_it_runs: bool,
) -> None:
    """`run` lists it once an hour: what a listing puts off by more than that would never come."""

    async def story(loop: VirtualLoop) -> None:
        said = iter(["450 later"])
        world = World(loop, lambda job, address: next(said, "250 ok"))
        real = loop.clock
        loop.clock = lambda: real() + 3650 * 86_400.0  # type: ignore[method-assign]
        id = world.submit("b@example.net")
        scheduler = world.scheduler(once=False)
        running = asyncio.ensure_future(scheduler.run())
        await asyncio.sleep(1)
        assert world.state(id) == DEFERRED
        loop.clock = real  # type: ignore[method-assign]
        if not while_it_runs:
            scheduler.stop()
            await running
            listed, world.store.scheduled = world.store.scheduled, lambda: iter(())  # type: ignore[method-assign]
            scheduler = world.scheduler(once=False)
            world.store.scheduled = listed  # type: ignore[method-assign]
            running = asyncio.ensure_future(scheduler.run())
        for _ in range(3):
            scheduler.load(world.store.scheduled())
            await asyncio.sleep(3600)
        assert world.state(id) == DELIVERED
        scheduler.stop()
        await running

    run(story)


def test_a_clock_that_jumps_ten_years_ahead_fails_nothing_without_an_attempt() -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, lambda job, address: "unreachable")
        ids = [world.submit("b@example.net") for _ in range(50)]
        real = loop.clock
        world.loop.clock = lambda: real() + 3650 * 86_400.0  # type: ignore[method-assign]
        await world.until_quiet(world.scheduler(once=False), 86_400)
        assert Counter(id for _, id, _ in world.attempts) == dict.fromkeys(ids, 1)
        assert {world.state(id) for id in ids} == {FAILED}

    run(story)


def test_what_is_scheduled_far_ahead_waits_and_is_not_forced_either() -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, lambda job, address: "250 ok")
        id = world.submit("b@example.net", at=EPOCH + 30 * 86_400)
        scheduler = world.scheduler(once=False)
        scheduler.force([id])
        await world.until_quiet(scheduler, 29 * 86_400)
        assert world.state(id) == QUEUED
        await world.until_quiet(world.scheduler(once=False), 31 * 86_400)
        assert [time for time, _, _ in world.attempts] == [30 * 86_400]

    run(story)


def test_a_message_that_the_submitter_wants_no_more_is_not_tried_even_once() -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, lambda job, address: "250 ok")
        id = world.submit("b@example.net", expires=EPOCH + 10)
        loop.call_later(20, lambda: None)
        await asyncio.sleep(20)
        await world.scheduler(once=True).run()
        assert (world.attempts, world.state(id)) == ([], FAILED)

    run(story)


def test_force_of_what_is_under_way_tries_it_once_more() -> None:
    async def story(loop: VirtualLoop) -> None:
        async def slow() -> str:
            await asyncio.sleep(100)
            return "250 ok"

        said = {"b@slow.example.net": slow, "c@example.com": lambda: "450 later"}
        world = World(loop, lambda job, address: said[address]())
        id = world.submit(*said)
        scheduler = world.scheduler(once=False)
        loop.call_later(50, scheduler.force, [id])
        await world.until_quiet(scheduler, 200)
        assert [time for time, _, to in world.attempts if to == ("c@example.com",)] == [0, 100]

    run(story)


def test_other_settings_count_for_those_who_wait() -> None:
    async def story(loop: VirtualLoop) -> None:
        async def slow() -> str:
            await asyncio.sleep(10)
            return "250 ok"

        world = World(loop, lambda job, address: slow())
        ids = [world.submit("b@example.net") for _ in range(30)]
        scheduler = world.scheduler(once=False)
        narrow = replace(SETTINGS, limits=replace(SETTINGS.limits, per_destination=1))
        transports = scheduler._tools.transports
        loop.call_later(5, scheduler.reconfigure, narrow, transports)
        await world.until_quiet(scheduler, 300)
        assert all(world.state(id) == DELIVERED for id in ids)
        starts = Counter(time for time, _, _ in world.attempts)
        assert [starts[time] for time in sorted(starts)] == [4, *[1] * 26]

    run(story)


def test_many_recipients_go_in_transactions_and_each_is_on_record_before_the_next() -> None:
    async def story(loop: VirtualLoop) -> None:
        known: list[int] = []
        world = World(loop, lambda job, address: "250 ok")
        id = world.submit(*(f"b{n}@example.net" for n in range(1050)))

        def counting(job: object, address: str) -> str:
            if address.endswith("00@example.net"):
                known.append(sum(r.status == DELIVERED for r in world.store.read(id).recipients))
            return "250 ok"

        world.behaviour = counting
        await world.scheduler(once=True).run()
        assert [len(addresses) for _, _, addresses in world.attempts] == [100] * 10 + [50]
        assert known == list(range(100, 1001, 100))
        assert world.state(id) == DELIVERED

    run(story)


def test_no_attempt_begins_when_the_scheduler_ends_with_an_error() -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, lambda job, address: forever())
        for _ in range(30):
            world.submit("b@example.net")
        scheduler = world.scheduler(once=False)
        task = asyncio.ensure_future(scheduler.run())
        await asyncio.sleep(1)
        task.cancel()
        scheduler.cancel()
        await asyncio.sleep(1)
        assert len(world.attempts) == SETTINGS.limits.per_destination
        assert all(e.state in (QUEUED, DEFERRED) for e in map(world.store.read, world.store.ids(["queued"])))

    run(story)
