"""Faults of a spool: how each is made, and what is to be told of it."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.errors import MailstromError
from mailstrom_cli.store.base import HostState, Note
from mailstrom_cli.store.check import Check
from mailstrom_cli.store.spool import open_store
from mailstrom_cli.store.verdict import ERROR, NOTE, WARNING
from tests.peers.needs import lacking

from .contract import put, record
from .samples import event, results, submission

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailstrom_cli.store.spool import Spool
    from mailstrom_cli.store.verdict import Finding

NOW = float(int(time.time()))
NOBODY = 65534


class Sound:
    """A spool with a message in every state, one of them on hold, and a key, a host, a note, marks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.opened: list[Spool] = []
        store = self.store()
        (self.queued,) = store.intake([submission(key="k", digest="d")], NOW - 60)
        self.deferred = put(store, now=NOW - 59)
        record(store, self.deferred, results(NOW - 50, b=NOW + 300))
        self.held = put(store, now=NOW - 58)
        record(store, self.held, event("held", NOW - 40))
        self.delivered = put(store, now=NOW - 57)
        record(store, self.delivered, results(NOW - 50, b="delivered"))
        self.failed = put(store, now=NOW - 56)
        record(store, self.failed, event("cancelled", NOW - 30))
        store.set_host("mx.example.net", HostState(2, NOW + 60, "refused"))
        store.mark("recent", NOW - 10)
        store.set_note("policy", "example.net", Note("text", NOW + 60))
        assert store.run_lock().acquire() is None

    def store(self) -> Spool:
        """One that is closed with the test."""
        self.opened.append(open_store(str(self.root)))
        return self.opened[-1]

    def close(self) -> None:
        for store in self.opened:
            store.close()

    def check(self, *, repair: bool = False, later: float = 0.0) -> list[Finding]:
        return list(Check(str(self.root), NOW + later, repair))

    @property
    def key(self) -> Path:
        (path,) = (self.root / "keys").iterdir()
        return path

    def entry(self, state: str) -> Path:
        return self.root / state / getattr(self, state)

    def sidecar(self, state: str) -> Path:
        return self.entry(state) / "message.jsonl"


def as_root(path: Path) -> None:
    if os.geteuid() != 0:
        lacking("only root can give a file away")
    os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def device(path: Path) -> None:
    if os.geteuid() != 0:
        lacking("only root can make a device")
    try:
        os.mknod(path, 0o020600, os.makedev(1, 5))
    except PermissionError:
        lacking("this root may not make a device")


def instead(path: Path, make: Callable[[Path], object]) -> None:
    path.rename(path.parent.parent / "stolen") if path.is_dir() else path.unlink()
    make(path)


def elsewhere(path: Path) -> None:
    path.symlink_to("/etc")


def rewritten(path: Path, **change: object) -> None:
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps({**json.loads(first), **change}), *rest]) + "\n")


def appended(path: Path, *lines: object) -> None:
    with path.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def dated(path: Path, when: float) -> None:
    os.utime(path, (when, when))


def tear(path: Path) -> None:
    with path.open("a") as file:
        file.write('{"event":')


def copied(sound: Sound, state: str, to: str, *lines: object) -> None:
    """A copy of a message in another state, after which the original, or the copy, went on."""
    source = sound.entry(state)
    copy = sound.root / to / source.name
    shutil.copytree(source, copy)
    for path in (copy, *copy.iterdir()):
        path.chmod(0o700 if path.is_dir() else 0o600)
    appended(copy / "message.jsonl", *lines)


def lease_damaged(sound: Sound, id: str) -> None:
    with pytest.raises(MailstromError):
        sound.store().lease(id)


# How it is made; how bad it is, where, and what is said; whether it can be repaired.
Fault = tuple["Callable[[Sound], object]", str, str, str, bool]

FAULTS: dict[str, Fault] = {
    # the spool and what it is made of
    "group may read": (lambda s: s.root.chmod(0o750), ERROR, ".", "mode is 0750, not 0700", True),
    "all may write": (lambda s: s.root.chmod(0o777), ERROR, ".", "0777", True),
    "a foreign name": (
        lambda s: (s.root / "notes.txt").touch(),
        WARNING,
        "notes.txt",
        "a file whose name",
        False,
    ),
    "a directory is missing": (lambda s: (s.root / "tmp").rmdir(), WARNING, "tmp", "missing", True),
    "corrupt/ is missing": (lambda s: (s.root / "corrupt").rmdir(), WARNING, "corrupt", "missing", True),
    "a directory is open": (lambda s: (s.root / "failed").chmod(0o755), WARNING, "failed", "0755", True),
    "a directory is a link": (
        lambda s: instead(s.root / "marks", elsewhere),
        ERROR,
        "marks",
        "a symbolic link, not a directory",
        True,
    ),
    "corrupt/ is a link": (
        lambda s: instead(s.root / "corrupt", elsewhere),
        ERROR,
        "corrupt",
        "a symbolic link",
        False,
    ),
    "a directory is another's": (
        lambda s: as_root(s.root / "hosts"),
        ERROR,
        "hosts",
        "user 65534, not",
        True,
    ),
    "no format": (lambda s: (s.root / "format").unlink(), ERROR, "format", "missing", True),
    "empty format": (lambda s: os.truncate(s.root / "format", 0), ERROR, "format", "empty", True),
    "format is a link": (
        lambda s: instead(s.root / "format", elsewhere),
        ERROR,
        "format",
        "a symbolic link",
        True,
    ),
    "format is another's": (
        lambda s: as_root(s.root / "format"),
        ERROR,
        "format",
        "belongs to user 65534",
        True,
    ),
    "format is open": (lambda s: (s.root / "format").chmod(0o644), WARNING, "format", "0644, not 0600", True),
    "no trigger": (
        lambda s: (s.root / "trigger").unlink(),
        WARNING,
        "trigger",
        "missing, so that nothing",
        True,
    ),
    "trigger is a file": (
        lambda s: instead(s.root / "trigger", Path.touch),
        ERROR,
        "trigger",
        "not a FIFO",
        True,
    ),
    "trigger is a full directory": (
        lambda s: instead(s.root / "trigger", lambda p: (p / "in it").mkdir(parents=True)),
        ERROR,
        "trigger",
        "a directory, not a FIFO",
        True,
    ),
    "run.lock is a link": (
        lambda s: instead(s.root / "run.lock", elsewhere),
        ERROR,
        "run.lock",
        "link",
        True,
    ),
    "run.lock has links": (
        lambda s: os.link(s.root / "run.lock", s.root.parent / "l"),
        ERROR,
        "run.lock",
        "2 links",
        True,
    ),
    # messages
    "a name that is no id": (
        lambda s: (s.root / "queued/x").mkdir(),
        WARNING,
        "queued/x",
        "a queue id",
        False,
    ),
    "an entry is open": (lambda s: s.entry("queued").chmod(0o755), WARNING, "queued/{queued}", "0755", True),
    "a message is open": (
        lambda s: (s.entry("failed") / "message.eml").chmod(0o644),
        WARNING,
        "failed/{failed}/message.eml",
        "0644, not 0600",
        True,
    ),
    "a sidecar is open": (
        lambda s: s.sidecar("failed").chmod(0o666),
        WARNING,
        "failed/{failed}/message.jsonl",
        "0666",
        True,
    ),
    "a file too many": (
        lambda s: (s.entry("queued") / "core").touch(),
        WARNING,
        "queued/{queued}/core",
        "nothing",
        False,
    ),
    "a device": (
        lambda s: instead(s.sidecar("queued"), device),
        ERROR,
        "queued/{queued}",
        "not a regular file",
        True,
    ),
    "a device for an entry": (
        lambda s: device(s.root / "queued" / ("0" * 16)),
        ERROR,
        "queued/" + "0" * 16,
        "it is a device",
        True,
    ),
    "an entry is another's": (
        lambda s: as_root(s.entry("queued")),
        ERROR,
        "queued/{queued}",
        "directory belongs to user",
        True,
    ),
    "a message is another's": (
        lambda s: as_root(s.entry("queued") / "message.eml"),
        ERROR,
        "queued/{queued}",
        "message.eml belongs to user 65534",
        True,
    ),
    "a torn line": (
        lambda s: tear(s.sidecar("deferred")),
        NOTE,
        "deferred/{deferred}/message.jsonl",
        "torn (9 octets)",
        True,
    ),
    "an unknown event": (
        lambda s: appended(s.sidecar("queued"), event("blessed", NOW)),
        NOTE,
        "queued/{queued}/message.jsonl",
        "line 2 is an event of the unknown kind 'blessed'",
        False,
    ),
    "an unknown key": (
        lambda s: rewritten(s.sidecar("queued"), colour="red"),
        NOTE,
        "queued/{queued}/message.jsonl",
        "unknown key 'colour'",
        False,
    ),
    "an unknown body": (
        lambda s: rewritten(s.sidecar("queued"), body="9bit"),
        WARNING,
        "queued/{queued}/message.jsonl",
        "body is '9bit'",
        False,
    ),
    "an unknown ret": (
        lambda s: rewritten(s.sidecar("queued"), ret="half"),
        WARNING,
        "queued/{queued}/message.jsonl",
        "ret is 'half'",
        False,
    ),
    "an unknown wish": (
        lambda s: rewritten(
            s.sidecar("queued"), recipients=[{"address": "b@example.net", "notify": ["never", "x"]}]
        ),
        WARNING,
        "queued/{queued}/message.jsonl",
        "notify is ['x']",
        False,
    ),
    "a result of nobody": (
        lambda s: appended(s.sidecar("delivered"), results(NOW, z="failed")),
        WARNING,
        "delivered/{delivered}/message.jsonl",
        "line 3 tells of 'z@example.net'",
        False,
    ),
    "final and not moved": (
        lambda s: s.entry("delivered").rename(s.root / "queued" / s.delivered),
        NOTE,
        "queued/{delivered}",
        "it is delivered by its sidecar",
        True,
    ),
    "queued for deferred": (
        lambda s: s.entry("deferred").rename(s.root / "queued" / s.deferred),
        NOTE,
        "queued/{deferred}",
        "it is deferred by its sidecar",
        True,
    ),
    "waits where nobody looks": (
        lambda s: s.entry("deferred").rename(s.root / "failed" / s.deferred),
        ERROR,
        "failed/{deferred}",
        "nobody looks for it here",
        True,
    ),
    "held by its time alone": (
        lambda s: dated(s.entry("deferred"), 0),
        ERROR,
        "deferred/{deferred}",
        "marked as on hold",
        True,
    ),
    "held by its sidecar alone": (
        lambda s: dated(s.root / "queued" / s.held, NOW),
        NOTE,
        "queued/{held}",
        "looked at nevertheless",
        True,
    ),
    "due in a year": (
        lambda s: dated(s.entry("queued"), NOW + 3e7),
        ERROR,
        "queued/{queued}",
        "nobody looks at it",
        True,
    ),
    "due too early": (
        lambda s: dated(s.entry("deferred"), NOW),
        NOTE,
        "deferred/{deferred}",
        "it is looked at",
        True,
    ),
    "final at another time": (
        lambda s: dated(s.entry("failed"), NOW),
        WARNING,
        "failed/{failed}",
        "became final at",
        True,
    ),
    "twice, the copy as it was": (
        lambda s: copied(s, "queued", "deferred"),
        ERROR,
        "deferred/{queued}",
        "an older copy of the message",
        True,
    ),
    "twice, the copy went on": (
        lambda s: copied(s, "queued", "failed", event("cancelled", NOW)),
        ERROR,
        "failed/{queued}",
        "too, as",
        True,
    ),
    "twice, the original went on": (
        lambda s: (copied(s, "queued", "failed"), appended(s.sidecar("queued"), event("released", NOW))),
        ERROR,
        "failed/{queued}",
        "an older copy of the message in queued/",
        True,
    ),
    "twice, both went on": (
        lambda s: (
            copied(s, "queued", "failed", event("cancelled", NOW)),
            appended(s.sidecar("queued"), event("released", NOW)),
        ),
        ERROR,
        "failed/{queued}",
        "either tells what the other does not",
        False,
    ),
    # beside messages
    "set aside": (
        lambda s: (os.truncate(s.sidecar("failed"), 0), lease_damaged(s, s.failed)),
        NOTE,
        "corrupt/{failed}",
        "set aside: the sidecar is empty",
        False,
    ),
    "a key is torn": (lambda s: os.truncate(s.key, 9), NOTE, "keys/{key}", "names no message", True),
    "a key of a message that is gone": (
        lambda s: s.key.write_text(f"{'0' * 16} d\n"),
        NOTE,
        "keys/{key}",
        "0000, is gone",
        True,
    ),
    "a key of another message": (
        lambda s: s.key.write_text(f"{s.deferred} d\n"),
        ERROR,
        "keys/{key}",
        "whose key is another",
        True,
    ),
    "a digest that is not the message's": (
        lambda s: s.key.write_text(f"{s.queued} x\n"),
        ERROR,
        "keys/{key}",
        "digest",
        True,
    ),
    "a key is a FIFO": (
        lambda s: instead(s.key, os.mkfifo),
        ERROR,
        "keys/{key}",
        "it is a FIFO, not a file",
        True,
    ),
    "a key is open": (lambda s: s.key.chmod(0o640), WARNING, "keys/{key}", "0640", True),
    "a host cannot be read": (
        lambda s: (s.root / "hosts/mx.example.net").write_text("{"),
        NOTE,
        "hosts/mx.example.net",
        "cannot be read",
        True,
    ),
    "a host of a clock that was ahead": (
        lambda s: s.store().set_host("mx.example.net", HostState(1, NOW + 1e8, "x")),
        NOTE,
        "hosts/mx.example.net",
        "clock",
        True,
    ),
    "a host has links": (
        lambda s: os.link(s.root / "hosts/mx.example.net", s.root.parent / "l"),
        ERROR,
        "hosts/mx.example.net",
        "2 links",
        True,
    ),
    "a note cannot be read": (
        lambda s: (s.root / "notes/policy%20example.net").write_text("{"),
        NOTE,
        "notes/policy%20example.net",
        "cannot be read",
        True,
    ),
    "a note is a FIFO": (
        lambda s: instead(s.root / "notes/policy%20example.net", os.mkfifo),
        ERROR,
        "notes/policy%20example.net",
        "it is a FIFO, not a file",
        True,
    ),
    "no notes, as in an earlier version": (
        lambda s: shutil.rmtree(s.root / "notes"),
        NOTE,
        "notes",
        "it is missing",
        True,
    ),
    "a mark cannot be read": (
        lambda s: (s.root / "marks/recent").write_text("x"),
        NOTE,
        "marks/recent",
        "no time",
        True,
    ),
    "a mark is no number": (
        lambda s: (s.root / "marks/recent").write_text("nan"),
        NOTE,
        "marks/recent",
        "no time",
        True,
    ),
    "a mark of a clock that was ahead": (
        lambda s: s.store().mark("recent", NOW + 1e8),
        WARNING,
        "marks/recent",
        "yet to come",
        True,
    ),
}
