"""Transactions that follow each other on one connection, against a model of the server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mailstrom_cli.mail.envelope import Envelope, Recipient
from mailstrom_cli.net.pool import IN_FLIGHT, Session
from mailstrom_cli.smtp.dialog import Answer, Capabilities, Read, SendMessage, Write
from mailstrom_cli.smtp.transaction import transaction
from mailstrom_cli.smtp.wire import dot_stuffed

from ..peers.model import Model
from .driving import Driven, reply

if TYPE_CHECKING:
    from mailstrom_cli.smtp.dialog import Effect

BODIES = [b"Subject: 1\r\n\r\nHello\r\n", b".\r\n..\r\n.x\r\n", b"RSET\r\nMAIL FROM:<x@x>\r\n", b"a\r\n" * 50]
OFFERS: list[set[str]] = [{"PIPELINING"}, *[{"PIPELINING", "CHUNKING"}] * 2, {"CHUNKING"}, set()]
ACCEPTS = {"mail": 250, "rcpt": 250, "data": 354, "dot": 250, "bdat": 250}
REFUSES = [450, 451, 452, 550, 552, 554]


class Transaction:
    """One that is under way: as `net.driver` has it, what is written is held until a reply is waited for."""

    def __init__(self, number: int, recipients: int, body: bytes, ahead: bool, lmtp: bool) -> None:
        self.sender = f"s{number}@example.org"
        self.recipients = [f"r{i}.{number}@example.net" for i in range(recipients)]
        self.body = body
        self.ahead, self.lmtp = ahead, lmtp
        self.sent = False
        self.answers: list[Answer] | None = None
        self._held = b""

    def begin(self, session: Session, model: Model) -> None:
        to = tuple(Recipient(r) for r in self.recipients)
        envelope = Envelope(self.sender, to, "<1@example.org>", len(self.body))
        self._session, self._model = session, model
        self._dialogue = transaction(
            session.offered, envelope, to, lmtp=self.lmtp, ahead=self.ahead, reset=session.begin()
        )
        self._go_on(None)

    def _write(self) -> None:
        if self._held:
            assert not self.sent or "PIPELINING" not in self._session.offered, self._held
            self._model.feed(self._held)
            self._held = b""

    def _go_on(self, told: Any) -> None:
        """To the next reply that is waited for, or the end."""
        try:
            effect: Effect = self._dialogue.send(told)
            while not isinstance(effect, Read):
                if isinstance(effect, Write):
                    self._held += effect.data
                else:
                    assert isinstance(effect, SendMessage)
                    self._held += b"".join(dot_stuffed([self.body])) if effect.stuffed else self.body
                    self._write()
                    self.sent = True
                effect = self._dialogue.send(None)  # type: ignore[arg-type]
            self._write()
        except StopIteration as end:
            self._write()
            self.answers = end.value
            self._session.end(end.value)

    def read(self) -> None:
        said = self._model.unread.pop(0)
        self._go_on(reply(said.line.decode().strip()))


@settings(max_examples=600, deadline=None)
@given(
    offered=st.sampled_from(OFFERS),
    plan=st.lists(
        st.tuples(st.integers(1, 3), st.sampled_from(BODIES), st.booleans()), min_size=1, max_size=7
    ),
    refusals=st.lists(st.none() | st.sampled_from(REFUSES), max_size=40),
    turns=st.lists(st.booleans(), max_size=80),
    lmtp=st.booleans(),
    keeps=st.booleans(),
)
def test_each_recipient_gets_the_reply_that_was_meant_for_it(
    offered: set[str],
    plan: list[tuple[int, bytes, bool]],
    refusals: list[int | None],
    turns: list[bool],
    lmtp: bool,
    keeps: bool,
) -> None:
    codes, early = iter(refusals), iter(turns)

    def decide(stage: str) -> int:
        return 250 if stage == "rset" else next(codes, None) or ACCEPTS[stage]

    model = Model(frozenset(offered), decide, lmtp=lmtp, keeps=keeps)
    transactions = [Transaction(n, *of_it, lmtp) for n, of_it in enumerate(plan)]

    async def all_of_them() -> None:
        session = Session("a", None, Capabilities(dict.fromkeys(offered, "")), None)  # type: ignore[arg-type]
        waiting, under_way = list(transactions), list[Transaction]()
        while waiting or under_way:
            may_begin = waiting and (
                not under_way
                or ("PIPELINING" in offered and under_way[-1].sent and len(under_way) < IN_FLIGHT)
            )
            if may_begin and (not under_way or next(early, True)):
                under_way.append(waiting.pop(0))
                under_way[-1].begin(session, model)
            else:
                under_way[0].read()
            while under_way and under_way[0].answers is not None:
                del under_way[0]

    asyncio.run(all_of_them())
    assert not model.unread
    for each in transactions:
        heard = [h for h in model.heard if h.sender == each.sender]
        assert len(heard) == 1
        meant = [heard[0].meant_for(r) for r in each.recipients]
        told = [a.reply for a in each.answers or ()]
        assert [(r.code, r.text) for r in told if r] == [(m.code, f"reply {m.number}") for m in meant if m]
        accepted = [r for r in each.recipients if heard[0].accepted(r)]
        assert accepted == [
            r
            for r, a in zip(each.recipients, each.answers or (), strict=True)
            if a.stage == "dot" and a.reply and a.reply.positive
        ]
        if accepted:
            assert heard[0].message == each.body
    assert {h.sender for h in model.heard} == {each.sender for each in transactions}


def test_a_421_to_the_rset_before_a_message_sent_at_once_says_that_it_was_not_taken() -> None:
    envelope = Envelope("a@example.org", (), "<1@example.org>", 3)
    session = Capabilities({"PIPELINING": "", "CHUNKING": ""})
    dialogue = transaction(session, envelope, [Recipient("b@example.net")], ahead=True, reset=True)
    (answer,) = Driven(dialogue, "421 4.4.2 idle too long", "lost").result
    assert (answer.stage, answer.reply.code) == ("mail", 421)
