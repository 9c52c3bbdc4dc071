"""Connections and the pool that keeps them: when one is used again, when it ends, what its errors mean."""

from __future__ import annotations

import asyncio
import errno
import io
from typing import TYPE_CHECKING, Any

import pytest

from mailstrom_cli.config.schema import Timeout
from mailstrom_cli.mail.envelope import Envelope, Recipient
from mailstrom_cli.mail.reply import Reply
from mailstrom_cli.net import pool as pool_module
from mailstrom_cli.net.driver import Conversation
from mailstrom_cli.net.pool import Pool, Session
from mailstrom_cli.net.stream import MAX_BACKLOG, Stream, connect
from mailstrom_cli.policy.mx import Target
from mailstrom_cli.smtp.dialog import Answer, Capabilities, Failure, Opening, SessionFailed, open_session
from mailstrom_cli.smtp.transaction import transaction
from mailstrom_cli.values import replace

from ..peers.answers import Drop, Moment, Raw, Stall
from ..peers.scripted import Script

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..peers.scripted import ScriptedServer

QUICK = replace(Timeout(), quit=0.1)


async def opened(server: ScriptedServer, key: str = "a") -> Session:
    stream = await connect(Target("mx", server.host, server.port), 5)
    conversation = Conversation(stream, QUICK)
    offered = await conversation.drive(open_session(Opening("client.example.org", "none")))
    return Session(key, conversation, offered, None)


def in_pool(server: ScriptedServer, test: Callable[[Pool], Awaitable[Any]], most: int = 100) -> Any:
    async def run() -> Any:
        pool = Pool(most, 100)
        try:
            return await test(pool)
        finally:
            await pool.close()

    return asyncio.run(run())


async def until(server: ScriptedServer, end: str) -> None:
    """Until the server saw its session end so."""
    await asyncio.to_thread(server.wait, lambda s: s.sessions[0].end == end, 5, f"the end: {end}")


def test_a_session_is_given_out_to_its_key_only_and_once(scripted) -> None:
    server = scripted()

    async def test(pool: Pool) -> None:
        session = await opened(server)
        pool.give(session)
        assert pool.take("b") is None
        assert pool.take("a") is session
        assert pool.take("a") is None
        pool.give(session)

    in_pool(server, test)


def test_the_session_used_last_is_given_out_first(scripted) -> None:
    server = scripted()

    async def test(pool: Pool) -> None:
        first, second = await opened(server), await opened(server)
        pool.give(first)
        pool.give(second)
        assert pool.take("a") is second
        pool.give(second)

    in_pool(server, test)


def test_idle_sessions_are_ended_with_quit_after_a_while(scripted, monkeypatch) -> None:
    monkeypatch.setattr(pool_module, "IDLE_SECONDS", 0.02)
    server = scripted()

    async def test(pool: Pool) -> None:
        pool.give(await opened(server))
        await until(server, "quit")
        assert pool.take("a") is None

    in_pool(server, test)


def test_a_session_that_was_taken_does_not_expire(scripted) -> None:
    server = scripted()

    async def test(pool: Pool) -> None:
        pool.give(await opened(server))
        session = pool.take("a")
        assert session is not None
        session._idle_since = -1e6
        pool._expire()
        assert session.fit
        pool.give(session)

    in_pool(server, test)


def test_a_session_that_did_its_share_is_ended_with_quit(scripted) -> None:
    server = scripted()

    async def test(pool: Pool) -> None:
        session = await opened(server)
        session.used = 3
        pool.give(session)
        assert pool.take("a") is None
        await until(server, "quit")

    in_pool(server, test, most=3)


def test_a_session_with_replies_to_come_counts_among_those_kept(scripted) -> None:
    """Else each of them leaves its slot to another connection, and there is no end to them."""
    server = scripted()

    async def test(pool: Pool) -> None:
        pool._limit = 1
        first, second = await opened(server, "a"), await opened(server, "b")
        first.begin()
        second.begin()
        assert pool.sent(first)
        assert not pool.sent(second)
        for session in (first, second):
            session.end()
            pool.give(session)

    in_pool(server, test)


def test_for_a_new_session_the_one_used_longest_ago_is_ended(scripted) -> None:
    server = scripted()

    async def test(pool: Pool) -> None:
        pool._limit = 2
        first, second, third = [await opened(server, key) for key in "abc"]
        pool.give(first)
        pool.give(second)
        pool.give(pool.take("a"))
        pool.give(third)
        assert pool.take("b") is None
        assert pool.take("a") is first
        assert pool.take("c") is third
        await asyncio.to_thread(server.wait, lambda s: s.sessions[1].end == "quit", 5, "the end")
        pool.give(first)
        pool.give(third)

    in_pool(server, test)


def test_no_message_follows_on_a_connection_that_has_ended(scripted) -> None:
    server = scripted()

    async def test(pool: Pool) -> None:
        session = await opened(server)
        session.begin()
        assert pool.sent(session)
        session.conversation.stream.eof_received()
        assert pool.take("a") is None
        session.end()
        pool.give(session)

    in_pool(server, test)


def test_a_broken_session_is_dropped(scripted) -> None:
    server = scripted()

    async def test(pool: Pool) -> None:
        session = await opened(server)
        session.conversation.broken = True
        pool.give(session)
        assert pool.take("a") is None
        await asyncio.to_thread(server.wait, lambda s: s.sessions[0].end != "open", 5)
        assert server.sessions[0].end in ("closed", "lost")

    in_pool(server, test)


def test_a_session_in_which_the_server_spoke_unasked_is_not_used_again(scripted) -> None:
    server = scripted(Script(replies={"ehlo": Raw(b"250 mx\r\n421 4.4.2 Idle too long\r\n", reply="250 mx")}))

    async def test(pool: Pool) -> None:
        session = await opened(server)
        pool.give(session)
        assert pool.take("a") is None

    in_pool(server, test)


@pytest.mark.parametrize("answer", [Stall(), Drop(), "500 What?", Raw(b"garbage\r\n")])
def test_closing_is_bounded_whatever_is_said_to_quit(scripted, answer) -> None:
    server = scripted(Script(replies={"quit": answer}))

    async def test(pool: Pool) -> float:
        for _ in range(3):
            pool.give(await opened(server))
        began = asyncio.get_running_loop().time()
        await pool.close()
        return asyncio.get_running_loop().time() - began

    assert in_pool(server, test) < 2
    server.release()


# --- the end of a message ---


class Gone:
    """A stream whose server took so many writes, answered, and hung up before anybody looked."""

    def __init__(self, takes: int) -> None:
        self.takes = takes

    @property
    def answered(self) -> bool:
        return self.takes <= 0

    def write(self, data: bytes) -> bool:
        self.takes -= 1
        return self.takes >= 0

    async def drained(self, stage: str, seconds: float) -> bool:
        return self.takes > 0

    async def read_reply(self, stage: str, seconds: float) -> Reply:
        return Reply(354 if stage == "data" else 250, None, ("ok",))


@pytest.mark.parametrize(("takes", "stage"), [(4, "dot"), (3, "block")], ids=["all", "all but the message"])
def test_a_reply_is_one_to_the_end_of_data_only_when_that_was_written(takes: int, stage: str) -> None:
    envelope = Envelope("", (), "<1@example.org>", 3)
    dialogue = transaction(Capabilities({}), envelope, [Recipient("good@example.test")])
    conversation = Conversation(Gone(takes), QUICK)  # type: ignore[arg-type]  # MAIL, RCPT, DATA, message
    (answer,) = asyncio.run(conversation.drive(dialogue, io.BytesIO(b"a\r\n")))
    assert (answer.stage, answer.reply.code) == (stage, 250)
    assert conversation.broken is (stage == "block")


class Later:
    """A stream whose replies come when the test says so."""

    def __init__(self) -> None:
        self.replies: asyncio.Queue[Reply | SessionFailed] = asyncio.Queue()
        self.answered = False

    def write(self, data: bytes) -> bool:
        return True

    async def drained(self, stage: str, seconds: float) -> bool:
        return True

    async def read_reply(self, stage: str, seconds: float) -> Reply:
        said = await self.replies.get()
        if isinstance(said, SessionFailed):
            raise said
        return said

    def says(self, *codes: int) -> None:
        for code in codes:
            self.replies.put_nowait(Reply(code, None, (f"reply {code}",)))


class Unreadable(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError(errno.EIO, "Input/output error")


BDAT = Capabilities({"PIPELINING": "", "CHUNKING": ""})


def one_message(conversation: Conversation, body: io.BytesIO) -> asyncio.Task[list[Answer]]:
    envelope = Envelope("", (), "<1@example.org>", 3)
    dialogue = transaction(BDAT, envelope, [Recipient("good@example.test")], ahead=True)
    return asyncio.ensure_future(conversation.drive(dialogue, body))


def test_a_message_that_cannot_be_read_costs_those_before_it_nothing() -> None:
    async def story() -> None:
        stream = Later()
        conversation = Conversation(stream, QUICK)  # type: ignore[arg-type]
        first, second = (one_message(conversation, io.BytesIO(b"a\r\n")) for _ in range(2))
        await asyncio.sleep(0)
        third = one_message(conversation, Unreadable())
        with pytest.raises(OSError, match="Input/output"):
            await third
        assert conversation.broken
        stream.says(250, 250, 250, 250, 250, 250)
        for task in (first, second):
            (answer,) = await task
            assert answer.reply is not None
            assert (answer.stage, answer.reply.code) == ("dot", 250)

    asyncio.run(story())


def test_replies_that_come_late_are_nobody_elses() -> None:
    """The one that waited for them has given up; those that follow must not take them for theirs."""

    async def story() -> None:
        stream = Later()
        conversation = Conversation(stream, QUICK)  # type: ignore[arg-type]
        first, second, third = (one_message(conversation, io.BytesIO(b"a\r\n")) for _ in range(3))
        await asyncio.sleep(0)
        stream.replies.put_nowait(SessionFailed(Failure("timeout", "mail", "timed out")))
        (answer,) = await first
        assert answer.failure is not None
        stream.says(*[250] * 9)
        for task in (second, third):
            (answer,) = await task
            assert answer.failure is not None
            assert answer.failure.kind == "lost"

    asyncio.run(story())


def test_a_dialogue_that_begins_after_a_failed_one_reads_nothing() -> None:
    async def story() -> None:
        stream = Later()
        conversation = Conversation(stream, QUICK)  # type: ignore[arg-type]
        stream.replies.put_nowait(SessionFailed(Failure("timeout", "mail", "timed out")))
        await one_message(conversation, io.BytesIO(b"a\r\n"))
        stream.says(250, 250, 250)
        (answer,) = await one_message(conversation, io.BytesIO(b"a\r\n"))
        assert answer.failure is not None

    asyncio.run(story())


# --- the connection ---


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EMFILE, "local"),
        (errno.ENFILE, "local"),
        (errno.ENOMEM, "local"),
        (errno.ENOBUFS, "local"),
        (errno.EADDRNOTAVAIL, "local"),
        (errno.ECONNREFUSED, "unreachable"),
        (errno.EHOSTUNREACH, "unreachable"),
        (errno.ENETUNREACH, "unreachable"),
        (errno.ECONNRESET, "unreachable"),
    ],
)
def test_whose_fault_it_is_that_there_is_no_connection(monkeypatch, number: int, kind: str) -> None:
    async def refused(*_: object, **__: object) -> None:
        raise OSError(number, "in python's words")

    async def run() -> SessionFailed:
        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", refused)
        with pytest.raises(SessionFailed) as raised:
            await connect(Target("mx", "127.0.0.1", 25), 5)
        return raised.value

    failure = asyncio.run(run()).failure
    assert (failure.kind, failure.stage) == (kind, "connect")
    assert "python" not in failure.text


def test_what_came_before_the_end_of_a_connection_is_still_read(scripted) -> None:
    server = scripted(
        Script(replies={"greeting": Raw(b"220 mx\r\n250 one\r\n250 tw", reply="220"), "connect": None})
    )

    async def run() -> list[int]:
        stream = await connect(Target("mx", server.host, server.port), 5)
        codes = [(await stream.read_reply("greeting", 5)).code, (await stream.read_reply("ehlo", 5)).code]
        await asyncio.to_thread(server.cut)
        with pytest.raises(SessionFailed, match="closed the connection while sending MAIL FROM"):
            await stream.read_reply("mail", 5)
        stream.close()
        return codes

    assert asyncio.run(run()) == [220, 250]


def test_a_server_that_says_more_than_was_asked_is_dropped_before_it_fills_the_memory() -> None:
    class Aborted(asyncio.Transport):
        aborted = False

        def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

        def abort(self) -> None:
            self.aborted = True

    stream, transport = Stream(), Aborted()
    stream.connection_made(transport)
    for _ in range(MAX_BACKLOG // 1024):
        stream.data_received(b"250 ok\r\n" * 128)
    assert not transport.aborted
    stream.data_received(b"250 ok\r\n")
    assert transport.aborted
    assert not stream.idle


def test_a_transcript_is_bounded(scripted) -> None:
    def talkative(moment: Moment) -> str:
        return "250 " + "\n".join(["x" * 1000] * 200)

    server = scripted(Script(replies={"ehlo": talkative}))

    async def test(pool: Pool) -> Conversation:
        session = await opened(server)
        for _ in range(150):
            await session.conversation.drive(open_ehlo())
        pool.give(session)
        return session.conversation

    conversation = in_pool(server, test)
    assert len(conversation.transcript.lines()) == 200
    assert max(map(len, conversation.transcript.lines())) == 1000


def open_ehlo() -> Any:
    """EHLO once more."""
    from mailstrom_cli.smtp.dialog import Read, Write

    yield Write(b"EHLO client.example.org\r\n")
    yield Read("ehlo")


def test_what_is_offered_is_what_the_server_said(scripted) -> None:
    server = scripted(Script(size=5))

    async def test(pool: Pool) -> Capabilities:
        session = await opened(server)
        pool.give(session)
        return session.offered

    assert in_pool(server, test).size == 5
