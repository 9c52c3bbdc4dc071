"""A long pass in several processes: together they keep the limits, and no failure or signal is lost."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.api import Mailstrom, Request
from mailstrom_cli.config.schema import Limits, Settings, build
from mailstrom_cli.errors import MailstromError
from mailstrom_cli.queue import processes
from mailstrom_cli.queue.processes import PORTION, PORTIONS, SHARE, in_processes, portions, share, worthwhile

if TYPE_CHECKING:
    from pathlib import Path

MESSAGE = b"From: a@example.org\nTo: b@example.net\n\nHello\n"


@pytest.mark.parametrize(
    ("messages", "cores", "connections", "per_destination", "wanted"),
    [
        (0, 8, 100, 20, 1),
        (2 * SHARE - 1, 8, 100, 20, 1),
        (2 * SHARE, 8, 100, 20, 2),
        (100 * SHARE, 8, 100, 20, 8),
        (100 * SHARE, 1, 100, 20, 1),
        (100 * SHARE, 8, 3, 20, 3),
        (100 * SHARE, 8, 100, 1, 1),
    ],
)
def test_how_many_are_worthwhile(
    monkeypatch, messages: int, cores: int, connections: int, per_destination: int, wanted: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    settings = Settings(limits=Limits(connections=connections, per_destination=per_destination))
    count = worthwhile(messages, settings)
    assert count == wanted
    each = share(settings, count).limits
    assert 1 <= each.connections <= connections / count
    assert 1 <= each.per_destination <= per_destination / count


def test_each_works_in_a_process_of_its_own_and_the_first_in_this_one(tmp_path: Path) -> None:
    def write(name: str) -> None:
        (tmp_path / name).write_text(str(os.getpid()))

    in_processes([lambda name=name: write(name) for name in "abc"])
    pids = [int((tmp_path / name).read_text()) for name in "abc"]
    assert pids[0] == os.getpid()
    assert len(set(pids)) == 3


def test_where_no_other_process_is_to_be_had_this_one_does_it_all(monkeypatch, caplog) -> None:
    def fork() -> int:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", fork)
    done: list[str] = []
    in_processes([lambda name=name: done.append(name) for name in "abc"])
    assert sorted(done) == ["a", "b", "c"]
    assert caplog.messages == ["no other process is to be had: Resource temporarily unavailable"] * 2


@pytest.mark.parametrize("count", [0, 1, PORTION, PORTION + 1, 1000, PORTION * PORTIONS + 1])
@pytest.mark.parametrize("processes", [1, 2])
def test_every_message_is_drawn_by_one_of_the_processes(tmp_path: Path, count: int, processes: int) -> None:
    ids = [str(number) for number in range(count)]
    supply = portions(ids, processes)

    def child() -> None:
        (tmp_path / str(os.getpid())).write_text(" ".join(id for portion in supply for id in portion))

    in_processes([child] * processes)
    drawn = [id for told in tmp_path.iterdir() for id in told.read_text().split()]
    assert sorted(drawn, key=int) == ids


def test_who_is_slow_draws_less(tmp_path: Path) -> None:
    supply = portions([str(number) for number in range(10 * PORTION)], 2)
    first = next(supply)  # and no more: the other one takes the rest

    def child() -> None:
        (tmp_path / "rest").write_text(" ".join(id for portion in supply for id in portion))

    in_processes([lambda: None, child])
    assert [*first, *(tmp_path / "rest").read_text().split()] == [str(n) for n in range(10 * PORTION)]


def test_that_one_failed_is_told_when_all_have_ended(tmp_path: Path) -> None:
    def fail() -> None:
        raise MailstromError("it broke", None)

    with pytest.raises(MailstromError) as caught:
        in_processes([lambda: None, fail, lambda: (tmp_path / "last").touch()])
    assert caught.value.exit_code == 75
    assert (tmp_path / "last").exists()


def test_what_ends_the_first_early_ends_the_others() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_processes([interrupted, signal.pause])  # a child that was not stopped would hang this test


def test_sigterm_reaches_those_that_are_waited_for() -> None:
    program = """if True:
        import os, signal, sys
        from mailstrom_cli.queue.processes import in_processes
        def child():
            os.kill(os.getppid(), signal.SIGTERM)
            signal.pause()
        in_processes([lambda: None, child])
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert "a part of the pass ended early" in done.stderr


def test_a_pass_in_several_processes_delivers_everything_once(tmp_path: Path, monkeypatch) -> None:
    from mailstrom_cli.config.via import parse_via

    monkeypatch.setattr(processes, "SHARE", 10)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    via = (parse_via(f"maildir://{tmp_path / 'mail'}"),)
    mail = Mailstrom(build({"spool": str(tmp_path / "spool"), "limits.min_free": 0, "via": via}))
    outcomes = mail.submit_many([(MESSAGE, Request()) for _ in range(40)])
    mail.flush(may_fork=True)
    assert {mail.entry(done.id).state for done in outcomes} == {"delivered"}  # type: ignore[union-attr]
    assert len(list((tmp_path / "mail" / "new").iterdir())) == 40
