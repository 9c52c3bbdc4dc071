"""Open sessions that wait for their next message, so that many messages share one connection."""

from __future__ import annotations

import asyncio

from mailstrom_cli.smtp import stages
from mailstrom_cli.smtp.dialog import Read, SessionFailed, Write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Hashable, Sequence

    from mailstrom_cli.mail.reply import Reply
    from mailstrom_cli.net.driver import Conversation
    from mailstrom_cli.net.tls import Secured
    from mailstrom_cli.smtp.dialog import Answer, Capabilities, Effect

IDLE_SECONDS = 5.0
"""How long an unused session is kept: longer than the gaps in a stream of mail, shorter than servers mind."""
LIVELY_SECONDS = 1.0
IN_FLIGHT = 4
"""Messages on their way at once on one connection; when it breaks, so many may be delivered twice."""


class Session:
    """A session past its greeting and login. key: what it may be used for again.  tls: None in plain text.

    used: transactions.  undecided: those under way. One of them may be writing; the others wait for replies.
    """

    def __init__(
        self, key: Hashable, conversation: Conversation, offered: Capabilities, tls: Secured | None
    ) -> None:
        self.key = key
        self.conversation = conversation
        self.offered = offered
        self.tls = tls
        self.used = 0
        self.undecided = 0
        self.unclean = False  # a transaction that was sent at once may have left its sender behind
        self._idle_since = asyncio.get_running_loop().time()

    def begin(self) -> bool:
        """A transaction begins; whether with RSET, since what the one before left behind is not known."""
        unclean, self.unclean = self.unclean, "CHUNKING" in self.offered
        self.used += 1
        self.undecided += 1
        return unclean

    def end(self, answers: Sequence[Answer] = ()) -> None:
        """A transaction is over. When a message was taken and nothing follows, no sender is set."""
        self.undecided -= 1
        if not self.undecided and any(
            a.stage == stages.DOT and a.reply and a.reply.positive for a in answers
        ):
            self.unclean = False

    @property
    def fit(self) -> bool:
        """For another transaction, now."""
        stream = self.conversation.stream
        if self.conversation.broken or self.undecided >= IN_FLIGHT:
            return False
        return stream.open if self.undecided else stream.idle

    @property
    def lively(self) -> bool:
        """The server has just answered, so that what is sent at once will hardly be lost with a connection
        that it has given up."""
        return bool(self.undecided) or asyncio.get_running_loop().time() - self._idle_since < LIVELY_SECONDS


class Pool:
    """Sessions that could take another message, by key. most: transactions after which one is given up.
    limit: those kept at once; for a further one the one that was used longest ago is ended."""

    def __init__(self, most: int, limit: int) -> None:
        self._most = most
        self._limit = limit
        self._closed = False
        self._free: dict[Hashable, list[Session]] = {}
        self._all: dict[Session, None] = {}  # the same, the one used longest ago first
        self._quitting: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def has(self, key: Hashable) -> bool:
        """Whether a session stands for this key, as far as is known without looking at it."""
        return key in self._free

    def take(self, key: Hashable) -> Session | None:
        """The session used last, which the server is least likely to have closed."""
        waiting = self._free.get(key)
        while waiting:
            session = waiting[-1]
            self._withdraw(session)
            if session.fit:
                return session
            if not session.undecided:
                session.conversation.stream.close()
        return None

    def sent(self, session: Session) -> bool:
        """The message is on its way, and only replies are waited for: whether another may follow at once."""
        if session.fit and session.used < self._most and not self._closed and self._room():
            self._offer(session)
            return True
        return False

    def give(self, session: Session) -> None:
        """A transaction is over, or a new session has none: keep it for the next message, or end it."""
        offered = session in self._all
        if session.undecided:
            if offered and not session.fit:
                self._withdraw(session)
            return
        if not session.fit:
            if offered:
                self._withdraw(session)
            session.conversation.stream.close()
        elif session.used >= self._most or self._closed or not (offered or self._room()):
            if offered:
                self._withdraw(session)
            self._quit(session)
        else:
            session._idle_since = asyncio.get_running_loop().time()
            if offered:
                del self._all[session]
                self._all[session] = None
            else:
                self._offer(session)

    def _room(self) -> bool:
        """Whether another one may be kept, if need be instead of one that waits for its next message."""
        if len(self._all) >= self._limit:
            for session in self._all:
                if not session.undecided:
                    self._withdraw(session)
                    self._quit(session)
                    break
        return len(self._all) < self._limit

    def _offer(self, session: Session) -> None:
        self._all[session] = None
        self._free.setdefault(session.key, []).append(session)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._expire)

    def _withdraw(self, session: Session) -> None:
        waiting = self._free[session.key]
        waiting.remove(session)
        del self._all[session]
        if not waiting:
            del self._free[session.key]

    def _expire(self) -> None:
        """End what nobody has used for a while, and look again when the next one may be due."""
        loop = asyncio.get_running_loop()
        idle = [s for s in self._all if not s.undecided]
        self._timer = None
        for session in idle:
            if session._idle_since + IDLE_SECONDS <= loop.time():
                self._withdraw(session)
                self._quit(session)
        if self._all:
            oldest = min(s._idle_since for s in self._all)
            self._timer = loop.call_at(max(oldest, loop.time()) + IDLE_SECONDS, self._expire)

    def _quit(self, session: Session) -> None:
        task = asyncio.ensure_future(_say_goodbye(session.conversation))
        self._quitting.add(task)
        task.add_done_callback(self._quitting.discard)

    async def close(self) -> None:
        """End all idle sessions politely, and those that are given back later; each waits for its reply no
        longer than the stage allows."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for session in list(self._all):
            self._withdraw(session)
            if not session.undecided:  # else it is given back when that is over
                self._quit(session)
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
