"""What a reply or a failure means: a row here for each row of the table in `classify`, and for its edges."""

from __future__ import annotations

import itertools

import pytest

from mailstrom_cli.mail.envelope import Envelope
from mailstrom_cli.mail.reply import Reply
from mailstrom_cli.policy import classify
from mailstrom_cli.policy.classify import DAY, Circumstances, Verdict, more_telling
from mailstrom_cli.policy.mx import Lookup
from mailstrom_cli.smtp.dialog import Answer, Capabilities, Failure
from mailstrom_cli.values import replace

NOW = Circumstances()
DAY_OLD = Circumstances(age=DAY)
THIRD = Circumstances(retries=2)
RELAY = Circumstances(relay=True)
REQUIRED = Circumstances(tls_required=True)
PROVEN = Circumstances(tls_required=True, requiretls=True)


def reply(text: str) -> Reply:
    """`550 5.1.1 No such user`; an enhanced code is told by its dots."""
    code, _, rest = text.partition(" ")
    word, _, told = rest.partition(" ")
    return Reply(int(code), word, (told,)) if word.count(".") == 2 else Reply(int(code), None, (rest,))


def brief(verdict: Verdict) -> str:
    """A verdict in a line: status, codes, then what it says beside."""
    names = ("next_host", "again", "unreachable", "local", "maybe_delivered")
    flags = [name for name in names if getattr(verdict, name)]
    wait = [f"wait={verdict.retry_after:g}"] if verdict.retry_after is not None else []
    codes = [str(c) for c in (verdict.code, verdict.enhanced) if c is not None]
    return " ".join([verdict.status, *codes, *flags, *wait])


# (stage, reply, circumstances, verdict)
REPLIES = [
    # 250 to the end of data
    ("dot", "250 2.0.0 Ok", NOW, "delivered 250 2.0.0"),
    ("dot", "250 Ok", NOW, "delivered 250 2.0.0"),
    ("dot", "251 2.6.0 Ok", NOW, "delivered 251 2.6.0"),
    # 4xx
    ("mail", "451 4.3.0 Later", NOW, "deferred 451 4.3.0 next_host"),
    ("rcpt", "450 4.2.0 Busy", NOW, "deferred 450 4.2.0 next_host"),
    ("data", "451 Later", NOW, "deferred 451 4.0.0 next_host"),
    ("dot", "452 4.3.1 Full", NOW, "deferred 452 4.3.1 next_host"),
    ("mail", "452 4.3.1 Full", NOW, "deferred 452 4.3.1 next_host"),
    ("block", "451 4.3.0 Enough", NOW, "deferred 451 4.3.0 next_host"),
    # 421 at any point
    ("mail", "421 4.3.2 Bye", NOW, "deferred 421 4.3.2 next_host unreachable"),
    ("rcpt", "421 Bye", NOW, "deferred 421 4.0.0 next_host"),
    ("data", "421 Bye", NOW, "deferred 421 4.0.0 next_host"),
    ("dot", "421 Bye", NOW, "deferred 421 4.0.0 next_host"),
    # greylisting: the same server is to see us again
    ("rcpt", "450 4.7.1 Greylisted, try again in 5 minutes", NOW, "deferred 450 4.7.1 wait=300"),
    ("rcpt", "451 4.7.1 Please retry in 90 s", NOW, "deferred 451 4.7.1 wait=90"),
    ("rcpt", "450 4.7.1 Greylisted", NOW, "deferred 450 4.7.1 next_host"),
    # 5xx
    ("mail", "550 5.7.1 No", NOW, "failed 550 5.7.1"),
    ("rcpt", "550 5.1.1 Who?", NOW, "failed 550 5.1.1"),
    ("rcpt", "550 Who?", NOW, "failed 550 5.0.0"),
    ("data", "554 5.7.1 No", NOW, "failed 554 5.7.1"),
    ("dot", "554 5.6.0 No", NOW, "failed 554 5.6.0"),
    ("dot", "552 5.3.4 Too big", NOW, "failed 552 5.3.4"),
    ("block", "552 5.3.4 Too big", NOW, "failed 552 5.3.4"),
    # a relay that wants a login bounces nothing, an MX host that does so does
    ("mail", "530 5.7.0 Log in first", RELAY, "deferred 530 4.7.8 next_host unreachable"),
    ("mail", "530 5.7.0 Log in first", NOW, "failed 530 5.7.0"),
    # too many recipients
    ("rcpt", "452 4.5.3 Too many", NOW, "deferred 452 4.5.3 next_host again"),
    ("rcpt", "452 Too many", NOW, "deferred 452 4.0.0 next_host again"),
    ("rcpt", "552 5.5.3 Too many", NOW, "deferred 552 5.5.3 next_host again"),
    ("rcpt", "552 Too many recipients", NOW, "deferred 552 5.0.0 next_host again"),
    ("rcpt", "452 4.2.2 Mailbox full", NOW, "deferred 452 4.2.2 next_host"),
    ("rcpt", "552 5.3.4 Too big", NOW, "failed 552 5.3.4"),
    # mailbox full
    ("rcpt", "552 5.2.2 Full", NOW, "deferred 552 5.2.2"),
    ("rcpt", "552 5.2.2 Full", Circumstances(age=DAY - 1), "deferred 552 5.2.2"),
    ("rcpt", "552 5.2.2 Full", DAY_OLD, "failed 552 5.2.2"),
    # a reply of the wrong kind for its place is none
    ("data", "250 2.0.0 What?", NOW, "deferred 4.5.0 next_host"),
    ("rcpt", "354 What?", NOW, "deferred 4.5.0 next_host"),
    ("mail", "334 What?", THIRD, "failed 5.5.0 next_host"),
    ("block", "250 2.0.0 Before the end", NOW, "deferred 4.5.0 next_host"),
    ("dot", "354 What?", NOW, "deferred 4.5.0 maybe_delivered"),
    ("dot", "354 What?", THIRD, "failed 5.5.0 maybe_delivered"),
]


@pytest.mark.parametrize(("stage", "said", "circumstances", "wanted"), REPLIES)
def test_a_reply(stage: str, said: str, circumstances: Circumstances, wanted: str) -> None:
    assert brief(classify.answer(Answer(stage, reply(said)), circumstances)) == wanted


OPENING = ("connect", "greeting", "ehlo", "starttls", "auth")
TALKING = ("mail", "rcpt", "data", "block")

# (kind, stage, reply, circumstances, verdict)
FAILURES = [
    # no connection, greeting or EHLO refused
    ("unreachable", "connect", None, NOW, "deferred 4.4.1 next_host unreachable"),
    ("refused", "greeting", "421 4.3.2 Busy", NOW, "deferred 421 4.3.2 next_host unreachable"),
    ("refused", "greeting", "450 Busy", NOW, "deferred 450 4.3.2 next_host unreachable"),
    ("refused", "greeting", "554 5.7.1 Go away", NOW, "deferred 554 4.3.2 next_host unreachable"),
    ("refused", "ehlo", "550 5.7.1 Go away", NOW, "deferred 550 4.3.2 next_host unreachable"),
    ("refused", "ehlo", "421 4.7.0 Later", NOW, "deferred 421 4.7.0 next_host unreachable"),
    # greeting 521
    ("refused", "greeting", "521 5.3.2 No mail", NOW, "deferred 521 4.3.2 next_host unreachable"),
    ("refused", "greeting", "521 5.3.2 No mail", DAY_OLD, "failed 521 5.3.2 next_host"),
    ("refused", "greeting", "554 No mail", DAY_OLD, "deferred 554 4.3.2 next_host unreachable"),
    ("refused", "ehlo", "521 No mail", DAY_OLD, "deferred 521 4.3.2 next_host unreachable"),
    # TLS required
    ("tls", "starttls", None, REQUIRED, "deferred 4.7.5 next_host unreachable"),
    ("no-tls", "starttls", "454 4.7.0 Not now", REQUIRED, "deferred 454 4.7.4 next_host unreachable"),
    # REQUIRETLS
    ("no-tls", "starttls", None, PROVEN, "failed 5.7.10 next_host"),
    ("no-tls", "starttls", "502 5.5.1 What?", PROVEN, "failed 502 5.7.10 next_host"),
    ("no-tls", "starttls", "454 4.7.0 Not now", PROVEN, "deferred 454 4.7.4 next_host unreachable"),
    ("tls", "starttls", None, PROVEN, "deferred 4.7.5 next_host unreachable"),
    ("unreachable", "connect", None, PROVEN, "deferred 4.4.1 next_host unreachable"),
    # TLS failed, level may
    ("tls", "starttls", None, NOW, "deferred 4.7.5 next_host"),
    ("policy", "starttls", None, NOW, "deferred 4.7.5 next_host unreachable"),
    ("no-tls", "starttls", "454 4.7.0 Not now", NOW, "deferred 454 4.7.4 next_host"),
    # AUTH refused
    ("refused", "auth", "535 5.7.8 Wrong", NOW, "deferred 535 4.7.8 unreachable"),
    ("refused", "auth", "454 4.7.0 Later", NOW, "deferred 454 4.7.8 next_host unreachable"),
    ("refused", "auth", None, NOW, "deferred 4.7.8 next_host unreachable"),
    # connection lost or timed out
    *(
        (kind, stage, None, NOW, "deferred 4.4.2 next_host unreachable")
        for kind in ("lost", "timeout")
        for stage in OPENING
    ),
    *(
        (kind, stage, None, NOW, "deferred 4.4.2 next_host")
        for kind in ("lost", "timeout")
        for stage in TALKING
    ),
    # the same after the end of data
    ("lost", "dot", None, NOW, "deferred 4.4.2 maybe_delivered"),
    ("timeout", "dot", None, NOW, "deferred 4.4.2 maybe_delivered"),
    # what is no SMTP reply
    *(("malformed", stage, None, NOW, "deferred 4.5.0 next_host") for stage in TALKING),
    ("malformed", "mail", None, Circumstances(attempts=1), "deferred 4.5.0 next_host"),
    ("malformed", "mail", None, THIRD, "failed 5.5.0 next_host"),
    ("malformed", "dot", None, NOW, "deferred 4.5.0 maybe_delivered"),
    ("malformed", "dot", None, THIRD, "failed 5.5.0 maybe_delivered"),
    *(("malformed", s, None, THIRD, "deferred 4.4.2 next_host unreachable") for s in OPENING[1:]),
    # this machine cannot
    ("local", "connect", None, NOW, "deferred 4.3.0 local"),
    ("local", "auth", None, NOW, "deferred 4.3.0 unreachable"),
]


@pytest.mark.parametrize(("kind", "stage", "said", "circumstances", "wanted"), FAILURES)
def test_a_failure(
    kind: str, stage: str, said: str | None, circumstances: Circumstances, wanted: str
) -> None:
    failed = Failure(kind, stage, "what happened", reply(said) if said else None)
    verdict = classify.failure(failed, circumstances)
    assert brief(verdict) == wanted
    assert "what happened" in verdict.text
    assert classify.answer(Answer(stage, failure=failed), circumstances) == verdict


def test_a_required_tls_that_is_missing_is_told_from_one_that_is_not_verified() -> None:
    missing = Failure("no-tls", "starttls", "TLS is required, and the server does not offer it")
    assert classify.failure(missing, REQUIRED).enhanced == "4.7.4"


# (kind, through a relay, verdict)
LOOKUPS = [
    ("nxdomain", False, "failed 5.4.4"),
    ("nodata", False, "failed 5.4.4"),
    ("nullmx", False, "failed 556 5.1.10"),
    ("failed", False, "deferred 4.4.3 unreachable"),
    ("nxdomain", True, "deferred 4.4.4 unreachable"),
    ("nodata", True, "deferred 4.4.4 unreachable"),
    ("failed", True, "deferred 4.4.3 unreachable"),
]


@pytest.mark.parametrize(("kind", "relay", "wanted"), LOOKUPS)
def test_a_lookup_without_addresses(kind: str, relay: bool, wanted: str) -> None:
    verdict = classify.lookup(Lookup(kind, "why"), relay=relay)
    assert brief(verdict) == wanted
    assert verdict.text == "why"


SIMPLE = Envelope("ann@example.org", (), "<1@example.org>", 1000)
EIGHT_BIT = Envelope("ann@example.org", (), "<1@example.org>", 1000, body="8bitmime")
UTF8 = Envelope("ann@example.org", (), "<1@example.org>", 1000, smtputf8=True)
REQUIRETLS = Envelope("ann@example.org", (), "<1@example.org>", 1000, requiretls=True)
UTF8_SENDER = Envelope("änn@example.org", (), "<1@example.org>", 1000)

# (envelope, address, what is offered, verdict)
SUITED = [
    (SIMPLE, "bob@example.net", {}, None),
    (SIMPLE, "bob@example.net", {"SIZE": "1000"}, None),
    (SIMPLE, "bob@example.net", {"SIZE": "999"}, "failed 5.3.4 next_host"),
    (SIMPLE, "bob@example.net", {"SIZE": "0"}, None),
    (EIGHT_BIT, "bob@example.net", {"8BITMIME": ""}, None),
    (EIGHT_BIT, "bob@example.net", {}, "failed 5.6.3 next_host"),
    (UTF8, "bob@example.net", {"SMTPUTF8": ""}, None),
    (UTF8, "bob@example.net", {}, "failed 5.6.7 next_host"),
    (SIMPLE, "böb@example.net", {}, "failed 5.6.7 next_host"),
    (UTF8_SENDER, "bob@example.net", {}, "failed 5.6.7 next_host"),
    (UTF8_SENDER, "bob@example.net", {"SMTPUTF8": ""}, None),
    (REQUIRETLS, "bob@example.net", {"REQUIRETLS": ""}, None),
    (REQUIRETLS, "bob@example.net", {}, "failed 5.7.30 next_host"),
    (replace(REQUIRETLS, reverse_path=""), "bob@example.net", {}, None),
    (replace(SIMPLE, tls_optional=True), "bob@example.net", {}, None),
]


def test_what_a_server_has_not_proved_counts_for_requiretls_only() -> None:
    for fault in ("certificate-expired", "certificate-host-mismatch", "tlsa-invalid"):
        failed = Failure("tls", "starttls", "no", fault=fault)
        assert brief(classify.failure(failed, PROVEN)) == "failed 5.7.30 next_host"
        assert brief(classify.failure(failed, REQUIRED)) == "deferred 4.7.5 next_host unreachable"


@pytest.mark.parametrize(("envelope", "address", "offered", "wanted"), SUITED)
def test_what_a_server_has_to_offer_for_a_message(
    envelope: Envelope, address: str, offered: dict[str, str], wanted: str | None
) -> None:
    verdict = classify.unsuited(Capabilities(offered), envelope, ("x@example.net", address))
    assert (verdict and brief(verdict)) == wanted


def test_a_bug_of_ours_fails_nothing() -> None:
    assert brief(classify.surprise(KeyError("secret"))) == "deferred 4.3.0 local"
    assert "secret" not in classify.surprise(KeyError("secret")).text


# --- what people write ---


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Greylisted for 300 seconds", 300),
        ("Greylisting in action, please come back in 00:05", None),
        ("try again in 2 minutes", 120),
        ("Try again in 1 hour", 3600),
        ("please wait 5s", 60),
        ("please wait 120s", 120),
        ("retry in 7 hours", 3600),
        ("retry timeout exceeded", None),
        ("graylisted, 15 min", 900),
        ("wait for 3 messages", None),
        ("mailbox locked for 300 seconds", None),
        ("try again later", None),
        ("", None),
    ],
)
def test_the_wait_that_a_server_asks_for_is_clamped(text: str, seconds: float | None) -> None:
    assert classify.asked_to_wait(text) == seconds


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("Ok: queued as 4FvXyz12", "4FvXyz12"),
        ("OK id=1rABCD-000ABC-2x", "1rABCD-000ABC-2x"),
        ("<m@example.org> [InternalId=8345, Hostname=x.example.org] Queued mail for delivery", "8345"),
        ("message accepted, id 0123456789ab", "0123456789ab"),
        ("Ok", None),
        ("identity verified", None),
        ("idle time exceeded", None),
        ("requeued assistance", None),
    ],
)
def test_the_id_under_which_a_server_queued_it(text: str, id: str | None) -> None:
    assert classify.remote_id(text) == id
    assert classify.answer(Answer("dot", Reply(250, None, (text,))), NOW).remote_id == id


# --- of what several hosts said ---

BUSY = classify.answer(Answer("rcpt", reply("450 4.2.0 Busy")), NOW)
UNREACHABLE = classify.failure(Failure("unreachable", "connect", "refused"), NOW)
TOO_BIG = Verdict("failed", "too big", enhanced="5.3.4", next_host=True)
UNKNOWN = classify.answer(Answer("rcpt", reply("550 5.1.1 Who?")), NOW)
TAKEN = classify.answer(Answer("dot", reply("250 2.0.0 Ok")), NOW)
MAYBE = classify.failure(Failure("lost", "dot", "lost"), NOW)
ENDS = [UNKNOWN, TAKEN, MAYBE]
HOPES = [TOO_BIG, UNREACHABLE, BUSY]  # in the order of what they tell


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("before", [None, *HOPES])
def test_an_end_counts_whatever_was_said_before(before: Verdict | None, end: Verdict) -> None:
    assert more_telling(before, end) is end


@pytest.mark.parametrize("verdicts", [*itertools.permutations(HOPES)])
def test_the_most_telling_counts_in_whatever_order_the_hosts_are_asked(verdicts: tuple[Verdict, ...]) -> None:
    kept = None
    for verdict in verdicts:
        kept = more_telling(kept, verdict)
    assert kept is BUSY


@pytest.mark.parametrize(("less", "more"), [*itertools.combinations(HOPES, 2)])
def test_it_is_an_order(less: Verdict, more: Verdict) -> None:
    assert more_telling(less, more) is more
    assert more_telling(more, less) is more


@pytest.mark.parametrize("verdict", HOPES)
def test_of_two_that_tell_as_much_the_last_counts(verdict: Verdict) -> None:
    twin = Verdict(verdict.status, "said later", next_host=True, unreachable=verdict.unreachable)
    assert more_telling(verdict, twin) is twin
    assert more_telling(twin, verdict) is verdict
