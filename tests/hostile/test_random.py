"""Nine hundred hostile replies through parser and judgement; some whole dialogues over a socket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailstrom_cli.policy import classify
from mailstrom_cli.policy.classify import Circumstances
from mailstrom_cli.smtp import stages
from mailstrom_cli.smtp.dialog import Answer, Failure
from mailstrom_cli.smtp.wire import MAX_LINE, Malformed, ReplyParser, dot_stuffed

from ..transport.sending import MESSAGE
from .words import NAMED

if TYPE_CHECKING:
    from ..transport.sending import Sender

CODES = [*map(str, (220, 250, 251, 235, 334, 354, 421, 450, 452, 454, 500, 530, 535, 550, 552, 554, 199)),
         "600", "2", "25x", "-50", "٢٥٠"]  # fmt: skip
line = st.builds(
    lambda code, mark, enhanced, text, end: code.encode() + mark + enhanced + text + end,
    st.sampled_from(CODES),
    st.sampled_from([b" ", b" ", b" ", b"-", b"-", b"", b"_", b"\t"]),
    st.sampled_from([b"", b"2.0.0 ", b"5.7.1 ", b"4.2.0 ", b"4.5.3 ", b"2.5. ", b"999.1.1 ", b"5.1.1"]),
    st.sampled_from(list(NAMED.values())) | st.binary(max_size=40),
    st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r", b"", b"\r\r\n", b"\0\r\n", b"x" * MAX_LINE + b"\r\n"]),
)
hostile = st.lists(line, min_size=1, max_size=4).map(b"".join) | st.binary(max_size=60)
circumstances = st.builds(
    Circumstances,
    age=st.sampled_from([0.0, 1e6]),
    attempts=st.integers(0, 9),
    retries=st.integers(0, 9),
    tls_required=st.booleans(),
    relay=st.booleans(),
)


@settings(max_examples=900, deadline=None)
@given(hostile, st.lists(st.integers(0, 3000), max_size=4), circumstances, st.booleans())
def test_hostile_replies_are_judged_and_crash_nothing(
    data: bytes, places: list[int], told: Circumstances, sent: bool
) -> None:
    parser, at = ReplyParser(), 0
    edges = [*sorted(p for p in places if p < len(data)), len(data)]
    verdicts = []
    try:
        for edge in edges:
            parser.feed(data[at:edge])
            at = edge
            while (reply := parser.next_reply()) is not None:
                assert reply.text.isprintable()
                assert reply.enhanced is None or reply.enhanced[0] == str(reply.code)[0]
                for stage in stages.WHILE:
                    verdicts.append((stage, classify.answer(Answer(stage, reply), told)))
                    refusal = Failure("refused", stage, reply.text, reply)
                    verdicts.append(("", classify.failure(refusal, told)))
    except Malformed as error:
        assert str(error).isprintable() and len(str(error)) < 120
        stage = stages.DOT if sent else stages.MAIL
        verdict = classify.failure(Failure("malformed", stage, str(error)), told)
        assert verdict.maybe_delivered is sent and verdict.next_host is not sent
        verdicts.append(("", verdict))
    assert parser.backlog <= MAX_LINE or not verdicts or data.count(b"\n")
    for stage, verdict in verdicts:
        assert verdict.status in ("delivered", "deferred", "failed")
        assert verdict.text and verdict.text.isprintable()
        assert verdict.enhanced and verdict.enhanced[0] == {"delivered": "2", "deferred": "4"}.get(
            verdict.status, "5"
        )
        if verdict.status == "delivered":
            assert stage == stages.DOT and verdict.code is not None and 200 <= verdict.code < 300
        if verdict.retry_after is not None:
            assert 60 <= verdict.retry_after <= 3600


# --- whole dialogues ---

HELLO = st.sampled_from(
    [b"250 mx\r\n", b"250-mx\r\n250 PIPELINING\r\n", b"250-mx\r\n250-CHUNKING\r\n250 PIPELINING\r\n"]
)
ENVELOPE = b"250 2.1.0 Ok\r\n"


def sometimes(usual: bytes) -> st.SearchStrategy[bytes]:
    """Mostly what a server says here, so that many dialogues get to their end."""
    return st.sampled_from([usual] * 5) | hostile


dialogues = st.tuples(
    sometimes(b"220 mx\r\n"), HELLO | hostile, *[sometimes(ENVELOPE)] * 3, sometimes(b"354 Go\r\n"),
    sometimes(b"250 2.0.0 Ok: queued\r\n"), hostile,
)  # fmt: skip


class Peer:
    """Says one thing after the other, each when something was heard; leaves when it hears nothing."""

    def __init__(self) -> None:
        self.says: tuple[bytes, ...] = ()
        self.heard = b""
        self.late = b""
        """What was said since the message was there."""

    @property
    def whole(self) -> bool:
        return b"".join(dot_stuffed([MESSAGE])) in self.heard or b" LAST\r\n" + MESSAGE in self.heard

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for said in self.says:
                if self.whole:
                    self.late += said
                writer.write(said)
                async with asyncio.timeout(0.03):
                    data = await reader.read(100_000)
                if not data:
                    break
                self.heard += data
        except (TimeoutError, ConnectionError):
            pass
        finally:
            writer.close()


def test_hostile_dialogues_end_with_a_result_for_each_recipient(sender) -> None:
    out: Sender = sender(
        **{f"smtp_timeout_{s}": 0.5 for s in ("greeting", "ehlo", "mail", "rcpt", "data", "dot")}
    )
    peer = Peer()
    listening = out.run(asyncio.start_server(peer.serve, "127.0.0.1", 0))
    via = f"smtp://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    seen = set()

    @settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(dialogues)
    def one(says: tuple[bytes, ...]) -> None:
        peer.__init__()  # type: ignore[misc]
        peer.says = says
        told = out.send(via, "one@example.test", "two@example.test")
        assert [r.address for r in told] == ["one@example.test", "two@example.test"]
        for result in told:
            seen.add(result.status)
            assert result.text and result.text.isprintable() and len(result.text) <= 1000
            assert "internal error" not in result.text
            if result.status == "delivered":
                assert peer.whole and b"2" in peer.late, "taken for delivered before the message was there"
            assert not result.maybe_delivered or result.status != "delivered"
        assert (told[0].transcript or "").replace("\n", "").isprintable()
        assert not out.smtp._pool._free or told[0].status != "deferred"

    try:
        one()
    finally:
        listening.close()
        out.run(asyncio.sleep(0.05))
    assert seen >= {"delivered", "deferred"}
