"""A server that fails at random, and remembers whatever it took responsibility for."""

from __future__ import annotations

import math
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.peers.answers import Action, Answer, Close, Drip, Drop, Hangup, Reset
from tests.peers.scripted import Script

if TYPE_CHECKING:
    from random import Random

    from tests.peers.answers import Moment
    from tests.peers.scripted import ScriptedServer
    from tests.peers.wire import Wire

TAKEN = "250 2.0.0 Ok: queued"


@dataclass
class Taken:
    """The server took responsibility for a message, for these recipients. time: seconds since the epoch.
    by: the name of the client in its EHLO.  said: the reply went out, in time, and the connection stayed."""

    time: float
    message_id: str
    recipients: tuple[str, ...]
    sha256: str
    by: str
    said: bool = False


@dataclass(frozen=True)
class Say(Action):
    """The usual reply. late: seconds after which it is not sure that the client still waits for it."""

    taken: Taken
    late: float

    def act(self, connection: Wire, usual: str) -> str:
        reply = connection.say(usual)
        self.taken.said = time.time() - self.taken.time < self.late
        return reply


@dataclass(frozen=True)
class Hang(Action):
    """Say nothing until the client leaves. unsaid: as of Drop."""

    unsaid: str | None = None

    def act(self, connection: Wire, usual: str) -> str:
        if self.unsaid is not None:
            connection.note(self.unsaid)
        while True:
            connection.more()


@dataclass(frozen=True)
class Snap(Action):
    """Give the usual reply and reset the connection, so that it may or may not arrive."""

    def act(self, connection: Wire, usual: str) -> str:
        connection.say(usual)
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Hangup


BREAKS: tuple[Answer, ...] = (Drop(), Reset(), Hang())
REFUSALS: tuple[Answer, ...] = (
    *("451 4.3.0 Not now", "452 4.3.1 Full", "450 4.2.0 Busy"),
    *(Drip(0.002, "451 4.3.0 Slowly, not now"), Close("421 4.3.2 Going down")),
)
FOR_GOOD: tuple[Answer, ...] = ("550 5.7.1 No", "554 5.6.0 Never")
UNSAID: tuple[Answer, ...] = (Drop(unsaid=TAKEN), Reset(unsaid=TAKEN), Hang(TAKEN), Snap())
HANDSHAKE: tuple[Answer, ...] = (*BREAKS, Close("421 4.3.2 Busy"), Close("554 5.3.2 Closed"))

STAGES: dict[str, tuple[tuple[Answer, ...], ...]] = {
    "connect": (BREAKS,),
    "greeting": (HANDSHAKE,),
    "ehlo": (HANDSHAKE,),
    "mail": (BREAKS, REFUSALS, FOR_GOOD),
    "rcpt": (BREAKS, REFUSALS, REFUSALS, FOR_GOOD),
    "data": (BREAKS, REFUSALS, FOR_GOOD),
    "body": ((*BREAKS, Drop(100), Reset(150)),),
    "dot": (BREAKS, REFUSALS, FOR_GOOD, UNSAID, UNSAID),
    "rset": (BREAKS, REFUSALS),
    "quit": (BREAKS,),
}
GENTLE: dict[str, tuple[tuple[Answer, ...], ...]] = {
    "rcpt": (REFUSALS[:3], REFUSALS[:3], FOR_GOOD),
    "dot": (REFUSALS[:3], FOR_GOOD),
}
"""It refuses, and never leaves anybody in doubt."""


class Weather:
    """How a server fares. bad: how often each stage fails, in 0..1; 0 from `calm` on.

    taken: whatever it took responsibility for, in order.  failures: how often each stage failed.
    """

    def __init__(
        self,
        rng: Random,
        bad: float,
        stages: dict[str, tuple[tuple[Answer, ...], ...]] = STAGES,
        late: float = math.inf,
    ) -> None:
        self._late = late
        self._rng = rng
        self._bad = bad
        self._stages = stages
        self._lock = threading.Lock()
        self.taken: list[Taken] = []
        self.failures: Counter[str] = Counter()
        self.violations: list[str] = []
        self.sessions = 0

    def script(self) -> Script:
        return Script(keep_bodies=False, replies=dict.fromkeys({*self._stages, "dot"}, self._answer))

    def calm(self) -> None:
        self._bad = 0.0

    def _answer(self, moment: Moment) -> Answer:
        with self._lock:
            fails = self._rng.random() < self._bad
            answer = self._rng.choice(self._rng.choice(self._stages[moment.stage])) if fails else None
            if fails:
                self.failures[f"{moment.stage}, taken" if answer in UNSAID else moment.stage] += 1
            if moment.stage == "dot" and (answer is None or answer in UNSAID):
                taken = self._take(moment)
                answer = answer or Say(taken, self._late)
        return answer

    def _take(self, moment: Moment) -> Taken:
        transaction = moment.transaction
        assert transaction is not None
        taken = Taken(
            time.time(),
            transaction.message_id,
            tuple(r.address for r in transaction.recipients if r.accepted),
            transaction.sha256,
            moment.session.helo,
        )
        self.taken.append(taken)
        return taken

    def tidy(self, server: ScriptedServer) -> None:
        """Forget the sessions that are over, all but what the clients did wrong in them."""
        with server.changed:
            ended = [s for s in server.sessions if s.end != "open"]
            server.sessions[:] = [s for s in server.sessions if s.end == "open"]
        self.sessions += len(ended)
        self.violations += [v for s in ended for v in s.violations]
