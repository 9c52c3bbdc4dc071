"""A message as JSON: the keys of the contract. Keys are only ever added."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailstrom_cli.cli.times import iso
from mailstrom_cli.mail.status import DEFERRED, QUEUED
from mailstrom_cli.values import fields

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from mailstrom_cli.store.entry import Entry, Event, RecipientState

NULL_SENDER = "MAILER-DAEMON"  # how Postfix names the null reverse-path in a queue listing


def status_object(entry: Entry) -> dict[str, Any]:
    """What `status --json` prints of one message."""
    return {
        "id": entry.id,
        "message_id": entry.envelope.message_id,
        "status": entry.state,
        "sender": entry.envelope.reverse_path,
        "size": entry.envelope.size,
        "held": entry.held,
        "submitted": iso(entry.submitted),
        "next_attempt": iso(entry.next_attempt),
        "attempts": entry.attempts,
        "recipients": [_recipient(r) for r in entry.recipients],
    }


def _recipient(state: RecipientState) -> dict[str, Any]:
    return {
        "address": state.address,
        "status": state.status,
        "attempts": state.attempts,
        "last_attempt": iso(state.last_attempt),
        "next_attempt": iso(state.next_attempt),
        "host": state.host,
        "tls": state.tls,
        "code": state.code,
        "enhanced": state.enhanced,
        "text": state.text,
        "remote_id": state.remote_id,
    }


def queue_object(entry: Entry) -> dict[str, Any]:
    """What `queue --json` prints of one message: the keys of `postqueue -j` beside those of `status`."""
    ours = status_object(entry)
    for state, told in zip(entry.recipients, ours["recipients"], strict=True):
        if state.status == DEFERRED:
            told["delay_reason"] = reply(state)
    return {
        "queue_name": queue_name(entry),
        "queue_id": entry.id,
        "arrival_time": int(entry.submitted),
        "message_size": entry.envelope.size,
        "forced_expire": False,
        **ours,
        "sender": entry.envelope.reverse_path or NULL_SENDER,
    }


def queue_name(entry: Entry) -> str:
    """The queue in which Postfix would have it."""
    if entry.held:
        return "hold"
    return "incoming" if entry.state == QUEUED else entry.state


def sidecar_object(entry: Entry, events: Iterable[Event]) -> dict[str, Any]:
    """The sidecar as one object: its first line, with what its events have made of it."""
    first = dict(next(iter(events)))
    first["recipients"] = [
        {**accepted, **_known(state)}
        for accepted, state in zip(first["recipients"], entry.recipients, strict=True)
    ]
    first["state"] = entry.state
    return {**first, **{n: v for n in ("held_since", "held_for", "finished") if (v := getattr(entry, n))}}


def _known(state: RecipientState) -> dict[str, Any]:
    told = {name: getattr(state, name) for name in fields(state) if name != "recipient"}
    return {name: held for name, held in told.items() if held is not None and held is not False}


def reply(state: RecipientState) -> str:
    """The last reply as one text: `450 4.2.0 Greylisted`."""
    return " ".join(str(part) for part in (state.code, state.enhanced, state.text) if part)
