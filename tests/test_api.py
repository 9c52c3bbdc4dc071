"""The Python face, on a store in memory: what a program that embeds mailstrom relies on."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.api import Mailstrom, MailstromError, Request, Submitted
from mailstrom_cli.config.schema import build
from mailstrom_cli.store.base import DamagedMessage, Submission
from mailstrom_cli.store.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MESSAGE = b"From: a@example.org\nTo: b@example.net\n\nHello\n"
BAD = b"Subject: nobody wrote this\n\n"


@pytest.fixture
def mail() -> Mailstrom:
    return Mailstrom(build({"spool": "memory:"}))


def test_submit_gives_what_was_stored(mail: Mailstrom) -> None:
    done = mail.submit(MESSAGE, Request())
    assert done.recipients == ("b@example.net",)
    assert any("Message-ID" in fix for fix in done.fixes)
    entry = mail.entry(done.message_id)
    assert (entry.id, entry.state) == (done.id, "queued")
    assert mail.message(done.id).read().endswith(b"\r\n\r\nHello\r\n")


def test_a_bad_message_is_raised_and_nothing_is_stored(mail: Mailstrom) -> None:
    with pytest.raises(MailstromError) as caught:
        mail.submit(BAD, Request())
    assert caught.value.exit_code == 65
    assert list(mail.queue()) == []


def test_of_many_each_stands_alone_in_order(mail: Mailstrom) -> None:
    outcomes = mail.submit_many((text, Request()) for text in (MESSAGE, BAD, MESSAGE))
    assert [type(outcome) for outcome in outcomes] == [Submitted, MailstromError, Submitted]
    assert {entry.id for entry in mail.queue()} == {o.id for o in outcomes if isinstance(o, Submitted)}
    assert len({o.message_id for o in outcomes if isinstance(o, Submitted)}) == 2


def test_one_that_the_store_refuses_leaves_the_others(mail: Mailstrom) -> None:
    mail.submit(MESSAGE, Request(key="k"))
    first, refused, last = mail.submit_many(
        [(MESSAGE, Request()), (MESSAGE + b"more\n", Request(key="k")), (MESSAGE, Request(key="k"))]
    )
    assert isinstance(refused, MailstromError)
    assert refused.exit_code == 65
    assert isinstance(first, Submitted)
    assert isinstance(last, Submitted)
    assert len(list(mail.queue())) == 2  # the last one repeats what was there


def test_a_repeated_key_tells_of_the_message_that_is_stored(mail: Mailstrom) -> None:
    first = mail.submit(MESSAGE, Request(key="k"))
    again = mail.submit(MESSAGE, Request(key="k"))
    assert (again.id, again.message_id, again.recipients) == (first.id, first.message_id, first.recipients)
    assert mail.entry(first.id).envelope.message_id == first.message_id
    assert (first.fixes != (), again.fixes) == (True, ())


def test_of_a_group_that_is_taken_apart_every_outcome_is_told(
    mail: Mailstrom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills up while one refused message has the others stored one by one."""
    mail.submit(MESSAGE, Request(key="k"))
    intake, room = mail.store.intake, iter([True, True, False])

    def fill(submissions: list[Submission], now: float) -> list[str]:
        if len(submissions) == 1 and submissions[0].envelope.key is None and not next(room):
            raise OSError(errno.ENOSPC, "full")
        return intake(submissions, now)

    monkeypatch.setattr(mail.store, "intake", fill)
    outcomes = mail.submit_many(
        [
            (MESSAGE, Request()),
            (MESSAGE + b"more\n", Request(key="k")),
            (MESSAGE, Request()),
            (MESSAGE, Request()),
        ]
    )
    assert [getattr(outcome, "exit_code", 0) for outcome in outcomes] == [0, 65, 0, 75]
    assert len(list(mail.queue())) == 3


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 75), (errno.EMFILE, 75), (errno.EACCES, 77)])
def test_a_store_that_fails_is_an_error_with_its_code(
    mail: Mailstrom, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(number, "broken")

    monkeypatch.setattr(mail.store, "intake", fail)
    with pytest.raises(MailstromError, match="nothing stored: broken") as caught:
        mail.submit_many([(MESSAGE, Request())])
    assert caught.value.exit_code == code


def test_check_opens_no_store(tmp_path: Path) -> None:
    mail = Mailstrom(build({"spool": str(tmp_path / "spool")}))
    assert mail.check(MESSAGE, Request()).envelope.reverse_path == "a@example.org"
    assert not (tmp_path / "spool").exists()


def test_wait_returns_when_time_is_up_or_all_are_final(mail: Mailstrom) -> None:
    id = mail.submit(MESSAGE, Request()).id
    begun = time.monotonic()
    (entry,) = mail.wait([id], 0.2)
    assert (entry.state, time.monotonic() - begun >= 0.2) == ("queued", True)
    mail.cancel(id)
    (entry,) = mail.wait([id])
    assert entry.state == "failed"


def test_a_damaged_message_does_not_hide_the_others(mail: Mailstrom, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (mail.submit(MESSAGE, Request()).id for _ in range(2))
    read = mail.store.read

    def damaged(id: str) -> object:
        if id == first:
            raise DamagedMessage(first, "torn", "corrupt/")
        return read(id)

    monkeypatch.setattr(mail.store, "read", damaged)
    assert [entry.id for entry in mail.queue()] == [second]
    told: list[Exception] = []
    assert [entry.id for entry in mail.queue(on_error=told.append)] == [second]
    assert [str(error) for error in told] == [f"message {first} is damaged: torn"]


def test_a_message_that_cannot_be_read_now_is_told_or_raised(
    mail: Mailstrom, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail.submit(MESSAGE, Request())

    def denied(id: str) -> object:
        raise PermissionError(errno.EACCES, "denied", id)

    monkeypatch.setattr(mail.store, "read", denied)
    told: list[Exception] = []
    assert list(mail.queue(on_error=told.append)) == []
    assert [type(error) for error in told] == [PermissionError]
    with pytest.raises(PermissionError):
        list(mail.queue())


def test_recent_begins_anew_when_it_was_seen(mail: Mailstrom, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1_800_000_000, 1_900_000_000, 10))
    monkeypatch.setattr("mailstrom_cli.api.time.time", lambda: float(next(clock)))
    final, waiting = (mail.submit(MESSAGE, Request()).id for _ in range(2))
    mail.cancel(final)
    for _ in range(2):
        assert [entry.id for entry in mail.recent()] == sorted([final, waiting])
    mail.seen(float(next(clock)))
    assert [entry.id for entry in mail.recent()] == [waiting]


def test_work_that_is_done_already_is_not_recorded_again(mail: Mailstrom) -> None:
    id = mail.submit(MESSAGE, Request()).id
    for change in (mail.release, mail.hold, mail.hold, mail.release, mail.release, mail.cancel, mail.cancel):
        change(id)
    assert [e.get("event") for e in mail.events(id)] == [None, "held", "released", "cancelled"]


def test_what_a_server_failed_cannot_be_cancelled(mail: Mailstrom) -> None:
    id = mail.submit(MESSAGE, Request()).id
    lease = mail.store.lease(id)
    assert lease is not None
    with lease:
        result = {"address": "b@example.net", "status": "failed", "code": 550, "text": "no such user"}
        lease.record({"event": "results", "time": time.time(), "recipients": [result]})
    for change in (mail.cancel, mail.hold):
        with pytest.raises(MailstromError, match="already failed") as refused:
            change(id)
        assert refused.value.exit_code == 64


def test_settings_and_overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILSTROM_SPOOL", str(tmp_path / "unused"))
    mail = Mailstrom.open(spool=str(tmp_path / "spool"), via=["smtp://a.test", "smtp://b.test"])
    assert mail.settings.spool == str(tmp_path / "spool")
    assert [str(via) for via in mail.settings.via] == ["smtp://a.test", "smtp://b.test"]
    with pytest.raises(MailstromError) as caught:
        Mailstrom.open(config=str(tmp_path / "missing.toml"))
    assert caught.value.exit_code == 78


def test_delivery_goes_through_the_flusher(tmp_path: Path) -> None:
    """To a Maildir, so that no server is needed; the results are told as they come."""
    told: list[tuple[str, list[str]]] = []
    settings = {"spool": str(tmp_path / "spool"), "limits.min_free": 0}
    mail = Mailstrom(build({**settings, "via": _maildir(tmp_path / "mail")}))
    id = mail.submit(MESSAGE, Request()).id
    mail.flush(on_result=lambda entry, results: told.append((entry.id, [r.status for r in results])))
    assert told == [(id, ["delivered"])]
    assert mail.wait([id])[0].state == "delivered"
    assert mail.attempt([id])[0].state == "delivered"


def test_what_is_due_within_the_rounding_of_a_record_is_delivered_by_the_same_flush(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"spool": str(tmp_path / "spool"), "limits.min_free": 0}
    mail = Mailstrom(build({**settings, "via": _maildir(tmp_path / "mail")}))
    id = mail.submit(MESSAGE, Request(at=2_000_000_000.0005)).id
    monkeypatch.setattr(time, "time", lambda: 2_000_000_000.0)
    mail.flush()
    assert mail.entry(id).state == "delivered"


def _maildir(path: Path) -> tuple[object, ...]:
    from mailstrom_cli.config.via import parse_via

    return (parse_via(f"maildir://{path}"),)


@pytest.fixture
def _named_memory() -> Iterator[None]:
    from mailstrom_cli.store import memory

    yield
    memory._named.clear()


@pytest.mark.usefixtures("_named_memory")
def test_the_store_is_opened_once_and_by_url() -> None:
    mail = Mailstrom(build({"spool": "memory://one"}))
    assert isinstance(mail.store, Memory)
    assert mail.store is mail.store is Mailstrom(build({"spool": "memory://one"})).store
