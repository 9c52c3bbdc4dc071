"""Every stage of the dialogue by every way to misbehave, and what must come of each.

A cell is one stage, one kind and one mode (what the server offers). It is delivered twice: where nobody else
could take the message, and where a good server is next. `outcome` says what has to be told.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailstrom_cli.smtp import stages

from ..peers.answers import Close, Drop, Reset, Stall
from ..peers.scripted import Script
from .actions import FLOOD, GARBAGE, LONG_LINE, Again, Cut, Meanwhile, Slow

if TYPE_CHECKING:
    import ssl

    from ..peers.answers import Answer

SILENT = ("drop", "reset", "stall", "drip", "cut")
BABBLE = ("flood", "long line", "garbage")
KINDS = (*SILENT, *BABBLE, "bye", "again")

ONE, PIPELINED, CHUNK, AT_ONCE, LMTP = "one by one", "pipelined", "chunk", "at once", "lmtp"
MODES = (ONE, PIPELINED, CHUNK, AT_ONCE, LMTP)
TLS_STAGES = ("starttls", "tls", "ehlo again")
BYE = "421 4.3.2 Shutting down"
BUSY = "Shutting down"
NAMES = {"connect": "greeting", "ehlo again": "ehlo", "body": "block"}


@dataclass(frozen=True)
class Told:
    """What one recipient is told. words: in the text."""

    status: str
    code: int | None
    enhanced: str
    words: str
    unreachable: bool = False
    maybe: bool = False
    next: bool = True
    """Another server is asked."""


@dataclass(frozen=True)
class Cell:
    stage: str
    kind: str
    mode: str

    def __str__(self) -> str:
        return f"{self.stage}, {self.kind}, {self.mode}"

    @property
    def long(self) -> bool:
        return self.stage == "body"

    @property
    def login(self) -> bool:
        return self.stage == "auth"

    @property
    def recipients(self) -> tuple[str, str]:
        return ("reject1", "reject2") if self.stage == "rset" else ("one", "two")

    @property
    def level(self) -> str:
        """Of TLS."""
        return "encrypt" if self.stage in TLS_STAGES else "none"

    def script(self, context: ssl.SSLContext) -> Script:
        """`context` is for those servers that have TLS."""
        replies: dict[str, Answer] = {} if self.kind == "refused" else self._replies()
        return Script(
            lmtp=self.mode == LMTP,
            pipelining=self.mode in (PIPELINED, AT_ONCE, LMTP), chunking=self.mode in (CHUNK, AT_ONCE),
            tls=context if self.stage in TLS_STAGES or self.login else None,
            mechanisms=("PLAIN",) if self.login else (), users={"robot": "secret"} if self.login else {},
            keep_bodies=False, replies=replies,
        )  # fmt: skip

    def _replies(self) -> dict[str, Answer]:
        stage, hello = self.stage, "lhlo" if self.mode == LMTP else "ehlo"
        if stage == "ehlo again":
            return {hello: [None, self._action()]}
        return {hello if stage == "ehlo" else stage: [self._action()]}

    def _action(self) -> Answer:
        if self.stage == "body":
            return _IN_THE_BODY[self.kind]
        return _ACTIONS[self.kind]

    def outcome(self) -> tuple[Told, Told]:
        """For the two recipients."""
        if self.stage in ("connect", "greeting", "ehlo", "starttls", "ehlo again", "auth"):
            told = self._opening()
        elif self.stage == "tls":
            told = Told("deferred", None, "4.7.5", "TLS", unreachable=True)
        elif self.stage == "body":
            told = _BODY[self.kind]
        elif self.stage == "rset":
            told = Told("failed", 550, "5.1.1", "No such user here", next=False)
        elif self.stage == "quit":
            told = ACCEPTED
        else:
            return self._transaction()
        return told, told

    def _opening(self) -> Told:
        stage = NAMES.get(self.stage, self.stage)
        if self.kind == "refused":
            return Told("deferred", None, "4.4.1", "Connection refused", unreachable=True)
        if self.kind == "bye":
            enhanced = {"starttls": "4.7.4", "auth": "4.7.8"}.get(stage, "4.3.2")
            return Told("deferred", 421, enhanced, BUSY, unreachable=True)
        if self.kind == "again":
            if stage == "greeting":
                return Told("deferred", None, "4.4.2", unasked(stages.EHLO, 220), unreachable=True)
            if stage == "starttls":
                return Told(
                    "deferred", None, "4.7.5", "plain text after its STARTTLS reply", unreachable=True
                )
            code = 235 if stage == "auth" else 250
            where = unexpected("block", code) if self.mode == AT_ONCE else unasked(stages.MAIL, code)
            return Told("deferred", None, "4.5.0", where)
        return Told("deferred", None, "4.4.2", self._words(stage), unreachable=True)

    def _transaction(self) -> tuple[Told, Told]:
        """mail, rcpt, data and dot."""
        stage, kind = self.stage, self.kind
        sent = stage == "dot" or (self.mode == AT_ONCE and stage in ("mail", "rcpt"))
        enhanced = "4.4.2" if kind in SILENT else "4.5.0"
        lost = Told("deferred", None, enhanced, self._words(stage), maybe=sent, next=not sent)
        if kind == "bye":
            busy = Told("deferred", 421, "4.3.2", BUSY, unreachable=stage == "mail")
            alone = stage == "rcpt" or (stage == "dot" and self.mode == LMTP)
            rest = Told("deferred", None, "4.4.2", stages.WHILE[stage], maybe=sent, next=not sent)
            return busy, rest if alone else busy
        if kind != "again":
            return lost, lost
        if stage == "dot":
            return ACCEPTED, ACCEPTED
        if self.mode == AT_ONCE:  # where each is answered twice, who can say
            too_early = Told("delivered", 250, "2.1.5", "Recipient ok", next=False)
            return too_early, too_early
        if stage == "data":
            words = unexpected("block", 354)
        elif self.mode in (ONE, CHUNK):
            words = unasked("rcpt", 250)
        else:
            words = unexpected("data", 250)
        told = Told("deferred", None, "4.5.0", words)
        return told, told

    def _words(self, stage: str) -> str:
        begins = {"stall": "timed out ", "drip": "timed out ", "garbage": "is no SMTP reply, "}
        return begins.get(self.kind, "") + stages.WHILE[stage]


ACCEPTED = Told("delivered", 250, "2.0.0", "Ok: queued", next=False)


def unasked(stage: str, code: int) -> str:
    return f"the server replied before it was asked, {stages.WHILE[stage]}: {code} "


def unexpected(stage: str, code: int) -> str:
    return f"unexpected reply {stages.WHILE[stage]}: {code} "


_ACTIONS: dict[str, Answer] = {
    "drop": Drop(), "reset": Reset(), "stall": Stall(), "drip": Slow(), "cut": Cut(),
    "flood": FLOOD, "long line": LONG_LINE, "garbage": GARBAGE,
    "bye": Close(BYE), "again": Again(),
}  # fmt: skip
_WHILE = stages.WHILE["block"]
_LOST = Told("deferred", None, "4.4.2", _WHILE)
_NO_REPLY = Told("deferred", None, "4.5.0", _WHILE)
_BODY_CELLS: dict[str, tuple[Answer, Told]] = {
    "drop": (Drop(after=100_000), _LOST),
    "reset": (Reset(after=100_000), _LOST),
    "stall": (Stall(after=100_000), _LOST),
    "flood": (Meanwhile(b"250-more\r\n" * 100, endless=True), _NO_REPLY),
    "long line": (Meanwhile(b"x" * 65_536, endless=True), _NO_REPLY),
    "garbage": (Meanwhile(b"what?\r\n"), _NO_REPLY),
    "bye": (Meanwhile(BYE.encode() + b"\r\n", leave=True), Told("deferred", 421, "4.3.2", BUSY)),
    "accepted": (
        Meanwhile(b"250 2.0.0 Ok\r\n"),
        Told("deferred", None, "4.5.0", unexpected("block", 250)),
    ),
    "too big": (
        Meanwhile(b"552 5.3.4 Too big\r\n", leave=True),
        Told("failed", 552, "5.3.4", "Too big", next=False),
    ),
}
_IN_THE_BODY = {kind: answer for kind, (answer, _) in _BODY_CELLS.items()}
_BODY = {kind: told for kind, (_, told) in _BODY_CELLS.items()}


def cells() -> list[Cell]:
    """All of them."""
    made = [Cell("connect", kind, mode) for kind in ("drop", "reset", "refused") for mode in (ONE, LMTP)]
    made += [Cell(s, k, m) for s in ("greeting", "ehlo") for k in KINDS for m in (ONE, AT_ONCE, LMTP)]
    made += [Cell(s, k, m) for s in ("mail", "rcpt", "dot") for k in KINDS for m in MODES]
    made += [Cell("data", k, m) for k in KINDS for m in (ONE, PIPELINED, LMTP)]
    made += [Cell("body", k, m) for k in _BODY_CELLS for m in (PIPELINED, AT_ONCE)]
    made += [Cell("rset", k, m) for k in KINDS for m in (ONE, PIPELINED)]
    made += [Cell("quit", k, m) for k in KINDS for m in (ONE, AT_ONCE)]
    tls = itertools.product(TLS_STAGES, KINDS, (ONE, AT_ONCE))
    made += [Cell(*cell) for cell in tls if cell[:2] != ("tls", "bye") and cell[:2] != ("tls", "again")]
    made += [Cell("auth", k, m) for k in KINDS for m in (ONE, AT_ONCE)]
    return made
