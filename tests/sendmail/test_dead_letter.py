"""A message that was read and not stored is kept in the caller's home, and nothing else is harmed by that."""

from __future__ import annotations

import mailbox
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.cli.sendmail import deadletter

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Front

NOT_NOW = {"MAILSTROM_LIMITS_MIN_FREE": "1000000GB"}
TO_BOB = ("-f", "ann@example.org", "bob@example.net")


def test_the_message_is_appended_with_a_separator(front: Front) -> None:
    for text in (b"one", b"two\n"):
        done = front(*TO_BOB, input=b"Subject: x\n\n" + text, expect=71, **NOT_NOW)
        assert f"note: the message is kept in {front.dead_letter}" in done.err
    assert stat.S_IMODE(front.dead_letter.stat().st_mode) == 0o600
    data = front.dead_letter.read_bytes()
    first = data.split(b"\n")[0].decode()
    assert first.startswith("From ann@example.org ") and len(first.split()) == 7
    with_separators = mailbox.mbox(front.dead_letter)
    assert [m.get_payload() for m in with_separators] == ["one\n", "two\n"]
    with_separators.close()


def test_submit_takes_it_from_there(front: Front) -> None:
    message = b"From: ann@example.org\nTo: b@example.net\n\nFrom here\n>From there\nend\n"
    front(*TO_BOB, input=message, expect=71, **NOT_NOW)
    import sys

    front("--mbox", str(front.dead_letter), program=[sys.executable, "-m", "mailstrom_cli", "submit"])
    assert front.body == message.partition(b"\n\n")[2]


def test_a_message_that_is_refused_is_kept_too(front: Front) -> None:
    front(*TO_BOB, input=b"Subject: a\nSubject: b\n\nHello\n", expect=65)
    assert b"Hello" in front.dead_letter.read_bytes()


def test_so_is_one_without_recipients(front: Front) -> None:
    front("-t", input=b"Subject: a\n\nHello\n", expect=64)
    assert b"Hello" in front.dead_letter.read_bytes()


@pytest.mark.parametrize(
    "line", [["-Z"], [], ["-N", "x", "b@example.net"], ["-C", "/none.toml", "b@example.net"]]
)
def test_what_was_not_read_is_not_kept(front: Front, line: list[str]) -> None:
    front(*line, expect=None)
    assert not front.dead_letter.exists()


def test_a_stored_message_is_not_kept(front: Front) -> None:
    front(*TO_BOB)
    assert not front.dead_letter.exists()


def test_where_nothing_can_be_kept_that_is_told_and_the_exit_code_stays(front: Front) -> None:
    done = front(*TO_BOB, expect=71, HOME=str(front.home / "none"), **NOT_NOW)
    assert "dead.letter: No such file or directory; the message is lost" in done.err
    assert "it was not stored" in done.err


@pytest.mark.parametrize("kind", ["link", "hard link", "fifo", "directory"])
def test_only_a_plain_file_of_the_caller_is_written(front: Front, kind: str) -> None:
    other = front.folder / "other"
    other.write_bytes(b"precious")
    other.chmod(0o644)
    if kind == "link":
        front.dead_letter.symlink_to(other)
    elif kind == "hard link":
        front.dead_letter.hardlink_to(other)
    elif kind == "fifo":
        os.mkfifo(front.dead_letter)
    else:
        front.dead_letter.mkdir()
    done = front(*TO_BOB, expect=71, **NOT_NOW)
    assert "the message is lost" in done.err
    assert other.read_bytes() == b"precious"
    assert stat.S_IMODE(other.stat().st_mode) == 0o644


def test_what_others_could_read_is_closed(front: Front) -> None:
    front.dead_letter.write_bytes(b"")
    front.dead_letter.chmod(0o644)
    front(*TO_BOB, expect=71, **NOT_NOW)
    assert stat.S_IMODE(front.dead_letter.stat().st_mode) == 0o600


def test_letters_of_many_at_once_do_not_mix(tmp_path: Path) -> None:
    letters = [(chr(97 + n) * 70 + "\n").encode() * 3000 for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda data: deadletter.save(data, "a@example.org", 0.0, str(tmp_path)), letters))
    box = mailbox.mbox(tmp_path / "dead.letter")
    assert sorted(m.as_bytes().lstrip(b"\n") for m in box) == sorted(letters)
    box.close()


def test_home_is_that_of_the_environment_or_of_the_password_file(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    monkeypatch.setenv("HOME", "/somewhere")
    assert deadletter.home() == "/somewhere"
    monkeypatch.setenv("HOME", "")
    assert deadletter.home() in (pwd.getpwuid(os.getuid()).pw_dir, "/")
