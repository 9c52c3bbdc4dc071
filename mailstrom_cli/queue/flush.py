"""`flush`: one pass over what is due; beside a `run` it wakes that and waits for its pass."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import time
from contextlib import suppress
from functools import partial

from mailstrom_cli.errors import TEMPORARY, MailstromError, NoRoom
from mailstrom_cli.mail.status import UNFINISHED
from mailstrom_cli.policy import retry
from mailstrom_cli.queue.descriptors import check_some, fitting
from mailstrom_cli.queue.processes import in_processes, portions, share, worthwhile
from mailstrom_cli.queue.scheduler import Scheduler
from mailstrom_cli.queue.stopping import stopped_by_signals
from mailstrom_cli.queue.trigger import ALL, flush_lines
from mailstrom_cli.queue.trouble import of_the_loop
from mailstrom_cli.store.base import SWEPT
from mailstrom_cli.transport.registry import Transports, check_signing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    from mailstrom_cli.config.schema import Settings
    from mailstrom_cli.queue.scheduler import OnResult
    from mailstrom_cli.store.base import Store
    from mailstrom_cli.store.entry import RecipientState

    T = TypeVar("T")

log = logging.getLogger("mailstrom")

SWEEP_SECONDS = 3600.0
AGED = "aged"  # the mark of the time by which the last sweep judged what is past its retention
AGED_SECONDS = 86_400.0
"""By how much more mail may age from one sweep to the next, which is an hour later or more."""
PATIENCE = 900.0
"""Seconds that `flush` waits for a `run` to make its pass: as long as a server may take for one message."""


def flush(
    settings: Settings,
    store: Store,
    ids: Sequence[str] = (),
    everything: bool = False,
    on_result: OnResult | None = None,
    seconds: float | None = None,
    may_fork: bool = False,
) -> None:
    """One pass over what is due; ids or everything are tried whatever back-off says.

    While a `run` serves the store, it is woken and its pass waited for. seconds: stop after that long, what
    is in hand stays as it was. may_fork: a long pass may be shared among processes, unless its results are
    to be told. Raises MailstromError, and KeyboardInterrupt after SIGINT.
    """
    now = time.time()
    insist = everything or bool(ids)
    listed = (
        item.id for item in store.scheduled() if everything or retry.to_look_at(item.due, now, settings.retry)
    )
    todo = ids or sorted(set(listed))
    if with_room(settings, store, partial(someone_runs, store)):
        before = {id: _waiting(store, id, now, settings, insist=insist) for id in todo}
        if all(store.wake(line) for line in flush_lines([ALL] if everything else ids)):
            limit = PATIENCE if seconds is None else seconds
            if _wait_for_run(store, before, time.monotonic() + limit):
                return
    check_signing(settings)  # before there are several processes, each of which would say so
    fitted = fitting(settings)
    count = worthwhile(len(todo), fitted) if may_fork and on_result is None else 1
    work = partial(_deliver, share(fitted, count), store, portions(todo, count), insist, on_result, seconds)
    in_processes([work] * count)
    if not 0 <= time.time() - (store.mark(SWEPT) or 0.0) < SWEEP_SECONDS:  # a clock may have been ahead
        sweep(settings, store)


def _deliver(
    settings: Settings,
    store: Store,
    ids: Iterator[Sequence[str]],
    force: bool,
    on_result: OnResult | None,
    seconds: float | None,
) -> None:
    check_some()
    with asyncio.Runner() as runner:
        runner.get_loop()  # first: where none is to be had, nothing is left that waits for it
        runner.run(_flush(settings, store, ids, force, on_result, seconds))


def with_room(settings: Settings, store: Store, do: Callable[[], T]) -> T:
    """What `do` returns. When the store is full, what is past its retention goes first. Raises NoRoom."""
    try:
        return do()
    except NoRoom:
        sweep(settings, store)
        return do()


def someone_runs(store: Store) -> bool:
    """Whether a `run` serves the store."""
    lock = store.run_lock()
    if lock.acquire() is not None:
        return True
    lock.release()
    return False


def _waiting(
    store: Store, id: str, now: float, settings: Settings, *, insist: bool
) -> dict[str, RecipientState]:
    """The recipients of a message that a pass has to look at, by address."""
    try:
        entry = store.read(id)
    except (MailstromError, OSError):
        return {}
    if entry.held or entry.state not in UNFINISHED:
        return {}
    at = entry.envelope.at
    return {
        r.address: r
        for r in entry.recipients
        if r.next_attempt is not None and retry.is_due(r.next_attempt, now, settings.retry, at, forced=insist)
    }


def _wait_for_run(store: Store, before: dict[str, dict[str, RecipientState]], end: float) -> bool:
    """Until the record of each recipient has changed; False when nobody runs any more."""
    for id, waiting in before.items():
        pause = 0.01
        while waiting and time.monotonic() < end:
            waiting = _unchanged(store, id, waiting)
            if waiting:
                time.sleep(pause)
                pause = min(pause * 1.5, 0.5)
                if pause >= 0.5 and not someone_runs(store):
                    return False
    return True


def _unchanged(store: Store, id: str, waiting: dict[str, RecipientState]) -> dict[str, RecipientState]:
    try:
        entry = store.read(id)
    except (MailstromError, OSError):
        return {}
    if entry.held:
        return {}
    return {r.address: r for r in entry.recipients if waiting.get(r.address) == r}


async def _flush(
    settings: Settings,
    store: Store,
    ids: Iterator[Sequence[str]],
    force: bool,
    on_result: OnResult | None,
    seconds: float | None,
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(of_the_loop)
    rng = random.Random()  # noqa: S311  (jitter and shuffling)
    transports = Transports(settings, rng, store)
    scheduler = Scheduler(store, settings, transports, time.time, rng, on_result, once=True)
    scheduler.draw(ids, forced=force)
    if seconds is not None:
        loop.call_later(seconds, scheduler.stop)
        loop.call_later(seconds, scheduler.cancel)
    with stopped_by_signals(scheduler, logging.WARNING) as stopping:
        try:
            await scheduler.run()
        finally:
            await transports.close()
    if stopping.signal == signal.SIGINT:
        raise KeyboardInterrupt
    if stopping.signal is not None:
        raise MailstromError(
            "stopped before the end of the pass", "the next one goes on from here", TEMPORARY
        )


def sweep(settings: Settings, store: Store) -> None:
    """Remove what is past its retention and what crashes left; that it fails costs nothing but room."""
    now = time.time()
    try:
        aged = _aged(store, now)
        store.sweep(now, aged - settings.retention.delivered, aged - settings.retention.failed)
        with suppress(OSError):  # a full disk may not have room for it; only then nothing limits the next one
            store.mark(AGED, aged)
    except (OSError, MailstromError) as error:
        log.error("sweeping the spool failed: %s", error)


def _aged(store: Store, now: float) -> float:
    """The time that decides what is past its retention: the clock's, but at most AGED_SECONDS more than at
    the last sweep. A clock that is far ahead for a while makes nothing old."""
    before = store.mark(AGED)
    return now if before is None else min(now, before + AGED_SECONDS)
