"""Hold, release, retry and cancel: what a person asks of one message, recorded as events under its lease."""

from __future__ import annotations

import errno
import time

from mailstrom_cli.errors import NO_PERMISSION, TEMPORARY, USAGE, MailstromError
from mailstrom_cli.mail.status import DELIVERED, FAILED, FINAL
from mailstrom_cli.store.entry import CANCELLED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mailstrom_cli.store.base import Store
    from mailstrom_cli.store.entry import Entry

PATIENCE = 5.0  # seconds to wait for an attempt in progress to end
PAUSE = 0.05


def hold(store: Store, name: str) -> Entry:
    """Attempt nothing until `release`; nothing happens to what is held. Raises MailstromError for a final
    message, and with exit code 75 while an attempt is in progress."""
    return _change(store, name, "held", lambda entry: None if entry.held else _unfinished(entry))


def release(store: Store, name: str) -> Entry:
    """Undo `hold`; nothing happens to a message that is not held."""
    return _change(store, name, "released", lambda entry: [] if entry.held else None)


def retry(store: Store, name: str) -> Entry:
    """Every recipient that is not delivered is due now and has all its retries again; a failed or cancelled
    one too. Raises MailstromError when all are delivered."""
    return _change(store, name, "retried", _undelivered)


def cancel(store: Store, name: str) -> Entry:
    """Every recipient that waits is failed with `cancelled`; `retry` undoes it. Raises MailstromError for a
    message that became final otherwise."""
    return _change(
        store, name, "cancelled", lambda entry: None if _is_cancelled(entry) else _unfinished(entry)
    )


def _unfinished(entry: Entry) -> list[str]:
    if entry.state in FINAL:
        raise MailstromError(
            f"{entry.id} is already {entry.state}", f"`mailstrom status {entry.id}` tells the details"
        )
    return []


def _undelivered(entry: Entry) -> list[str]:
    addresses = [r.address for r in entry.recipients if r.status != DELIVERED]
    if not addresses:
        raise MailstromError(f"{entry.id} is delivered to everybody; there is nothing to retry", None, USAGE)
    return addresses


def _is_cancelled(entry: Entry) -> bool:
    """Whether a message is final because somebody cancelled what was left of it."""
    return entry.state == FAILED and any(r.text == CANCELLED and r.code is None for r in entry.recipients)


def _change(store: Store, name: str, kind: str, concerns: Callable[[Entry], list[str] | None]) -> Entry:
    """Record an event; `concerns` gives its recipients ([] is all), or None when nothing is to do."""
    id = store.find(name)
    end = time.monotonic() + PATIENCE
    while (lease := store.lease(id)) is None:
        if time.monotonic() >= end:
            raise MailstromError(f"{id}: a delivery is in progress", "try again when it has ended", TEMPORARY)
        time.sleep(PAUSE)
    with lease:
        addresses = concerns(lease.entry)
        if addresses is None:
            return lease.entry
        event: dict[str, object] = {"event": kind, "time": round(time.time(), 3)}
        if addresses:
            event["recipients"] = addresses
        try:
            entry = lease.record(event)
        except OSError as error:
            raise not_stored(error) from error
    store.wake(id)
    return entry


def not_stored(error: OSError) -> MailstromError:
    """Why nothing could be stored, as an error that says whether to try again."""
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.EACCES, errno.EPERM):
        return MailstromError(f"nothing stored: {where}{error.strerror}", None, NO_PERMISSION)
    return MailstromError(f"nothing stored: {where}{error.strerror}", "try again later", TEMPORARY)
