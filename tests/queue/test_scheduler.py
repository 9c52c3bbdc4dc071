"""Who is tried when. The clock is the loop's: days pass in milliseconds."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from mailstrom_cli.mail.status import DEFERRED, DELIVERED, FAILED, QUEUED
from mailstrom_cli.store.base import HostState
from mailstrom_cli.values import replace

from .virtual import EPOCH, VirtualLoop, run
from .world import SETTINGS, World


def test_a_deferred_message_is_tried_four_times_on_its_schedule_and_then_failed() -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, lambda job, address: "450 busy")
        id = world.submit("b@example.net")
        await world.until_quiet(world.scheduler(once=False), 86_400)
        assert [time for time, _, _ in world.attempts] == [0, 300, 2100, 12_900]
        assert world.state(id) == FAILED

    run(story)


def test_once_tries_what_is_due_and_leaves_the_rest() -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, lambda job, address: "450 busy")
        due, later = world.submit("b@example.net"), world.submit("b@example.net", at=EPOCH + 500)
        await world.scheduler(once=True).run()
        assert [id for _, id, _ in world.attempts] == [due]
        assert (world.state(due), world.state(later)) == (DEFERRED, QUEUED)

    run(story)


def test_one_job_for_each_next_hop_and_every_recipient_its_own_result() -> None:
    async def story(loop: VirtualLoop) -> None:
        said = {"b@example.net": "250 ok", "c@example.net": "550 no", "d@example.com": "450 later"}
        world = World(loop, lambda job, address: said[address])
        id = world.submit(*said)
        await world.scheduler(once=True).run()
        assert sorted(addresses for _, _, addresses in world.attempts) == [
            ("b@example.net", "c@example.net"),
            ("d@example.com",),
        ]
        assert [r.status for r in world.store.read(id).recipients] == [DELIVERED, FAILED, DEFERRED]
        assert world.state(id) == DEFERRED

    run(story)


def test_only_those_who_wait_are_tried_again() -> None:
    async def story(loop: VirtualLoop) -> None:
        tries: Counter[str] = Counter()

        def behaviour(job: object, address: str) -> str:
            tries[address] += 1
            return "450 later" if address.startswith("slow") and tries[address] < 3 else "250 ok"

        world = World(loop, behaviour)
        id = world.submit("b@example.net", "slow@example.net")
        await world.until_quiet(world.scheduler(once=False), 86_400)
        assert tries == {"b@example.net": 1, "slow@example.net": 3}
        assert world.state(id) == DELIVERED

    run(story)


def test_a_stalled_next_hop_holds_up_no_other() -> None:
    async def story(loop: VirtualLoop) -> None:
        stalled = asyncio.Event()

        async def stall() -> str:
            await stalled.wait()
            return "250 ok"

        world = World(loop, lambda job, address: stall() if "stall" in address else "250 ok")
        slow = [world.submit("b@stall.example.net") for _ in range(20)]
        fast = [world.submit(f"b@{n}.example.com") for n in range(20)]
        scheduler = world.scheduler(once=True)
        running = asyncio.ensure_future(scheduler.run())
        while any(world.state(id) != DELIVERED for id in fast):
            await asyncio.sleep(1)
        assert loop.time() < 5
        assert all(world.state(id) == QUEUED for id in slow)
        stalled.set()
        await running
        assert all(world.state(id) == DELIVERED for id in slow)

    run(story)


def test_no_next_hop_gets_more_than_its_window_and_all_together_no_more_than_the_limit() -> None:
    async def story(loop: VirtualLoop) -> None:
        async def slow() -> str:
            await asyncio.sleep(1)
            return "250 ok"

        world = World(loop, lambda job, address: slow())
        for _ in range(30):
            world.submit("b@example.net")
        await world.scheduler(once=True).run()
        assert world.transport.peak == SETTINGS.limits.per_destination
        world.transport.peak = 0
        for n in range(60):
            world.submit(f"b@{n % 20}.example.net")
        await world.scheduler(once=True).run()
        assert world.transport.peak == SETTINGS.limits.connections

    run(story)


def test_a_next_hop_out_of_reach_is_left_alone_longer_and_longer_and_then_serves_all() -> None:
    async def story(loop: VirtualLoop) -> None:
        up = 1000.0
        world = World(loop, lambda job, address: "250 ok" if loop.time() >= up else "unreachable")
        ids = [world.submit("b@example.net") for _ in range(50)]
        scheduler = world.scheduler(once=False)
        await world.until_quiet(scheduler, 5000)
        assert all(world.state(id) == DELIVERED for id in ids)
        times = Counter(time for time, _, _ in world.attempts)
        failures = [time for time in times if time < up]
        assert failures == [0, 60, 180, 420, 900]
        assert all(times[time] <= SETTINGS.limits.per_destination for time in failures)
        assert min(time for time in times if time >= up) == 1860
        assert all(r.retries == 0 for id in ids for r in world.store.read(id).recipients)
        assert world.store.host("mx:example.net") is None

    run(story)


def test_back_off_of_a_next_hop_is_on_record_so_that_another_process_keeps_to_it() -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, lambda job, address: "unreachable")
        world.submit("b@example.net")
        await world.scheduler(once=True).run()
        assert world.store.host("mx:example.net") == HostState(1, EPOCH + 60, "connection refused")
        second = world.submit("c@example.net")
        await world.scheduler(once=True).run()
        assert len(world.attempts) == 1
        (waiting,) = world.store.read(second).recipients
        assert (waiting.status, waiting.attempts, waiting.next_attempt) == (QUEUED, 0, EPOCH + 60)

    run(story)


def test_force_ignores_the_schedule_and_back_off_but_not_a_hold() -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, lambda job, address: "unreachable")
        ids = [world.submit("b@example.net") for _ in range(2)]
        await world.scheduler(once=True).run()
        world.behaviour = lambda job, address: "250 ok"
        lease = world.store.lease(ids[1])
        assert lease is not None
        with lease:
            lease.record({"event": "held", "time": loop.clock()})
        scheduler = world.scheduler(once=True)
        scheduler.force(ids)
        await scheduler.run()
        assert world.state(ids[0]) == DELIVERED
        assert world.state(ids[1]) in (QUEUED, DEFERRED)

    run(story)


def test_a_message_that_another_process_has_in_hand_is_looked_at_again() -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, lambda job, address: "250 ok")
        id = world.submit("b@example.net")
        lease = world.store.lease(id)
        assert lease is not None
        loop.call_later(7, lease.release)
        await world.until_quiet(world.scheduler(once=False), 60)
        assert world.attempts == [(10.0, id, ("b@example.net",))]
        assert world.state(id) == DELIVERED

    run(story)


def test_a_message_is_put_off_before_it_is_dialled_so_that_a_crash_is_not_repeated_at_once() -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, lambda job, address: "250 ok")
        id = world.submit("b@example.net")
        seen: list[float] = []

        def behaviour(job: object, address: str) -> str:
            seen.extend(item.due for item in world.store.scheduled() if item.id == id)
            return "250 ok"

        world.behaviour = behaviour
        await world.scheduler(once=True).run()
        assert seen == [pytest.approx(EPOCH + 60, abs=0.001)]

    run(story)


def test_a_bug_of_ours_defers_the_mail_and_says_so(caplog) -> None:
    async def story(loop: VirtualLoop) -> None:
        def behaviour(job: object, address: str) -> str:
            raise ZeroDivisionError

        world = World(loop, behaviour)
        id = world.submit("b@example.net")
        await world.scheduler(once=True).run()
        (waiting,) = world.store.read(id).recipients
        assert (waiting.status, waiting.enhanced, waiting.retries) == (DEFERRED, "4.3.0", 0)
        assert waiting.text == "internal error: ZeroDivisionError"

    run(story)
    assert "ZeroDivisionError" in caplog.text


def test_an_outcome_that_cannot_be_recorded_is_kept_until_it_can_and_nothing_new_begins(caplog) -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, lambda job, address: "250 ok", replace(SETTINGS))
        first = world.submit("b@example.net")
        lease = world.store.lease(first)
        assert lease is not None
        kind = type(lease)
        lease.release()
        record = kind.record

        def full_disk(self, event):
            if loop.time() < 100:
                raise OSError(28, "No space left on device")
            return record(self, event)

        kind.record = full_disk
        try:
            scheduler = world.scheduler(once=False)
            loop.call_at(50, lambda: scheduler.add(world.submit("c@example.com"), EPOCH + 50))
            await world.until_quiet(scheduler, 200)
        finally:
            kind.record = record
        times = [(time, addresses) for time, _, addresses in world.attempts]
        assert times == [(0.0, ("b@example.net",)), (100.0, ("c@example.com",))]
        assert world.state(first) == DELIVERED

    run(story)
    assert "No space left on device" in caplog.text


def test_stopping_ends_what_is_under_way_and_begins_nothing() -> None:
    async def story(loop: VirtualLoop) -> None:
        async def slow() -> str:
            await asyncio.sleep(10)
            return "250 ok"

        world = World(loop, lambda job, address: slow())
        ids = [world.submit("b@example.net") for _ in range(20)]
        scheduler = world.scheduler(once=False)
        loop.call_at(5, scheduler.stop)
        await scheduler.run()
        assert loop.time() == 10
        delivered = [id for id in ids if world.state(id) == DELIVERED]
        assert len(delivered) == SETTINGS.limits.per_destination

    run(story)


def test_cancel_drops_what_is_under_way_and_it_stays_as_it_was() -> None:
    async def story(loop: VirtualLoop) -> None:
        async def slow() -> str:
            await asyncio.sleep(1000)
            return "250 ok"

        world = World(loop, lambda job, address: slow())
        id = world.submit("b@example.net")
        scheduler = world.scheduler(once=False)
        loop.call_at(5, scheduler.stop)
        loop.call_at(35, scheduler.cancel)
        await scheduler.run()
        assert loop.time() == 35
        assert world.state(id) == QUEUED
        assert world.store.lease(id) is not None

    run(story)
