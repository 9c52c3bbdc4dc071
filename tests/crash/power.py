"""Power cuts: the real commands, on a disk that loses its power after each of their system calls.

    python -m tests.crash.power            # every call of every command, on every file system (as root)

A command runs until its n-th call and stands still. The disk is cut, the command killed, the disk mounted
again; then it is looked at what is there, and the rest of the work is done as the next commands would do it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mailstrom_cli.api import Mailstrom, Request
from mailstrom_cli.config.schema import Settings, build
from mailstrom_cli.config.via import parse_via
from mailstrom_cli.errors import CANT_CREATE, TEMPORARY, NoSpool
from mailstrom_cli.mail.status import DELIVERED, FAILED, FINAL, STATES, UNFINISHED
from mailstrom_cli.queue.flush import sweep
from mailstrom_cli.store.base import SWEPT
from tests.peers.scripted import Script, ScriptedServer

from .disk import JOURNAL, KINDS, SYNCED, WRITTEN, Cut, Disk
from .halt import CHANGES, MAILSTROM, Done, Halted, need_strace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailstrom_cli.store.entry import Entry

SYNCS = ("fsync", "syncfs", "rename", "renameat", "renameat2", "write")
"""What orders the others, and what is told."""
TALKS = ("sendto", "recvfrom")
"""What a delivery does besides: cut between a server's reply and its record."""


LOGGED = re.compile(r"\d{4}-\d\d-\d\dT\S+Z (error|warning): ")


@dataclass
class Place:
    """Where one cut happens: a folder on the disk, one beside it, and a server. sent: each message that is
    submitted, by its Message-ID, as it is to be stored."""

    folder: Path
    beside: Path
    server: ScriptedServer
    sent: dict[str, bytes] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    _used: list[Mailstrom] = field(default_factory=list)

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "MAILSTROM_SPOOL": str(self.spool),
            "MAILSTROM_VIA": f"smtp://127.0.0.1:{self.server.port}",
            "MAILSTROM_LIMITS_MIN_FREE": "0",
            "MAILSTROM_HELO_NAME": "client.example.test",
        }

    def mail(self, *, create: bool = False) -> Mailstrom:
        settings: Settings = build(
            {
                "spool": str(self.spool),
                "via": (parse_via(self.environment["MAILSTROM_VIA"]),),
                "limits.min_free": 0,
                "helo_name": "client.example.test",
            }
        )
        mail = Mailstrom(settings, create=create)
        self._used.append(mail)
        return mail

    def close(self) -> None:
        """Let go of the disk."""
        for mail in self._used:
            if mail._store is not None:
                mail.store.close()
        self._used.clear()

    def message(self, to: str = "b@example.net", size: int = 0) -> bytes:
        """Another message, complete, so that it is stored as it is but for its line ends."""
        number = len(self.sent) + 1
        name = f"<{number}@example.org>"
        text = (
            f"From: a@example.org\nTo: {to}\nDate: Tue, 24 Nov 2026 10:00:00 +0000\nMessage-ID: {name}\n"
            f"Subject: {number}\n\n.{number}\n" + f"{'x' * 70}\n" * (size // 71)
        ).encode()
        self.sent[name] = text.replace(b"\n", b"\r\n")
        return text

    def files(self, count: int, *sizes: int) -> list[str]:
        made = []
        for number in range(count):
            path = self.beside / f"{number}.eml"
            path.write_bytes(self.message(size=sizes[number] if number < len(sizes) else 0))
            made.append(str(path))
        return made


# --- what is looked at after a cut ---


def look(place: Place) -> dict[str, Entry]:
    """Every message that is visible, by id: each is whole, and in one state. None was damaged."""
    try:
        store = place.mail().store
    except NoSpool:
        return {}
    damaged = list((place.spool / "corrupt").iterdir()) if (place.spool / "corrupt").exists() else []
    assert damaged == [], "set aside"
    found: dict[str, Entry] = {}
    for state in STATES:
        for id in store.ids([state]):
            assert id not in found, f"{id} is in two states"
            found[id] = entry = store.read(id)
            with store.open_message(id) as message:
                assert message.read() == place.sent[entry.envelope.message_id], f"{id} is not as it was sent"
    names = Counter(entry.envelope.message_id for entry in found.values())
    assert all(times == 1 for times in names.values()), "a message is there twice"
    return found


def finish(place: Place) -> Mailstrom:
    """What comes next on every machine: the sweep of whoever flushes first, and a pass over all there is."""
    mail = place.mail(create=True)
    place.server.script.recipients = {"defer": "250 2.1.5 Ok"}
    sweep(mail.settings, mail.store)
    scheduled = [item.id for item in mail.store.scheduled()]
    for entry in mail.queue(STATES):
        waits = entry.state in UNFINISHED and not entry.held
        assert not waits or entry.id in scheduled, f"{entry.id} waits, and nobody will look at it"
    mail.flush(everything=True)
    mail.store.sweep(time.time() + 7200, 0.0, 0.0)  # an hour later nobody is at what lies in tmp/
    left = os.listdir(place.spool / "tmp")
    assert left == [], "left in tmp/"
    return mail


# --- what is cut ---


class Command:
    """One command, and what it works on. calls: those after which it can be cut.  boundaries: those in the
    short form."""

    name = ""
    calls: Sequence[str] = CHANGES
    boundaries: Sequence[str] = SYNCS

    def before(self, place: Place) -> None:
        """Make what it finds; it is on the disk when the command begins."""

    def words(self, place: Place) -> list[str]:
        raise NotImplementedError

    def stdin(self, place: Place) -> bytes:
        return b""

    def after(self, place: Place, done: Done, found: dict[str, Entry]) -> str:
        """Check what the cut has left, and what becomes of it; the outcome in a word."""
        raise NotImplementedError


class Submit(Command):
    """files, each of such a size; none: stdin.  new: there is no spool yet."""

    def __init__(
        self, name: str, *options: str, count: int = 0, sizes: Sequence[int] = (), new: bool = False
    ) -> None:
        self.name, self._options, self._count, self._sizes, self._new = name, options, count, sizes, new
        if new:
            self.boundaries = (*SYNCS, "mkdir", "mkdirat", "pwrite64")

    def before(self, place: Place) -> None:
        if not self._new:
            _ = place.mail(create=True).store

    def words(self, place: Place) -> list[str]:
        words = [*MAILSTROM, "submit", *self._options]
        if "--mbox" not in self._options:
            return words + place.files(self._count, *self._sizes)
        box = place.beside / "mbox"
        box.write_bytes(b"".join(b"From a\n" + place.message() + b"\n" for _ in range(self._count)))
        return [*words, str(box)]

    def stdin(self, place: Place) -> bytes:
        return place.message() if not self._count else b""

    def after(self, place: Place, done: Done, found: dict[str, Entry]) -> str:
        told = done.out.split()
        if done.code >= 0:  # it was not killed
            check_told(done)
            assert (done.code == 0) is (len(told) == len(place.sent)), "a success that was not told, or none"
        lost = set(told) - set(found)
        assert not lost, f"accepted and lost: {lost}"
        assert all(entry.state == "queued" for entry in found.values())
        self._deliver(place, found)
        return "told" if told else "whole" if len(found) == len(place.sent) else f"{len(found)} there"

    def _deliver(self, place: Place, found: dict[str, Entry]) -> None:
        """All that is there goes out as it came, and the spool takes new mail."""
        mail = finish(place)
        bodies = sorted(t.body or b"" for t in place.server.transactions if t.accepted)
        assert bodies == sorted(place.sent[entry.envelope.message_id] for entry in found.values())
        assert all(mail.entry(id).state == DELIVERED for id in found)
        again = mail.submit(place.message(), Request())
        assert mail.entry(again.id).state == "queued"


def check_told(done: Done) -> None:
    """What a command says that came to its end: success, or in one line and a hint why there was none."""
    lines = done.err.splitlines()
    if done.code == 0:
        assert lines == []
    else:
        assert done.code in (CANT_CREATE, TEMPORARY)
        plain = [line for line in lines if not LOGGED.match(line)]
        assert sum(line.startswith("error: ") for line in plain) >= 1, "no error is told"
        assert all(line.startswith(("error: ", "hint: ")) for line in plain), done.err


class Flush(Command):
    """swept: the last sweep was just now, so that this pass makes none."""

    calls = (*CHANGES, *TALKS)
    boundaries = (*SYNCS, "utimensat", "sendto")

    def __init__(self, name: str, *, swept: bool) -> None:
        self.name, self._swept = name, swept

    def before(self, place: Place) -> None:
        mail = place.mail(create=True)
        to = ("b@example.net", "b@example.net, defer@example.net", "reject@example.net", "c@example.net")
        place.ids = [mail.submit(place.message(one), Request()).id for one in to]
        if self._swept:
            mail.store.mark(SWEPT, time.time())

    def words(self, place: Place) -> list[str]:
        return [*MAILSTROM, "flush"]

    def after(self, place: Place, done: Done, found: dict[str, Entry]) -> str:
        if done.code >= 0:
            check_told(done)
        assert sorted(found) == sorted(place.ids), "accepted and lost"
        mail = finish(place)
        ends = [mail.entry(id) for id in place.ids]
        assert [entry.state for entry in ends] == [DELIVERED, DELIVERED, FAILED, DELIVERED]
        times = Counter(place.server.delivered())
        wanted = {
            (r.address, entry.envelope.message_id)
            for entry in ends
            for r in entry.recipients
            if r.status == DELIVERED
        }
        assert set(times) == wanted, "recorded as delivered and never sent"
        assert max(times.values()) <= 2, "sent again and again"
        return f"{times.total() - len(times)} again"


class Expire(Command):
    """A pass that removes what is past its retention."""

    name = "expire"

    def before(self, place: Place) -> None:
        mail = place.mail(create=True)
        place.ids = [mail.submit(place.message(), Request(key=key)).id for key in ("k", None)]
        mail.flush()
        mail.store.mark(SWEPT, 0.0)

    def words(self, place: Place) -> list[str]:
        return ["env", "MAILSTROM_RETENTION_DELIVERED=0s", *MAILSTROM, "flush"]

    def after(self, place: Place, done: Done, found: dict[str, Entry]) -> str:
        assert all(entry.state == DELIVERED for entry in found.values())
        finish(place)
        assert place.server.duplicates() == []
        return f"{len(found)} there"


class Work(Command):
    """hold, release, retry or cancel of one message. prepared: what was done with it before."""

    def __init__(self, name: str, to: str = "b@example.net", *prepared: str) -> None:
        self.name, self._to, self._prepared = name, to, prepared

    def before(self, place: Place) -> None:
        mail = place.mail(create=True)
        place.ids = [mail.submit(place.message(self._to), Request()).id]
        for word in self._prepared:
            mail.flush() if word == "flush" else getattr(mail, word)(place.ids[0])
        mail.store.mark(SWEPT, time.time())
        self._before = mail.entry(place.ids[0])

    def words(self, place: Place) -> list[str]:
        return [*MAILSTROM, self.name.split()[0], place.ids[0]]

    def after(self, place: Place, done: Done, found: dict[str, Entry]) -> str:
        (id,) = place.ids
        assert list(found) == [id], "accepted and lost"
        entry = found[id]
        changed = (entry.state, entry.held) != (self._before.state, self._before.held)
        before = place.server.delivered()
        mail = finish(place)
        ended = mail.entry(id)
        assert mail.store.ids([ended.state]).__next__() == id
        if entry.held or entry.state in FINAL:
            assert (ended.state, ended.held) == (entry.state, entry.held)
            assert place.server.delivered() == before
        else:
            assert ended.state in FINAL
        return "as asked" if changed else "as before"


COMMANDS: list[Command] = [
    Submit("submit, no spool yet", new=True),
    Submit("submit"),
    Submit("submit --key", "--key", "k"),
    Submit("submit 3 files", count=3, sizes=(0, 100_000, 5_000_000)),
    Submit("submit 40 files", count=40),
    Submit("submit --mbox of 3", "--mbox", count=3),
    Flush("flush", swept=True),
    Flush("flush and sweep", swept=False),
    Expire(),
    Work("hold"),
    Work("release", "b@example.net", "hold"),
    Work("cancel"),
    Work("retry", "reject@example.net", "flush"),
    Work("retry of a deferred one", "defer@example.net", "flush"),
]


# --- cutting ---


class Cuts:
    """One command, cut in one way on one disk. survives: it goes on, on a disk that fails at every call."""

    def __init__(
        self, disk: Disk, command: Command, how: Cut, beside: Path, *, survives: bool = False
    ) -> None:
        self._disk, self._command, self._how, self._beside = disk, command, how, beside
        self._survives = survives
        self._number = 0
        self.outcomes: Counter[str] = Counter()

    def every(self) -> None:
        """After each of its calls, and after its end."""
        calls = self.one()
        for number in range(1, len(calls) + 1):
            self.one(calls[:number])

    def boundaries(self) -> None:
        """After the first and the last of each row of calls of one kind, and after its end."""
        calls = self.one()
        chosen = [(number, name) for number, name in enumerate(calls, 1) if name in self._command.boundaries]
        kinds = [None, *(name for _, name in chosen), None]
        for at, (number, name) in enumerate(chosen, 1):
            if name != kinds[at - 1] or name != kinds[at + 1]:
                self.one(calls[:number])

    def one(self, before: Sequence[str] = (), wrap: Callable[[list[str]], list[str]] = list) -> list[str]:
        """After the last of these calls, or the end; the calls it had made. wrap: what is run instead of the
        command."""
        self._number += 1
        folder = self._disk.path / str(self._number)
        folder.mkdir()
        shutil.rmtree(self._beside, ignore_errors=True)
        self._beside.mkdir()
        with ScriptedServer(Script()) as server:
            place = Place(folder, self._beside, server)
            self._command.before(place)
            place.close()
            words, stdin = wrap(self._command.words(place)), self._command.stdin(place)
            self._disk.sync()
            calls = self._command.calls
            with Halted(words, calls, before, place.environment, stdin) as running:
                halted = running.halted
                if not halted:
                    done = running.end()
                    assert done.code == 0, done.err
                self._disk.cut(self._how)
                if halted:
                    done = running.go_on() if self._survives else running.kill()
            try:
                self._disk.restart()
                outcome = self._command.after(place, done, look(place))
            except AssertionError as error:
                at = f"call {len(before)}, {before[-1]}" if halted else "its end"
                error.add_note(f"{self._command.name}, cut after {at}; on the disk: {self._how.name}")
                error.add_note(f"exit code {done.code}: {done.out}{done.err}")
                raise
            finally:
                place.close()
        self.outcomes[outcome if halted else f"end: {outcome}"] += 1
        shutil.rmtree(folder)
        return done.calls


def cuts(kind: str, command: Command, how: Cut, *, survives: bool = False, all: bool = False) -> Counter[str]:
    """Cut a command at every call, or at the boundaries, on a new disk: how often each outcome came."""
    need_strace()
    with tempfile.TemporaryDirectory() as folder, Disk(kind) as disk:
        run = Cuts(disk, command, how, Path(folder) / "beside", survives=survives)
        run.every() if all else run.boundaries()
    return run.outcomes


def main(names: Sequence[str]) -> None:
    """The long form: every call, every kind of cut, on every file system (or those named)."""
    began, count = time.monotonic(), 0
    for kind in names or KINDS:
        for command in COMMANDS:
            for how, survives in ((SYNCED, False), (JOURNAL, False), (WRITTEN, False), (SYNCED, True)):
                outcomes = cuts(kind, command, how, survives=survives, all=True)
                count += outcomes.total()
                told = ", ".join(f"{times} {name}" for name, times in sorted(outcomes.items()))
                way = "goes on" if survives else how.name
                print(f"{kind:15} {command.name:25} {way:8} {outcomes.total():4} cuts: {told}", flush=True)
    print(f"{count} cuts in {time.monotonic() - began:.0f} s; nothing lost")


if __name__ == "__main__":
    main(sys.argv[1:])
