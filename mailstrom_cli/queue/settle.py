"""What the results of an attempt mean for a message: the event to record. Pure."""

from __future__ import annotations

from mailstrom_cli.mail.status import DEFERRED, FAILED
from mailstrom_cli.policy import retry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random
    from typing import Any

    from mailstrom_cli.config.schema import Retry
    from mailstrom_cli.mail.status import Result
    from mailstrom_cli.store.base import HostState
    from mailstrom_cli.store.entry import Entry, Event, RecipientState

TRANSCRIPT_OCTETS = 16_384
EXPIRED = "5.4.7"  # RFC 3463, 3.5: delivery time expired


def expiry(entry: Entry, settings: Retry) -> float:
    """When the message is given up (seconds since the epoch). A retry that somebody asked for starts anew."""
    if entry.envelope.expires is not None and entry.retried is None:
        return entry.envelope.expires
    return entry.since + settings.max_age


def too_late(entry: Entry, now: float) -> bool:
    """Whether the submitter wants it tried no more, not even once; only `max_age` grants a last try."""
    ends = entry.envelope.expires
    return ends is not None and entry.retried is None and now >= ends


def settle(
    entry: Entry,
    results: Sequence[Result],
    now: float,
    settings: Retry,
    host: HostState | None,
    rng: Random,
) -> Event:
    """The event for the results of one attempt. host: the back-off of a next hop out of reach."""
    states = {r.address: r for r in entry.recipients}
    ends = expiry(entry, settings)
    rows = [_row(states[told.address], told, now, ends, settings, host, rng) for told in results]
    event: dict[str, Any] = {"event": "results", "time": round(now, 3), "recipients": rows}
    transcript = "\n".join(told.transcript for told in results if told.transcript)
    if transcript:
        event["transcript"] = transcript[:TRANSCRIPT_OCTETS]
    return event


def _row(
    state: RecipientState,
    told: Result,
    now: float,
    ends: float,
    settings: Retry,
    host: HostState | None,
    rng: Random,
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "address": told.address,
        "status": told.status,
        "attempts": state.attempts + 1,
        "retries": state.retries,
        "code": told.code,
        "enhanced": told.enhanced,
        "text": told.text,
        "host": told.host,
        "tls": told.tls,
        "tls_cipher": told.tls_cipher,
        "tls_by": told.tls_by,
        "remote_id": told.remote_id,
    }
    if told.maybe_delivered:
        row["maybe_delivered"] = True
    if told.status == DEFERRED:
        if told.judged:
            row["retries"] += 1
        if now >= ends:
            row.update(status=FAILED, enhanced=EXPIRED, text=f"expired: {told.text}")
        elif told.judged and retry.exhausted(settings, row["retries"]):
            enhanced = f"5{told.enhanced[1:]}" if told.enhanced else None
            text = f"given up after {row['attempts']} attempts: {told.text}"
            row.update(status=FAILED, enhanced=enhanced, text=text)
        else:
            # One more try at the very end is worth more than an end without one.
            row["next"] = round(min(_next(told, row, now, settings, host, rng), ends), 3)
    return {key: held for key, held in row.items() if held is not None}


def _next(
    told: Result, row: dict[str, Any], now: float, settings: Retry, host: HostState | None, rng: Random
) -> float:
    if not told.judged:
        return host.until if host is not None else now + retry.host_delay(settings, row["attempts"], rng)
    if told.retry_after is not None:
        return now + told.retry_after * (1 + settings.jitter * rng.random())
    return now + retry.delay(settings, row["retries"], rng)


def expired(waiting: Sequence[RecipientState], now: float) -> Event:
    """The event for recipients who are not to be tried any more, with what was last said of each."""
    rows = [
        {
            "address": r.address,
            "status": FAILED,
            "attempts": r.attempts,
            "retries": r.retries,
            "enhanced": EXPIRED,
            "text": f"expired: {r.text or 'there was no attempt before'}",
        }
        for r in waiting
    ]
    return {"event": "results", "time": round(now, 3), "recipients": rows}


def postpone(addresses: Sequence[str], now: float, host: HostState) -> Event:
    """The event for recipients whose next hop is left alone for now: no attempt is made or counted."""
    return {
        "event": "postponed",
        "time": round(now, 3),
        "next": host.until,
        "reason": f"not tried yet, the next hop is out of reach: {host.reason}",
        "recipients": list(addresses),
    }
