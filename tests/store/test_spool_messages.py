"""Messages in a spool: damage set aside, torn lines, leases between processes, crashes between write and
move."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.errors import NoSuchMessage
from mailstrom_cli.store.spool import Spool, open_store
from mailstrom_cli.store.trigger import pieces

from .contract import due, put, record
from .samples import NOW, event, in_another_process, results, where

if TYPE_CHECKING:
    from pathlib import Path


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


def test_an_error_on_the_way_to_a_lease_names_the_path_that_failed(
    spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    id, real = put(spool), os.stat

    def stat(path: str, **named: bool | int) -> os.stat_result:
        if path == id:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return real(path, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", stat)
        with pytest.raises(OSError, match="Input/output error") as error:
            spool.lease(id)
    assert error.value.filename == str(root / "queued" / id)


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
