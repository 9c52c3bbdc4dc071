"""Many messages are shared out among processes, and nobody can tell but by the time it takes."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from mailstrom_cli.api import Mailstrom
from mailstrom_cli.cli import accept, share
from mailstrom_cli.errors import NO_PERMISSION, SOFTWARE, TEMPORARY, MailstromError
from mailstrom_cli.store.registry import is_spool

from .conftest import MESSAGE, Done

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Run = Callable[..., Done]
    Write = Callable[..., str]

BAD = b"Subject: nobody wrote this\n\n"
PARENT = os.getpid()


@pytest.fixture
def forks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The processes that were made; groups are of three messages, and one process is there for them."""
    real, made = os.fork, list[int]()

    def fork() -> int:
        made.append(child := real())
        return child

    monkeypatch.setattr(os, "fork", fork)
    monkeypatch.setattr(accept, "GROUP", 3)
    monkeypatch.setattr(share, "processes", lambda: 1)
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


def files(eml: Write, count: int) -> list[str]:
    return [eml(f"{i}.eml", b"Message-ID: <%d@x.example>\n" % i + MESSAGE) for i in range(count)]


def queued() -> list[str]:
    return list(Mailstrom.open().store.ids(["queued"]))


@pytest.fixture
def until_stored(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """For another process: returns when the first one has stored a group."""
    real, (stored, tell) = accept._submit, os.pipe()

    def submit(*given: object) -> object:
        done = real(*given)  # type: ignore[arg-type]
        os.write(tell, b".")
        return done

    def wait() -> None:
        os.read(stored, 1)

    monkeypatch.setattr(accept, "_submit", submit)
    yield wait
    os.close(stored)
    os.close(tell)


def elsewhere(monkeypatch: pytest.MonkeyPatch, do: Callable[[], None]) -> None:
    """Do something first when another process stores a group."""
    real = accept._submit

    def submit(*given: object) -> object:
        if os.getpid() != PARENT:
            do()
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(accept, "_submit", submit)


def test_all_are_told_in_the_order_in_which_they_were_given(here: Run, eml: Write, forks: list[int]) -> None:
    names = files(eml, 17)
    names[4], names[10] = eml("bad.eml", BAD), "missing.eml"
    done = here("submit", "--json", *names)
    assert forks
    told = [json.loads(line) for line in done.lines]
    assert [one["file"] for one in told] == [name for i, name in enumerate(names) if i not in (4, 10)]
    assert all(one["message_id"] == f"<{names.index(one['file'])}@x.example>" for one in told)
    assert all(one["recipients"] == ["b@example.net"] and one["fixes"] for one in told)
    assert [one["id"] for one in told] == queued()
    assert all(Mailstrom.open().entry(one["id"]).envelope.message_id == one["message_id"] for one in told)
    assert done.code == 65
    wrong = [line.split(": ")[1] for line in done.err.splitlines() if line.startswith("error")]
    assert list(dict.fromkeys(wrong)) == [names[4], names[10]]


def test_a_list_of_one_group_is_stored_here(here: Run, eml: Write, forks: list[int]) -> None:
    assert here("submit", *files(eml, 3)).lines == queued()
    assert forks == []


def test_a_store_that_others_cannot_use_is_not_shared(
    here: Run, eml: Write, forks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [is_spool(url) for url in ("a/b", "spool:///a", "memory:", "sql://a")] == [
        True,
        True,
        False,
        False,
    ]
    monkeypatch.setattr(accept, "is_spool", lambda _: False)
    assert here("submit", *files(eml, 9)).lines == queued() != []
    assert forks == []


def test_where_no_process_is_to_be_had_all_is_stored_here(
    here: Run, eml: Write, forks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fork() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", fork)
    done = here("submit", *files(eml, 10))
    assert (done.code, done.err, len(done.lines)) == (0, "", 10)
    assert done.lines == queued()


def test_a_process_that_is_killed_is_told_and_so_is_what_others_store(
    here: Run,
    eml: Write,
    forks: list[int],
    until_stored: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def killed() -> None:
        until_stored()
        os.kill(os.getpid(), signal.SIGKILL)

    elsewhere(monkeypatch, killed)
    done = here("submit", *files(eml, 7))
    assert done.code == SOFTWARE
    assert done.err.startswith("error: a process that stored messages ended early (-9)\nhint: ")
    assert len(forks) == 1
    assert done.lines == queued() != []


KILLED = """
import os, signal, sys
from mailstrom_cli.cli import accept, share
accept.GROUP, share.processes = 3, lambda: 3
first, tell = os.getpid(), accept._tell
def told(*given):
    tell(*given)
    os.kill(first, signal.SIGKILL)
accept._tell = told
from mailstrom_cli.__main__ import main
main()
"""


def test_when_the_first_process_is_killed_the_others_store_their_group_whole_and_no_more(
    eml: Write, spool: Path
) -> None:
    names = files(eml, 60)
    done = subprocess.run([sys.executable, "-c", KILLED, "submit", *names], capture_output=True, text=True)
    # The end of stdout, for which run() waits, is that of the last process.
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")
    assert len(done.stdout.split()) == 1
    stored = queued()
    assert set(done.stdout.split()) < set(stored)
    assert len(stored) % 3 == 0, "a group is stored in part"
    assert len(stored) < 60, "they went on"
    entries = [Mailstrom.open().entry(id) for id in stored]
    numbers = sorted(int(entry.envelope.message_id[1:].partition("@")[0]) for entry in entries)
    assert len(set(numbers)) == len(stored)
    assert list((spool / "tmp").iterdir()) == []


def test_what_hinders_a_process_is_told_once(
    here: Run, eml: Write, forks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> None:
        raise MailstromError("may not", "ask", NO_PERMISSION)

    elsewhere(monkeypatch, refused)
    monkeypatch.setattr(share, "processes", lambda: 2)
    done = here("submit", *files(eml, 10))
    assert forks
    assert (done.code, done.err) == (NO_PERMISSION, "error: may not\nhint: ask\n")
    assert done.lines == queued()


def test_after_an_interrupt_all_that_is_stored_is_told(
    here: Run, eml: Write, forks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = share.Share.ready

    def interrupted(self: share.Share, seconds: float | None) -> bool:
        monkeypatch.setattr(share.Share, "ready", real)
        raise KeyboardInterrupt

    monkeypatch.setattr(share.Share, "ready", interrupted)
    done = here("submit", *files(eml, 10))
    assert done.code == 130
    assert len(forks) == 1
    assert done.lines == queued() != []


def test_an_interrupted_process_leaves_the_rest_to_the_first(
    here: Run,
    eml: Write,
    forks: list[int],
    until_stored: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = os.fork

    def interrupted() -> int:
        child = real()
        if not child:
            until_stored()
            raise KeyboardInterrupt
        return child

    monkeypatch.setattr(os, "fork", interrupted)
    done = here("submit", *files(eml, 7))
    assert (done.code, len(forks)) == (SOFTWARE, 1)
    assert done.lines == queued() != []


def test_an_error_of_the_disk_is_told_once_and_as_such(capfd: pytest.CaptureFixture[str]) -> None:
    def fails() -> list[Any]:
        raise OSError(errno.EIO, os.strerror(errno.EIO), "spool/format")

    with pytest.raises(MailstromError, match=r"^spool/format: Input/output error$") as told:
        share.Share(fails).outcomes()
    assert told.value.exit_code == TEMPORARY
    assert capfd.readouterr() == ("", "")
