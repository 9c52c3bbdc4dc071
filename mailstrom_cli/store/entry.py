"""The state of a message as a pure fold over its sidecar: line 1 the envelope, then one line an event.

A sidecar line is one JSON object. An event has a kind ("event") and a time (seconds since the epoch):

    results    recipients: [{address, status, attempts, retries, next, code, enhanced, text, host, tls,
               tls_cipher, tls_by, remote_id ...}] and, for an attempt that did not deliver to everybody,
               transcript
    postponed  recipients: [address ...] are not tried before `next`, for a `reason` that is not theirs
    held       nothing is attempted until it is released
    released
    cancelled  every recipient that waits is failed with "cancelled"
    retried    recipients: [address ...] wait again, with all their retries and from now on

Unknown kinds and keys are kept on disk and passed over here, so that an older mailstrom reads a newer
sidecar.
"""

from __future__ import annotations

from mailstrom_cli.mail.envelope import Envelope, Recipient
from mailstrom_cli.mail.status import DEFERRED, DELIVERED, FAILED, FINAL, QUEUED, UNFINISHED
from mailstrom_cli.values import fields, replace, value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    Event = Mapping[str, Any]

FORMAT = 1
CANCELLED = "cancelled"
_NUMBERS = (float, int)  # exactly: True is an int to isinstance
_TEXTS = ("enhanced", "text", "host", "tls", "tls_cipher", "tls_by", "remote_id")
_NO_SERVER = dict.fromkeys(("code", "enhanced", "host", "tls", "tls_cipher", "tls_by"))


class DamagedEntry(ValueError):
    """A sidecar that cannot be what mailstrom wrote; the text says what is wrong with it."""

    def __init__(self, what: str) -> None:
        super().__init__(what if len(what) <= 300 else f"{what[:299]}…")


@value
class RecipientState:
    """Where one recipient stands. Times are seconds since the epoch.

    attempts: how many ended.  retries: how many of them a server deferred, counted against [retry] retries.
    next_attempt: None when final.  The rest is of the last result, as in `mail.status.Result`.
    """

    recipient: Recipient
    status: str = QUEUED
    attempts: int = 0
    retries: int = 0
    last_attempt: float | None = None
    next_attempt: float | None = None
    code: int | None = None
    enhanced: str | None = None
    text: str | None = None
    host: str | None = None
    tls: str | None = None
    remote_id: str | None = None
    maybe_delivered: bool = False
    tls_cipher: str | None = None
    tls_by: str | None = None

    @property
    def address(self) -> str:
        return self.recipient.address

    @property
    def final(self) -> bool:
        return self.status in FINAL


@value
class Entry:
    """A message and all that is known of it.

    held_since: None unless on hold.  held_for: seconds of past holds.
    retried: when somebody last asked for it to be tried anew.
    """

    id: str
    submitted: float
    envelope: Envelope
    recipients: tuple[RecipientState, ...]
    held_since: float | None = None
    held_for: float = 0.0
    finished: float | None = None
    retried: float | None = None

    @property
    def since(self) -> float:
        """When its waiting began: its age, and when it is given up, count from here. Holds do not count."""
        return max(self.envelope.at or self.submitted, self.retried or 0.0) + self.held_for

    @property
    def held(self) -> bool:
        return self.held_since is not None

    @property
    def state(self) -> str:
        """Queued until the first attempt ends for everybody, deferred while any recipient waits, then
        final."""
        return _state(self.recipients)

    @property
    def next_attempt(self) -> float | None:
        """When the next recipient is due; None when nobody waits. A hold is told by `held`, not here."""
        due = None
        for r in self.recipients:
            if r.next_attempt is not None and (due is None or r.next_attempt < due):
                due = r.next_attempt
        return due

    @property
    def attempts(self) -> int:
        return max([r.attempts for r in self.recipients])


def _state(recipients: Sequence[RecipientState]) -> str:
    if len(recipients) == 1:
        return recipients[0].status
    statuses = {r.status for r in recipients}
    for status in (QUEUED, DEFERRED, FAILED):
        if status in statuses:
            return status
    return DELIVERED


# --- line 1 ---


def first_line(id: str, submitted: float, envelope: Envelope) -> dict[str, Any]:
    """The sidecar's first line; keys that do not apply are left out."""
    line: dict[str, Any] = {"format": FORMAT, "id": id, "submitted": submitted}
    for name in fields(envelope):
        held = getattr(envelope, name)
        if name == "recipients":
            line[name] = [_recipient_out(r) for r in held]
        elif held is not None and held is not False:
            line[name] = held
    return line


def _recipient_out(recipient: Recipient) -> dict[str, Any]:
    out: dict[str, Any] = {"address": recipient.address}
    if recipient.notify:
        out["notify"] = list(recipient.notify)
    if recipient.orcpt is not None:
        out["orcpt"] = recipient.orcpt
    return out


def _accepted(line: Mapping[str, Any]) -> Entry:
    """The entry as it was accepted, from line 1. Raises DamagedEntry."""
    if line.get("format") != FORMAT or line["format"] is True:
        raise DamagedEntry(f"format {line.get('format')!r}, and this mailstrom reads format {FORMAT}")
    try:
        submitted = _number(line, "submitted")
        recipients = tuple([_recipient_in(r) for r in line["recipients"]])
        envelope = Envelope(
            reverse_path=_text(line, "reverse_path"),
            recipients=recipients,
            message_id=_text(line, "message_id"),
            size=_count(line, "size", -1),
            body=_text(line, "body"),
            **{key: _OPTIONAL[key](line, key) for key in line if key in _OPTIONAL},
        )
        id = _text(line, "id", empty=False)
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedEntry(f"the envelope is not of the right shape ({error!r})") from None
    if not recipients:
        raise DamagedEntry("the envelope has no recipient")
    due = submitted if envelope.at is None else envelope.at
    return Entry(id, submitted, envelope, tuple([RecipientState(r, next_attempt=due) for r in recipients]))


def _recipient_in(held: Mapping[str, Any]) -> Recipient:
    address = _text(held, "address", empty=False)
    if len(held) == 1:
        return Recipient(address)
    notify = tuple([_plain(word, "notify") for word in _list(held.get("notify", []))])
    return Recipient(address, notify, _optional_text(held, "orcpt"))


def _number(line: Mapping[str, Any], key: str) -> float:
    held: float = line[key]
    if type(held) not in _NUMBERS or not 0 <= held < 1e15:
        raise DamagedEntry(f"{key} is {held!r}, not a number in range")
    return held


def _count(line: Mapping[str, Any], key: str, default: int) -> int:
    held = line.get(key, default)
    if type(held) is not int or not 0 <= held < 1 << 40:
        raise DamagedEntry(f"{key} is {held!r}, not a count")
    return held


def _list(held: Any) -> list[Any]:
    if not isinstance(held, list):
        raise DamagedEntry(f"{held!r} is not a list")
    return held


def _text(line: Mapping[str, Any], key: str, *, empty: bool = True) -> str:
    held = _plain(line[key], key)
    if not held and not empty:
        raise DamagedEntry(f"{key} is empty")
    return held


def _optional_text(line: Mapping[str, Any], key: str) -> str | None:
    held = line.get(key)
    return None if held is None else _plain(held, key)


def _plain(held: Any, key: str) -> str:
    """A string in which nothing can end an SMTP or header line."""
    if isinstance(held, str) and (held.isprintable() or not any(c in held for c in "\r\n\0")):
        return held
    raise DamagedEntry(f"{key} is {held!r}, not a plain string")


def _flag(line: Mapping[str, Any], key: str) -> bool:
    return line[key] is True


# What line 1 may lack, and how each is read.
_OPTIONAL: dict[str, Callable[[Mapping[str, Any], str], Any]] = {
    **dict.fromkeys(("smtputf8", "requiretls", "tls_optional"), _flag),
    "at": _number,
    "expires": _number,
    **dict.fromkeys(("key", "digest", "envid", "ret", "submitter"), _optional_text),
}


# --- the events ---


def fold(lines: Iterable[Mapping[str, Any]]) -> Entry:
    """The entry that a sidecar tells of: its first line, and every event after it. Raises DamagedEntry."""
    entry = None
    for line in lines:
        entry = _accepted(line) if entry is None else apply(entry, line)
    if entry is None:
        raise DamagedEntry("the sidecar is empty")
    return entry


def apply(entry: Entry, event: Event) -> Entry:
    """The entry after one more event. Raises DamagedEntry."""
    kind = event.get("event")
    try:
        if kind == "results":
            return _results(entry, event)
        if kind == "postponed":
            return _postponed(entry, event)
        if kind == "held":
            return entry if entry.held else replace(entry, held_since=_number(event, "time"))
        if kind == "released":
            return _released(entry, _number(event, "time"))
        if kind == "cancelled":
            return _cancelled(entry, _number(event, "time"))
        if kind == "retried":
            return _retried(entry, event)
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedEntry(f"a {kind} event is not of the right shape ({error!r})") from None
    return entry


def _with_recipients(entry: Entry, recipients: Sequence[RecipientState], time: float) -> Entry:
    before = time if entry.finished is None else entry.finished
    finished = None if _state(recipients) in UNFINISHED else before
    return replace(entry, recipients=tuple(recipients), finished=finished)


def _results(entry: Entry, event: Event) -> Entry:
    time = _number(event, "time")
    told = {r["address"]: r for r in event["recipients"]}
    after = [_result(r, told[r.address], time) if r.address in told else r for r in entry.recipients]
    return _with_recipients(entry, after, time)


def _result(before: RecipientState, told: Mapping[str, Any], time: float) -> RecipientState:
    status = told["status"]
    if status not in (DEFERRED, DELIVERED, FAILED):
        raise DamagedEntry(f"a result has the status {status!r}")
    return RecipientState(
        before.recipient,
        status,
        attempts=_count(told, "attempts", before.attempts),
        retries=_count(told, "retries", before.retries),
        last_attempt=time,
        next_attempt=_number(told, "next") if status == DEFERRED else None,
        code=_count(told, "code", 0) if told.get("code") is not None else None,
        **{name: _optional_text(told, name) for name in _TEXTS},
        maybe_delivered=told.get("maybe_delivered") is True or before.maybe_delivered,
    )


def _postponed(entry: Entry, event: Event) -> Entry:
    next, addresses = _number(event, "next"), set(event["recipients"])
    reason = _optional_text(event, "reason")
    # What a server said of the mail is worth more than why it was not asked again.
    recipients = tuple(
        replace(r, next_attempt=next, text=r.text if r.attempts else reason)
        if r.address in addresses and not r.final
        else r
        for r in entry.recipients
    )
    return replace(entry, recipients=recipients)


def _released(entry: Entry, time: float) -> Entry:
    if entry.held_since is None:
        return entry
    return replace(entry, held_since=None, held_for=entry.held_for + max(0.0, time - entry.held_since))


def _cancelled(entry: Entry, time: float) -> Entry:
    return _with_recipients(
        entry,
        [
            r if r.final else replace(r, status=FAILED, next_attempt=None, text=CANCELLED, **_NO_SERVER)
            for r in entry.recipients
        ],
        time,
    )


def _retried(entry: Entry, event: Event) -> Entry:
    time, addresses = _number(event, "time"), set(event["recipients"])
    return _with_recipients(
        replace(entry, retried=time, held_for=0.0),
        [
            _again(r, time) if r.address in addresses and r.status != DELIVERED else r
            for r in entry.recipients
        ],
        time,
    )


def _again(r: RecipientState, time: float) -> RecipientState:
    text = None if r.status == FAILED and r.text == CANCELLED and r.code is None else r.text
    return replace(r, status=DEFERRED if r.attempts else QUEUED, retries=0, next_attempt=time, text=text)
