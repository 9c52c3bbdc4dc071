"""How often a queue waits for its server, counted: the server holds its replies until no more can come."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.api import Mailstrom, Request
from mailstrom_cli.config.schema import build
from mailstrom_cli.config.via import parse_via
from mailstrom_cli.net.pool import IN_FLIGHT

from ..peers.model import Model
from ..peers.scripted import Script

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..peers.answers import Moment

MESSAGES = 20
PATIENCE = 2.0
"""Seconds without a byte after which the server answers though more could have come."""
ACCEPTS = {"mail": 250, "rcpt": 250, "data": 354, "dot": 250, "bdat": 250, "rset": 250, "quit": 221}


class Patient:
    """Answers when `enough` says of what it has not answered yet that no more can come, or at the end.

    trips: how often it had to speak for the client to go on, from the first MAIL on.
    """

    def __init__(self, offered: frozenset[str], enough: Callable[[list[str]], bool], most: float) -> None:
        self.trips = 0
        self.sessions = 0
        self.model = Model(offered, ACCEPTS.__getitem__)
        self._enough, self._most = enough, most
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(10)
        self.url = f"smtp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        self.sessions += 1
        with connection:
            connection.sendall(b"220 here\r\n")
            assert connection.recv(1000).endswith(b"\r\n")
            words = [f"250-{word}\r\n" for word in self.model.offered]
            connection.sendall("".join(["250-here\r\n", *words, "250 HELP\r\n"]).encode())
            connection.settimeout(PATIENCE)
            while True:
                try:
                    data = connection.recv(100_000)
                except TimeoutError:
                    self._speak(connection)
                    continue
                if not data:
                    return
                self.model.feed(data)
                stages = [said.stage for said in self.model.unread]
                ended = sum(heard.message is not None for heard in self.model.heard)
                # One that has lost already is not waited for.
                if self._enough(stages) or ended == MESSAGES or self.trips > self._most:
                    self._speak(connection)

    def _speak(self, connection: socket.socket) -> None:
        if self.model.unread:
            self.trips += "quit" not in (said.stage for said in self.model.unread)
            connection.sendall(b"".join(said.line for said in self.model.unread))
            self.model.unread.clear()

    def __enter__(self) -> Patient:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(30)
        self._listener.close()


@pytest.mark.parametrize(
    ("offered", "enough", "each"),
    [
        # Behind DATA nothing may be sent; the end of the message before is answered together with it.
        (frozenset({"PIPELINING"}), lambda stages: "data" in stages, 1.1),
        (frozenset({"PIPELINING", "CHUNKING"}), lambda stages: stages.count("bdat") >= 4, 0.4),
    ],
    ids=["one-a-message", "less-with-chunking"],
)
def test_round_trips_of_each_message_on_one_connection(
    offered: frozenset[str], enough: Callable[[list[str]], bool], each: float
) -> None:
    with Patient(offered, enough, each * MESSAGES) as server:
        mail = Mailstrom(
            build(
                {
                    "spool": "memory:",
                    "via": (parse_via(server.url),),
                    "limits.per_destination": 1,
                    "tls.level": "none",
                }
            )
        )
        for n in range(MESSAGES):
            text = f"From: a@example.org\nTo: b{n}@example.net\n\nHello {n}\n"
            mail.submit(text.encode(), Request())
        mail.flush()
    assert server.sessions == 1
    assert sorted(r for h in server.model.heard for r in h.taken if h.accepted(r)) == sorted(
        f"b{n}@example.net" for n in range(MESSAGES)
    )
    assert server.trips <= each * MESSAGES


def test_messages_that_go_on_to_another_host_dial_it_within_the_limit(scripted) -> None:
    """All are refused after their end by the first, which they follow one another to without a wait."""

    def slow(moment: Moment) -> str:
        time.sleep(0.1)
        return "554 5.3.2 not now"

    first = scripted(Script(replies={"dot": "451 4.3.0 not now"}))
    second = scripted(Script(replies={"greeting": slow}))
    mail = Mailstrom(
        build(
            {
                "spool": "memory:",
                "via": tuple(parse_via(f"smtp://{server.host}:{server.port}") for server in (first, second)),
                "limits.per_destination": 1,
                "tls.level": "none",
            }
        )
    )
    for n in range(3 * IN_FLIGHT):
        mail.submit(f"From: a@example.org\nTo: b{n}@example.net\n\nHello\n".encode(), Request())
    mail.flush()
    assert len(second.sessions) == 3 * IN_FLIGHT
    assert second.peak < 2 * IN_FLIGHT  # what was in flight, and those that the server has yet to see end
