"""A long list is read by two processes, and nobody can tell but by the time it takes."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.api import Mailstrom, Request
from mailstrom_cli.cli import listing, report
from mailstrom_cli.cli import queue as queue_module
from mailstrom_cli.cli.sendmail.mailq import about, whole
from mailstrom_cli.mail.status import UNFINISHED

from .conftest import MESSAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mailstrom_cli.store.entry import Entry

    from .conftest import Done

    Run = Callable[..., Done]

PARENT = os.getpid()
COUNT = 9


@pytest.fixture
def forks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The processes that were made; blocks are of two messages, and there is another core."""
    real, made = os.fork, list[int]()

    def fork() -> int:
        made.append(child := real())
        return child

    monkeypatch.setattr(os, "fork", fork)
    monkeypatch.setattr(listing, "processes", lambda: 1)
    monkeypatch.setattr(listing, "BLOCK", 2)
    monkeypatch.setattr(listing, "LONG", 5)
    before = pipes()
    yield made
    assert pipes() == before
    for child in made:
        with pytest.raises(ChildProcessError):
            os.waitpid(child, os.WNOHANG)


def pipes() -> list[str]:
    """The pipes that this process has open."""
    folder = "/proc/self/fd"
    links = [os.readlink(path) for fd in os.listdir(folder) if os.path.lexists(path := f"{folder}/{fd}")]
    return sorted(link for link in links if link.startswith("pipe:"))


def fill(count: int = COUNT) -> list[str]:
    """Ids, the oldest first."""
    mail = Mailstrom.open()
    assert mail.store  # which is made
    requests = [Request(recipients=(f"é{n}@example.net", "c@example.net")) for n in range(count)]
    return [mail.submit_many([(MESSAGE, one)], 1_795_488_180 + n)[0].id for n, one in enumerate(requests)]


def elsewhere(monkeypatch: pytest.MonkeyPatch, do: Callable[[str], object]) -> None:
    """Do something in the other process with the id of each message of which it makes a line."""
    real = queue_module._line

    def line(entry: Entry) -> str:
        if os.getpid() != PARENT:
            do(entry.id)
        return real(entry)

    monkeypatch.setattr(queue_module, "_line", line)


def listed(done: Done) -> list[str]:
    assert done.code == 0
    return [line.split()[0] for line in done.lines]


def test_every_form_is_that_of_one_process(
    here: Run, forks: list[int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = fill()
    mail = Mailstrom.open()

    def forms() -> list[str]:
        report.write_lines(whole(listing.listing(mail, UNFINISHED, about)))
        return [capsys.readouterr().out, here("queue").out, here("queue", "--json").out]

    shared = forms()
    assert len(forks) == 3
    assert [json.loads(line)["id"] for line in shared[2].splitlines()] == ids
    monkeypatch.setattr(listing, "processes", lambda: 0)
    assert forms() == shared
    assert len(forks) == 3
    assert shared[0].endswith(f" Kbytes in {COUNT} Requests.\n")


@pytest.mark.parametrize("count", [0, 1, 4])
def test_a_short_list_is_read_here(here: Run, forks: list[int], count: int) -> None:
    ids = fill(count)
    assert listed(here("queue"))[1:] == ids
    assert forks == []


def test_a_store_that_others_cannot_use_is_read_here(
    here: Run, forks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = fill()
    monkeypatch.setattr(listing, "is_spool", lambda _: False)
    assert listed(here("queue"))[1:] == ids
    assert forks == []


def test_where_no_process_is_to_be_had_all_is_read_here(
    here: Run, forks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fork() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    ids = fill()
    monkeypatch.setattr(os, "fork", fork)
    assert listed(here("queue"))[1:] == ids


@pytest.mark.parametrize("first", [2, 6], ids=["its first", "a later one"])
@pytest.mark.parametrize("end", ["killed", "error", "interrupt"])
def test_what_the_other_does_not_bring_is_read_here(
    here: Run, forks: list[int], monkeypatch: pytest.MonkeyPatch, end: str, first: int
) -> None:
    ids = fill()

    def do(id: str) -> None:
        if id == ids[first]:
            if end == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyboardInterrupt if end == "interrupt" else ValueError("a bug")

    elsewhere(monkeypatch, do)
    done = here("queue")
    assert listed(done)[1:] == ids
    assert done.err == ""
    assert len(forks) == 1


@pytest.mark.parametrize("torn", [b"1", b"100 2 30\n", b"100 2 30\nabc"])
def test_what_the_other_does_not_bring_whole_is_read_here(
    here: Run, forks: list[int], monkeypatch: pytest.MonkeyPatch, torn: bytes
) -> None:
    ids = fill()
    monkeypatch.setattr(listing, "_bring", lambda blocks, read, told: os.write(told, torn))
    assert listed(here("queue"))[1:] == ids
    assert len(forks) == 1


def test_what_cannot_be_read_is_told_wherever_it_is(spool: Path) -> None:
    ids = fill()
    damaged = [ids[n] for n in (0, 3, 6, 7)]  # here; there; and a whole block of the other
    for id in damaged:
        (spool / "queued" / id / "message.jsonl").write_bytes(b"")
    script = (
        "import sys; from mailstrom_cli.cli import listing; from mailstrom_cli.__main__ import main\n"
        "listing.BLOCK, listing.LONG, listing.processes = 2, 5, lambda: 1\n"
        "sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", script, "queue"], capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == [i for i in ids if i not in damaged]
    told = sorted(line.split()[2] for line in done.stderr.splitlines())
    assert told == damaged


def test_a_reader_that_has_enough_leaves_no_process(forks: list[int]) -> None:
    ids = fill()
    parts = listing.listing(Mailstrom.open(), UNFINISHED, lambda entry: entry.id)
    assert [next(parts)[0] for _ in range(3)] == [ids[0], ids[1], f"{ids[2]}\n{ids[3]}"]
    parts.close()
    assert len(forks) == 1


def test_nobody_waits_for_a_process_that_hangs(forks: list[int]) -> None:
    def text(entry: Entry) -> str:
        if os.getpid() != PARENT:
            signal.alarm(60)
            signal.pause()
        return entry.id

    ids = fill()
    parts = listing.listing(Mailstrom.open(), UNFINISHED, text)
    assert next(parts)[0] == ids[0]
    began = time.monotonic()
    parts.close()
    assert time.monotonic() - began < 30
    assert len(forks) == 1


def test_each_line_is_there_before_the_next_message_is_read(
    here: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first is; those that follow fast are put together."""
    ids, shown = fill(3), list[str]()
    real = queue_module._line

    def line(entry: Entry) -> str:
        shown.append(capsys.readouterr().out)
        return real(entry)

    monkeypatch.setattr(queue_module, "_line", line)
    monkeypatch.setattr(report, "TOGETHER", 0.0)
    here("queue")
    assert [ids[n] in text for n, text in enumerate(shown[1:])] == [True, True]
    assert shown[0] == ""
    shown.clear()
    monkeypatch.setattr(report, "TOGETHER", 60.0)
    here("queue")
    assert [ids[n] in text for n, text in enumerate(shown[1:])] == [True, False]


def test_lines_that_are_written_together_are_not_lost_with_those_that_follow(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "TOGETHER", 60.0)

    def lines() -> Iterator[str]:
        yield from ("one", "two", "three")
        raise PermissionError(errno.EACCES, "no")

    with pytest.raises(PermissionError):
        report.write_lines(lines())
    assert capsys.readouterr().out == "one\ntwo\nthree\n"
