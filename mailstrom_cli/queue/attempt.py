"""One job's walk: lease, who is still due, deliver, settle, record."""

from __future__ import annotations

import asyncio
import logging

from mailstrom_cli.policy import classify, retry
from mailstrom_cli.policy.classify import Circumstances
from mailstrom_cli.queue.settle import settle, suspend
from mailstrom_cli.transport.base import Job, deliver, result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from mailstrom_cli.config.schema import Settings
    from mailstrom_cli.mail.envelope import Recipient
    from mailstrom_cli.mail.status import Result
    from mailstrom_cli.queue.destination import Destination
    from mailstrom_cli.store.base import Lease
    from mailstrom_cli.store.entry import Entry, Event
    from mailstrom_cli.transport.base import Transport

log = logging.getLogger("mailstrom")

WRITE_AGAIN_SECONDS = 2.0


async def attempt(
    lease: Lease,
    addresses: frozenset[str],
    destination: Destination,
    transports: Callable[[str], Transport],
    settings: Settings,
    clock: Callable[[], float],
    rng: Random,
) -> tuple[Event, list[Result]] | None:
    """Deliver to those of `addresses` that still wait: the event to record, and the results it came from
    (none when the next hop is left alone for now). None when nobody waits any more."""
    entry, now = lease.entry, clock()
    due = tuple(r for r in entry.recipients if r.address in addresses and not r.final)
    if not due or entry.held:
        return None
    host = destination.backing_off(now)
    if host is not None:
        return suspend(entry, [r.address for r in due], now, settings.retry, host), []
    lease.postpone(now + retry.crash_guard(settings.retry))
    results = await _deliver(
        lease, entry, tuple(r.recipient for r in due), destination, transports, now - entry.submitted
    )
    now = clock()
    reason = next((r.text for r in results if r.unreachable), None)
    if reason is None or not all(r.unreachable for r in results):
        destination.reached()
    else:
        host = destination.not_reached(reason, now, settings.retry, rng)
    # The entry may have moved on while this job was under way: another of its jobs has recorded.
    return settle(lease.entry, results, now, settings.retry, host, rng), results


async def _deliver(
    lease: Lease,
    entry: Entry,
    recipients: tuple[Recipient, ...],
    destination: Destination,
    transports: Callable[[str], Transport],
    age: float,
) -> list[Result]:
    attempts = max(r.attempts for r in entry.recipients if r.recipient in recipients)
    job = Job(
        entry.id,
        entry.envelope,
        recipients,
        destination.next_hop.domain,
        lease.open_message,
        Circumstances(age, attempts),
    )
    try:
        return await deliver(transports, job, destination.next_hop)
    except Exception as error:
        # A bug of ours: the mail waits, and the log has what to mend.
        log.exception("%s: internal error in an attempt", entry.id)
        return [result(r.address, classify.surprise(error)) for r in recipients]


async def record(
    lease: Lease, event: Event, give_up: Callable[[], bool], failed: Callable[[OSError], None]
) -> Entry:
    """Record an event, however long the disk is full: what was delivered must not be sent again. Raises the
    last OSError when `give_up` says so."""
    while True:
        try:
            return lease.record(event)
        except OSError as error:
            failed(error)
            log.error("%s: cannot record the outcome of an attempt: %s", lease.entry.id, error.strerror)
            if give_up():
                raise
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
