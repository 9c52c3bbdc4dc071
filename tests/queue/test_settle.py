"""What results mean for a message: whole schedules, with the sidecar's fold as the judge."""

from __future__ import annotations

import random

import pytest

from mailstrom_cli.config.schema import Retry
from mailstrom_cli.mail.envelope import Envelope, Recipient
from mailstrom_cli.mail.status import DEFERRED, DELIVERED, FAILED, QUEUED, Result
from mailstrom_cli.queue.settle import expired, expiry, postpone, settle, too_late
from mailstrom_cli.store.base import HostState
from mailstrom_cli.store.entry import Entry, apply, first_line, fold
from mailstrom_cli.values import replace

NOW = 1_800_000_000.0
EXACT = Retry(jitter=0)


def message(*addresses: str, **changes: object) -> Entry:
    envelope = Envelope("a@example.org", tuple(Recipient(a) for a in addresses), "<1@example.org>", 100)
    return fold([first_line("0123456789abcdef", NOW, replace(envelope, **changes))])


def after(entry: Entry, now: float, *results: Result, retry: Retry = EXACT, host: HostState | None = None):
    return apply(entry, settle(entry, results, now, retry, host, random.Random(1)))


def deferred(address: str, text: str = "busy", **more: object) -> Result:
    return Result(address, DEFERRED, text, code=450, enhanced="4.2.0", **more)


def test_each_recipient_gets_its_own_result_and_the_message_waits_for_the_last() -> None:
    entry = message("a@example.net", "b@example.net", "c@example.net")
    assert entry.state == QUEUED
    entry = after(
        entry,
        NOW + 1,
        Result(
            "a@example.net",
            DELIVERED,
            "ok",
            250,
            "2.0.0",
            "mx[192.0.2.1]:25",
            "TLSv1.3 encrypted",
            remote_id="4F",
        ),
        deferred("b@example.net"),
        Result("c@example.net", FAILED, "no such user", 550, "5.1.1"),
    )
    assert [r.status for r in entry.recipients] == [DELIVERED, DEFERRED, FAILED]
    assert entry.state == DEFERRED
    assert entry.recipients[0].tls == "TLSv1.3 encrypted"
    assert entry.recipients[0].remote_id == "4F"
    assert entry.next_attempt == NOW + 1 + 300
    entry = after(entry, NOW + 301, Result("b@example.net", DELIVERED, "ok", 250))
    assert entry.state == FAILED
    assert entry.finished == NOW + 301


def test_a_message_with_an_untried_recipient_stays_queued() -> None:
    entry = after(
        message("a@example.net", "b@example.com"), NOW, Result("a@example.net", DELIVERED, "ok", 250)
    )
    assert entry.state == QUEUED


def test_the_schedule_of_a_server_that_always_defers() -> None:
    entry, now, waits = message("a@example.net"), NOW, []
    while entry.state != FAILED:
        entry = after(entry, now, deferred("a@example.net"))
        if entry.next_attempt is not None:
            waits.append(entry.next_attempt - now)
            now = entry.next_attempt
    assert waits == [300, 1800, 10800]
    assert entry.recipients[0].attempts == 4
    assert entry.recipients[0].text == "given up after 4 attempts: busy"
    assert entry.recipients[0].code == 450


def test_without_a_number_of_retries_age_ends_it_with_a_last_try_at_the_very_end() -> None:
    retry = Retry(retries=-1, jitter=0, max_age=86_400)
    entry, now, attempts = message("a@example.net"), NOW, []
    while entry.state != FAILED:
        attempts.append(now - NOW)
        entry = after(entry, now, deferred("a@example.net"), retry=retry)
        now = entry.next_attempt or now
    assert attempts == [0, 300, 2100, 12_900, 34_500, 56_100, 77_700, 86_400]
    assert entry.recipients[0].enhanced == "5.4.7"
    assert entry.recipients[0].text == "expired: busy"


def test_an_unreachable_next_hop_uses_up_no_retry_until_the_message_is_too_old() -> None:
    entry, now = message("a@example.net"), NOW
    for failures in range(1, 300):
        host = HostState(failures, now + 3600, "connection refused")
        entry = after(entry, now, deferred("a@example.net", unreachable=True, judged=False), host=host)
        if entry.state == FAILED:
            break
        assert entry.next_attempt == min(now + 3600, NOW + 5 * 86_400)
        assert entry.recipients[0].retries == 0
        now = entry.next_attempt
    assert now == NOW + 5 * 86_400
    assert entry.recipients[0].text == "expired: busy"


def test_what_a_greylisting_server_asks_for_is_waited() -> None:
    entry = after(message("a@example.net"), NOW, deferred("a@example.net", retry_after=600.0))
    assert entry.next_attempt == NOW + 600
    assert entry.recipients[0].retries == 1


def test_a_wait_that_a_server_asks_for_is_never_cut_short_by_jitter() -> None:
    for seed in range(200):
        event = settle(
            message("a@example.net"),
            [deferred("a@example.net", retry_after=600.0)],
            NOW,
            Retry(jitter=0.1),
            None,
            random.Random(seed),
        )
        assert NOW + 600 <= event["recipients"][0]["next"] <= NOW + 660


def test_expires_of_the_submitter_goes_before_max_age() -> None:
    entry = message("a@example.net", expires=NOW + 100)
    entry = after(entry, NOW, deferred("a@example.net"))
    assert entry.next_attempt == NOW + 100
    entry = after(entry, NOW + 100, deferred("a@example.net"))
    assert entry.state == FAILED


def test_time_on_hold_does_not_count() -> None:
    retry = Retry(max_age=1000, jitter=0)
    entry = apply(message("a@example.net"), {"event": "held", "time": NOW})
    entry = apply(entry, {"event": "released", "time": NOW + 5000})
    entry = after(entry, NOW + 5500, deferred("a@example.net"), retry=retry)
    assert entry.state == DEFERRED
    assert entry.next_attempt == NOW + 5800


def test_no_message_expires_without_an_attempt_however_the_clock_jumps() -> None:
    entry = message("a@example.net")
    ten_years = NOW + 10 * 365 * 86_400
    entry = after(entry, ten_years, Result("a@example.net", DELIVERED, "ok", 250))
    assert entry.state == DELIVERED


def test_possibly_delivered_is_remembered() -> None:
    entry = after(message("a@example.net"), NOW, deferred("a@example.net", maybe_delivered=True))
    assert entry.recipients[0].maybe_delivered
    entry = after(entry, NOW + 300, deferred("a@example.net"))
    assert entry.recipients[0].maybe_delivered


def test_who_is_put_off_keeps_state_and_attempts_and_tells_why() -> None:
    entry = message("a@example.net", "b@example.com")
    host = HostState(1, NOW + 60, "connection refused")
    entry = apply(entry, postpone(["a@example.net"], NOW, host))
    waiting = entry.recipients[0]
    assert (waiting.status, waiting.attempts, waiting.retries) == (QUEUED, 0, 0)
    assert waiting.next_attempt == NOW + 60
    assert waiting.last_attempt is None
    assert waiting.text == "not tried yet, the next hop is out of reach: connection refused"
    assert entry.recipients[1].text is None


def test_who_is_put_off_keeps_what_a_server_has_said() -> None:
    entry = after(message("a@example.net"), NOW, deferred("a@example.net"))
    entry = apply(entry, postpone(["a@example.net"], NOW + 300, HostState(1, NOW + 360, "refused")))
    waiting = entry.recipients[0]
    assert (waiting.status, waiting.code, waiting.text) == (DEFERRED, 450, "busy")
    assert waiting.next_attempt == NOW + 360


def test_a_retry_that_somebody_asks_for_starts_age_and_retries_anew() -> None:
    entry = message("a@example.net", expires=NOW + 100)
    assert too_late(entry, NOW + 100)
    entry = apply(entry, expired(entry.recipients, NOW + 100))
    assert (entry.state, entry.recipients[0].text) == (FAILED, "expired: there was no attempt before")
    entry = apply(entry, {"event": "retried", "time": NOW + 6 * 86_400, "recipients": ["a@example.net"]})
    assert not too_late(entry, NOW + 6 * 86_400)
    assert expiry(entry, EXACT) == NOW + 11 * 86_400
    entry = after(entry, NOW + 6 * 86_400, deferred("a@example.net"))
    assert entry.next_attempt == NOW + 6 * 86_400 + 300


@pytest.mark.parametrize("delivered", [True, False])
def test_the_transcript_is_kept_once_and_capped(delivered: bool) -> None:
    told = Result("a@example.net", DELIVERED if delivered else DEFERRED, "x", transcript="C: EHLO\n" * 10_000)
    event = settle(message("a@example.net"), [told], NOW, EXACT, None, random.Random(1))
    assert len(event["transcript"]) == 16_384
    assert "transcript" not in event["recipients"][0]
