"""Performs what a dialogue asks for: the one place where the sans-I/O protocol meets a connection."""

from __future__ import annotations

import time

from mailstrom_cli.smtp import stages
from mailstrom_cli.smtp.dialog import Failure, Read, SendMessage, SessionFailed, StartTls, Write
from mailstrom_cli.smtp.wire import dot_stuffed
from mailstrom_cli.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Generator
    from typing import BinaryIO, TypeVar

    from mailstrom_cli.config.schema import Timeout
    from mailstrom_cli.mail.reply import Reply
    from mailstrom_cli.net.stream import Stream
    from mailstrom_cli.smtp.dialog import Effect

    T = TypeVar("T")

CHUNK = 128 * 1024
TRANSCRIPT_LINES, TRANSCRIPT_WIDTH = 200, 1000
DIALOGUE_SECONDS = 3600.0
"""How long one dialogue may last, the message itself apart: stages that each just keep their limit add up."""


class Conversation:
    """A stream, the time-outs of its stages, and what was said (without secrets and without the message)."""

    def __init__(self, stream: Stream, timeout: Timeout) -> None:
        self.stream = stream
        self.timeout = timeout
        self.transcript: list[str] = []
        self.broken = False  # fit for nothing more: a dialogue was not ended, or the server said 421
        self._secrets: tuple[str, ...] = ()
        self._end = 0.0

    async def drive(
        self,
        dialogue: Generator[Effect, Reply, T],
        message: BinaryIO | None = None,
        tls: tuple[ssl.SSLContext, str] | None = None,
    ) -> T:
        """Run a dialogue to its end and return its value. SessionFailed is thrown into it; if it does not
        deal with it, it comes out here."""
        reply: Reply | None = None
        failed: SessionFailed | None = None
        self._end = time.monotonic() + DIALOGUE_SECONDS
        sound = not self.broken
        self.broken = True  # whatever interrupts a dialogue leaves a session that nobody can go on with
        while True:
            try:
                effect = dialogue.throw(failed) if failed else dialogue.send(reply)  # type: ignore[arg-type]
            except StopIteration as end:
                self.broken = not sound
                result: T = end.value
                return result
            reply = failed = None
            try:
                reply = await self._perform(effect, message, tls)
            except SessionFailed as error:
                failed = SessionFailed(replace(error.failure, text=self._hidden(error.failure.text)))
            sound = sound and failed is None and not _last(effect, reply)

    async def _perform(
        self, effect: Effect, message: BinaryIO | None, tls: tuple[ssl.SSLContext, str] | None
    ) -> Reply | None:
        if isinstance(effect, Read):
            seconds: float = min(getattr(self.timeout, effect.stage), self._end - time.monotonic())
            reply = await self.stream.read_reply(effect.stage, seconds)
            if self._secrets:
                reply = replace(reply, lines=tuple(map(self._hidden, reply.lines)))
            self._note(f"S: {reply.code} " + " ".join(filter(None, (reply.enhanced, reply.text))))
            return reply
        if isinstance(effect, Write):
            self.stream.write(effect.data)
            if effect.secrets:
                self._secrets += effect.secrets
                self._note("C: (credentials)")
            else:
                for line in effect.data.decode("utf-8", "replace").splitlines():
                    self._note(f"C: {line}")
        elif isinstance(effect, SendMessage):
            assert message is not None
            self._note("C: (message)")
            begun = time.monotonic()
            early = await self._send(message)
            self._end += time.monotonic() - begun
            return early
        elif isinstance(effect, StartTls):
            assert tls is not None
            await self.stream.start_tls(*tls, self.timeout.starttls)
            self._note(f"   ({self.stream.tls_version})")
        return None

    async def _send(self, message: BinaryIO) -> Reply | None:
        for chunk in dot_stuffed(iter(lambda: message.read(CHUNK), b"")):
            if not await self.stream.drained(stages.BLOCK, self.timeout.block):
                if self.stream.answered:  # a server that hangs up early has often said why
                    return await self.stream.read_reply(stages.BLOCK, self.timeout.block)
                text = f"the connection was lost {stages.WHILE[stages.BLOCK]}"
                raise SessionFailed(Failure("lost", stages.BLOCK, text))
            self.stream.write(chunk)
        return None  # what comes from here on may be the reply to the end of data

    def _hidden(self, text: str) -> str:
        """What a server says, without the secrets that it repeats."""
        for secret in self._secrets:
            text = text.replace(secret, "(hidden)")
        return text

    def _note(self, line: str) -> None:
        if len(self.transcript) < TRANSCRIPT_LINES:
            self.transcript.append(line[:TRANSCRIPT_WIDTH])


def _last(effect: Effect, reply: Reply | None) -> bool:
    """Whether a session ends with this reply: the server says so (RFC 5321, 3.8), a transaction could not be
    undone, or the message did not get through to its end."""
    if reply is None:
        return False
    stage = effect.stage if isinstance(effect, Read) else stages.BLOCK
    return reply.code == 421 or stage == stages.BLOCK or (stage == stages.RSET and not reply.positive)
