"""A scripted SMTP and LMTP server: says what a test tells it to say, and records exactly what it heard.

    with ScriptedServer(Script(replies={"dot": Close("421 4.3.2 Bye")})) as server:
        ...                                    # deliver to server.host, server.port
    assert server.delivered() == [("b@example.org", "<1@example.org>")]

Stages: connect, greeting, ehlo, helo, lhlo, starttls, tls, auth, mail, rcpt, data, body (after 354 or BDAT),
bdat, dot, rset, noop, vrfy, quit.  Recipients are answered by their local part (see `answers.BY_LOCAL_PART`).
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .dialogue import Connection
from .process import wait_for
from .sasl import Scram

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from typing import Self

    from .answers import Answer
    from .record import Session, Transaction


@dataclass
class Script:
    """What the server offers and how it answers; a change while it runs holds from the next command."""

    hostname: str = "mx.example.test"
    pipelining: bool = True
    eight_bit: bool = True
    size: int | None = 0
    """SIZE: None is not offered, 0 offered without a limit."""
    smtputf8: bool = True
    enhanced: bool = True
    chunking: bool = False
    dsn: bool = False
    tls: ssl.SSLContext | None = None
    implicit_tls: bool = False
    require_tls: bool = False
    requiretls: bool = False
    """REQUIRETLS is offered, under TLS only (RFC 8689)."""
    mechanisms: tuple[str, ...] = ()
    """AUTH mechanisms offered: PLAIN, LOGIN, CRAM-MD5, SCRAM-SHA-1 and -256, also with -PLUS, OAUTHBEARER,
    XOAUTH2."""
    users: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    """By user, for OAUTHBEARER and XOAUTH2"""
    password_prompt: str = "UGFzc3dvcmQ6"
    """With which LOGIN asks for the password"""
    scram: Scram = field(default_factory=Scram)
    plaintext_auth: bool = False
    """AUTH is offered and taken without TLS; otherwise an AUTH without TLS is a violation."""
    require_auth: bool = False
    lmtp: bool = False
    esmtp: bool = True
    """False: EHLO is answered with 502."""
    extensions: tuple[str, ...] = ()
    """Further lines of the EHLO reply."""
    max_recipients: int = 1000
    """Further recipients of a transaction are answered 452 4.5.3."""
    replies: dict[str, Answer] = field(default_factory=dict)
    """stage -> answer"""
    recipients: dict[str, Answer] = field(default_factory=dict)
    """An address, or the beginning of its local part -> answer to its RCPT"""
    finals: dict[str, str] = field(default_factory=dict)
    """The same -> reply after the final dot, in LMTP for this recipient, in SMTP for the transaction"""
    keep_bodies: bool = True
    """False: of each message only size, sha256 and Message-ID are kept."""


class ScriptedServer:
    """Listens from `with` (or `start`) on; many connections at once, a thread each."""

    connection = Connection

    def __init__(
        self, script: Script | None = None, host: str = "127.0.0.1", port: int = 0, path: str = ""
    ) -> None:
        """`port` 0 takes a free one; `path` listens on a Unix socket instead."""
        self.script = script or Script()
        self.host = host
        self.port = port
        self.path = path
        self.sessions: list[Session] = []
        self.peak = 0
        """The most connections that were open at the same time."""
        self.greylisted: set[str] = set()
        self.released = threading.Event()
        self.stalled = 0
        """How many connections stand still in a Stall just now."""
        self.changed = threading.Condition()
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._open: dict[Connection, threading.Thread] = {}

    # what the tests ask

    @property
    def address(self) -> tuple[str, int]:
        return (self.host, self.port)

    @property
    def transactions(self) -> list[Transaction]:
        """All of all sessions, also those that were refused or broken off."""
        return [t for s in list(self.sessions) for t in list(s.transactions)]

    @property
    def violations(self) -> list[str]:
        """What clients did that the RFCs forbid; a well-behaved client leaves it empty."""
        return [v for s in list(self.sessions) for v in list(s.violations)]

    @property
    def commands(self) -> list[str]:
        return [c for s in list(self.sessions) for c in s.commands]

    def delivered(self) -> list[tuple[str, str]]:
        """(recipient, Message-ID) for each time this server took responsibility, sorted."""
        return sorted(
            (r.address, t.message_id) for t in self.transactions for r in t.recipients if r.delivered
        )

    def duplicates(self) -> list[tuple[str, str]]:
        """What was delivered more than once."""
        return [pair for pair, times in Counter(self.delivered()).items() if times > 1]

    def message(self) -> bytes:
        """The only message that was accepted; AssertionError when there is not exactly one."""
        bodies = [t.body for t in self.transactions if t.accepted]
        assert len(bodies) == 1 and bodies[0] is not None, f"{len(bodies)} messages were accepted"
        return bodies[0]

    def wait(
        self, condition: Callable[[ScriptedServer], bool], seconds: float = 20.0, what: str = ""
    ) -> None:
        """Wait until `condition(server)` holds, looked at whenever something happens; else TimeoutError."""
        with self.changed:
            if not self.changed.wait_for(lambda: condition(self), seconds):
                raise TimeoutError(
                    f"waited {seconds:g} seconds for {what or 'the scripted server'}: {self.commands}"
                )

    def release(self) -> None:
        """End every Stall, those to come too."""
        self.released.set()

    # its life

    def start(self) -> Self:
        """Listen, again on the same port after `stop`."""
        if self.path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(self.path)
            self._listener.listen(512)
        else:
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            self._listener = socket.create_server((self.host, self.port), family=family, backlog=512)
            self.port = self._listener.getsockname()[1]
        self.released.clear()
        self._acceptor = threading.Thread(target=self._accept, args=(self._listener,), name="scripted accept")
        self._acceptor.start()
        return self

    def stop(self) -> None:
        """Stop listening and cut every connection; returns when all threads have ended."""
        if self._listener is None or self._acceptor is None:
            return
        self.released.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(10)
        self._listener.close()
        self._listener = None
        self.cut()
        wait_for(lambda: not self._open, 10, "the scripted server's threads to end")
        if self.path:
            os.unlink(self.path)

    def cut(self) -> None:
        """Cut the connections that are open now, and go on listening."""
        for connection in list(self._open):
            connection.cut()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                accepted, peer = listener.accept()
            except OSError:
                return
            connection = self.connection(self, accepted, str(peer[0]) if peer else "")
            thread = threading.Thread(target=self._serve, args=(connection,), name="scripted session")
            with self.changed:
                self.sessions.append(connection.session)
                self._open[connection] = thread
                self.peak = max(self.peak, len(self._open))
            thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            connection.serve()
        finally:
            with self.changed:
                self._open.pop(connection, None)
                self.changed.notify_all()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
