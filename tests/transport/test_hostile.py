"""Servers that drop, reset, stall, drip, flood, babble and hang up, at every stage: never an exception."""

from __future__ import annotations

import itertools
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.smtp import stages

from ..peers.answers import Action, Close, Drip, Drop, Hangup, Raw, Reset, Stall
from ..peers.scripted import Script
from .sending import MESSAGE, Names, statuses

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from ..peers.wire import Wire

BIG = b"Message-ID: <1@example.org>\r\n\r\n" + (b"x" * 998 + b"\r\n") * 16_000
"""16 MB: more than all buffers between the two hold."""

NAMES = Names({"example.test": [(10, "a"), (20, "b")]}, {"a": ["127.0.0.1"], "b": ["127.0.0.2"]})
OPENING = ("greeting", "ehlo")
BEFORE = ("mail", "rcpt", "data")
WAYS = pytest.mark.parametrize("chunking", [False, True], ids=["DATA", "BDAT of a file"])
PIPELINING = pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "one by one"])


@pytest.fixture
def opener(tmp_path):
    """opener(script, message) -> what opens the message: for BDAT a file of the system."""

    def choose(script: Script, message: bytes) -> Callable[[], BinaryIO] | None:
        if not script.chunking:
            return None
        path = tmp_path / "message"
        path.write_bytes(message)
        return lambda: path.open("rb")

    return choose


@pytest.fixture
def pair(scripted, sender, opener):
    """pair(script, message=, **settings) -> (results, the good server behind the hostile one)."""

    def send(script: Script, message: bytes = MESSAGE, attempts: int = 0, **changed):
        hostile = scripted(script)
        good = scripted(
            Script(keep_bodies=False, chunking=script.chunking), host="127.0.0.2", port=hostile.port
        )
        out = sender(NAMES, smtp_port=hostile.port, **changed)
        results = out.send("mx:", "one@example.test", "two@example.test", message=message, attempts=attempts,
                           opener=opener(script, message))  # fmt: skip
        hostile.release()
        return results, good

    return send


@pytest.fixture
def alone(scripted, sender, opener):
    """alone(script, message=, **settings) -> the results, where there is no other server."""

    def send(script: Script, message: bytes = MESSAGE, attempts: int = 0, **changed):
        hostile = scripted(script)
        out = sender(**changed)
        results = out.send(f"smtp://127.0.0.1:{hostile.port}", "one@example.test", "two@example.test",
                           message=message, attempts=attempts, opener=opener(script, message))  # fmt: skip
        hostile.release()
        return results

    return send


ENDS: dict[str, Action] = {"drop": Drop(), "reset": Reset(), "stall": Stall()}
"""The ways to end a connection at a stage that is not replied to."""


def waits(stage: str, end: Action, seconds: float = 0.06) -> dict[str, float]:
    """The setting for how long a stage is waited for: not for long where the other side stalls, else long
    enough for a busy machine."""
    return {f"smtp_timeout_{stage}": seconds if isinstance(end, Stall) else 30.0}


BUSY = 0.3
"""Seconds that a good server may take."""


@PIPELINING
@pytest.mark.parametrize("way", ["drop", "reset", "stall"])
@pytest.mark.parametrize("stage", [*OPENING, *BEFORE])
def test_before_the_message_it_is_deferred_with_the_stage_named(
    alone, stage: str, way: str, pipelining: bool
) -> None:
    script = Script(pipelining=pipelining, replies={stage: ENDS[way]})
    told = alone(script, **waits(stage, ENDS[way]))
    if (stage, way) == ("greeting", "reset") and told[0].enhanced == "4.4.1":
        return  # the reset overtook the end of connect(2)
    assert statuses(told) == [("deferred", None, "4.4.2")] * 2
    assert {r.unreachable for r in told} == {stage in OPENING}
    assert not any(r.maybe_delivered for r in told)
    assert all(stages.WHILE[stage] in r.text for r in told)
    assert told[0].text.startswith(
        "timed out" if way == "stall" else ("the server closed", "Connection reset")
    )
    assert stages.WHILE[stage] in told[0].transcript or "S: 220" in told[0].transcript


@pytest.mark.parametrize("way", ["drop", "reset", "stall"])
@pytest.mark.parametrize("stage", [*OPENING, *BEFORE])
def test_before_the_message_the_next_host_gets_it(pair, stage: str, way: str) -> None:
    told, good = pair(Script(replies={stage: ENDS[way]}), **waits(stage, ENDS[way], BUSY))
    assert [(r.status, r.host[0]) for r in told] == [("delivered", "b")] * 2
    assert len(good.delivered()) == 2


@WAYS
@pytest.mark.parametrize("way", [Drop(after=100_000), Reset(after=100_000), Stall(after=100_000)])
def test_in_the_message_the_next_host_gets_it(pair, alone, way: Action, chunking: bool) -> None:
    told, good = pair(Script(chunking=chunking, replies={"body": way}), BIG, **waits("block", way, BUSY))
    assert [(r.status, r.host[0]) for r in told] == [("delivered", "b")] * 2
    assert good.transactions[0].size == len(BIG)


@WAYS
@pytest.mark.parametrize("way", [Drop(after=100_000), Reset(after=100_000), Stall(after=100_000)])
def test_in_the_message_it_is_deferred_with_the_stage_named(alone, way: Action, chunking: bool) -> None:
    told = alone(Script(chunking=chunking, replies={"body": way}), BIG, **waits("block", way))
    assert statuses(told) == [("deferred", None, "4.4.2")] * 2
    assert {stages.WHILE["block"] in r.text for r in told} == {True}
    assert not any(r.maybe_delivered or r.unreachable for r in told)


@PIPELINING
@pytest.mark.parametrize("way", [Drop(), Reset(), Stall(), Drop(unsaid="250 2.0.0 Ok")])
def test_after_the_dot_it_may_be_delivered_and_no_other_host_is_asked(
    pair, way: Action, pipelining: bool
) -> None:
    told, good = pair(Script(pipelining=pipelining, replies={"dot": way}), **waits("dot", way, BUSY))
    assert statuses(told) == [("deferred", None, "4.4.2")] * 2
    assert all(r.maybe_delivered and not r.unreachable for r in told)
    assert all("after the end of data" in r.text for r in told)
    assert good.sessions == []


def test_after_the_dot_no_other_relay_is_asked_either(scripted, sender) -> None:
    first, second = scripted(Script(replies={"dot": Drop()})), scripted()
    (told,) = sender().send(f"smtp://127.0.0.1:{first.port},smtp://127.0.0.1:{second.port}")
    assert told.maybe_delivered
    assert second.sessions == []


# --- what is no reply ---

BABBLE = {
    "garbage": lambda: Raw(b"\x00\xff\xfe garbage\r\n"),
    "http": lambda: Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "one line without end": lambda: Raw(itertools.repeat(b"250 " + b"x" * 4000)),
    "one reply without end": lambda: Raw(itertools.repeat(b"250-more\r\n" * 100)),
}


@pytest.mark.parametrize("babble", BABBLE)
@pytest.mark.parametrize("stage", [*OPENING, *BEFORE, "dot"])
def test_what_is_no_reply_is_deferred(alone, stage: str, babble: str) -> None:
    told = alone(Script(replies={stage: BABBLE[babble]()}))
    enhanced = "4.4.2" if stage in OPENING else "4.5.0"
    assert statuses(told) == [("deferred", None, enhanced)] * 2
    assert {r.unreachable for r in told} == {stage in OPENING}
    assert {r.maybe_delivered for r in told} == {stage == "dot"}
    assert all(r.text.isprintable() and len(r.text) < 200 for r in told)


@pytest.mark.parametrize("stage", [*OPENING, *BEFORE])
def test_a_host_that_babbles_is_passed_over(pair, stage: str) -> None:
    told, _ = pair(Script(replies={stage: Raw(b"garbage\r\n")}))
    assert [(r.status, r.host[0]) for r in told] == [("delivered", "b")] * 2


def test_babble_after_the_dot_goes_to_no_other_host(pair) -> None:
    told, good = pair(Script(replies={"dot": Raw(b"garbage\r\n")}))
    assert all(r.maybe_delivered for r in told)
    assert good.sessions == []


def test_babble_is_permanent_from_the_third_attempt_on(alone) -> None:
    script = Script(replies={"mail": Raw(b"garbage\r\n")})
    assert statuses(alone(script, attempts=1)) == [("deferred", None, "4.5.0")] * 2
    assert statuses(alone(script, attempts=2)) == [("failed", None, "5.5.0")] * 2


class Flood(Action):
    """Talks on and on while the message comes in."""

    def act(self, connection: Wire, usual: str) -> str:
        while True:
            connection.send(b"250-more\r\n" * 100)


@WAYS
def test_a_flood_while_the_message_is_sent_is_cut_off(alone, chunking: bool) -> None:
    told = alone(Script(chunking=chunking, replies={"body": Flood()}), BIG)
    assert [r.status for r in told] == ["deferred"] * 2
    assert not any(r.maybe_delivered for r in told)


# --- slow, but alive ---


@pytest.mark.parametrize("stage", [*OPENING, *BEFORE, "dot"])
def test_replies_that_come_octet_by_octet_are_replies(alone, stage: str) -> None:
    assert [r.status for r in alone(Script(replies={stage: Drip()}))] == ["delivered"] * 2


def test_octets_that_drip_do_not_prolong_the_time_for_a_reply(alone) -> None:
    told = alone(
        Script(replies={"greeting": Drip(pause=0.02, reply="220 " + "x" * 200)}), smtp_timeout_greeting=0.1
    )
    assert statuses(told) == [("deferred", None, "4.4.2")] * 2
    assert "timed out while waiting for the greeting" in told[0].text


# --- hanging up with a word ---


@pytest.mark.parametrize("close", [True, False])
@pytest.mark.parametrize("stage", [*OPENING, *BEFORE, "dot"])
def test_421_is_deferred_and_the_next_host_gets_it(pair, stage: str, close: bool) -> None:
    said = "421 4.3.2 Shutting down"
    told, good = pair(Script(replies={stage: Close(said) if close else said}))
    assert [(r.status, r.host[0]) for r in told] == [("delivered", "b")] * 2
    assert len(good.delivered()) == 2


@pytest.mark.parametrize("stage", [*OPENING, *BEFORE, "dot"])
def test_421_everywhere_is_deferred_with_its_words(alone, stage: str) -> None:
    told = alone(Script(replies={stage: Close("421 4.3.2 Shutting down")}))
    if stage == "rcpt":  # the second was never answered
        assert "closed the connection while sending RCPT TO" in told.pop().text
    assert {(*statuses([r])[0], r.text) for r in told} == {("deferred", 421, "4.3.2", "Shutting down")}
    assert not any(r.maybe_delivered for r in told)


@PIPELINING
@pytest.mark.parametrize("stage", ["mail", "data", "dot"])
def test_550_then_close_stays_permanent(pair, stage: str, pipelining: bool) -> None:
    told, good = pair(Script(pipelining=pipelining, replies={stage: Close("550 5.7.1 Not from you")}))
    assert statuses(told) == [("failed", 550, "5.7.1")] * 2
    assert good.sessions == []


@PIPELINING
def test_550_then_close_at_rcpt_is_permanent_for_that_recipient(pair, pipelining: bool) -> None:
    told, good = pair(Script(pipelining=pipelining, replies={"rcpt": Close("550 5.1.1 Who?")}))
    assert statuses(told) == [("failed", 550, "5.1.1"), ("delivered", 250, "2.0.0")]
    assert good.delivered() == [("two@example.test", "<1@example.org>")]


@dataclass(frozen=True)
class SayAndLeave(Action):
    """A reply in the middle of the message, then an end of what this server says; it reads nothing more."""

    reply: str

    def act(self, connection: Wire, usual: str) -> str:
        connection.fill(100_000)
        connection.send(connection.note(self.reply).encode() + b"\r\n")  # without a look at what waits
        connection.socket.shutdown(socket.SHUT_WR)
        connection.stall()
        raise Hangup


@WAYS
def test_a_refusal_in_the_middle_of_the_message_is_permanent(alone, chunking: bool) -> None:
    told = alone(Script(chunking=chunking, replies={"body": SayAndLeave("552 5.3.4 Too big")}), BIG)
    assert statuses(told) == [("failed", 552, "5.3.4")] * 2


@WAYS
def test_a_deferral_in_the_middle_of_the_message_goes_to_the_next_host(pair, chunking: bool) -> None:
    told, _ = pair(Script(chunking=chunking, replies={"body": SayAndLeave("452 4.3.1 Full")}), BIG)
    assert [(r.status, r.host[0]) for r in told] == [("delivered", "b")] * 2


@WAYS
def test_an_acceptance_in_the_middle_of_the_message_delivers_nothing(alone, chunking: bool) -> None:
    told = alone(Script(chunking=chunking, replies={"body": SayAndLeave("250 2.0.0 Ok")}), BIG)
    assert statuses(told) == [("deferred", None, "4.5.0")] * 2


# --- what servers write ---


def test_the_text_of_a_server_is_one_line_without_anything_that_moves_a_terminal(alone) -> None:
    text = "550 5.7.1 \x1b[2Jred\x07 \u202egnp.exe \u2028 2026-01-01 mailstrom: forged \x9b31m\x00"
    (told, _) = alone(Script(replies={"rcpt": text}))
    assert told.text.isprintable()
    assert "gnp.exe" in told.text
    assert told.transcript.replace("\n", "").isprintable()


def test_a_name_that_is_no_utf_8_is_shown_all_the_same(alone) -> None:
    (told, _) = alone(Script(replies={"rcpt": Raw(b"550 5.1.1 \xff\xfe Who?\r\n", reply="550")}))
    assert (told.status, told.text) == ("failed", r"\xff\xfe Who?")


# --- replies to what was not asked ---


@pytest.mark.parametrize("stage", ["dot", "rcpt", "mail", "greeting"])
def test_a_reply_that_came_before_its_command_is_believed_nowhere(pair, stage: str) -> None:
    """Else the reply to the end of data would be one that was given before, and the message lost."""
    before = {"dot": "data", "rcpt": "mail", "mail": "ehlo", "greeting": "connect"}[stage]
    usual = {"data": b"354 Go\r\n", "mail": b"250 2.1.0 Ok\r\n", "ehlo": b"250 mx\r\n", "connect": b""}[
        before
    ]
    early = b"220 mx\r\n250 mx\r\n" if before == "connect" else b"250 2.0.0 Ok: queued\r\n"
    script = Script(pipelining=False, replies={before: [Raw(usual + early, reply=usual[:3].decode())]})
    told, good = pair(script)
    assert [(r.status, r.host[0]) for r in told] == [("delivered", "b")] * 2
    assert len(good.delivered()) == 2


def test_a_refusal_that_was_not_asked_for_fails_nobody(alone) -> None:
    extra = Raw(b"250 2.1.0 Ok\r\n550 5.1.1 Who?\r\n", reply="250")
    told = alone(Script(pipelining=False, replies={"mail": [extra]}))
    assert statuses(told) == [("deferred", None, "4.5.0")] * 2
    assert all("before it was asked, while sending RCPT TO: 550 Who?" in r.text for r in told)


def test_a_421_comes_whenever_a_server_likes(alone) -> None:
    farewell = Raw(b"250 2.1.0 Ok\r\n421 4.3.2 Bye\r\n", reply="250")
    told = alone(Script(pipelining=False, replies={"mail": [farewell], "rcpt": Drop()}))
    assert statuses(told)[0] == ("deferred", 421, "4.3.2")


@pytest.mark.parametrize(("said", "text"), [("554", "refused while waiting"), ("250 hi", "unexpected reply")])
def test_a_greeting_that_says_nothing_or_the_wrong_thing_has_its_stage_named(
    alone, said: str, text: str
) -> None:
    told = alone(Script(replies={"greeting": Raw(f"{said}\r\n".encode(), reply="554")}))
    assert [(r.status, r.enhanced, r.unreachable) for r in told] == [("deferred", "4.3.2", True)] * 2
    assert all(r.text.startswith(text) and stages.WHILE["greeting"] in r.text for r in told)
