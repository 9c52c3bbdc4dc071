"""A message at one next hop: lease, who is due, deliver, settle, record; a transaction's worth at a time."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from mailstrom_cli.policy import retry
from mailstrom_cli.policy.classify import Circumstances
from mailstrom_cli.queue.settle import expired, expiry, postpone, settle, too_late
from mailstrom_cli.transport.base import OPENING, SENT, Job, NotRecorded, deliver
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from random import Random

    from mailstrom_cli.config.schema import Settings
    from mailstrom_cli.mail.status import Result
    from mailstrom_cli.policy.routing import Router
    from mailstrom_cli.queue.destination import Destination
    from mailstrom_cli.store.base import Lease
    from mailstrom_cli.store.entry import Entry, Event, RecipientState
    from mailstrom_cli.transport.base import Transport

    Record = Callable[[Lease, Event, Sequence[Result]], Awaitable[None]]

log = logging.getLogger("mailstrom")

WRITE_AGAIN_SECONDS = 2.0


@value
class Tools:
    """What every attempt needs. record: puts an event on record, and returns when it is there."""

    settings: Settings
    router: Router
    transports: Callable[[str], Transport]
    clock: Callable[[], float]
    rng: Random
    record: Record


async def attempt(
    lease: Lease, destination: Destination, tools: Tools, progress: Callable[[str], None], *, forced: bool
) -> None:
    """Deliver to all recipients of a message that are due at this next hop, and record what came of it.

    Whatever a server has taken is on record before another server or transaction is begun. forced: they are
    due whatever the schedule says. progress: as in `Job`. Raises NotRecorded.
    """
    entry, settings = lease.entry, tools.settings
    waiting = _due(entry, destination, tools, forced=forced)
    most = settings.limits.recipients_per_transaction
    while waiting and not lease.entry.held:
        now = tools.clock()
        host = destination.backing_off(now)
        if too_late(entry, now):
            await tools.record(lease, expired(waiting, now), ())
            return
        # What is too old gets its last try in any case: nothing is given up without one.
        if host is not None and now < expiry(entry, settings.retry):
            await tools.record(lease, postpone([r.address for r in waiting], now, host), ())
            return
        batch, waiting = waiting[:most], waiting[most:]
        await _try(
            lease,
            batch,
            destination,
            tools,
            partial(_but_not_sent, progress) if waiting else progress,
            forced=forced,
        )


def _but_not_sent(progress: Callable[[str], None], phase: str) -> None:
    """For a transaction that another one will follow."""
    if phase != SENT:
        progress(phase)


def _due(entry: Entry, destination: Destination, tools: Tools, *, forced: bool) -> list[RecipientState]:
    """The recipients whose turn it is at this next hop."""
    at, sender = entry.envelope.at, entry.envelope.reverse_path
    now, settings = tools.clock(), tools.settings.retry
    return [
        r
        for r in entry.recipients
        if r.next_attempt is not None
        and retry.is_due(r.next_attempt, now, settings, at, forced=forced)
        and tools.router.next_hop(sender, r.address) == destination.next_hop
    ]


async def _try(
    lease: Lease,
    batch: Sequence[RecipientState],
    destination: Destination,
    tools: Tools,
    progress: Callable[[str], None],
    *,
    forced: bool,
) -> None:
    """One job: its results are recorded at the latest when it has ended."""
    entry, now, settings = lease.entry, tools.clock(), tools.settings.retry
    recorded: set[str] = set()

    async def final(results: Sequence[Result]) -> None:
        event = settle(lease.entry, results, tools.clock(), settings, None, tools.rng)
        await tools.record(lease, event, results)
        recorded.update(told.address for told in results)

    progress(OPENING)
    lease.postpone(now + retry.crash_guard(settings))
    job = Job(
        entry.id,
        entry.envelope,
        tuple(r.recipient for r in batch),
        destination.next_hop.domain,
        lease.open_message,
        final,
        Circumstances(
            now - entry.since,
            max(r.attempts for r in batch),
            max(r.retries for r in batch),
            forced=forced,
        ),
        progress,
    )
    results = await deliver(tools.transports, job, destination.next_hop)
    now, host = tools.clock(), None
    if all(told.unreachable for told in results):
        host = destination.not_reached(results[0].text, now, settings, tools.rng)
    elif any(told.judged for told in results):
        destination.reached()
    rest = [told for told in results if told.address not in recorded]
    if rest:
        await tools.record(lease, settle(lease.entry, rest, now, settings, host, tools.rng), rest)


async def record(
    lease: Lease, event: Event, give_up: Callable[[], bool], failed: Callable[[OSError], None]
) -> Entry:
    """Record an event, however long the disk is full: what was delivered must not be sent again. Raises
    NotRecorded when `give_up` says so."""
    while True:
        try:
            return lease.record(event)
        except OSError as error:
            failed(error)
            log.error("%s: cannot record the outcome of an attempt: %s", lease.entry.id, error.strerror)
            if give_up():
                raise NotRecorded from error
        await asyncio.sleep(WRITE_AGAIN_SECONDS)


def log_results(entry: Entry, results: Sequence[Result]) -> None:
    """One line a recipient, in the words of a mail log."""
    for told in results:
        log.info(
            "%s: from=<%s> to=<%s> status=%s host=%s tls=%s reply=%s",
            entry.id,
            entry.envelope.reverse_path,
            told.address,
            told.status,
            told.host or "-",
            told.tls or "-",
            " ".join(str(part) for part in (told.code, told.enhanced, told.text) if part is not None),
        )
