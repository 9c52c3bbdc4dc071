"""From the greeting to the login, driven by hand."""

from __future__ import annotations

import pytest

from mailstrom_cli.smtp.auth import Credentials
from mailstrom_cli.smtp.dialog import Capabilities, Opening, SessionFailed, StartTls, open_session

from .driving import Driven

LOGIN = Credentials("tim", "tanstaaftanstaaf")


def opened(*replies: str, **how: object) -> Driven:
    opening = Opening("client.example.org", **{"tls": "none", **how})  # type: ignore[arg-type]
    return Driven(open_session(opening), *replies)


def fails(*replies: str, **how: object) -> SessionFailed:
    with pytest.raises(SessionFailed) as raised:
        opened(*replies, **how)
    return raised.value


def test_what_the_server_offers() -> None:
    done = opened(
        "220 mx", "250-mx greets you\n250-pipelining\n250-SIZE 1000\n250-AUTH plain LOGIN\n250 8BITMIME"
    )
    assert done.written == ["EHLO client.example.org"]
    offered: Capabilities = done.result
    assert {"PIPELINING", "SIZE", "AUTH", "8BITMIME"} == set(offered.keywords)
    assert (offered.size, offered.auth) == (1000, ("PLAIN", "LOGIN"))


@pytest.mark.parametrize(
    ("line", "size"),
    [("SIZE", None), ("SIZE 0", None), ("SIZE 5", 5), ("SIZE x", None), ("SIZE -1", None), ("SIZE ²", None)],
)
def test_the_size_limit(line: str, size: int | None) -> None:
    assert opened("220 mx", f"250-mx\n250 {line}").result.size == size


def test_a_greeting_with_the_name_of_an_extension_offers_nothing() -> None:
    assert opened("220 mx", "250 PIPELINING").result.keywords == {}


def test_helo_where_ehlo_is_not_known() -> None:
    done = opened("220 mx", "502 5.5.1 What?", "250 mx")
    assert done.written == ["EHLO client.example.org", "HELO client.example.org"]
    assert done.result.keywords == {}


def test_no_helo_after_a_transient_refusal_and_none_in_lmtp() -> None:
    assert fails("220 mx", "421 4.3.2 Not now").failure.reply.code == 421
    assert fails("220 mx", "500 What?", lmtp=True).failure.stage == "ehlo"


def test_lmtp_says_lhlo() -> None:
    assert opened("220 mx", "250 mx", lmtp=True).written == ["LHLO client.example.org"]


@pytest.mark.parametrize(
    "greeting", ["421 busy", "450 no", "521 accepts no mail", "554 no", "250 what", "354 go"]
)
def test_any_greeting_but_220_ends_the_session(greeting: str) -> None:
    failure = fails(greeting).failure
    assert (failure.kind, failure.stage, failure.reply.code) == ("refused", "greeting", int(greeting[:3]))


@pytest.mark.parametrize("replies", [("220 mx", "500 ?", "550 ?"), ("220 mx", "354 ?"), ("220 mx", "450 ?")])
def test_ehlo_and_helo_refused(replies: tuple[str, ...]) -> None:
    failure = fails(*replies).failure
    assert (failure.kind, failure.stage) == ("refused", "ehlo")


# --- STARTTLS ---

OFFERED = "250-mx\n250-STARTTLS\n250 PIPELINING"


@pytest.mark.parametrize("level", ["may", "encrypt", "verify"])
def test_starttls_where_it_is_offered_and_what_was_offered_before_is_forgotten(level: str) -> None:
    done = opened("220 mx", OFFERED, "220 go", "250-mx\n250 SIZE 7", tls=level)
    assert done.written == ["EHLO client.example.org", "STARTTLS", "EHLO client.example.org"]
    assert done.steps == ["greeting", "ehlo", "starttls", "STARTTLS", "ehlo"]
    assert done.result.keywords == {"SIZE": "7"}


@pytest.mark.parametrize("level", ["none", "on"])
def test_no_starttls_when_none_is_wanted_or_tls_is_there(level: str) -> None:
    done = opened("220 mx", OFFERED, tls=level)
    assert not any(isinstance(e, StartTls) for e in done.effects)
    assert done.written == ["EHLO client.example.org"]


def test_level_may_goes_on_in_plain_text_where_it_is_not_offered() -> None:
    assert opened("220 mx", "250 mx", tls="may").steps == ["greeting", "ehlo"]


@pytest.mark.parametrize("level", ["encrypt", "verify"])
@pytest.mark.parametrize("replies", [("250 mx",), ("500 ?", "250 mx")])
def test_a_required_tls_that_is_not_offered_ends_the_session(level: str, replies: tuple[str, ...]) -> None:
    failure = fails("220 mx", *replies, tls=level).failure
    assert (failure.kind, failure.stage) == ("no-tls", "starttls")
    assert "does not offer" in failure.text


@pytest.mark.parametrize("level", ["may", "encrypt", "verify"])
@pytest.mark.parametrize("answer", ["454 4.7.0 TLS not available", "502 ?", "250 what", "421 bye"])
def test_starttls_refused_ends_the_session(level: str, answer: str) -> None:
    failure = fails("220 mx", OFFERED, answer, tls=level).failure
    assert (failure.kind, failure.stage, failure.reply.code) == ("no-tls", "starttls", int(answer[:3]))


# --- login ---


def test_no_login_without_tls_that_was_required() -> None:
    with pytest.raises(SessionFailed) as raised:
        opened("220 mx", "250-mx\n250 AUTH PLAIN LOGIN", tls="verify", credentials=LOGIN)
    assert raised.value.failure.kind == "no-tls"


def test_the_mechanisms_offered_under_tls_count() -> None:
    before = "250-mx\n250-STARTTLS\n250 AUTH PLAIN"
    done = opened(
        "220 mx",
        before,
        "220 go",
        "250-mx\n250 AUTH LOGIN",
        "334 ?",
        "334 ?",
        "235 in",
        tls="verify",
        credentials=LOGIN,
    )
    assert done.written[3] == "AUTH LOGIN"


@pytest.mark.parametrize("answer", ["535 5.7.8 wrong", "454 4.7.0 later"])
def test_a_login_that_does_not_succeed_ends_the_session(answer: str) -> None:
    failure = fails("220 mx", "250-mx\n250 AUTH PLAIN", answer, tls="on", credentials=LOGIN).failure
    assert (failure.kind, failure.stage, failure.reply.code) == ("refused", "auth", int(answer[:3]))
    assert failure.text == f"login refused (PLAIN): {failure.reply.text}"


@pytest.mark.parametrize("answer", ["334 more?", "354 what"])
def test_a_server_that_goes_on_asking_is_left_and_its_challenge_not_shown(answer: str) -> None:
    failure = fails("220 mx", "250-mx\n250 AUTH PLAIN", answer, tls="on", credentials=LOGIN).failure
    assert (failure.kind, failure.stage, failure.reply) == ("refused", "auth", None)
    assert failure.text == "no login with PLAIN: the server asks for more than that has to say"


@pytest.mark.parametrize(("password", "kind"), [("pen\u0007cil", "local"), ("pencil", "refused")])
def test_what_keeps_us_from_logging_in_is_told_by_whose_fault_it_is(password: str, kind: str) -> None:
    replies = () if kind == "local" else ("235 in",)
    known = Credentials("user", password)
    failed = fails("220 mx", "250-mx\n250 AUTH SCRAM-SHA-256", *replies, tls="on", credentials=known)
    assert (failed.failure.kind, failed.failure.stage) == (kind, "auth")
    assert failed.failure.text.startswith("no login with SCRAM-SHA-256: the ")


@pytest.mark.parametrize("offer", ["250 mx", "250-mx\n250 AUTH GSSAPI SCRAM-SHA-512"])
def test_no_mechanism_that_serves_ends_the_session_and_names_those_offered(offer: str) -> None:
    failure = fails("220 mx", offer, tls="on", credentials=LOGIN).failure
    assert (failure.kind, failure.stage, failure.reply) == ("refused", "auth", None)
    assert ("GSSAPI SCRAM-SHA-512" in failure.text) == ("AUTH" in offer)


ALL = ("220 mx", OFFERED, "220 go", "250-mx\n250 AUTH PLAIN", "235 in")


@pytest.mark.parametrize("place", range(len(ALL)))
@pytest.mark.parametrize("kind", ["lost", "timeout", "malformed"])
def test_a_failure_at_every_read_comes_out_with_its_stage(place: int, kind: str) -> None:
    stage = ("greeting", "ehlo", "starttls", "ehlo", "auth")[place]
    failure = fails(*ALL[:place], kind, tls="verify", credentials=LOGIN).failure
    assert (failure.kind, failure.stage) == (kind, stage)
