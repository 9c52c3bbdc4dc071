"""`hold`, `release`, `retry`, `cancel`, `flush`, `status` and `show` on a real spool."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.api import Mailstrom
from mailstrom_cli.store.base import SWEPT
from mailstrom_cli.store.spool import Spool

from .conftest import MESSAGE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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
    assert here("hold", "-v", id).err == f"note: {id} is held already; nothing to do\n"
    assert here("hold", "-q", id) == (0, "", "")
    assert here("flush", id) == (0, "", f"note: {id} is held; `mailstrom release` lets it go\n")
    here("flush", "--all")
    assert (told(here, id)["held"], told(here, id)["attempts"]) == (True, 0)
    assert here("release", "-v", id).err == f"note: {id} released\n"
    assert here("release", id) == (0, "", f"note: {id} is not held; nothing to do\n")
    here("flush")
    assert (told(here, id)["held"], told(here, id)["status"]) == (False, "delivered")


@pytest.mark.usefixtures("receiver")
def test_a_cancelled_message_is_failed_and_retry_undoes_it(here: Run, submitted: Callable[..., str]) -> None:
    id = submitted("good@example.net")
    assert here("cancel", id) == (0, "", "")
    assert here("cancel", id) == (0, "", f"note: {id} is cancelled already; nothing to do\n")
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


def test_wait_goes_on_for_those_that_are_there(here: Run, submitted: Callable[..., str]) -> None:
    id = submitted("good@example.net")
    here("cancel", id)
    done = here("status", "--wait", "--json", id, "zzzz")
    assert done.code == 66  # the first bad one's; the cancelled one's would be 69
    assert [told["id"] for told in json.loads(done.out)] == [id]
    assert "'zzzz'" in done.err


def test_flush_of_many_ids_tells_the_one_that_is_unknown(here: Run, submitted: Callable[..., str]) -> None:
    id = submitted("good@example.net")
    here("cancel", id)
    done = here("flush", "zzzzzzzz", id)
    assert done.code == 66
    assert f"note: {id} is already failed; `mailstrom retry` tries it again\n" in done.err


def test_flush_has_nothing_to_do_where_the_default_spool_is_not_made_yet(
    here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MAILSTROM_SPOOL")
    monkeypatch.setattr("mailstrom_cli.config.load.default_spool", lambda _: f"{tmp_path}/default")
    monkeypatch.setattr("mailstrom_cli.cli.flush.default_spool", lambda _: f"{tmp_path}/default")
    assert here("flush") == (0, "", "")
    assert here("flush", "06h0rpy7wnbbjrkv").code == 66
    assert not (tmp_path / "default").exists()


def test_a_message_that_cannot_be_opened_now_does_not_stop_work_on_others(
    here: Run, submitted: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = submitted("good@example.net"), submitted("good@example.org")
    real = Spool.lease

    def lease(spool: Spool, id: str) -> object:
        if id == first:
            raise PermissionError(errno.EACCES, "Permission denied", f"/spool/queued/{id}/message.jsonl")
        return real(spool, id)

    monkeypatch.setattr(Spool, "lease", lease)
    done = here("hold", first, second)
    assert done.code == 77
    assert done.err == f"error: /spool/queued/{first}/message.jsonl: Permission denied\n"
    assert told(here, second)["held"] is True


def test_a_change_waits_for_an_attempt_and_then_gives_up(
    here: Run, submitted: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailstrom_cli.store.work.PATIENCE", 0.1)
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
@pytest.mark.usefixtures("receiver")
def test_recent_that_could_not_be_printed_is_told_again(process: Run, submitted: Callable[..., str]) -> None:
    id = submitted("good@example.net")
    process("flush")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mailstrom_cli", "status", "--recent"],
            stdout=full,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
    assert done.returncode == 75
    assert id in process("status", "--recent").out
    assert id not in process("status", "--recent").out


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
    here("retry", id)
    assert here("show", "--log", id).lines[-1].endswith("Z retried recipients=good@example.net")


def test_flush_sweeps_though_a_clock_was_years_ahead(here: Run, submitted: Callable[..., str]) -> None:
    submitted("good@example.net")
    store = Mailstrom.open().store
    ahead = time.time() + 1e8
    store.mark(SWEPT, ahead)
    here("flush")
    assert (store.mark(SWEPT) or ahead) < ahead


def test_what_was_planted_in_place_of_a_directory_is_no_bug(here: Run, spool: Path, eml: Write) -> None:
    here("submit", eml())
    for name in ("deferred", "corrupt", "marks"):
        (spool / name).rmdir()
        (spool / name).symlink_to("/tmp")
    for line in (["queue", "--state", "deferred"], ["queue"], ["status", "--recent"], ["flush"]):
        done = here(*line)
        assert done.code == 78, line
        assert "Not a directory" in done.err
        assert "check-spool" in done.err
