"""`mailstrom submit`: what it stores, what it prints, what it refuses."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.api import Mailstrom
from mailstrom_cli.store.ids import is_id

from .conftest import MESSAGE, Done

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailstrom_cli.store.entry import Entry

    Run = Callable[..., Done]
    Write = Callable[..., str]

BAD = b"Subject: nobody wrote this\n\n"


def stored(done: Done) -> Entry:
    return Mailstrom.open().entry(done.out.strip())


def test_a_message_from_stdin_gives_one_id(process: Run) -> None:
    done = process("submit", input=MESSAGE)
    assert (done.code, done.err) == (0, "")
    assert is_id(done.out.removesuffix("\n"))
    entry = stored(done)
    assert entry.envelope.reverse_path == "a@example.org"
    assert [r.address for r in entry.recipients] == ["b@example.net"]


def test_the_options_make_the_envelope(process: Run) -> None:
    before = time.time()
    done = process(
        "submit", "-f", "<>", "--to", "x@example.net", "-t", "y@example.net", "--at", "+1h",
        "--expires", "2d", "--notify", "success,failure", "--ret", "hdrs", "--envid", "e-1", "--key", "k",
        "--require-tls",
        input=MESSAGE,
    )  # fmt: skip
    envelope = stored(done).envelope
    assert envelope.reverse_path == ""
    assert [(r.address, r.notify) for r in envelope.recipients] == [
        ("x@example.net", ("success", "failure")),
        ("y@example.net", ("success", "failure")),
    ]
    assert (envelope.ret, envelope.envid, envelope.key) == ("hdrs", "e-1", "k")
    assert envelope.requiretls
    assert envelope.at == pytest.approx(before + 3600, abs=30)
    assert envelope.expires == pytest.approx(before + 3600 + 2 * 86400, abs=30)
    assert envelope.submitter


def test_a_key_makes_it_idempotent(process: Run) -> None:
    first, again = (process("submit", "--key", "k", input=MESSAGE) for _ in range(2))
    assert first.out == again.out
    other = process("submit", "--key", "k", input=MESSAGE + b"more\n")
    assert (other.code, other.out) == (65, "")


def test_many_files_each_stand_alone(here: Run, eml: Write, tmp_path: Path) -> None:
    good, bad, missing = eml("good.eml"), eml("bad.eml", BAD), str(tmp_path / "missing.eml")
    done = here("submit", good, missing, bad, good)
    assert len(done.lines) == 2
    assert done.code == 66  # the first bad one's
    assert f"error: {missing}: cannot be read: No such file or directory" in done.err
    assert f"error: {bad}: " in done.err
    assert Mailstrom.open().store.count(["queued"]) == 2


def test_a_key_of_another_message_leaves_the_group_alone(here: Run, eml: Write) -> None:
    assert here("submit", "--key", "k", eml()).code == 0
    done = here("submit", "--key", "k", eml("other.eml", MESSAGE + b"more\n"))
    assert (done.code, done.out) == (65, "")


def test_more_messages_than_one_group(here: Run, eml: Write) -> None:
    files = [eml(f"{i}.eml") for i in range(150)]
    done = here("submit", *files)
    assert done.code == 0
    assert len(set(done.lines)) == 150


def test_an_mbox(here: Run, eml: Write) -> None:
    box = eml("box", b"From x\n" + MESSAGE + b"\nFrom y\n" + BAD + b"\nFrom z\n" + MESSAGE)
    done = here("submit", "--mbox", box)
    assert (done.code, len(done.lines)) == (65, 2)
    assert f"error: {box}, message 2 (line 8): " in done.err


def test_an_mbox_on_stdin_an_empty_one_and_one_that_is_none(process: Run, eml: Write) -> None:
    box = b"From x\n" + MESSAGE + b"\nFrom y\n" + BAD
    done = process("submit", "--mbox", "-", input=box)
    assert (done.code, len(done.lines)) == (65, 1)
    assert "error: stdin, message 2 (line 8): " in done.err
    assert process("submit", "--mbox", eml("empty", b"")) == (0, "", "")
    none = eml()
    done = process("submit", "--mbox", none)
    assert (done.code, done.err.count(none)) == (65, 1)


def test_json_is_one_object_a_line(process: Run) -> None:
    done = process("submit", "--json", input=MESSAGE)
    told = json.loads(done.out)
    assert list(told) == ["id", "message_id", "fixes", "recipients", "file"]
    assert told["file"] is None
    assert told["recipients"] == ["b@example.net"]
    assert any("Date" in fix for fix in told["fixes"])


def test_of_many_files_notes_and_objects_name_theirs(here: Run, eml: Write) -> None:
    one, two = eml("one.eml"), eml("two.eml")
    done = here("submit", "-v", "--json", one, two)
    assert [json.loads(line)["file"] for line in done.lines] == [one, two]
    for name in (one, two):
        assert f"note: {name}: field `Date`: added" in done.err


def test_the_ids_of_many_files_sort_as_they_were_given(here: Run, eml: Write) -> None:
    done = here("submit", *(eml(f"{i}.eml") for i in range(70)))
    assert done.lines == sorted(done.lines)


def test_a_disk_that_fills_up_stops_only_what_has_no_room(
    here: Run, eml: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many ids as messages stored, and an error by name for each of the others."""
    from mailstrom_cli.store import files

    write = files.write_all

    def full(fd: int, data: bytes) -> None:
        if b"huge" in bytes(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(fd, data)

    monkeypatch.setattr(files, "write_all", full)
    names = [eml(f"{i}.eml") for i in range(5)]
    huge = eml("huge.eml", MESSAGE + b"huge\n")
    done = here("submit", *names, huge, *names)
    assert (done.code, len(done.lines)) == (75, 10)
    assert Mailstrom.open().store.count(["queued"]) == 10
    first, hint = done.err.splitlines()
    assert first.startswith(f"error: {huge}: the message could not be stored in ")
    assert hint.startswith("hint: make space")


def test_a_repeated_key_tells_the_message_id_that_is_stored(process: Run) -> None:
    first, again = (
        json.loads(process("submit", "--json", "--key", "k", input=MESSAGE).out) for _ in range(2)
    )
    assert (again["id"], again["message_id"]) == (first["id"], first["message_id"])


def test_check_stores_nothing_and_tells_the_fixes(process: Run, spool: Path) -> None:
    done = process("submit", "--check", input=MESSAGE)
    assert (done.code, done.err) == (0, "")
    assert "stdin: fixed: field `Date`: added" in done.out
    assert json.loads(process("submit", "--check", "--json", input=MESSAGE).out)["id"] is None
    assert process("submit", "--check", "-q", input=MESSAGE).out == ""
    assert process("submit", "--check", input=BAD).code == 65
    assert not spool.exists()


@pytest.mark.parametrize("place", ["before", "after"])
def test_verbose_tells_the_fixes_before_or_after_the_command(process: Run, place: str) -> None:
    line = ["-v", "submit"] if place == "before" else ["submit", "-v"]
    done = process(*line, input=MESSAGE)
    assert done.code == 0
    assert "note: field `Message-ID`: added" in done.err


@pytest.mark.parametrize(
    "option", ["-f", "-t", "--at", "--expires", "--key", "--envid", "--notify", "--mbox"]
)
@pytest.mark.parametrize("text", ["a\r\nb", "a\nb", "a\x7fb", "a\x1b[2Jb", "a\x85b", "a\udcffb"])
def test_control_characters_in_options_are_refused(here: Run, option: str, text: str) -> None:
    done = here("submit", option, text)
    assert (done.code, done.out) == (64, "")
    assert "contains" in done.err or "is not UTF-8" in done.err
    assert len(done.err.splitlines()) == 1


def test_the_seconds_of_a_wait_without_equals_are_hinted_at(here: Run) -> None:
    assert "hint: write --wait=5 " in here("submit", "--wait", "5").err
    Mailstrom.open().store  # noqa: B018  (makes it)
    assert "hint: write --wait=5 " in here("status", "--wait", "5").err


def test_what_is_wrong_with_an_option_is_told_by_its_name(process: Run) -> None:
    done = process("submit", "--envid", "ü", input=MESSAGE)
    assert (done.code, done.out) == (64, "")
    assert done.err.startswith("error: --envid: it must be 1 to ")


def test_words_are_taken_in_any_case(process: Run) -> None:
    done = process("submit", "--ret", "HDRS", "--notify", "NEVER", input=MESSAGE)
    assert stored(done).envelope.ret == "hdrs"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["--at", "soon"], "--at: 'soon' is not a time"),
        (["--expires", "soon"], "--expires: 'soon' is not a duration"),
        (["--expires", "0s"], "--expires: '0s' is not a duration longer than 0"),
        (["--expires", "99999999999999d"], "is not a duration"),
        (["--notify", "never,delay"], "neither `never` nor a list"),
        (["--ret", "all"], "'all' is not one of"),
        (["--key", ""], "--key is empty"),
        (["-f", ""], "hint: write '<>' for the null reverse-path"),
        (["--expires", "5"], '--expires: "5" has no unit; write 90s, 5m, 2h or 5d'),
        (["--at", "+5"], '--at: "5" has no unit'),
        (["-t"], "hint: `mailstrom submit --help` tells"),
        (["--wait=x"], "--wait: 'x' is not a number of seconds"),
        (["--wait", "--check"], "--check stores nothing"),
        (["--key", "k", "a", "b"], "--key names one message"),
        (["-v", "-q"], "-v and -q exclude each other"),
        (["--bogus"], "no such option"),
        (["-f"], "requires an argument"),
    ],
)
def test_wrong_options_are_64_and_say_what_is_wrong(here: Run, line: list[str], said: str) -> None:
    done = here("submit", *line)
    assert (done.code, done.out) == (64, "")
    assert said in done.err


def in_little_memory(shell: str, tmp_path: Path, **env: str) -> Done:
    """Run a line of shell, in which `submit` may have 40 MiB of memory beside mapped files."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    submit = f"(ulimit -d {40 * 1024}; exec {sys.executable} -m mailstrom_cli submit)"
    done = subprocess.run(
        ["sh", "-c", f"{shell} | {submit}"],
        env={**os.environ, "TMPDIR": str(scratch), **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert os.listdir(scratch) == []
    return Done(done.returncode, done.stdout, done.stderr)


def test_input_without_end_is_refused_in_bounded_memory(spool: Path, tmp_path: Path) -> None:
    done = in_little_memory("yes", tmp_path, MAILSTROM_LIMITS_MESSAGE_SIZE="100MiB")
    assert (done.code, done.out) == (65, "")
    assert "larger than" in done.err
    assert not spool.exists() or os.listdir(spool / "tmp") == []


def test_a_large_message_from_a_pipe_is_stored_in_bounded_memory(tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(MESSAGE + (b"x" * 76 + b"\n") * 1_000_000)
    done = in_little_memory(f"cat {body}", tmp_path, MAILSTROM_LIMITS_MESSAGE_SIZE="100MiB")
    assert (done.code, done.err) == (0, "")
    assert stored(done).envelope.size > 78_000_000  # CRLF lines


def test_stored_is_success_even_when_the_id_cannot_be_written(spool: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mailstrom_cli", "submit"],
            input=MESSAGE,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
            env={name: held for name, held in os.environ.items() if name != "PYTHONUNBUFFERED"},
        )
    assert done.returncode == 0
    assert b"warning: stored as " in done.stderr
    assert Mailstrom.open().store.count(["queued"]) == 1


def test_after_stdout_failed_every_further_id_is_told(eml: Write) -> None:
    names = [eml(f"{i}.eml") for i in range(3)]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mailstrom_cli", "submit", *names],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    told = done.stderr.decode().splitlines()
    ids = list(Mailstrom.open().store.ids(["queued"]))
    assert done.returncode == 0
    assert [line.partition(", but stdout")[0] for line in told] == [
        f"warning: {name}: stored as {id}" for name, id in zip(names, ids, strict=True)
    ]


def test_a_closed_stdout_is_no_traceback(spool: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m mailstrom_cli submit >&-"],
        input=MESSAGE,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert Mailstrom.open().store.count(["queued"]) == 1


@pytest.mark.parametrize(
    ("to", "code"), [("good@example.net", 0), ("unknown@example.net", 69), ("busy@example.net", 75)]
)
@pytest.mark.usefixtures("receiver")
def test_wait_delivers_here_when_nobody_runs(process: Run, to: str, code: int) -> None:
    done = process("submit", "--wait", "-t", to, "-t", "good@example.org", input=MESSAGE)
    assert done.code == code
    entry = stored(done)
    assert entry.attempts == 1
    assert (to in done.err) == (code != 0)


@pytest.mark.usefixtures("receiver")
def test_failed_comes_before_deferred(process: Run) -> None:
    line = [
        "submit",
        "--wait",
        "-t",
        "busy@example.net",
        "-t",
        "unknown@example.net",
        "-t",
        "busy@example.org",
    ]
    assert process(*line, input=MESSAGE).code == 69
