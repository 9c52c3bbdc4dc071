"""The byte side of a scripted server's connection: lines in, replies out, and whether the client waited."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from typing import TYPE_CHECKING

from .answers import Action, Moment
from .record import Session, line_faults

if TYPE_CHECKING:
    from collections.abc import Callable

    from .answers import Answer
    from .record import Transaction
    from .scripted import ScriptedServer

BLOCK = 262144
IDLE = 120.0
ENHANCED = re.compile(r"(?m)^(\d{3} )?[245]\.\d{1,3}\.\d{1,3} ")
# Commands after which a client has to wait for the reply even where PIPELINING is offered (RFC 2920, 3.1).
LAST_IN_GROUP = {"", "EHLO", "HELO", "LHLO", "DATA", "VRFY", "NOOP", "QUIT", "STARTTLS", "AUTH"}


def on_the_wire(reply: str) -> bytes:
    code, text = reply[:3], reply[4:]
    lines = text.split("\n")
    wire = "".join(f"{code}-{line}\r\n" for line in lines[:-1]) + f"{code} {lines[-1]}\r\n"
    return wire.encode("utf-8", "surrogateescape")


class Left(Exception):
    """The client has closed the connection."""


class Wire:
    """One client; everything goes into `session` before the client can see its effect."""

    def __init__(self, server: ScriptedServer, accepted: socket.socket, peer: str) -> None:
        self.server = server
        self.socket = accepted
        self.session = Session(peer)
        self.buffer = bytearray()
        self.offered: set[str] = set()
        self.command = ""
        self.transaction: Transaction | None = None
        self.before_reply: Callable[[str], None] | None = None
        accepted.settimeout(IDLE)
        if accepted.family != socket.AF_UNIX:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def cut(self) -> None:
        """Break the connection off from another thread."""
        with contextlib.suppress(OSError):
            # not SSLSocket's, which would take the TLS state away from under the session's own thread
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)

    def fill(self, count: int) -> None:
        """Read until `count` bytes wait in the buffer."""
        while len(self.buffer) < count:
            self.more()

    def stall(self) -> None:
        with self.server.changed:
            self.server.stalled += 1
            self.server.changed.notify_all()
        self.server.released.wait()
        with self.server.changed:
            self.server.stalled -= 1

    def violation(self, what: str) -> None:
        self.session.violations.append(f"{what} [{self.command or 'before the greeting'}]")

    def flag_pipelining(self) -> None:
        """Record it when the client did not wait for the reply that is about to be sent."""
        if not self.buffer:
            self.socket.settimeout(0)
            with contextlib.suppress(OSError):  # nothing there, or an end that the next read will see
                self.buffer += self.socket.recv(BLOCK)
            self.socket.settimeout(IDLE)
        if self.buffer and ("PIPELINING" not in self.offered or self.command in LAST_IN_GROUP):
            self.violation(f"did not wait for the reply, sent {bytes(self.buffer[:40])!r}")

    def note(self, reply: str) -> str:
        """Record a reply, before it is sent."""
        if self.before_reply is not None:
            self.before_reply(reply)
        with self.server.changed:
            self.session.log.append(f"S: {reply}")
            self.server.changed.notify_all()
        return reply

    def say(self, reply: str, pause: float | None = None) -> str:
        """Record and send a reply; with `pause` byte by byte."""
        if not reply:
            return reply
        self.flag_pipelining()
        self.note(reply)
        data = on_the_wire(reply)
        if pause is None:
            self.send(data)
            return reply
        for octet in data:
            self.send(bytes((octet,)))
            time.sleep(pause)
        return reply

    def answer(
        self,
        stage: str,
        usual: str,
        text: str = "",
        then: Callable[[str], None] | None = None,
        own: Answer = None,
    ) -> str:
        """Do what the script says at a stage; `then` gets the reply before it is sent. Returns the reply."""
        if "ENHANCEDSTATUSCODES" not in self.offered:
            usual = ENHANCED.sub(r"\1", usual)
        chosen = own if own is not None else self.server.script.replies.get(stage)
        while not isinstance(chosen, (str, Action)):
            if isinstance(chosen, list):
                chosen = chosen.pop(0) if chosen else None
            elif chosen is None:
                chosen = usual
            else:
                chosen = chosen(Moment(stage, text, self.session, self.transaction, usual))
        self.before_reply = then
        try:
            return self.say(chosen) if isinstance(chosen, str) else chosen.act(self, usual)
        finally:
            self.before_reply = None

    def more(self) -> None:
        data = self.socket.recv(BLOCK)
        if not data:
            raise Left
        self.buffer += data

    def line(self) -> str:
        while (end := self.buffer.find(b"\n")) < 0:
            self.more()
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 1]
        text = line.removesuffix(b"\r").decode("utf-8", "surrogateescape")
        with self.server.changed:
            self.session.log.append(f"C: {text}")
            self.server.changed.notify_all()
        self.command = text.partition(" ")[0].upper()
        for fault in line_faults(line + b"\n", "SMTPUTF8" in self.offered):
            self.violation(fault)
        return text

    def until_dot(self) -> bytes:
        """The message as it came, up to the CRLF before the final dot."""
        seen = 0
        self.buffer[:0] = b"\r\n"  # the end of the DATA line is part of the mark of an empty message
        while (end := self.buffer.find(b"\r\n.\r\n", seen)) < 0:
            seen = max(0, len(self.buffer) - 4)
            self.more()
        wire = bytes(self.buffer[2 : end + 2])
        del self.buffer[: end + 5]
        return wire
