"""Beside messages: sweeping, small files, the trigger and the run lock."""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.store.base import RATE, HostState, Note
from mailstrom_cli.store.spool import open_store

from .contract import octets, put, record
from .samples import BODY, NOW, in_another_process, results

if TYPE_CHECKING:
    from pathlib import Path

    from mailstrom_cli.store.spool import Spool


def test_what_a_writer_left_an_hour_ago_is_swept_unless_it_is_still_at_it(spool: Spool, root: Path) -> None:
    names = ("dead", "halfway", "busy")
    for name in names:
        (root / "tmp" / name).mkdir()
    for name in names[1:]:
        (root / "tmp" / name / "message.eml").write_bytes(b"x")
    (root / "tmp" / "host-1234").touch()
    (root / "tmp" / "link").symlink_to("/")
    with (root / "tmp" / "busy" / "message.eml").open() as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        assert spool.sweep(time.time() + 3000, 0, 0) == 0
        assert spool.sweep(time.time() + 4000, 0, 0) == 4
        assert [p.name for p in (root / "tmp").iterdir()] == ["busy"]
    assert spool.sweep(time.time() + 4000, 0, 0) == 1


def test_keys_without_a_message_are_swept_unless_in_use(spool: Spool, root: Path) -> None:
    id = put(spool, key="a", digest="d")
    record(spool, id, results(NOW, b="failed"))
    put(spool, key="b", digest="d")
    spool.purge(id)
    (root / "keys" / "torn").write_text("06h")
    with (root / "keys" / "torn").open() as torn:
        fcntl.flock(torn, fcntl.LOCK_EX)
        assert spool.sweep(NOW, 0, 0) == 1
    assert spool.sweep(NOW, 0, 0) == 1
    assert len(list((root / "keys").iterdir())) == 1


def test_hosts_are_swept_a_day_after_their_back_off(spool: Spool, root: Path) -> None:
    spool.set_host("old.example.net", HostState(3, NOW, "refused"))
    spool.set_host("new.example.net", HostState(3, NOW + 90_000, "refused"))
    (root / "hosts" / "torn").write_text("{")
    assert spool.sweep(NOW + 90_000, 0, 0) == 2
    assert spool.host("new.example.net") == HostState(3, NOW + 90_000, "refused")


def test_marks_of_rates_are_swept_a_day_after_their_time_and_no_others(spool: Spool, root: Path) -> None:
    for name in (RATE + "old.example.net", RATE + "x" * 300, "recent"):
        spool.mark(name, NOW)
    spool.mark(RATE + "new.example.net", NOW + 90_000)
    before = len(list((root / "marks").iterdir()))
    spool.sweep(NOW + 90_000, 0, 0)
    assert len(list((root / "marks").iterdir())) == before - 2 + 1  # and that of the sweep
    assert spool.mark("recent") == NOW
    assert spool.mark(RATE + "new.example.net") == NOW + 90_000


@pytest.mark.parametrize(
    "held", ["", "{", "[]\n", '{"failures":"x","until":1,"reason":""}\n', '{"failures":1}\n']
)
def test_a_host_file_that_cannot_be_read_is_as_good_as_none(spool: Spool, root: Path, held: str) -> None:
    spool.set_host("example.net", HostState(1, NOW, "x"))
    (root / "hosts" / "example.net").write_text(held)
    assert spool.host("example.net") is None
    spool.set_host("example.net", HostState(2, NOW, "x"))
    assert spool.host("example.net") == HostState(2, NOW, "x")


@pytest.mark.parametrize(
    "held",
    [
        "",
        "{",
        "[]\n",
        '{"kind":"policy","name":"example.net","until":1}\n',
        '{"kind":"policy","name":"another.example","until":1,"text":""}\n',
        '{"kind":"policy","name":"example.net","until":1e9,"text":"%s"}\n' % ("x" * 2_000_000),
    ],
)
def test_a_note_that_cannot_be_read_is_as_good_as_none(spool: Spool, root: Path, held: str) -> None:
    path = root / "notes" / "policy%20example.net"
    path.write_text(held)
    assert spool.note("policy", "example.net") is None and list(spool.notes("policy")) == []
    assert spool.sweep(0, 0, 0) == 1 and not path.exists()


def test_notes_are_private_and_replaced_whole(spool: Spool, root: Path) -> None:
    spool.set_note("policy", "example.net", Note("old", NOW))
    path = root / "notes" / "policy%20example.net"
    assert path.stat().st_mode & 0o777 == 0o600
    with path.open() as before:
        spool.set_note("policy", "example.net", Note("new", NOW))
        assert "old" in before.read()
    assert list((root / "tmp").iterdir()) == []


def test_a_spool_of_an_earlier_version_gets_its_notes(spool: Spool, root: Path) -> None:
    (root / "notes").rmdir()
    again = open_store(str(root))
    again.set_note("policy", "example.net", Note("text", NOW))
    assert again.note("policy", "example.net") == Note("text", NOW)
    again.close()


# --- trigger and run lock ---


@pytest.mark.parametrize("planted", ["nothing", "a file", "a link"])
def test_a_listener_makes_the_trigger_again(spool: Spool, root: Path, planted: str) -> None:
    trigger = root / "trigger"
    trigger.unlink()
    if planted == "a file":
        trigger.write_text("")
    elif planted == "a link":
        trigger.symlink_to("elsewhere")
    assert spool.wake("x") is False
    assert octets(spool, put(spool)) == BODY
    fd = spool.listen()
    assert spool.wake("x") is True
    assert os.read(fd, 10) == b"x\n"
    os.close(fd)


RUN = """
lock = open_store(sys.argv[1]).run_lock()
print(lock.acquire(), flush=True)
sys.stdin.readline()
"""


def test_the_run_lock_excludes_other_processes_and_ends_with_its_own(spool: Spool, root: Path) -> None:
    holder = in_another_process(root, RUN)
    assert holder.stdout
    assert holder.stdout.readline() == "None\n"
    before = (root / "run.lock").stat().st_ino
    for _ in range(2):
        assert str(spool.run_lock().acquire()).startswith(f"pid {holder.pid}, since ")
    holder.kill()
    holder.communicate()
    lock = spool.run_lock()
    assert lock.acquire() is None
    lock.release()
    assert (root / "run.lock").stat().st_ino == before
