"""Open sessions that wait for their next message, so that many messages share one connection."""

from __future__ import annotations

import asyncio

from mailstrom_cli.smtp import stages
from mailstrom_cli.smtp.dialog import Read, SessionFailed, Write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Hashable

    from mailstrom_cli.mail.reply import Reply
    from mailstrom_cli.net.driver import Conversation
    from mailstrom_cli.smtp.dialog import Capabilities, Effect

IDLE_SECONDS = 5.0
"""How long an unused session is kept: longer than the gaps in a stream of mail, shorter than servers mind."""


class Session:
    """A session past its greeting and login. key: what it may be used for again.  tls: as in a status."""

    def __init__(
        self, key: Hashable, conversation: Conversation, offered: Capabilities, tls: str | None
    ) -> None:
        self.key = key
        self.conversation = conversation
        self.offered = offered
        self.tls = tls
        self.used = 0  # transactions
        self._closing: asyncio.TimerHandle | None = None

    @property
    def fit(self) -> bool:
        return not self.conversation.broken and self.conversation.stream.idle


class Pool:
    """Idle sessions by key. most: transactions after which one is given up.  limit: idle ones at once."""

    def __init__(self, most: int, limit: int) -> None:
        self._most = most
        self._limit = limit
        self._count = 0
        self._closed = False
        self._idle: dict[Hashable, list[Session]] = {}
        self._quitting: set[asyncio.Task[None]] = set()

    def take(self, key: Hashable) -> Session | None:
        """The session used last, which the server is least likely to have closed."""
        waiting = self._idle.get(key)
        while waiting:
            session = waiting.pop()
            self._count -= 1
            if not waiting:
                del self._idle[key]
            if session._closing is not None:
                session._closing.cancel()
            if session.fit:
                return session
            session.conversation.stream.close()
        return None

    def give(self, session: Session) -> None:
        """Keep it for the next message, or end it."""
        if not session.fit:
            session.conversation.stream.close()
        elif session.used >= self._most or self._count >= self._limit or self._closed:
            self._quit(session)
        else:
            self._count += 1
            self._idle.setdefault(session.key, []).append(session)
            session._closing = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._expire, session)

    def _expire(self, session: Session) -> None:
        waiting = self._idle.get(session.key, [])
        if session in waiting:
            waiting.remove(session)
            self._count -= 1
            if not waiting:
                del self._idle[session.key]
            self._quit(session)

    def _quit(self, session: Session) -> None:
        task = asyncio.ensure_future(_say_goodbye(session.conversation))
        self._quitting.add(task)
        task.add_done_callback(self._quitting.discard)

    async def close(self) -> None:
        """End all idle sessions politely, and those that are given back later; each waits for its reply no
        longer than the stage allows."""
        self._closed = True
        for waiting in list(self._idle.values()):
            for session in waiting:
                if session._closing is not None:
                    session._closing.cancel()
                self._quit(session)
        self._idle.clear()
        self._count = 0
        if self._quitting:
            await asyncio.wait(self._quitting)


async def _say_goodbye(conversation: Conversation) -> None:
    try:
        await conversation.drive(_quit())
    finally:
        conversation.stream.close()


def _quit() -> Generator[Effect, Reply, None]:
    try:
        yield Write(b"QUIT\r\n")
        yield Read(stages.QUIT)
    except SessionFailed:
        return  # whoever hangs up first is right
