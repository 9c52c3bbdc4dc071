"""Performs what a dialogue asks for: the one place where the sans-I/O protocol meets a connection."""

from __future__ import annotations

from mailstrom_cli.smtp import stages
from mailstrom_cli.smtp.dialog import Failure, Read, SendMessage, SessionFailed, StartTls, Write
from mailstrom_cli.smtp.wire import dot_stuffed

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
TRANSCRIPT_LINES = 200


class Conversation:
    """A stream, the time-outs of its stages, and what was said (without secrets and without the message)."""

    def __init__(self, stream: Stream, timeout: Timeout) -> None:
        self.stream = stream
        self.timeout = timeout
        self.transcript: list[str] = []
        self.broken = False  # fit for nothing more: it failed, or the server said 421

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
        while True:
            try:
                effect = dialogue.throw(failed) if failed else dialogue.send(reply)  # type: ignore[arg-type]
            except StopIteration as end:
                result: T = end.value
                return result
            reply = failed = None
            try:
                reply = await self._perform(effect, message, tls)
            except SessionFailed as error:
                self.broken = True
                failed = error

    async def _perform(
        self, effect: Effect, message: BinaryIO | None, tls: tuple[ssl.SSLContext, str] | None
    ) -> Reply | None:
        if isinstance(effect, Read):
            seconds: float = getattr(self.timeout, effect.stage)
            reply = await self.stream.read_reply(effect.stage, seconds)
            self._note(f"S: {reply.code} " + " ".join(filter(None, (reply.enhanced, reply.text))))
            if reply.code == 421:
                self.broken = True
            return reply
        if isinstance(effect, Write):
            self.stream.write(effect.data)
            if effect.secret:
                self._note("C: (credentials)")
            else:
                for line in effect.data.decode("utf-8", "replace").splitlines():
                    self._note(f"C: {line}")
        elif isinstance(effect, SendMessage):
            assert message is not None
            self._note("C: (message)")
            await self._send(message)
        elif isinstance(effect, StartTls):
            assert tls is not None
            await self.stream.start_tls(*tls, self.timeout.starttls)
            self._note(f"   ({self.stream.tls_version})")
        return None

    async def _send(self, message: BinaryIO) -> None:
        for chunk in dot_stuffed(iter(lambda: message.read(CHUNK), b"")):
            self.stream.write(chunk)
            if not await self.stream.drained(stages.BLOCK, self.timeout.block):
                if self.stream.answered:  # a server that hangs up early has often said why
                    return
                text = f"the connection was lost {stages.WHILE[stages.BLOCK]}"
                raise SessionFailed(Failure("lost", stages.BLOCK, text))

    def _note(self, line: str) -> None:
        if len(self.transcript) < TRANSCRIPT_LINES:
            self.transcript.append(line)
