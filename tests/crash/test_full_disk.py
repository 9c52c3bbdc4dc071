"""A full disk, and one that becomes read-only: what the commands say of it, what they leave behind, and what
they do when there is room again."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from collections import defaultdict
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.errors import OS_ERROR
from mailstrom_cli.store.base import SWEPT
from mailstrom_cli.store.intake import MIN_INODES
from tests.peers.process import wait_for
from tests.peers.scripted import Script, ScriptedServer

from .disk import Disk, Small, small
from .halt import CHANGES, MAILSTROM, Halted
from .user import User, not_created, processor_time, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mailstrom_cli.api import Mailstrom
    from tests.peers.answers import Moment

PAGE = os.sysconf("SC_PAGE_SIZE")
FULL = os.strerror(errno.ENOSPC)
READ_ONLY = os.strerror(errno.EROFS)
MEGABYTE = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Small]:
    with small(tmp_path / "disk", MEGABYTE) as made:
        yield made


@pytest.fixture
def user(disk: Small, tmp_path: Path) -> User:
    return User(disk.path / "spool", tmp_path / "log")


# --- submit ---


def test_mail_is_taken_until_the_disk_is_full_and_again_when_there_is_room(disk: Small, user: User) -> None:
    disk.remount("size=160k")
    ids = []
    while (done := user.submit(size=20_000)).code == 0:
        ids += done.out.split()
    refused(done, FULL)
    assert "make space" in done.err
    assert len(ids) > 2
    assert sorted(user.entries()) == sorted(ids)
    assert user.left() == []
    disk.remount("size=400k")
    assert user.submit(size=20_000).code == 0
    assert len(user.entries()) == len(ids) + 1


@pytest.mark.parametrize("way", ["one", "under a key", "in pieces", "of three", "of an mbox", "of many"])
def test_what_almost_fits_is_stored_whole_or_not_at_all(
    disk: Small, user: User, tmp_path: Path, way: str
) -> None:
    """With each page more of room, of none up to enough."""
    size = 100_000 if way == "in pieces" else 6_000
    count = {"of three": 3, "of an mbox": 3, "of many": 40}.get(way, 1)
    needed = {"one": 3, "in pieces": 26, "of three": 9, "of many": 120}.get(way, 12)
    assert user.submit().code == 0
    (old,) = user.entries()
    codes = set()
    for pages in (*range(0, needed, max(1, needed // 6)), needed - 1, needed):
        messages = [user.message(size) for _ in range(count)]
        words = ["submit"]
        if way == "under a key":
            words += ["--key", str(pages)]
        if way == "of an mbox":
            box = tmp_path / "mbox"
            box.write_bytes(b"".join(b"From a\r\n" + message + b"\r\n" for message in messages))
            words += ["--mbox", str(box)]
        elif count > 1:
            for number, message in enumerate(messages):
                (tmp_path / f"{number}.eml").write_bytes(message)
                words.append(str(tmp_path / f"{number}.eml"))
        disk.fill(leave=pages * PAGE)
        done = user(*words, stdin=messages[0])
        told = done.out.split()
        if len(told) < count:
            done.out = ""  # of several each stands alone
            refused(done, FULL)
            assert done.err.count("error: ") == count - len(told)
        codes.add(done.code)
        assert sorted(user.entries()) == sorted([old, *told])
        assert user.left() == []
        disk.make_room()
        mail = user.mail()
        for id in told:
            mail.cancel(id)
            mail.store.purge(id)
        mail.store.close()  # type: ignore[attr-defined]
    assert codes == {0, 75}


def test_what_was_written_in_part_is_written_on_when_there_is_room(disk: Small, user: User) -> None:
    assert user.submit().code == 0
    disk.fill(leave=PAGE)
    message = user.message(2 * PAGE)
    with Halted([*MAILSTROM, "submit"], CHANGES, ["write"], user.environment, message) as halted:
        assert halted.halted
        assert halted.calls[-1] == "write"
        disk.make_room()
        done = halted.go_on()
    assert done.code == 0
    assert user.entries()[done.out.strip()].envelope.size == len(message)


def test_a_spool_that_does_not_fit_is_not_created_and_completed_when_there_is_room(
    disk: Small, user: User
) -> None:
    disk.fill()
    not_created(user.submit(), FULL)
    not_created(user.submit(), FULL)
    assert user.entries() == {}
    disk.make_room()
    assert user.submit().out.split() == list(user.entries())


def test_without_inodes_there_is_no_spool_or_no_message(tmp_path: Path) -> None:
    """With each inode more, of none up to enough."""
    with small(tmp_path / "disk", MEGABYTE, inodes=40) as disk:
        user = User(disk.path / "spool", tmp_path / "log")
        codes = []
        for inodes in range(40):
            disk.use_inodes(leave=inodes - len(list(disk.path.rglob("spool/**"))))
            done = user.submit("--key", "k")
            codes.append(done.code)
            if done.code == 0:
                break
            refused(done, FULL, done.code)
            assert user.entries() == {}
            assert user.left() == []
            disk.give_inodes()
        assert list(user.entries()) == done.out.split()
        assert sorted(set(codes)) == [0, 73, 75]
        assert codes[:-1] == sorted(codes[:-1])


def test_a_floor_on_free_space_is_kept(disk: Small, user: User) -> None:
    user.environment["MAILSTROM_LIMITS_MIN_FREE"] = "512KiB"
    while (done := user.submit(size=50_000)).code == 0:
        pass
    refused(done, "octets free")
    free = os.statvfs(disk.path)
    assert 512 << 10 <= free.f_bavail * PAGE < 600 << 10
    assert len(user.entries()) > 5
    assert user.left() == []
    del user.environment["MAILSTROM_LIMITS_MIN_FREE"]
    refused(user.submit(), "octets free")  # the floor that holds unless somebody says otherwise
    assert user.submit("--check").code == 0


def test_a_floor_on_inodes_is_kept(tmp_path: Path) -> None:
    with small(tmp_path / "disk", MEGABYTE, inodes=MIN_INODES + 30) as disk:
        user = User(disk.path / "spool", tmp_path / "log")
        user.environment["MAILSTROM_LIMITS_MIN_FREE"] = "1"
        while (done := user.submit()).code == 0:
            pass
        refused(done, "inodes free")
        assert MIN_INODES > os.statvfs(disk.path).f_favail >= MIN_INODES - 3
        assert user.entries()


# --- delivering ---

MESSAGES = 30
CONNECTIONS = 2
IN_HAND = 5 * CONNECTIONS  # more than are under way at once


def pad(user: User, mail: Mailstrom, id: str, room: int) -> None:
    """Leave so many octets of the page that a message's sidecar lies in."""
    with mail.store.lease(id) as lease:  # type: ignore[union-attr]
        sidecar = user.spool / lease.entry.state / id / "message.jsonl"
        event = {"event": "other", "time": 1.0, "text": ""}
        size = sidecar.stat().st_size
        lease.record(event)
        held = sidecar.stat().st_size
        lease.record({**event, "text": "x" * (PAGE - held - (held - size) - room)})
        assert sidecar.stat().st_size == PAGE - room


class Delivery:
    """A spool with mail in it, and a server during whose reply something happens to the disk."""

    def __init__(self, disk: Small, user: User, server: ScriptedServer) -> None:
        self.disk, self.user, self.server = disk, user, server

    def prepare(self, room: int) -> None:
        """Submit, and leave so many octets of the page that a sidecar lies in."""
        self.user.submit_many(MESSAGES)
        mail = self.user.mail()
        for id in mail.store.ids(["queued"]):
            pad(self.user, mail, id, room)
        mail.store.mark(SWEPT, 9e9)  # no pass makes room of its own
        mail.store.close()  # type: ignore[attr-defined]

    def at_the_end_of_data(self, happens: Callable[[], None]) -> None:
        def once(moment: Moment) -> None:
            self.server.script.replies.pop("dot", None)
            happens()

        self.server.script.replies["dot"] = once

    @property
    def sent(self) -> int:
        """How often the server has taken a message."""
        return len(self.server.delivered())


@pytest.fixture
def delivery(disk: Small, tmp_path: Path) -> Iterator[Delivery]:
    with ScriptedServer(Script()) as server:
        user = User(disk.path / "spool", tmp_path / "log", server)
        user.environment["MAILSTROM_LIMITS_PER_DESTINATION"] = str(CONNECTIONS)
        yield Delivery(disk, user, server)
        user.stop_all()
        assert server.violations == []


def waits_for_room(user: User, process: subprocess.Popen[bytes]) -> None:
    """It tries again to put the same result on record, after a pause, and does nothing besides."""
    begun, used = len(user.log()), processor_time(process)

    def tries() -> list[list[datetime]]:
        found: dict[str, list[datetime]] = defaultdict(list)
        for when, id in re.findall(r"^(\S+)Z error: (\w+): cannot record", user.log()[begun:], re.MULTILINE):
            found[id].append(datetime.fromisoformat(when))
        return list(found.values())

    wait_for(lambda: any(len(each) > 1 for each in tries()), 20, "it to try")
    pauses = [after - before for each in tries() for before, after in pairwise(each)]
    assert all(pause.total_seconds() > 1 for pause in pauses), "it hardly waits"
    assert processor_time(process) - used < 0.5, "it is busy"


@pytest.mark.parametrize("room", [0, 10])
def test_a_flush_that_cannot_record_stops_and_the_next_ones_send_nothing(
    delivery: Delivery, room: int
) -> None:
    """room: octets that a line torn by the full disk gets."""
    disk, user = delivery.disk, delivery.user
    delivery.prepare(room)
    delivery.at_the_end_of_data(disk.fill)
    done = user("flush")
    assert done.code == 75
    assert re.search(
        r"^error: the outcome of an attempt could not be recorded: .*\nhint: .*\n\Z", done.err, re.M
    )
    assert 1 <= delivery.sent <= IN_HAND, "it takes new work"
    sent = delivery.sent
    unrecorded = sent - user.states().count("delivered")
    assert unrecorded > 0
    for words in (("flush",), ("flush", "--all")):
        refused(user(*words), FULL)
    assert delivery.sent == sent, "sent again and again"
    disk.make_room()
    assert user("flush", "--all").code == 0
    assert user.states() == ["delivered"] * MESSAGES
    assert delivery.sent == MESSAGES + unrecorded
    assert len(delivery.server.duplicates()) == unrecorded


def test_a_run_that_cannot_record_remembers_and_goes_on_when_there_is_room(delivery: Delivery) -> None:
    disk, user = delivery.disk, delivery.user
    delivery.prepare(10)
    delivery.at_the_end_of_data(disk.fill)
    process = user.start()
    waits_for_room(user, process)
    assert 1 <= delivery.sent <= IN_HAND, "it takes new work, or sends again"
    refused(user.submit(size=5_000), FULL)
    disk.make_room()
    wait_for(lambda: delivery.sent == MESSAGES, 20, "the rest to be sent")
    wait_for(lambda: len(os.listdir(user.spool / "delivered")) == MESSAGES, 20, "it to be on record")
    assert user.stop(process) == 0
    assert delivery.server.duplicates() == []
    assert user.states() == ["delivered"] * MESSAGES


def test_a_run_that_is_stopped_while_the_disk_is_full_loses_nothing(delivery: Delivery) -> None:
    disk, user = delivery.disk, delivery.user
    delivery.prepare(0)
    delivery.at_the_end_of_data(disk.fill)
    process = user.start()
    wait_for(lambda: "cannot record" in user.log(), 20, "the disk to be full")
    assert user.stop(process) == 75
    assert "could not be recorded" in user.log()
    assert "internal error" not in user.log()
    sent = delivery.sent
    unrecorded = sent - user.states().count("delivered")
    refused(user("run"), FULL)
    assert delivery.sent == sent
    disk.make_room()
    assert user("flush", "--all").code == 0
    assert user.states() == ["delivered"] * MESSAGES
    assert delivery.sent == MESSAGES + unrecorded


def test_what_is_past_its_retention_makes_room_on_a_full_disk(delivery: Delivery) -> None:
    disk, user = delivery.disk, delivery.user
    for _ in range(10):
        assert user.submit(size=5_000).code == 0
    assert user("flush").code == 0
    disk.fill()
    refused(user.submit(), FULL)
    user.environment["MAILSTROM_RETENTION_DELIVERED"] = "0s"
    assert user("flush").code == 0
    assert user.entries() == {}
    assert user.submit().code == 0


@pytest.mark.parametrize("room", [0, 10])
@pytest.mark.parametrize("word", ["hold", "release", "cancel", "retry"])
def test_work_that_cannot_be_recorded_is_refused_and_done_when_there_is_room(
    delivery: Delivery, word: str, room: int
) -> None:
    disk, user = delivery.disk, delivery.user
    id = user("submit", stdin=user.message(to="reject@example.net")).out.strip()
    if word == "release":
        assert user("hold", id).code == 0
    if word == "retry":
        assert user("flush").code == 0
    mail = user.mail()
    pad(user, mail, id, room)
    mail.store.close()  # type: ignore[attr-defined]
    before = user.entries()[id]
    disk.fill()
    refused(user(word, id), FULL)
    assert user.entries()[id] == before
    sidecar = user.spool / before.state / id / "message.jsonl"
    assert sidecar.stat().st_size == PAGE - room, "half a line is left"
    disk.make_room()
    assert user(word, id).code == 0
    assert user.entries()[id] != before
    assert user("check-spool").code == 0


@pytest.mark.parametrize("out_of", ["room", "inodes"])
def test_sendmail_on_a_full_disk_stores_nothing_and_says_so(tmp_path: Path, out_of: str) -> None:
    with small(tmp_path / "disk", MEGABYTE, inodes=60) as disk:
        user = User(disk.path / "spool", tmp_path / "log")
        user.environment["HOME"] = str(tmp_path)
        words = ("sendmail", "-i", "-f", "a@example.org", "b@example.net")
        assert user.submit().code == 0
        (old,) = user.entries()
        disk.fill() if out_of == "room" else disk.use_inodes()
        done = user(*words, stdin=user.message())
        assert (done.code, done.out) == (OS_ERROR, "")
        assert FULL in done.err
        assert list(user.entries()) == [old]
        assert user.left() == []
        disk.make_room()
        disk.give_inodes()
        assert user(*words, stdin=user.message()).code == 0
        assert len(user.entries()) == 2


# --- read-only ---


def test_a_disk_that_is_read_only_is_told_and_nothing_is_sent(delivery: Delivery) -> None:
    disk, user = delivery.disk, delivery.user
    ids = [user.submit().out.strip() for _ in range(3)]
    disk.remount("ro")
    for words in (
        ("submit",),
        ("hold", ids[0]),
        ("cancel", ids[0]),
        ("flush",),
        ("flush", "--all"),
        ("flush", ids[0]),
        ("run",),
    ):
        refused(user(*words, stdin=user.message()), READ_ONLY)
    not_created(user("--spool", str(disk.path / "other"), "submit", stdin=user.message()), READ_ONLY)
    for words in (("status", ids[0]), ("queue",), ("show", ids[0])):
        done = user(*words)
        assert (done.code, done.err) == (0, "")
        assert done.out
    assert delivery.sent == 0
    disk.remount("rw")
    assert user("flush").code == 0
    assert user.states() == ["delivered"] * 3
    assert delivery.sent == 3


def test_a_disk_that_becomes_read_only_under_a_submit_is_told_and_swept(disk: Small, user: User) -> None:
    assert user.submit().code == 0
    (old,) = user.entries()
    command = [*MAILSTROM, "submit"]
    with Halted(command, CHANGES, ["mkdirat"], user.environment, user.message()) as halted:
        assert halted.halted
        disk.remount("ro")
        refused(halted.go_on(), READ_ONLY)
    disk.remount("rw")
    assert list(user.entries()) == [old]
    mail = user.mail()
    mail.store.sweep(9e9, 0.0, 0.0)
    mail.store.close()  # type: ignore[attr-defined]
    assert user.left() == []


def test_a_disk_that_becomes_read_only_under_a_flush_stops_it(delivery: Delivery) -> None:
    """Between two messages, of which a rate limit makes it wait for one."""
    disk, user = delivery.disk, delivery.user
    user.submit_many(4)
    user.environment["MAILSTROM_LIMITS_RATE"] = "1/s"
    flush = user.begin("flush")
    wait_for(lambda: os.listdir(user.spool / "delivered") != [], 20, "the first message")
    wait_for(lambda: _became_read_only(disk), 20, "the flush to have no file open")
    done = user.end(flush)
    sent = delivery.sent
    assert 1 <= sent < 4
    assert done.code == 75
    assert f"error: {4 - sent} of the messages could not be tried; the log says why\n" in done.err
    assert done.err.count(READ_ONLY) <= 4 * (4 - sent)
    disk.remount("rw")
    del user.environment["MAILSTROM_LIMITS_RATE"]
    assert user("flush", "--all").code == 0
    assert user.states() == ["delivered"] * 4
    assert delivery.sent == 4


def _became_read_only(disk: Small) -> bool:
    try:
        disk.remount("ro")
    except subprocess.CalledProcessError:
        return False
    return True


def test_a_run_whose_disk_becomes_read_only_waits_and_the_next_one_finishes(tmp_path: Path) -> None:
    """As ext4 does it when it has met an error, whoever has files open."""
    with ScriptedServer(Script()) as server, Disk("ext4") as disk:
        user = User(disk.path / "spool", tmp_path / "log", server)
        user.environment["MAILSTROM_LIMITS_PER_DESTINATION"] = str(CONNECTIONS)
        try:
            user.submit_many(MESSAGES)
            server.script.replies["dot"] = lambda moment: disk.abort()
            process = user.start()
            waits_for_room(user, process)
            server.script.replies.clear()
            sent = len(server.delivered())
            assert 1 <= sent <= IN_HAND
            refused(user.submit(), READ_ONLY)
            assert user.stop(process) == 75
            disk.restart()
            unrecorded = sent - user.states().count("delivered")
            process = user.start()
            wait_for(lambda: len(os.listdir(user.spool / "delivered")) == MESSAGES, 90, "the rest")
            assert user.stop(process) == 0
            assert user.states() == ["delivered"] * MESSAGES
            assert len(server.delivered()) == MESSAGES + unrecorded
        finally:
            user.stop_all()
