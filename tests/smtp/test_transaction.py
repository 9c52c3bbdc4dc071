"""One message: whatever is answered where, every recipient has exactly one answer, in order."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstrom_cli.mail.envelope import Envelope, Recipient
from mailstrom_cli.smtp.dialog import Answer, Capabilities
from mailstrom_cli.smtp.transaction import transaction

from .driving import Driven

ENVELOPE = Envelope("ann@example.org", (), "<1@example.org>", 1234)
PIPELINING = {"PIPELINING": ""}
BOTH = pytest.mark.parametrize("keywords", [{}, PIPELINING], ids=["one by one", "pipelined"])


def hand_over(
    keywords: dict[str, str],
    count: int,
    *replies: str,
    lmtp: bool = False,
    envelope: Envelope = ENVELOPE,
    early: str | None = None,
) -> Driven:
    recipients = [Recipient(f"r{i}@example.net") for i in range(count)]
    dialogue = transaction(Capabilities(keywords), envelope, recipients, lmtp=lmtp)
    return Driven(dialogue, *replies, early=early)


def told(done: Driven) -> list[tuple[str, int | str]]:
    """(stage, code or kind of failure) for each recipient."""
    answers: list[Answer] = done.result
    return [(a.stage, a.reply.code if a.reply else a.failure.kind) for a in answers]  # type: ignore[union-attr]


def test_one_by_one_every_command_waits_for_its_reply() -> None:
    done = hand_over({}, 2, "250 ok", "250 ok", "251 ok", "354 go", "250 taken")
    assert done.written == [
        "MAIL FROM:<ann@example.org>",
        "RCPT TO:<r0@example.net>",
        "RCPT TO:<r1@example.net>",
        "DATA",
    ]
    assert done.steps == ["mail", "rcpt", "rcpt", "data", "SENDMESSAGE", "dot"]
    assert told(done) == [("dot", 250), ("dot", 250)]


def test_pipelined_the_envelope_is_one_write() -> None:
    done = hand_over(PIPELINING, 2, "250 ok", "250 ok", "250 ok", "354 go", "250 taken")
    assert done.written == [
        "MAIL FROM:<ann@example.org>\r\nRCPT TO:<r0@example.net>\r\nRCPT TO:<r1@example.net>\r\nDATA"
    ]
    assert told(done) == [("dot", 250), ("dot", 250)]


@pytest.mark.parametrize(
    ("keywords", "changes", "line"),
    [
        ({}, {}, "MAIL FROM:<ann@example.org>"),
        ({"SIZE": "", "8BITMIME": "", "SMTPUTF8": ""}, {}, "MAIL FROM:<ann@example.org> SIZE=1234"),
        ({"8BITMIME": ""}, {"body": "8bitmime"}, "MAIL FROM:<ann@example.org> BODY=8BITMIME"),
        ({}, {"body": "8bitmime"}, "MAIL FROM:<ann@example.org>"),
        ({"SMTPUTF8": ""}, {"smtputf8": True}, "MAIL FROM:<ann@example.org> SMTPUTF8"),
        ({"REQUIRETLS": ""}, {}, "MAIL FROM:<ann@example.org>"),
        ({"REQUIRETLS": ""}, {"requiretls": True}, "MAIL FROM:<ann@example.org> REQUIRETLS"),
        ({}, {"smtputf8": True}, "MAIL FROM:<ann@example.org>"),
        ({}, {"reverse_path": ""}, "MAIL FROM:<>"),
    ],
)
def test_mail_has_the_parameters_that_are_offered_and_needed(
    keywords: dict[str, str], changes: dict[str, object], line: str
) -> None:
    envelope = Envelope(**{"reverse_path": "ann@example.org", "recipients": (), "message_id": "<1@x>",
                           "size": 1234, **changes})  # fmt: skip
    assert hand_over(keywords, 1, "250", "250", "354", "250", envelope=envelope).written[0] == line


@BOTH
def test_each_recipient_gets_its_own_answer(keywords: dict[str, str]) -> None:
    done = hand_over(keywords, 4, "250 ok", "550 a", "250 ok", "450 b", "250 ok", "354 go", "250 taken")
    assert told(done) == [("rcpt", 550), ("dot", 250), ("rcpt", 450), ("dot", 250)]
    assert not any("RSET" in line for line in done.written)


def test_mail_refused_one_by_one_ends_it_there() -> None:
    done = hand_over({}, 2, "550 5.7.1 no")
    assert told(done) == [("mail", 550)] * 2
    assert done.written == ["MAIL FROM:<ann@example.org>"]


def test_mail_refused_pipelined_reads_all_replies_and_needs_no_rset() -> None:
    done = hand_over(PIPELINING, 2, "550 5.7.1 no", "503 ?", "503 ?", "503 ?")
    assert told(done) == [("mail", 550)] * 2
    assert len(done.written) == 1


@BOTH
def test_all_recipients_refused_needs_a_rset(keywords: dict[str, str]) -> None:
    data = ["554 no valid recipients"] if keywords else []
    done = hand_over(keywords, 2, "250 ok", "550 a", "450 b", *data, "250 reset")
    assert told(done) == [("rcpt", 550), ("rcpt", 450)]
    assert done.written[-1] == "RSET"


@pytest.mark.parametrize("mail", ["250 ok", "550 no"])
def test_a_server_that_wants_data_for_nobody_gets_a_lone_dot(mail: str) -> None:
    done = hand_over(PIPELINING, 1, mail, "550 a", "354 go", "250 of nothing")
    assert told(done) == [("rcpt", 550) if mail.startswith("250") else ("mail", 550)]
    assert done.written[-1] == "."
    assert "SENDMESSAGE" not in done.steps


def test_in_lmtp_nobody_waits_for_a_reply_after_a_lone_dot() -> None:
    done = hand_over(PIPELINING, 1, "250 ok", "550 a", "354 go", lmtp=True)
    assert told(done) == [("rcpt", 550)]
    assert done.written[-1] == "."


@BOTH
@pytest.mark.parametrize("data", ["451 4.3.0 no", "554 5.7.1 no", "250 what", "421 bye"])
def test_no_message_after_a_refused_data(keywords: dict[str, str], data: str) -> None:
    done = hand_over(keywords, 2, "250 ok", "250 ok", "550 a", data, "250 reset")
    assert told(done) == [("data", int(data[:3])), ("rcpt", 550)]
    assert "SENDMESSAGE" not in done.steps
    assert done.written[-1] == "RSET"


@BOTH
def test_lmtp_answers_for_each_accepted_recipient(keywords: dict[str, str]) -> None:
    done = hand_over(
        keywords,
        4,
        "250 ok",
        "250 ok",
        "550 a",
        "250 ok",
        "250 ok",
        "354 go",
        "250 1",
        "452 2",
        "550 3",
        lmtp=True,
    )
    assert told(done) == [("dot", 250), ("rcpt", 550), ("dot", 452), ("dot", 550)]


def test_lmtp_lost_between_two_replies_keeps_what_was_said() -> None:
    done = hand_over({}, 2, "250 ok", "250 ok", "250 ok", "354 go", "250 1", "lost", lmtp=True)
    assert told(done) == [("dot", 250), ("dot", "lost")]


@BOTH
@pytest.mark.parametrize("early", ["552 5.3.4 too big", "451 4.3.0 full", "250 as if taken"])
@pytest.mark.parametrize("lmtp", [False, True])
def test_a_reply_before_the_end_of_data_is_told_as_such(
    keywords: dict[str, str], early: str, lmtp: bool
) -> None:
    done = hand_over(keywords, 2, "250 ok", "250 ok", "250 ok", "354 go", early=early, lmtp=lmtp)
    assert told(done) == [("block", int(early[:3]))] * 2


@BOTH
@pytest.mark.parametrize("code", ["354", "334"])
def test_an_intermediate_reply_accepts_no_recipient(keywords: dict[str, str], code: str) -> None:
    done = hand_over(keywords, 2, "250 ok", f"{code} what", "250 ok", "354 go", "250 taken")
    assert told(done) == [("rcpt", int(code)), ("dot", 250)]


def test_550_then_close_at_mail_stays_what_it_is_when_pipelined() -> None:
    assert told(hand_over(PIPELINING, 2, "550 5.7.1 no", "lost")) == [("mail", 550)] * 2


@BOTH
def test_a_failed_rset_changes_no_answer(keywords: dict[str, str]) -> None:
    data = ["554 none"] if keywords else []
    assert told(hand_over(keywords, 1, "250 ok", "550 a", *data, "timeout")) == [("rcpt", 550)]


def test_no_recipients_is_no_answer() -> None:
    assert hand_over({}, 0, "250 ok", "250 reset").result == []


@pytest.mark.parametrize("bad", ["a\r\nRCPT TO:<x@example.org>", "a\nb", "a\0b"])
def test_nothing_is_written_for_an_address_that_would_end_its_line(bad: str) -> None:
    dialogue = transaction(Capabilities({}), ENVELOPE, [Recipient("ok@example.net"), Recipient(bad)])
    with pytest.raises(ValueError, match="control character"):
        dialogue.send(None)  # type: ignore[arg-type]


# --- every mixture, against a model ---

CODES = [250, 251, 252, 354, 421, 450, 452, 500, 503, 550, 552, 554]


def expected(mail: int, rcpts: list[int], data: int, dots: list[int], lmtp: bool) -> list[tuple[str, int]]:
    """What the RFCs make of it."""
    if not 200 <= mail < 300:
        return [("mail", mail)] * len(rcpts)
    answers, dot = [], iter(dots)
    final = dots[0]
    for rcpt in rcpts:
        if not 200 <= rcpt < 300:
            answers.append(("rcpt", rcpt))
        elif data != 354:
            answers.append(("data", data))
        else:
            answers.append(("dot", next(dot) if lmtp else final))
    return answers


def exchange(
    mail: int, rcpts: list[int], data: int, dots: list[int], lmtp: bool, pipelined: bool
) -> list[tuple[str, int]]:
    """The replies that a server gives in this session, each with its stage."""
    begun = 200 <= mail < 300
    taken = [200 <= r < 300 for r in rcpts] if begun else []
    replies = [("mail", mail)]
    if pipelined or begun:
        replies += [("rcpt", r) for r in rcpts]
    if pipelined or any(taken):
        replies.append(("data", data))
        if data == 354:
            return replies + [("dot", d) for d in (dots[: sum(taken)] if lmtp else dots[:1])]
    return [*replies, ("rset", 250)] if begun else replies


@settings(max_examples=400)
@given(
    mail=st.sampled_from([250, 250, 250, *CODES]),
    rcpts=st.lists(st.sampled_from([250, 250, *CODES]), min_size=1, max_size=5),
    data=st.sampled_from([354, 354, 354, *CODES]),
    dots=st.lists(st.sampled_from(CODES), min_size=5, max_size=5),
    lmtp=st.booleans(),
    pipelined=st.booleans(),
    end=st.none() | st.integers(0, 12),
    kind=st.sampled_from(["lost", "timeout", "malformed"]),
)
def test_every_mixture_of_replies_and_every_place_to_fail(
    mail: int,
    rcpts: list[int],
    data: int,
    dots: list[int],
    lmtp: bool,
    pipelined: bool,
    end: int | None,
    kind: str,
) -> None:
    replies = exchange(mail, rcpts, data, dots, lmtp, pipelined)
    wanted: list[tuple[str, int | str]] = list(expected(mail, rcpts, data, dots, lmtp))
    said = [f"{code} said" for _, code in replies]
    if end is not None and end < len(replies):
        # What was read before the failure holds; who has no answer by then gets the failure.
        stage = replies[end][0]
        before = [s for s, _ in replies[:end]]
        stages = [at for at, _ in wanted]
        for i, at in enumerate(stages):
            needed = {"rcpt": i, "dot": stages[:i].count("dot") if lmtp else 0}.get(at, 0)
            if before.count(at) <= needed:
                wanted[i] = (stage, kind)
        said = [*said[:end], kind]
    done = hand_over(PIPELINING if pipelined else {}, len(rcpts), *said, lmtp=lmtp)
    assert told(done) == wanted
