"""What arrives is what was given, over few connections, and every recipient has its own result."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, BinaryIO

import pytest

from mailstrom_cli.config.via import parse_via
from mailstrom_cli.mail.envelope import Envelope, Recipient
from mailstrom_cli.mail.status import Result
from mailstrom_cli.policy.classify import Circumstances
from mailstrom_cli.transport.base import Job

from ..peers.answers import Close, Drop
from ..peers.scripted import Script
from .sending import MESSAGE, Names, statuses

if TYPE_CHECKING:
    from ..peers.scripted import ScriptedServer

BIG = (b"." * 70 + b"\r\n" + b"x" * 76 + b"\r\n") * 35_000  # more than 5 MB, every other line with dots
# What has no other form (see test_conversion.py for what has one).
SIGNED = b"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xff\r\n--b--\r\n"
UTF8 = "From: ünn@example.org\r\n\r\n".encode()


def via(server: ScriptedServer) -> str:
    return f"smtp://mx.example.test:{server.port}"


@pytest.mark.parametrize(
    "message",
    [MESSAGE, BIG, b"", b".\r\n", b"\r\n.\r\n", b"a: b\r\n\r\n" + b".\r\n" * 100_000],
    ids=["small", "5 MB", "empty", "a dot", "a dot alone", "dots"],
)
@pytest.mark.parametrize("pipelining", [True, False])
def test_the_bytes_are_those_given(scripted, sender, message: bytes, pipelining: bool) -> None:
    server = scripted(Script(pipelining=pipelining))
    (told,) = sender().send(via(server), message=message)
    assert statuses([told]) == [("delivered", 250, "2.0.0")]
    assert server.message() == message


def test_a_result_says_where_it_went(scripted, sender) -> None:
    server = scripted(Script(replies={"dot": "250 2.0.0 Ok: queued as 4FvXyz12"}))
    (told,) = sender().send(via(server))
    assert told == Result(
        "good@example.test",
        "delivered",
        "Ok: queued as 4FvXyz12",
        code=250,
        enhanced="2.0.0",
        host=f"mx.example.test[127.0.0.1]:{server.port}",
        remote_id="4FvXyz12",
    )


@pytest.mark.parametrize("pipelining", [True, False])
def test_each_recipient_has_its_own_result_in_order(scripted, sender, pipelining: bool) -> None:
    server = scripted(Script(pipelining=pipelining))
    names = ["reject1", "good1", "defer1", "good2", "full1", "refused1"]
    told = sender().send(via(server), *(f"{n}@example.test" for n in names))
    assert [r.address for r in told] == [f"{n}@example.test" for n in names]
    assert statuses(told) == [
        ("failed", 550, "5.1.1"),
        ("delivered", 250, "2.0.0"),
        ("deferred", 450, "4.2.0"),
        ("delivered", 250, "2.0.0"),
        ("deferred", 452, "4.2.2"),
        ("failed", 554, "5.7.1"),
    ]
    assert not any(r.unreachable for r in told)
    assert len(server.transactions) == 1
    assert [r.transcript is not None for r in told] == [True] + [False] * 5


def test_the_transcript_has_the_dialogue_and_not_the_message(scripted, sender) -> None:
    server = scripted(Script(pipelining=False))
    (told,) = sender().send(via(server), "reject@example.test", message=b"Subject: private\r\n\r\n")
    lines = told.transcript.split("\n")
    assert lines[0] == f"mx.example.test[127.0.0.1]:{server.port}:"
    assert "C: EHLO client.example.org" in lines
    assert "C: RCPT TO:<reject@example.test>" in lines
    assert "S: 550 5.1.1 No such user here" in lines
    assert "private" not in told.transcript


def test_no_transcript_where_all_is_delivered(scripted, sender) -> None:
    assert sender().send(via(scripted()))[0].transcript is None


def test_a_server_without_extensions(scripted, sender) -> None:
    server = scripted(Script(esmtp=False))
    assert statuses(sender().send(via(server))) == [("delivered", 250, "2.0.0")]
    assert [c for c in server.commands if c[:4] in ("EHLO", "HELO")] == [
        "EHLO client.example.org",
        "HELO client.example.org",
    ]
    assert "MAIL FROM:<ann@example.org>" in server.commands


def test_mail_has_the_parameters_that_are_offered(scripted, sender) -> None:
    server = scripted()
    sender().send(via(server), body="8bitmime", smtputf8=True)
    size = len(MESSAGE)
    assert f"MAIL FROM:<ann@example.org> SIZE={size} BODY=8BITMIME SMTPUTF8" in server.commands


@pytest.mark.parametrize(
    ("script", "envelope", "to", "enhanced"),
    [
        (Script(size=10), {}, "good@example.test", "5.3.4"),
        (Script(eight_bit=False), {"body": "8bitmime", "message": SIGNED}, "good@example.test", "5.6.3"),
        (Script(smtputf8=False), {"smtputf8": True, "message": UTF8}, "good@example.test", "5.6.7"),
        (Script(smtputf8=False), {}, "göod@example.test", "5.6.7"),
    ],
    ids=["SIZE", "8BITMIME", "SMTPUTF8", "address"],
)
def test_nothing_is_sent_to_a_server_that_cannot_take_it(
    scripted, sender, script: Script, envelope: dict[str, object], to: str, enhanced: str
) -> None:
    server = scripted(script)
    assert statuses(sender().send(via(server), to, **envelope)) == [("failed", None, enhanced)]
    assert not any(c.startswith("MAIL") for c in server.commands)


def test_another_mx_that_can_take_it_does(scripted, sender) -> None:
    first = scripted(Script(smtputf8=False))
    second = scripted(host="127.0.0.2", port=first.port)
    names = Names({"example.test": [(10, "a"), (20, "b")]}, {"a": ["127.0.0.1"], "b": ["127.0.0.2"]})
    told = sender(names, smtp_port=first.port).send("mx:", smtputf8=True)
    assert statuses(told) == [("delivered", 250, "2.0.0")]
    assert len(second.delivered()) == 1


# --- connections ---


def test_many_messages_share_one_connection(scripted, sender) -> None:
    server, out = scripted(), sender()
    for n in range(20):
        body = b"Message-ID: <%d@example.org>\r\n\r\n" % n
        assert (
            out.send(via(server), "good@example.test", "reject@example.test", message=body)[0].status
            == "delivered"
        )
    assert len(server.sessions) == 1
    assert len(server.delivered()) == 20
    assert server.duplicates() == []
    out.run(out.smtp.close())
    server.wait(lambda s: s.sessions[0].end == "quit", what="QUIT")


def test_a_session_whose_recipients_were_all_refused_is_used_again(scripted, sender) -> None:
    server, out = scripted(), sender()
    assert out.send(via(server), "reject@example.test")[0].status == "failed"
    assert out.send(via(server))[0].status == "delivered"
    assert len(server.sessions) == 1


def test_a_connection_is_given_up_after_so_many_messages(scripted, sender) -> None:
    server, out = scripted(), sender(limits_messages_per_connection=3)
    for _ in range(7):
        assert out.send(via(server))[0].status == "delivered"
    assert [len(s.transactions) for s in server.sessions] == [3, 3, 1]


def test_messages_at_the_same_time_have_a_connection_each(scripted, sender) -> None:
    server, out = scripted(), sender()
    to = (Recipient("good@example.test"),)
    job = Job("i", Envelope("", to, "<1@x>", 0), to, "", lambda: io.BytesIO(b""), out.final, Circumstances())

    async def both() -> list[list[Result]]:
        return await asyncio.gather(*(out.smtp.deliver(job, parse_via(via(server))) for _ in range(4)))

    assert [r[0].status for r in out.run(both())] == ["delivered"] * 4
    assert len(server.sessions) == 4
    assert [r[0].status for r in out.run(both())] == ["delivered"] * 4
    assert len(server.sessions) == 4


def test_a_kept_connection_that_the_server_cut_is_dialled_again_at_once(scripted, sender) -> None:
    server, out = scripted(), sender()
    out.send(via(server))
    server.cut()
    server.wait(lambda s: s.sessions[0].end != "open", what="the cut")
    assert statuses(out.send(via(server))) == [("delivered", 250, "2.0.0")]
    assert [len(s.transactions) for s in server.sessions] == [1, 1]


@pytest.mark.parametrize(
    "answer", [Close("421 4.4.2 Idle too long"), "421 4.7.0 Enough for one session", Drop()]
)
def test_a_kept_connection_that_ends_with_the_next_mail_is_dialled_again_at_once(
    scripted, sender, answer
) -> None:
    script = Script()
    server, out = scripted(script), sender()
    out.send(via(server))
    script.replies["mail"] = [answer]
    assert statuses(out.send(via(server))) == [("delivered", 250, "2.0.0")]
    assert len(server.sessions) == 2


def test_a_kept_connection_is_dialled_again_only_once(scripted, sender) -> None:
    script = Script()
    server, out = scripted(script), sender()
    out.send(via(server))
    script.replies["mail"] = Close("421 4.3.2 Bye")
    (told,) = out.send(via(server))
    assert statuses([told]) == [("deferred", 421, "4.3.2")]
    assert len(server.sessions) == 2


@pytest.mark.parametrize("stage", ["rcpt", "data", "dot"])
def test_a_session_that_said_421_is_not_used_again(scripted, sender, stage: str) -> None:
    script = Script(replies={stage: ["421 4.3.2 Bye"]})
    server, out = scripted(script, strict=False), sender()
    assert out.send(via(server))[0].status == "deferred"
    assert out.send(via(server))[0].status == "delivered"
    assert len(server.sessions) == 2


def test_a_session_that_could_not_be_reset_is_not_used_again(scripted, sender) -> None:
    script = Script(pipelining=False, replies={"rset": ["500 5.5.1 What?"]})
    server, out = scripted(script), sender()
    assert out.send(via(server), "reject@example.test")[0].status == "failed"
    assert out.send(via(server))[0].status == "delivered"
    assert len(server.sessions) == 2


class Unreadable(io.BytesIO):
    """A file on a disk that fails after the first block."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise OSError(5, "Input/output error")
        return super().read(50)


def test_a_message_that_cannot_be_read_is_not_sent_by_half(scripted, sender) -> None:
    server, out = scripted(), sender()
    (told,) = out.send(via(server), opener=lambda: Unreadable(MESSAGE))
    assert (told.status, told.enhanced, told.judged) == ("deferred", "4.3.0", False)
    assert told.text == "the message cannot be read: Input/output error"
    assert out.send(via(server))[0].status == "delivered"
    assert len(server.sessions) == 2, "the session in which it broke off was used again"
    assert server.message() == MESSAGE


def test_an_attempt_that_is_cancelled_leaves_no_session_to_use_again(scripted, sender) -> None:
    class Cancelled(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise asyncio.CancelledError

    server, out = scripted(), sender(smtp_timeout_mail=1)
    out.send(via(server))
    with pytest.raises(asyncio.CancelledError):
        out.send(via(server), opener=lambda: Cancelled(MESSAGE))
    assert out.send(via(server))[0].status == "delivered"
    assert len(server.sessions) == 2
    assert [t.body for t in server.transactions] == [MESSAGE, None, MESSAGE]


def test_a_bug_of_ours_defers_and_forgets_nothing_that_was_delivered(scripted, sender, caplog) -> None:
    server, out = scripted(), sender(limits_recipients_per_transaction=1)
    opened = 0

    def opener() -> BinaryIO:
        nonlocal opened
        opened += 1
        if opened == 2:
            raise KeyError("a bug")
        return io.BytesIO(MESSAGE)

    told = out.send(via(server), "one@example.test", "two@example.test", "three@example.test", opener=opener)
    assert [r.status for r in told] == ["delivered", "deferred", "deferred"]
    assert (told[1].enhanced, told[1].judged) == ("4.3.0", False)
    assert told[1].text == "internal error: KeyError"
    assert "KeyError: 'a bug'" in caplog.text
    assert len(server.delivered()) == 1


# --- many recipients ---


def test_a_long_list_is_split_into_transactions_of_one_session(scripted, sender) -> None:
    server = scripted()
    told = sender(limits_recipients_per_transaction=100).send(
        via(server), *(f"good{n}@example.test" for n in range(250))
    )
    assert {r.status for r in told} == {"delivered"}
    assert [len(t.recipients) for t in server.transactions] == [100, 100, 50]
    assert len(server.sessions) == 1
    assert server.duplicates() == []


@pytest.mark.parametrize("pipelining", [True, False])
def test_too_many_recipients_for_the_server_are_redone_at_once(scripted, sender, pipelining: bool) -> None:
    server = scripted(Script(max_recipients=4, pipelining=pipelining))
    told = sender().send(via(server), *(f"good{n}@example.test" for n in range(10)), "reject@example.test")
    assert [r.status for r in told] == ["delivered"] * 10 + ["failed"]
    assert [sum(r.accepted for r in t.recipients) for t in server.transactions] == [4, 4, 2]
    assert server.duplicates() == []


def test_a_server_that_says_too_many_to_all_is_not_asked_for_ever(scripted, sender) -> None:
    server = scripted(Script(max_recipients=0))
    told = sender().send(via(server), "a@example.test", "b@example.test")
    assert statuses(told) == [("deferred", 452, "4.5.3")] * 2
    assert len(server.transactions) == 1


def test_what_the_redone_recipient_is_told_counts(scripted, sender) -> None:
    server = scripted(Script(recipients={"late": ["452 4.5.3 Too many", "450 4.2.1 Busy"]}))
    told = sender().send(via(server), "good@example.test", "late@example.test")
    assert statuses(told) == [("delivered", 250, "2.0.0"), ("deferred", 450, "4.2.1")]


def test_a_session_that_ends_between_two_transactions_defers_the_rest_only(scripted, sender) -> None:
    replies = [None, Close("421 4.3.2 Enough"), Close("421 4.3.2 Enough")]
    server = scripted(Script(replies={"mail": replies}))
    told = sender(limits_recipients_per_transaction=1).send(via(server), "a@example.test", "b@example.test")
    assert [r.status for r in told] == ["delivered", "deferred"]
    assert server.delivered() == [("a@example.test", "<1@example.org>")]


def test_what_a_server_says_at_length_is_cut(scripted, sender) -> None:
    server = scripted(Script(replies={"rcpt": "450 4.2.0 " + "\n4.2.0 ".join(["x" * 1500] * 100)}))
    told = sender().send(via(server), "a@example.test", "b@example.test")
    assert [(r.status, r.code, len(r.text)) for r in told] == [("deferred", 450, 1000)] * 2
    assert len(told[0].transcript) < 10_000
