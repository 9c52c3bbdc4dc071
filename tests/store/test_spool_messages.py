"""Messages in a spool: damage set aside, torn lines, leases between processes, crashes between write and
move."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.errors import NO_INPUT, NoSuchMessage
from mailstrom_cli.mail.status import STATES
from mailstrom_cli.store.base import DamagedMessage, HostState
from mailstrom_cli.store.spool import Spool, open_store
from mailstrom_cli.store.trigger import pieces

from .contract import due, octets, put, record
from .samples import BODY, NOW, event, results

if TYPE_CHECKING:
    from collections.abc import Callable


def where(root: Path, id: str) -> list[str]:
    return [s for s in (*STATES, "tmp", "corrupt") if (root / s / id).exists()]


PRELUDE = "import sys\nfrom mailstrom_cli.store.spool import open_store\n"


def in_another_process(root: Path, code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + code, str(root), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


# --- damage ---


def rewrite(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def damage(entry: Path) -> None:
        first, *rest = (entry / "message.jsonl").read_text().splitlines()
        line = json.loads(first)
        change(line)
        (entry / "message.jsonl").write_text("\n".join([json.dumps(line), *rest]) + "\n")

    return damage


def replace_by(make: Callable[[Path], object], name: str) -> Callable[[Path], None]:
    def damage(entry: Path) -> None:
        (entry / name).rename(entry.parent.parent / "stolen")
        make(entry / name)

    return damage


def plant(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(entry: Path) -> None:
        entry.rename(entry.parent.parent / "stolen")
        make(entry)

    return damage


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as it:
        here = Path.cwd()
        os.chdir(path.parent)  # a socket's path is short
        try:
            it.bind(path.name)
        finally:
            os.chdir(here)


def to_stolen(path: Path) -> None:
    path.symlink_to("../../stolen")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "no sidecar": lambda entry: (entry / "message.jsonl").unlink(),
    "empty sidecar": lambda entry: (entry / "message.jsonl").write_bytes(b""),
    "first line torn": lambda entry: os.truncate(entry / "message.jsonl", 50),
    "not JSON": lambda entry: (entry / "message.jsonl").write_bytes(b"\0" * 100 + b"\n"),
    "not UTF-8": lambda entry: (entry / "message.jsonl").write_bytes(b"\xff\xfe\n"),
    "wrong type": rewrite(lambda line: line.update(recipients=7)),
    "wrong id": rewrite(lambda line: line.update(id="0" * 16)),
    "newer format": rewrite(lambda line: line.update(format=2)),
    "an address that ends a line": rewrite(lambda line: line.update(reverse_path="a@b\r\nDATA")),
    "no message": lambda entry: (entry / "message.eml").unlink(),
    "a shorter message": lambda entry: os.truncate(entry / "message.eml", 5),
    "a longer message": lambda entry: (entry / "message.eml").write_bytes(BODY + b"x"),
    "message is a symlink": replace_by(lambda path: path.symlink_to("../../stolen"), "message.eml"),
    "message has a second link": lambda entry: os.link(entry / "message.eml", entry.parent.parent / "second"),
    "message is a FIFO": replace_by(os.mkfifo, "message.eml"),
    "message is a directory": replace_by(Path.mkdir, "message.eml"),
    "sidecar is a symlink": replace_by(lambda path: path.symlink_to("../../stolen"), "message.jsonl"),
    "sidecar has a second link": lambda entry: os.link(
        entry / "message.jsonl", entry.parent.parent / "second"
    ),
    "sidecar is a FIFO": replace_by(os.mkfifo, "message.jsonl"),
    "sidecar is a socket": replace_by(a_socket, "message.jsonl"),
    "sidecar is a directory": replace_by(Path.mkdir, "message.jsonl"),
    "entry is a symlink": plant(to_stolen),
    "entry is a FIFO": plant(os.mkfifo),
    "entry is a file": plant(Path.touch),
    "entry is an empty directory": plant(Path.mkdir),
}


@pytest.mark.parametrize("state", ["queued", "deferred", "failed"])
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_message_is_named_set_aside_and_in_nobodys_way(
    spool: Spool, root: Path, kind: str, state: str
) -> None:
    good, bad = put(spool), put(spool)
    for id in (good, bad):
        if state != "queued":
            record(spool, id, results(NOW, b="failed" if state == "failed" else NOW + 300))
    DAMAGE[kind](root / state / bad)
    again = open_store(str(root))
    if state != "failed":
        assert good in {s.id for s in again.scheduled()}
    assert set(again.ids(STATES)) == {good, bad}
    with pytest.raises(DamagedMessage, match=bad) as told:
        again.read(bad)
    assert told.value.exit_code == NO_INPUT
    assert (root / state / bad).is_symlink() or (root / state / bad).exists()
    with pytest.raises(DamagedMessage, match=bad) as told:
        again.lease(bad)
    assert list(again.ids(STATES)) == [good]
    assert where(root, bad) == ["corrupt"]
    assert (root / "corrupt" / bad / "reason").read_text().strip() == told.value.reason
    for method in (again.read, again.lease, again.purge):
        with pytest.raises(DamagedMessage, match=bad):
            method(bad)
    assert again.read(good).state == state
    again.sweep(NOW, 0, 0)
    assert (root / "corrupt" / bad).exists()
    again.close()


def test_a_planted_device_is_set_aside(spool: Spool, root: Path) -> None:
    if os.geteuid() != 0:
        from tests.peers.needs import lacking

        lacking("only root can make a device")
    id = put(spool)
    sidecar = root / "queued" / id / "message.jsonl"
    sidecar.unlink()
    try:
        os.mknod(sidecar, 0o600 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        from tests.peers.needs import lacking

        lacking("this root may not make a device")
    with pytest.raises(DamagedMessage, match="regular"):
        spool.lease(id)
    assert where(root, id) == ["corrupt"]


def test_what_is_set_aside_twice_is_kept_twice(spool: Spool, root: Path) -> None:
    id = put(spool)
    for make in (Path.mkdir, Path.touch, Path.mkdir):
        path = root / "deferred" / id
        make(path)
        (root / "queued" / id).rename(root / "aside") if (root / "queued" / id).exists() else None
        with pytest.raises(DamagedMessage):
            spool.lease(id)
    assert sorted(p.name for p in (root / "corrupt").iterdir()) == [id, f"{id}.1", f"{id}.2"]


def test_names_that_are_no_ids_are_passed_over(spool: Spool, root: Path) -> None:
    id = put(spool)
    for name in (".hidden", "lost+found", "I" * 16, id + "0"):
        (root / "queued" / name).mkdir()
    assert list(spool.ids(STATES)) == [s.id for s in spool.scheduled()] == [id]


def test_damage_does_not_hide_a_message_from_a_search(spool: Spool, root: Path) -> None:
    good, bad = put(spool, now=NOW, message_id="<x@example.org>"), put(spool, now=NOW + 9)
    (root / "queued" / bad / "message.jsonl").write_bytes(b"\xff\n")
    assert spool.find("<x@example.org>") == good
    with pytest.raises(NoSuchMessage):
        spool.find("<y@example.org>")


# --- torn lines, full disks ---


def test_a_torn_line_is_ignored_and_cut_off_by_the_next_writer(spool: Spool, root: Path) -> None:
    id = put(spool)
    sidecar = root / "queued" / id / "message.jsonl"
    with sidecar.open("ab") as tail:
        tail.write(b'{"event":"results","time":17640')
    assert spool.read(id).state == "queued"
    record(spool, id, results(NOW, b="delivered"))
    assert [e.get("event") for e in spool.events(id)] == [None, "results"]
    assert (root / "delivered" / id / "message.jsonl").read_bytes().count(b"\n") == 2
    assert spool.read(id).state == "delivered"


@pytest.mark.parametrize("when", ["some of it fits", "nothing fits"])
def test_an_event_that_cannot_be_written_is_not_kept(
    spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    id = put(spool)
    write = os.write

    def full(fd: int, data: bytes) -> int:
        if when == "nothing fits":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data[:20])

    with spool.lease(id) as lease:
        before, accepted = lease.entry, (root / "queued" / id / "message.jsonl").read_bytes()
        with monkeypatch.context() as patch, pytest.raises(OSError) as told:
            patch.setattr(os, "write", full)
            lease.record(results(NOW, b="delivered"))
        assert told.value.errno == errno.ENOSPC
        assert lease.entry == before == spool.read(id)
        assert (root / "queued" / id / "message.jsonl").read_bytes() == accepted
        assert lease.record(results(NOW, b="delivered")).state == "delivered"
    assert spool.read(id).state == "delivered"


def test_a_retry_that_cannot_be_written_leaves_the_message_final(
    spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = put(spool)
    record(spool, id, results(NOW, b="failed"))

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with spool.lease(id) as lease, monkeypatch.context() as patch, pytest.raises(OSError, match="space"):
        patch.setattr(os, "write", full)
        lease.record(event("retried", NOW + 5, recipients=["b@example.net"]))
    assert where(root, id) == ["failed"]
    assert list(spool.finished_since(NOW)) == [id]


# --- crashes between the sidecar and the index ---


def append(entry: Path, told: dict[str, object]) -> None:
    with (entry / "message.jsonl").open("a") as sidecar:
        sidecar.write(json.dumps(told) + "\n")


@pytest.mark.parametrize(
    ("status", "state"), [("delivered", "delivered"), ("failed", "failed"), (NOW + 9, "deferred")]
)
def test_a_move_that_a_crash_left_out_is_made_by_the_next_lease(
    spool: Spool, root: Path, status: str | float, state: str
) -> None:
    id = put(spool)
    append(root / "queued" / id, results(NOW + 5, b=status))
    assert [s.id for s in spool.scheduled()] == [id]
    with spool.lease(id) as lease:
        assert lease.entry.state == state
        assert where(root, id) == [state]
    assert list(spool.finished_since(NOW + 5)) == ([id] if state != "deferred" else [])
    assert due(spool) == ({id: NOW + 9} if state == "deferred" else {})


def test_a_sweep_repeats_moves_and_sets_damage_aside(spool: Spool, root: Path) -> None:
    moved, damaged = put(spool), put(spool)
    append(root / "queued" / moved, results(NOW + 5, b="delivered"))
    (root / "queued" / damaged / "message.eml").unlink()
    assert spool.sweep(NOW + 5, 0, 0) == 0
    assert (where(root, moved), where(root, damaged)) == (["delivered"], ["corrupt"])


def test_a_retry_killed_between_move_and_event_is_moved_back(spool: Spool, root: Path) -> None:
    id = put(spool)
    record(spool, id, results(NOW, b="failed"))
    (root / "failed" / id).rename(root / "deferred" / id)
    assert [s.id for s in spool.scheduled()] == [id]
    with spool.lease(id):
        pass
    assert where(root, id) == ["failed"]


def test_a_final_move_without_its_event_after_a_power_cut_is_found_by_the_next_sweep(
    spool: Spool, root: Path
) -> None:
    lost, kept = put(spool), put(spool)
    for id in (lost, kept):
        record(spool, id, results(NOW + 100, b="delivered"))
    spool.sweep(NOW + 50, 0, 0)
    sidecar = root / "delivered" / lost / "message.jsonl"
    os.truncate(sidecar, sidecar.read_bytes().index(b"\n") + 1)
    os.utime(root / "delivered" / lost, (NOW + 100, NOW + 100))
    assert spool.sweep(NOW + 200, 0, 0) == 0
    assert (where(root, lost), where(root, kept)) == (["queued"], ["delivered"])
    assert due(spool) == {lost: NOW}


@pytest.mark.parametrize("planted", [0, NOW + 3e8])
def test_a_wrong_schedule_is_put_right_by_the_sweep(spool: Spool, root: Path, planted: float) -> None:
    id = put(spool)
    held = put(spool)
    record(spool, held, event("held", NOW))
    os.utime(root / "queued" / id, (planted, planted))
    spool.sweep(NOW, 0, 0)
    assert due(spool) == {id: NOW}


def test_a_mark_of_a_wrong_time_for_a_final_message_does_not_purge_it(spool: Spool, root: Path) -> None:
    id = put(spool)
    record(spool, id, results(NOW + 500, b="delivered"))
    os.utime(root / "delivered" / id, (5, 5))
    assert spool.sweep(NOW + 1000, NOW + 400, NOW + 400) == 0
    assert list(spool.finished_since(NOW + 500)) == [id]


def test_the_mtime_is_the_schedule(spool: Spool, root: Path) -> None:
    id = put(spool)
    assert (root / "queued" / id).stat().st_mtime == NOW
    with spool.lease(id) as lease:
        lease.postpone(NOW + 300)
        assert (root / "queued" / id).stat().st_mtime == NOW + 300
        lease.record(results(NOW + 2, b=NOW + 60.25))
        assert (root / "deferred" / id).stat().st_mtime == NOW + 60.25
        lease.record(event("held", NOW + 3))
        assert (root / "deferred" / id).stat().st_mtime_ns == 0
        lease.record(results(NOW + 2, b="delivered"))
    assert (root / "delivered" / id).stat().st_mtime == NOW + 2


# --- others at the same time ---

HOLD = """
lease = open_store(sys.argv[1]).lease(sys.argv[2])
print("free" if lease is None else "leased", flush=True)
sys.stdin.readline()
"""


def test_a_lease_excludes_other_processes_and_ends_with_its_own(spool: Spool, root: Path) -> None:
    id = put(spool)
    holder = in_another_process(root, HOLD, id)
    assert holder.stdout
    assert holder.stdout.readline() == "leased\n"
    assert spool.lease(id) is None
    holder.kill()
    holder.communicate()
    lease = spool.lease(id)
    assert lease is not None
    other = in_another_process(root, HOLD, id)
    assert other.communicate("\n")[0] == "free\n"
    lease.release()


def test_a_message_that_moves_between_listing_and_opening_is_followed(
    spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes from failed to queued just when queued was looked at and failed was not yet."""
    id = put(spool)
    record(spool, id, results(NOW, b="failed"))
    real, moved = os.open, []

    def moving(name: str, flags: int, *given: object, **named: object) -> int:
        if name == id and not moved:
            moved.append(name)
            try:
                return real(name, flags, *given, **named)
            finally:
                (root / "failed" / id).rename(root / "queued" / id)
        return real(name, flags, *given, **named)

    monkeypatch.setattr(os, "open", moving)
    assert spool.read(id).id == id
    assert moved


def test_a_message_purged_while_it_is_read_is_gone_and_not_damaged(
    spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = put(spool)
    record(spool, id, results(NOW, b="failed"))
    other = open_store(str(root))
    real, purged = os.open, []

    def purging(name: str, flags: int, *given: object, **named: object) -> int:
        if name == "message.jsonl" and not purged:
            purged.append(name)
            other.purge(id)
        return real(name, flags, *given, **named)

    monkeypatch.setattr(os, "open", purging)
    with pytest.raises(NoSuchMessage):
        spool.read(id)
    other.close()


def test_a_message_moved_while_it_is_leased_by_another_is_leased_where_it_went(
    spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = put(spool)
    other = open_store(str(root))
    real, moved = os.open, []

    def moving(name: str, flags: int, *given: object, **named: object) -> int:
        if name == "message.jsonl" and not moved:
            moved.append(name)
            record(other, id, results(NOW, b="delivered"))
        return real(name, flags, *given, **named)

    monkeypatch.setattr(os, "open", moving)
    with spool.lease(id) as lease:
        assert lease.entry.state == "delivered"
        lease.record(event("retried", NOW + 1, recipients=[]))
        lease.record(event("held", NOW + 1))
        assert where(root, id) == ["delivered"]
    spool.purge(id)
    assert where(root, id) == []
    other.close()


def test_a_message_purged_while_it_is_leased_is_gone(
    spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = put(spool)
    record(spool, id, results(NOW, b="failed"))
    entry, real = root / "failed" / id, fcntl.flock

    def flock(fd: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", real)
        entry.rename(root / "tmp" / id)  # as a purge, just before this lease gets the lock
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(NoSuchMessage):
        spool.lease(id)


def test_lines_for_the_trigger_go_in_whole() -> None:
    lines = [f"{n:016}" for n in range(1000)]
    made = pieces(lines)
    assert b"".join(made).decode().split() == lines
    assert {piece[-1:] for piece in made} == {b"\n"}
    assert 400 < max(map(len, made)) <= 512


# --- sweeping tmp/, small files ---


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


@pytest.mark.parametrize(
    "held", ["", "{", "[]\n", '{"failures":"x","until":1,"reason":""}\n', '{"failures":1}\n']
)
def test_a_host_file_that_cannot_be_read_is_as_good_as_none(spool: Spool, root: Path, held: str) -> None:
    spool.set_host("example.net", HostState(1, NOW, "x"))
    (root / "hosts" / "example.net").write_text(held)
    assert spool.host("example.net") is None
    spool.set_host("example.net", HostState(2, NOW, "x"))
    assert spool.host("example.net") == HostState(2, NOW, "x")


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
