"""The fold: what a sidecar tells, for any sequence of events, and for a line torn anywhere."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstrom_cli.mail.envelope import Envelope, Recipient
from mailstrom_cli.mail.status import FINAL, STATES, UNFINISHED
from mailstrom_cli.store.entry import DamagedEntry, apply, first_line, fold
from mailstrom_cli.store.sidecar import encode, parse

from .samples import NOW, event, results, submission

ID = "06h0rpp74b86vs85"
NAMES = ("b", "c", "d")
FIRST = first_line(ID, NOW, submission(*(f"{n}@example.net" for n in NAMES)).envelope)

times = st.floats(0, 1e11)
outcomes = st.one_of(st.sampled_from(["delivered", "failed"]), times)
addresses = st.lists(st.sampled_from([f"{n}@example.net" for n in (*NAMES, "nobody")]))
events = st.one_of(
    st.builds(
        lambda time, told: results(time, **told),
        times,
        st.dictionaries(st.sampled_from(NAMES), outcomes, min_size=1),
    ),
    st.builds(event, st.sampled_from(["held", "released", "cancelled", "some later kind"]), times),
    st.builds(lambda time, who: event("retried", time, recipients=who), times, addresses),
)
plain = st.text(st.characters(exclude_characters="\r\n\0", codec="utf-8"), min_size=1)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=200)
@given(st.lists(events, max_size=12))
def test_any_events_fold_to_an_entry_that_is_consistent(told: list[dict[str, Any]]) -> None:
    entry = fold([FIRST, *told])
    assert entry == fold([FIRST, *json.loads(json.dumps(told))])
    assert entry.state in STATES
    assert (entry.finished is None) == (entry.state in UNFINISHED)
    assert (entry.next_attempt is None) == (entry.state in FINAL)
    assert entry.held_for >= 0
    for recipient in entry.recipients:
        assert (recipient.next_attempt is None) == recipient.final
    if entry.state == "delivered":
        assert {r.status for r in entry.recipients} == {"delivered"}


@settings(max_examples=100)
@given(st.lists(events, max_size=8))
def test_folding_step_by_step_is_folding_at_once(told: list[dict[str, Any]]) -> None:
    entry = fold([FIRST])
    for one in told:
        entry = apply(entry, one)
    assert entry == fold([FIRST, *told])


@settings(max_examples=100)
@given(st.lists(events, max_size=8))
def test_a_delivered_recipient_stays_delivered_whatever_else_but_a_result_comes(
    told: list[dict[str, Any]],
) -> None:
    first = results(NOW, b="delivered")
    entry = fold([FIRST, first, *(e for e in told if e["event"] != "results")])
    assert entry.recipients[0].status == "delivered"


@given(st.lists(events, max_size=3), events)
@settings(max_examples=40, deadline=None)
def test_a_line_torn_at_any_byte_is_as_if_it_had_not_been_written(
    told: list[dict[str, Any]], last: dict[str, Any]
) -> None:
    whole = b"".join(encode(line) for line in (FIRST, *told))
    torn = encode(last)
    for kept in range(len(torn)):
        assert parse(whole + torn[:kept]) == ([FIRST, *told], len(whole))
    assert parse(whole + torn) == ([FIRST, *told, last], len(whole) + len(torn))


@given(st.dictionaries(st.text(), json_values))
def test_a_line_is_one_line_and_reads_back(held: dict[str, Any]) -> None:
    line = encode(held)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert json.loads(line) == held


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), {1: 2}, b"bytes", object()])
def test_what_json_cannot_hold_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="sidecar"):
        encode({"x": [bad]})


@given(
    st.builds(
        Envelope,
        reverse_path=st.just("") | plain,
        recipients=st.lists(
            st.builds(Recipient, plain, st.lists(plain).map(tuple), st.none() | plain), min_size=1, max_size=3
        ).map(tuple),
        message_id=plain,
        size=st.integers(0, 1 << 39),
        smtputf8=st.booleans(),
        requiretls=st.booleans(),
        tls_optional=st.booleans(),
        at=st.none() | times,
        expires=st.none() | times,
        key=st.none() | plain,
        digest=st.none() | plain,
        envid=st.none() | plain,
        ret=st.sampled_from([None, "full", "hdrs"]),
        submitter=st.none() | plain,
    )
)
def test_an_envelope_reads_back(envelope: Envelope) -> None:
    lines, _ = parse(encode(first_line(ID, NOW, envelope)))
    assert fold(lines).envelope == envelope


def test_keys_that_do_not_apply_are_left_out() -> None:
    assert set(FIRST) == {
        "format",
        "id",
        "submitted",
        "reverse_path",
        "recipients",
        "message_id",
        "size",
        "body",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"format": True},
        {"format": None},
        {"id": ""},
        {"id": 5},
        {"recipients": []},
        {"recipients": None},
        {"recipients": [{}]},
        {"recipients": [{"address": ""}]},
        {"recipients": [{"address": "a@example.org\r\nDATA"}]},
        {"recipients": [{"address": "a@example.org", "notify": [1]}]},
        {"recipients": [{"address": "a@example.org", "notify": "never"}]},
        {"recipients": ["a@example.org"]},
        {"reverse_path": "a\nb"},
        {"reverse_path": None},
        {"envid": "a\0"},
        {"size": -1},
        {"size": 1.5},
        {"size": "12"},
        {"size": True},
        {"submitted": "now"},
        {"submitted": float("nan")},
        {"submitted": 1e300},
        {"at": -1},
    ],
)
def test_a_planted_first_line_is_damage(change: dict[str, Any]) -> None:
    with pytest.raises(DamagedEntry):
        fold([FIRST | change])


@pytest.mark.parametrize(
    "bad",
    [
        {"event": "results", "time": NOW},
        {"event": "results", "time": NOW, "recipients": 5},
        {"event": "results", "time": NOW, "recipients": [{"address": []}]},
        {"event": "results", "time": NOW, "recipients": [{"address": "b@example.net"}]},
        {"event": "results", "time": NOW, "recipients": [{"address": "b@example.net", "status": "queued"}]},
        {"event": "results", "time": NOW, "recipients": [{"address": "b@example.net", "status": "deferred"}]},
        {"event": "results", "recipients": []},
        {"event": "held"},
        {"event": "held", "time": "x"},
        {"event": "retried", "time": NOW, "recipients": [[]]},
        {"event": "cancelled", "time": float("inf")},
    ],
)
def test_a_planted_event_is_damage(bad: dict[str, Any]) -> None:
    with pytest.raises(DamagedEntry):
        fold([FIRST, bad])


@pytest.mark.parametrize("field", ["attempts", "retries", "code", "text", "host"])
@pytest.mark.parametrize("planted", [-1, [], {}, "1\r\n", 1e400])
def test_a_planted_result_is_damage(field: str, planted: object) -> None:
    told = results(NOW, b="failed")
    told["recipients"][0][field] = planted
    with pytest.raises(DamagedEntry):
        fold([FIRST, told])


def test_no_line_is_no_entry() -> None:
    with pytest.raises(DamagedEntry, match="empty"):
        fold([])


@pytest.mark.parametrize("data", [b"{]\n", b"[1]\n", b"5\n", b"\xff\n", b"\n", b'{"a":' * 100_000 + b"\n"])
def test_a_whole_line_that_is_no_object_is_damage(data: bytes) -> None:
    with pytest.raises(DamagedEntry, match="line 2"):
        parse(encode(FIRST) + data)


def test_cancelling_again_does_not_change_when_it_was_final() -> None:
    entry = fold([FIRST, event("cancelled", NOW + 1), event("cancelled", NOW + 9)])
    assert entry.finished == NOW + 1


def test_time_on_hold_is_summed_and_never_negative() -> None:
    told = [("held", 10), ("held", 12), ("released", 15), ("released", 16), ("held", 50), ("released", 20)]
    assert fold([FIRST, *(event(kind, time) for kind, time in told)]).held_for == 5


def test_a_retry_gives_all_retries_back_to_those_it_names() -> None:
    told = [
        results(NOW, b="delivered", c="failed", d=NOW + 60),
        event("retried", NOW + 5, recipients=["c@example.net"]),
    ]
    b, c, d = fold([FIRST, *told]).recipients
    assert (b.status, c.status, d.status) == ("delivered", "deferred", "deferred")
    assert (c.retries, c.next_attempt, c.attempts) == (0, NOW + 5, 1)
    assert (d.retries, d.next_attempt) == (1, NOW + 60)
