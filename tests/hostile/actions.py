"""More ways of a server to misbehave, beside those of `tests.peers.answers`."""

from __future__ import annotations

import itertools
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..peers.answers import Action, Hangup, Raw
from ..peers.wire import on_the_wire

if TYPE_CHECKING:
    from ..peers.wire import Wire


class Cut(Action):
    """The first octets of the reply, then the end of the connection."""

    def act(self, connection: Wire, usual: str) -> str:
        connection.send(on_the_wire(usual)[:5])
        raise Hangup


@dataclass(frozen=True)
class Again(Action):
    """The reply, and in the same packet what follows: the same once more unless something else is given."""

    more: str = ""

    def act(self, connection: Wire, usual: str) -> str:
        connection.flag_pipelining()
        connection.note(usual)
        connection.send(on_the_wire(usual) + on_the_wire(self.more or usual))
        return usual


@dataclass(frozen=True)
class Slow(Action):
    """The reply, behind so many octets that come one by one that it would take minutes."""

    def act(self, connection: Wire, usual: str) -> str:
        connection.note(usual)
        for octet in usual[:3].encode() + b"-" + b"x" * 1000:
            connection.send(bytes((octet,)))
            time.sleep(0.05)
        return usual


class Deaf(Action):
    """The usual reply, and whatever else came in the same packet is forgotten."""

    def act(self, connection: Wire, usual: str) -> str:
        connection.buffer.clear()
        return connection.say(usual)


@dataclass(frozen=True)
class Meanwhile(Action):
    """In the middle of a message: some octets, as often as the client takes them; then goes on reading,
    unless it hangs up (`leave`)."""

    data: bytes
    endless: bool = False
    leave: bool = False

    def act(self, connection: Wire, usual: str) -> str:
        connection.fill(100_000)
        for chunk in itertools.repeat(self.data) if self.endless else (self.data,):
            connection.send(chunk)
        if self.leave:
            connection.socket.shutdown(socket.SHUT_WR)
            connection.stall()
            raise Hangup
        return usual


FLOOD = Raw(itertools.repeat(b"250-more\r\n" * 100))
LONG_LINE = Raw(itertools.repeat(b"250 " + b"x" * 65_536))
GARBAGE = Raw(b"\x00\xff\xfe garbage\x1b[2J\r\n")
