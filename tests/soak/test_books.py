"""Whatever does not agree in the books is told, and what has its reason is counted."""

from __future__ import annotations

import dataclasses

import pytest

from mailstrom_cli.mail.status import DEFERRED, DELIVERED, FAILED

from .books import CUT, KILLED, LOST_REPLY, Books, Recorded
from .crowd import Done
from .load import Letter, Submit
from .weather import Taken

ID, NAME, TO = "06h0xezhcvnb52yy", "<1@example.org>", "u1.0@example.net"
LETTER = Letter(NAME, (TO,), b"", "digest")
SUBMIT = Submit("submit", ("submit",), b"", (LETTER,))
ONCE = Taken(1000.0, NAME, (TO,), "digest", "n1.example.test", said=True)


def done(code: int = 0, out: str = f"{ID}\n", err: str = "", *, killed: bool = False) -> Done:
    return Done("n9.example.test", ("submit",), code, out, err, 0.0, 0.0, killed, False)


def books(submitted: Done | None = None, status: str = DELIVERED, text: str = "250 Ok") -> Books:
    """Of one message, submitted and on record."""
    made = Books()
    made.submitted(SUBMIT, submitted or done())
    made.records[ID] = Recorded(ID, NAME, ((TO, status, text),))
    return made


def test_one_message_accepted_taken_and_on_record_is_as_it_should_be() -> None:
    made = books()
    made.close([ONCE])
    assert made.problems == []


@pytest.mark.parametrize("submitted", (done(), done(-9, killed=True)))
def test_a_message_whose_id_was_told_is_not_to_be_lost(submitted: Done) -> None:
    made = books(submitted)
    made.records.clear()
    made.close([])
    assert any("lost" in problem for problem in made.problems)


def test_exit_0_alone_accepts_a_message_of_sendmail() -> None:
    made = Books()
    made.submitted(dataclasses.replace(SUBMIT, words=("sendmail",)), done(out=""))
    made.close([])
    assert made.problems == [f"{NAME} was accepted, and is lost"]


def test_a_message_is_not_to_be_lost_in_a_power_cut() -> None:
    made = Books()
    made.submitted(SUBMIT, done())
    made.after_cut(1001.0, [], open, [])
    assert "is lost after a power cut" in made.problems[0]


@pytest.mark.parametrize(
    ("status", "text", "taken", "problem"),
    [
        (DELIVERED, "250 Ok", [], "on record as delivered, and was not"),
        (DELIVERED, "250 Ok", [ONCE, ONCE], "taken again, for no reason"),
        (FAILED, "550 No", [ONCE], "failed on record, and taken, for no reason"),
        (FAILED, "", [], "failed without a reason"),
        (DEFERRED, "450 Later", [], "is deferred in the end"),
        (DELIVERED, "250 Ok", [dataclasses.replace(ONCE, sha256="other")], "not as it was given"),
        (DELIVERED, "250 Ok", [ONCE, dataclasses.replace(ONCE, message_id="<2@example.org>")], "nowhere"),
    ],
)
def test_what_does_not_agree(status: str, text: str, taken: list[Taken], problem: str) -> None:
    made = books(status=status, text=text)
    made.close(taken)
    assert any(problem in told for told in made.problems), made.problems


def test_what_was_refused_is_not_to_be_there() -> None:
    made = books(done(65, "", "error: no\n"))
    made.problems.clear()
    made.close([ONCE])
    assert made.problems == [f"{NAME} was refused, and is there"]


def test_a_message_is_not_to_be_there_twice() -> None:
    made = books()
    made.records["06h0xezhcvnb52zz"] = dataclasses.replace(made.records[ID], id="06h0xezhcvnb52zz")
    made.close([ONCE])
    assert made.problems == [f"{NAME} is there 2 times"]


@pytest.mark.parametrize(
    "submitted", (done(75, "", "error: disk\n"), done(0, ""), done(70, "", "Traceback"), done(0, "oops\n"))
)
def test_what_a_submit_may_not_say(submitted: Done) -> None:
    assert books(submitted).problems


def test_a_lost_reply_a_kill_and_a_power_cut_are_reasons() -> None:
    unsaid = dataclasses.replace(ONCE, said=False)
    for first, reason in ((unsaid, LOST_REPLY), (ONCE, KILLED), (ONCE, CUT)):
        made = books()
        if reason == KILLED:
            made.kills[ONCE.by] = ONCE.time + 0.5
        if reason == CUT:
            made.taken_back[NAME, TO] = ONCE.time + 60, 1
        made.close([first, ONCE])
        assert made.problems == []
        assert made.counts[f"taken again: {reason}"] == 1


@pytest.mark.parametrize(
    ("kill", "cut"), [(ONCE.time + 60, (0.0, 0)), (0.0, (ONCE.time + 600, 1)), (0.0, (ONCE.time + 60, 0))]
)
def test_a_kill_or_a_power_cut_at_another_time_is_none(kill: float, cut: tuple[float, int]) -> None:
    made = books()
    if kill:
        made.kills[ONCE.by] = kill
    made.taken_back[NAME, TO] = cut
    made.close([ONCE, ONCE])
    assert len(made.problems) == 1
