"""`hold`, `release`, `retry`, `cancel`, `flush`, `status` and `show` on a real spool."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.api import Mailstrom

from .conftest import MESSAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Done

    Run = Callable[..., Done]
    Write = Callable[..., str]


@pytest.fixture
def submitted(here: Run, eml: Write) -> Callable[..., str]:
    def submit(*to: str) -> str:
        return here("submit", eml(), *(f"--to={address}" for address in to)).out.strip()

    return submit


def told(here: Run, id: str) -> dict[str, object]:
    return json.loads(here("status", "--json", id).out)  # type: ignore[no-any-return]


@pytest.mark.usefixtures("receiver")
def test_hold_keeps_a_message_from_being_tried(here: Run, submitted: Callable[..., str]) -> None:
    id = submitted("good@example.net")
    assert here("hold", id) == (0, "", "")
    assert here("hold", "-v", id).err == f"note: {id} held\n"
    here("flush", "--all")
    assert (told(here, id)["held"], told(here, id)["attempts"]) == (True, 0)
    assert here("release", id).code == 0
    here("flush")
    assert (told(here, id)["held"], told(here, id)["status"]) == (False, "delivered")


@pytest.mark.usefixtures("receiver")
def test_a_cancelled_message_is_failed_and_retry_undoes_it(here: Run, submitted: Callable[..., str]) -> None:
    id = submitted("good@example.net")
    assert here("cancel", id) == (0, "", "")
    assert here("cancel", id) == (0, "", "")
    assert told(here, id)["status"] == "failed"
    assert here("status", "--wait", id).code == 69
    here("flush", "--all")
    assert told(here, id)["attempts"] == 0
    assert here("retry", id).code == 0
    here("flush")
    assert told(here, id)["status"] == "delivered"


@pytest.mark.usefixtures("receiver")
def test_retry_makes_a_deferred_message_due(here: Run, submitted: Callable[..., str]) -> None:
    id = submitted("greylisted@example.net")
    here("flush")
    here("flush")
    assert (told(here, id)["status"], told(here, id)["attempts"]) == ("deferred", 1)
    here("retry", id)
    here("flush")
    assert (told(here, id)["status"], told(here, id)["attempts"]) == ("delivered", 2)


@pytest.mark.usefixtures("receiver")
def test_what_is_final_is_not_worked_on(here: Run, submitted: Callable[..., str]) -> None:
    id = submitted("good@example.net")
    here("flush")
    for command in ("hold", "cancel", "retry"):
        done = here(command, id)
        assert (done.code, done.out) == (64, "")
        assert f"{id} is " in done.err


def test_of_many_ids_each_stands_alone(here: Run, submitted: Callable[..., str]) -> None:
    first, second = submitted("good@example.net"), submitted("good@example.org")
    assert here("hold", first, "zzzzzzzz", second).code == 66
    assert told(here, first)["held"] is told(here, second)["held"] is True
    done = here("status", first, "zzzzzzzz")
    assert (done.code, len(done.lines)) == (66, 2)


def test_a_change_waits_for_an_attempt_and_then_gives_up(
    here: Run, submitted: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailstrom_cli.api.LEASE_PATIENCE", 0.1)
    id = submitted("good@example.net")
    lease = Mailstrom.open().store.lease(id)
    assert lease is not None
    with lease:
        done = here("hold", id)
    assert done.code == 75
    assert "a delivery is in progress" in done.err
    assert here("hold", id).code == 0


@pytest.mark.usefixtures("receiver")
def test_flush_is_silent_and_v_tells_each_result(here: Run, submitted: Callable[..., str]) -> None:
    id = submitted("good@example.net", "busy@example.net")
    assert here("flush", "-q") == (0, "", "")
    here("retry", id)
    done = here("-v", "flush", id)
    assert done.out == ""
    assert f"deferred: {id} busy@example.net 450 4.2.2 Mailbox busy\n" in done.err


def test_an_id_may_be_shortened_and_a_message_id_given(here: Run, submitted: Callable[..., str]) -> None:
    id = submitted("good@example.net")
    message_id = told(here, id)["message_id"]
    for name in (id[:12], id[-4:], message_id):
        assert told(here, str(name))["id"] == id


@pytest.mark.usefixtures("receiver")
def test_recent_tells_what_finished_since_it_was_last_asked(here: Run, submitted: Callable[..., str]) -> None:
    done, waiting = submitted("good@example.net"), submitted("busy@example.net")
    here("flush")
    assert {e["id"] for e in json.loads(here("status", "--recent", "--json").out)} == {done, waiting}
    assert {e["id"] for e in json.loads(here("status", "--recent", "--json").out)} == {waiting}


@pytest.mark.usefixtures("receiver")
def test_the_transcript_follows_with_v(here: Run, submitted: Callable[..., str]) -> None:
    id = submitted("busy@example.net")
    here("flush")
    assert "transcript" not in here("status", id).out
    for line in (["-v", "status", id], ["status", id, "-v"]):
        assert "  C: RCPT TO:<busy@example.net>\n" in here(*line).out


def test_show_prints_the_message_as_it_will_be_sent(process: Run) -> None:
    id = process("submit", input=MESSAGE).out.strip()
    whole = process("show", id).out
    assert whole.replace("\r\n", "\n").endswith("\n\nHello\n")
    header = process("show", "--headers", id).out
    assert whole.startswith(header)
    assert "Message-ID: <" in header
    assert "Hello" not in header


def test_show_tells_what_is_recorded(here: Run, submitted: Callable[..., str]) -> None:
    id = submitted("good@example.net")
    here("hold", id)
    told = json.loads(here("show", "--sidecar", id).out)
    assert (told["id"], told["state"], told["recipients"][0]["address"]) == (id, "queued", "good@example.net")
    assert told["held_since"] >= told["submitted"]
    submit, held = here("show", "--log", id).lines
    assert submit.endswith("submitted a@example.org to good@example.net")
    assert held.endswith("Z held")
