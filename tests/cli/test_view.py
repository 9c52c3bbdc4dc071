"""The JSON of a message, written as text, is what `json.dumps` makes of the object that is meant."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mailstrom_cli.cli.times import iso
from mailstrom_cli.cli.view import queue_json, queue_name, reply, status_json
from mailstrom_cli.mail.envelope import Envelope, Recipient
from mailstrom_cli.mail.status import STATES
from mailstrom_cli.store.entry import Entry, RecipientState

texts = st.text(max_size=8)
counts = st.integers(0, 1 << 40)
times = st.floats(0, 1e12) | st.integers(0, 10**12)
recipients = st.builds(
    RecipientState,
    st.builds(Recipient, texts),
    st.sampled_from(STATES),
    counts,
    counts,
    *[st.none() | times] * 2,
    st.none() | counts,
    *[st.none() | texts] * 5,
)
entries = st.builds(
    Entry,
    texts,
    times,
    st.builds(Envelope, texts, st.just(()), texts, counts),
    st.lists(recipients, min_size=1, max_size=3).map(tuple),
    st.none() | times,
)


def status_object(entry: Entry) -> dict[str, Any]:
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
        "recipients": [
            {
                "address": r.address,
                "status": r.status,
                "attempts": r.attempts,
                "last_attempt": iso(r.last_attempt),
                "next_attempt": iso(r.next_attempt),
                "host": r.host,
                "tls": r.tls,
                "tls_cipher": r.tls_cipher,
                "tls_by": r.tls_by,
                "code": r.code,
                "enhanced": r.enhanced,
                "text": r.text,
                "remote_id": r.remote_id,
            }
            for r in entry.recipients
        ],
    }


def queue_object(entry: Entry) -> dict[str, Any]:
    ours = status_object(entry)
    for state, told in zip(entry.recipients, ours["recipients"], strict=True):
        if state.status == "deferred":
            told["delay_reason"] = reply(state)
    return {
        "queue_name": queue_name(entry),
        "queue_id": entry.id,
        "arrival_time": int(entry.submitted),
        "message_size": entry.envelope.size,
        "forced_expire": False,
        **ours,
        "sender": entry.envelope.reverse_path or "MAILER-DAEMON",
    }


@given(entries)
def test_status_and_queue_are_as_json_has_them(entry: Entry) -> None:
    assert status_json(entry) == json.dumps(status_object(entry))
    assert status_json(entry, '"more": [1]') == json.dumps({**status_object(entry), "more": [1]})
    assert queue_json(entry) == json.dumps(queue_object(entry))


@given(st.none() | st.integers(0, 999), *[st.none() | texts] * 2)
def test_a_reply_is_what_of_it_is_known(code: int | None, enhanced: str | None, text: str | None) -> None:
    state = RecipientState(Recipient("b@example.net"), code=code, enhanced=enhanced, text=text)
    assert reply(state) == " ".join(str(part) for part in (code, enhanced, text) if part)
