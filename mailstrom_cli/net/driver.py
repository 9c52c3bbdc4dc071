"""Performs what a dialogue asks for: the one place where the sans-I/O protocol meets a connection."""

from __future__ import annotations

import asyncio
import time

from mailstrom_cli.net.local import perform
from mailstrom_cli.smtp import stages
from mailstrom_cli.smtp.auth import LOCAL
from mailstrom_cli.smtp.dialog import Failure, Read, SendMessage, SessionFailed, Write
from mailstrom_cli.smtp.wire import dot_stuffed
from mailstrom_cli.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any, BinaryIO, TypeVar

    from mailstrom_cli.config.schema import Timeout
    from mailstrom_cli.mail.reply import Reply
    from mailstrom_cli.net.stream import Stream
    from mailstrom_cli.net.tls import Handshake
    from mailstrom_cli.smtp.dialog import Effect

    T = TypeVar("T")

CHUNK = 128 * 1024
TRANSCRIPT_LINES, TRANSCRIPT_WIDTH = 200, 1000
DIALOGUE_SECONDS = 3600.0
"""How long one dialogue may last, the message itself apart: stages that each just keep their limit add up."""


class Transcript:
    """What was said in a dialogue, put into words only when somebody asks: without secrets and without the
    message."""

    def __init__(self) -> None:
        self._said: list[Write | Reply | str] = []

    def note(self, said: Write | Reply | str) -> None:
        if len(self._said) < TRANSCRIPT_LINES:
            self._said.append(said)

    def lines(self) -> list[str]:
        """At most TRANSCRIPT_LINES, each cut at TRANSCRIPT_WIDTH."""
        lines: list[str] = []
        for said in self._said:
            if isinstance(said, str):
                lines.append(said)
            elif isinstance(said, Write):
                if said.secrets:
                    lines.append("C: (credentials)")
                else:
                    lines += [f"C: {line}" for line in said.data.decode("utf-8", "replace").splitlines()]
            else:
                lines.append(f"S: {said.code} " + " ".join(filter(None, (said.enhanced, said.text))))
        return [line[:TRANSCRIPT_WIDTH] for line in lines[:TRANSCRIPT_LINES]]


class _Turn:
    """The right to read replies, which dialogues on one connection have in the order in which they began.

    spoiled: a dialogue before this one ended in a way that leaves nobody knowing which reply is whose.
    spoils: those after this one are spoiled by it.
    """

    over: bool

    def __init__(self, before: _Turn | None) -> None:
        self.over = self.spoiled = self.spoils = False
        self._before = before
        self._waiting: asyncio.Future[None] | None = None

    @property
    def here(self) -> bool:
        before = self._before
        if before is not None and before.over:
            self.spoiled = before.spoils
            self._before = None  # else each turn keeps all that were before it
        return self._before is None

    async def come(self) -> None:
        if not self.here:
            assert self._before is not None
            self._before._waiting = asyncio.get_running_loop().create_future()
            await self._before._waiting

    def end(self) -> None:
        self.spoils = self.spoils or not self.here or self.spoiled
        self.over, self._before = True, None
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class Conversation:
    """A stream, the time-outs of its stages, and the dialogues on it. Several may be under way: each writes
    when the one before has sent its message, and reads when that has got all its replies."""

    def __init__(self, stream: Stream, timeout: Timeout) -> None:
        self.stream = stream
        self.timeout = timeout
        self.transcript = Transcript()  # of the opening
        self.broken = False  # fit for nothing more: a dialogue was not ended, or the server said 421
        self._goodbye: Reply | None = None
        self._secrets: tuple[str, ...] = ()
        self._last_turn: _Turn | None = None

    async def drive(
        self,
        dialogue: Generator[Effect, Reply, T],
        message: BinaryIO | None = None,
        tls: Handshake | None = None,
        transcript: Transcript | None = None,
        sent: Callable[[], None] | None = None,
    ) -> T:
        """Run a dialogue to its end and return its value. SessionFailed is thrown into it; if it does not
        deal with it, it comes out here. sent: called when the message is on its way, and the next dialogue
        may begin."""
        turn = _Turn(self._last_turn)
        self._last_turn = turn
        script = self.transcript if transcript is None else transcript
        end = time.monotonic() + DIALOGUE_SECONDS
        held = b""  # what is written goes out together, when an answer is waited for
        reply: Any = None
        failed: SessionFailed | None = None
        try:
            while True:
                try:
                    effect = dialogue.throw(failed) if failed else dialogue.send(reply)
                except StopIteration as end_of_dialogue:
                    if held:
                        self.stream.write(held)
                    result: T = end_of_dialogue.value
                    return result
                reply = failed = None
                try:
                    if isinstance(effect, Read):
                        unasked = held != b"" and self._out_of_turn(turn)
                        if held:
                            self.stream.write(held)
                            held = b""
                        reply = await self._read(effect.stage, end, turn)
                        script.note(self._without_secrets(reply) if reply.code == 334 else reply)
                        if unasked and reply.code != 421:  # which comes whenever a server likes
                            raise _unasked(effect.stage, reply)
                    elif isinstance(effect, Write):
                        held += effect.data
                        self._secrets += effect.secrets
                        script.note(effect)
                    elif isinstance(effect, SendMessage):
                        assert message is not None
                        script.note("C: (message)")
                        begun = time.monotonic()
                        reply = await self._send(held, message, effect.stuffed, turn)
                        end += time.monotonic() - begun
                        held = b""
                        if reply is not None:
                            self.broken = True  # what the server has not read is a message cut short
                            script.note(reply)
                        elif sent is not None:
                            sent()
                    elif isinstance(effect, LOCAL):
                        reply = await perform(effect, self.stream)
                    else:
                        assert tls is not None
                        await self.stream.start_tls(tls, self.timeout.starttls)
                        script.note(f"   ({self.stream.secured})")
                except SessionFailed as error:
                    self.broken = turn.spoils = True
                    failed = SessionFailed(replace(error.failure, text=self._hidden(error.failure.text)))
        except BaseException:
            self.broken = turn.spoils = True  # nobody can go on with what was interrupted
            raise
        finally:
            turn.end()

    async def _read(self, stage: str, end: float, turn: _Turn) -> Reply:
        if not turn.here:
            await turn.come()
        if turn.here and turn.spoiled:
            if self._goodbye is not None:  # to an earlier dialogue: it ends this one, too
                return self._goodbye
            text = f"the session had failed {stages.WHILE[stage]}"
            raise SessionFailed(Failure("lost", stage, text))
        seconds: float = min(getattr(self.timeout, stage), end - time.monotonic())
        reply = await self.stream.read_reply(stage, seconds)
        if stage != stages.AUTH or reply.code != 334:  # a challenge has to stay as it is
            reply = self._without_secrets(reply)
        if reply.code == 421:  # RFC 5321, 3.8
            self.broken, self._goodbye, turn.spoils = True, reply, True
        elif stage == stages.RSET and not reply.positive:
            self.broken = turn.spoils = True
        return reply

    def _out_of_turn(self, turn: _Turn) -> bool:
        """The server has replied to something that was not sent yet: from here on nobody knows which reply is
        whose. What is taken for the reply to the end of data would be the loss of a message."""
        return turn.here and not turn.spoiled and self.stream.answered

    async def _send(self, head: bytes, message: BinaryIO, stuffed: bool, turn: _Turn) -> Reply | None:
        """What is held and the message, in as few writes as its length allows; a long one that is sent as it
        is by the system itself."""
        chunks = iter(lambda: message.read(CHUNK), b"")
        held, length = [head], 0
        for chunk in dot_stuffed(chunks) if stuffed else chunks:
            held.append(chunk)
            length += len(chunk)
            if length >= CHUNK:
                if not await self._written(held):
                    return await self._cut_short(turn)
                held, length = [], 0
                if not stuffed and not await self.stream.send_file(message, stages.BLOCK, self.timeout.block):
                    return await self._cut_short(turn)
        if self._out_of_turn(turn) or not self.stream.write(b"".join(held)):
            return await self._cut_short(turn)
        return None  # what comes from here on may be the reply to the end of data

    async def _written(self, held: list[bytes]) -> bool:
        return self.stream.write(b"".join(held)) and await self.stream.drained(
            stages.BLOCK, self.timeout.block
        )

    async def _cut_short(self, turn: _Turn) -> Reply:
        """A server that hangs up early has often said why."""
        if turn.here and not turn.spoiled and (self.stream.answered or self.stream.open):
            return await self.stream.read_reply(stages.BLOCK, self.timeout.block)
        text = f"the connection was lost {stages.WHILE[stages.BLOCK]}"
        raise SessionFailed(Failure("lost", stages.BLOCK, text))

    def _without_secrets(self, reply: Reply) -> Reply:
        return replace(reply, lines=tuple(map(self._hidden, reply.lines))) if self._secrets else reply

    def _hidden(self, text: str) -> str:
        """What a server says, without the secrets that it repeats."""
        for secret in self._secrets:
            text = text.replace(secret, "(hidden)")
        return text


def _unasked(stage: str, reply: Reply) -> SessionFailed:
    text = f"the server replied before it was asked, {stages.WHILE[stage]}: {reply.code} {reply.text}"
    return SessionFailed(Failure("malformed", stage, text))
