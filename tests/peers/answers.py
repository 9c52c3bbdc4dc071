"""What a scripted server can do at a stage, besides giving a reply.

A script maps a stage to an answer: a reply ("450 4.2.0 Busy", lines parted by "\\n"), one of the actions
below, a function of a `Moment` that returns any of these or None (the usual reply), or a list of answers
that are used up one by one before the usual reply returns.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    from .record import Session, Transaction
    from .wire import Wire


class Hangup(Exception):
    """The server ends this connection now."""


@dataclass(frozen=True)
class Moment:
    """Where a session stands when it needs an answer; `text` is the command's argument or address."""

    stage: str
    text: str
    session: Session
    transaction: Transaction | None
    usual: str


class Action:
    """Something done on the connection; returns the reply that was given, which decides how it goes on."""

    def act(self, connection: Wire, usual: str) -> str:
        raise NotImplementedError


Answer = Union[str, Action, Callable[[Moment], "Answer | None"], "list[Answer]", None]


@dataclass(frozen=True)
class Drop(Action):
    """Close the connection, after `after` more bytes have come in (stage "body").

    `unsaid` is a reply that counts for the server and that the client never sees: a message taken at the
    dot whose 250 got lost.
    """

    after: int = 0
    unsaid: str | None = None

    def act(self, connection: Wire, usual: str) -> str:
        connection.fill(self.after)
        if self.unsaid is not None:
            connection.note(self.unsaid)
        raise Hangup


@dataclass(frozen=True)
class Reset(Action):
    """As Drop, with RST instead of FIN."""

    after: int = 0
    unsaid: str | None = None

    def act(self, connection: Wire, usual: str) -> str:
        connection.fill(self.after)
        if self.unsaid is not None:
            connection.note(self.unsaid)
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Hangup


@dataclass(frozen=True)
class Stall(Action):
    """Say nothing (and read no further than `after` bytes) until `server.release()`; then give `reply`."""

    after: int = 0
    reply: str | None = None

    def act(self, connection: Wire, usual: str) -> str:
        connection.fill(self.after)
        connection.stall()
        return connection.say(self.reply or usual)


@dataclass(frozen=True)
class Drip(Action):
    """Give the reply one byte at a time, `pause` seconds between two."""

    pause: float = 0.0
    reply: str | None = None

    def act(self, connection: Wire, usual: str) -> str:
        return connection.say(self.reply or usual, self.pause)


@dataclass(frozen=True)
class Close(Action):
    """Give a reply and close the connection: "421 ...", or 550-then-close."""

    reply: str

    def act(self, connection: Wire, usual: str) -> str:
        connection.say(self.reply)
        raise Hangup


@dataclass(frozen=True)
class Raw(Action):
    """Send these very bytes, or chunks until the client has had enough; `reply` is what counts as said.

    Malformed replies, replies without end, and plaintext behind the reply to STARTTLS are made with it.
    """

    data: bytes | Iterable[bytes]
    reply: str | None = None

    def act(self, connection: Wire, usual: str) -> str:
        connection.flag_pipelining()
        for chunk in [self.data] if isinstance(self.data, bytes) else self.data:
            connection.send(chunk)
        return connection.note(self.reply or usual)


# How a recipient is answered by the beginning of its local part, unless the script says otherwise.
BY_LOCAL_PART: dict[str, str] = {
    "defer": "450 4.2.0 Mailbox busy, try again later",
    "greylist": "450 4.7.1 Greylisted, try again later",
    "reject": "550 5.1.1 No such user here",
    "full": "452 4.2.2 Mailbox full",
    "refused": "554 5.7.1 Not from you",
}

# Accepted at RCPT, and answered so after the final dot (in SMTP the reply holds for the whole transaction).
AFTER_DOT: dict[str, str] = {
    "dotdefer": "451 4.3.0 Could not store it now",
    "dotreject": "554 5.6.0 Content refused",
}
