"""A message as JSON: the keys of the contract. Keys are only ever added.

It is written as text, octet by octet as `json.dumps` would write it: that takes a quarter of the time, and
there may be 100,000 messages.
"""

from __future__ import annotations

from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING

from mailstrom_cli.cli.times import iso
from mailstrom_cli.mail.status import DEFERRED, QUEUED
from mailstrom_cli.values import fields

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from mailstrom_cli.store.entry import Entry, Event, RecipientState

NULL_SENDER = "MAILER-DAEMON"  # how Postfix names the null reverse-path in a queue listing


def status_json(entry: Entry, *more: str) -> str:
    """What `status --json` prints of one message. more: members that are added to the object, as JSON."""
    members = _members(entry, entry.envelope.reverse_path, map(_recipient, entry.recipients))
    return f"{{{', '.join((members, *more))}}}"


def queue_json(entry: Entry) -> str:
    """What `queue --json` prints of one message: the keys of `postqueue -j` beside those of `status`."""
    sender = entry.envelope.reverse_path or NULL_SENDER
    return (
        f'{{"queue_name": "{queue_name(entry)}", "queue_id": {_text(entry.id)}, '
        f'"arrival_time": {int(entry.submitted)}, "message_size": {entry.envelope.size}, '
        f'"forced_expire": false, {_members(entry, sender, map(_waiting, entry.recipients))}}}'
    )


def _members(entry: Entry, sender: str, recipients: Iterable[str]) -> str:
    return (
        f'"id": {_text(entry.id)}, "message_id": {_text(entry.envelope.message_id)}, '
        f'"status": "{entry.state}", "sender": {_text(sender)}, "size": {entry.envelope.size}, '
        f'"held": {"true" if entry.held else "false"}, "submitted": {_time(entry.submitted)}, '
        f'"next_attempt": {_time(entry.next_attempt)}, "attempts": {entry.attempts}, '
        f'"recipients": [{", ".join(recipients)}]'
    )


def _recipient(state: RecipientState, more: str = "") -> str:
    return (
        f'{{"address": {_text(state.address)}, "status": "{state.status}", "attempts": {state.attempts}, '
        f'"last_attempt": {_time(state.last_attempt)}, "next_attempt": {_time(state.next_attempt)}, '
        f'"host": {_text(state.host)}, "tls": {_text(state.tls)}, '
        f'"tls_cipher": {_text(state.tls_cipher)}, "tls_by": {_text(state.tls_by)}, '
        f'"code": {"null" if state.code is None else state.code}, "enhanced": {_text(state.enhanced)}, '
        f'"text": {_text(state.text)}, "remote_id": {_text(state.remote_id)}{more}}}'
    )


def _waiting(state: RecipientState) -> str:
    """A recipient as Postfix has it, with the reason of its delay, beside what we tell of it."""
    return _recipient(state, f', "delay_reason": {_text(reply(state))}' if state.status == DEFERRED else "")


def _text(text: str | None) -> str:
    return "null" if text is None else encode_basestring_ascii(text)


def _time(when: float | None) -> str:
    return "null" if when is None else f'"{iso(when)}"'


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
    if state.code is None and state.enhanced is None:
        return state.text or ""
    return " ".join(str(part) for part in (state.code, state.enhanced, state.text) if part)
