"""Whatever is planted in a spool, and whatever a sidecar holds: every command tells it in a line, follows
nothing out of the spool, and the other mail goes out."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.errors import DATA, NO_INPUT, OK, USAGE
from mailstrom_cli.store.spool import Spool

from ..peers.needs import lacking
from ..store.test_spool_damage import DAMAGE, replace_by, rewrite

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .conftest import Done

    Run = Callable[..., Done]
    Write = Callable[..., str]
    Damage = Callable[[Path], object]

SECRET = b"secret\n"
LEASING = ("hold", "release", "retry", "cancel", "flush")


def secret(entry: Path) -> Path:
    """A file outside the spool, as long as the message, so that its size betrays nothing."""
    path = entry.parents[2] / "secret"
    size = (entry / "message.eml").stat().st_size
    path.write_bytes(SECRET * (size // len(SECRET)) + b"x" * (size % len(SECRET)))
    return path


def outside(entry: Path) -> Path:
    """A whole entry outside the spool, under the same id."""
    away = entry.parents[2] / "outside"
    away.mkdir(exist_ok=True)
    return Path(shutil.copytree(entry, away / entry.name))


def by_link(entry: Path, name: str, target: Path, link: Callable[[Path, Path], object]) -> None:
    (entry / name).unlink()
    link(entry / name, target)


def entry_by_link(entry: Path) -> None:
    target = outside(entry)
    shutil.rmtree(entry)
    entry.symlink_to(target)


def device(entry: Path) -> None:
    if os.geteuid() != 0:
        lacking("only root can make a device")
    try:
        os.mknod(entry / "message.eml.new", 0o600 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        lacking("this root may not make a device")
    (entry / "message.eml.new").rename(entry / "message.eml")


def given_away(name: str) -> Damage:
    def give(entry: Path) -> None:
        if os.geteuid() != 0:
            lacking("only root can give a file away")
        os.chown(entry / name, 65534, 65534)

    return give


def line(text: str) -> Damage:
    def append(entry: Path) -> None:
        with (entry / "message.jsonl").open("a") as sidecar:
            sidecar.write(text + "\n")

    return append


def deep(depth: int) -> str:
    return "[" * depth + "]" * depth


def first_line_with(key: str, text: str) -> Damage:
    def damage(entry: Path) -> None:
        held = (entry / "message.jsonl").read_text()
        (entry / "message.jsonl").write_text(held.replace("}\n", f',"{key}":{text}}}\n', 1))

    return damage


PLANTED: dict[str, Damage] = {
    **DAMAGE,
    "message is a link to a secret": lambda e: by_link(e, "message.eml", secret(e), Path.symlink_to),
    "message is a hard link to a secret": lambda e: by_link(e, "message.eml", secret(e), Path.hardlink_to),
    "sidecar is a link to one outside": lambda e: by_link(
        e, "message.jsonl", outside(e) / "message.jsonl", Path.symlink_to
    ),
    "sidecar is a hard link to one outside": lambda e: by_link(
        e, "message.jsonl", outside(e) / "message.jsonl", Path.hardlink_to
    ),
    "entry is a link to one outside": entry_by_link,
    "message is a device": device,
    "message is another's": given_away("message.eml"),
    "sidecar is another's": given_away("message.jsonl"),
    "sidecar of a million octets, all one line": replace_by(
        lambda path: path.write_bytes(b"x" * 1_000_000 + b"\n"), "message.jsonl"
    ),
    "sidecar of a million octets without a line": replace_by(
        lambda path: path.write_bytes(b"{" * 1_000_000), "message.jsonl"
    ),
    "sidecar of a million lines": replace_by(
        lambda path: path.write_bytes(b"\n" * 1_000_000), "message.jsonl"
    ),
    "an address of a million characters that ends a line": rewrite(
        lambda line: line.update(recipients=[{"address": "x" * 1_000_000 + "\r\nDATA"}])
    ),
    "a value of a million octets in place of a number": rewrite(lambda line: line.update(size=[0] * 300_000)),
    "a line nested 100,000 deep": line(deep(100_000)),
    "an event nested 100,000 deep": line('{"event":"results","time":' + deep(100_000) + "}"),
    "a value nested 900 deep": first_line_with("size", deep(900)),
    "an envelope nested 100,000 deep": first_line_with("recipients", deep(100_000)),
    "a number without end": line('{"event":"held","time":' + "9" * 5000 + "}"),
    "a time out of range": line('{"event":"held","time":1e300}'),
    "a time that is none": line('{"event":"held","time":NaN}'),
    "an event without a time": line('{"event":"cancelled"}'),
    "a result without a status": line(
        '{"event":"results","time":1,"recipients":[{"address":"b@example.net"}]}'
    ),
    "a result of an unknown status": line(
        '{"event":"results","time":1,"recipients":[{"address":"b@example.net","status":"lost"}]}'
    ),
    "a reply that ends a line": line(
        '{"event":"results","time":1,"recipients":[{"address":"b@example.net","status":"failed",'
        '"text":"no\\r\\nerror: forged"}]}'
    ),
}


class World:
    """A spool whose mail goes to a Maildir, and as many messages in it as are wanted."""

    def __init__(self, here: Run, eml: Write, spool: Path, maildir: Path) -> None:
        self.here, self.spool, self.maildir = here, spool, maildir
        self.opened: list[Spool] = []
        self._eml = eml

    def submit(self) -> str:
        done = self.run("submit", self._eml())
        assert (done.code, done.err) == (OK, "")
        return done.out.strip()

    def delivered(self) -> int:
        return len(list((self.maildir / "new").iterdir())) if self.maildir.exists() else 0

    def run(self, *words: str) -> Done:
        """A command; its output is harmless lines, and no bug is told."""
        done = self.here(*words)
        while self.opened:  # as the end of a process does
            self.opened.pop().close()
        assert "internal error" not in done.err, (words, done)
        assert "Traceback" not in done.err, (words, done)
        assert SECRET.decode() not in done.out + done.err, words
        assert all(text.isprintable() and len(text) < 5000 for text in done.err.splitlines()), words
        return done


@pytest.fixture
def world(here: Run, eml: Write, spool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("MAILSTROM_VIA", f"maildir://{tmp_path}/mail")
    made = World(here, eml, spool, tmp_path / "mail")

    def opening(*options: Any, **more: Any) -> Spool:
        made.opened.append(Spool(*options, **more))
        return made.opened[-1]

    monkeypatch.setattr("mailstrom_cli.store.spool.open_store", opening)
    return made


def state_of_outside(spool: Path) -> dict[str, object]:
    away = [spool.parent / "secret", *(spool.parent / "outside").rglob("*")]
    return {str(p): (p.stat().st_mode, p.read_bytes() if p.is_file() else None) for p in away if p.exists()}


@pytest.mark.parametrize("kind", PLANTED)
def test_every_command_beside_a_planted_entry(world: World, kind: str) -> None:
    good, bad = world.submit(), world.submit()
    entry, aside = world.spool / "queued" / bad, world.spool / "corrupt" / bad
    PLANTED[kind](entry)
    before = state_of_outside(world.spool)

    def tells(*words: str, code: int = NO_INPUT) -> str:
        done = world.run(*words)
        assert done.code == code, (words, done)
        assert f"message {bad} is damaged: " in done.err, (words, done)
        assert state_of_outside(world.spool) == before, words
        return done.out

    for words in (["status", bad], ["status", bad, good], ["status", bad[-6:]], ["show", "--sidecar", bad]):
        tells(*words)
    assert good in tells("status", "--recent", code=OK)
    for words in (["queue"], ["queue", "--json"], ["queue", "--state", "all"]):
        out = tells(*words, code=OK)
        assert good in out
        assert bad not in out
    for words in (["show", bad], ["show", "--log", bad]):  # of which either may be whole
        assert world.run(*words).code in (OK, NO_INPUT)
    assert world.run("queue", "--count").out == "2\n"
    assert world.run("sendmail", "-bp").code == OK
    checked = world.run("check-spool")
    assert (checked.code, f"error: queued/{bad}: " in checked.out) == (DATA, True)
    for command in LEASING:
        tells(command, bad)
    assert world.run("flush").code == OK
    assert (world.delivered(), os.listdir(world.spool / "delivered")) == (1, [good])
    assert not os.path.lexists(entry)
    reason = (aside / "reason").read_text()
    assert 0 < len(reason) < 2000
    for command in ("status", *LEASING):
        tells(command, bad)
    assert "1 message could not be read and is set aside" in world.run("queue").err
    assert f"note: corrupt/{bad}: set aside: {reason[:20]}" in world.run("check-spool").out
    world.submit()
    assert (world.run("flush").code, world.delivered()) == (OK, 2)
    assert os.listdir(world.spool / "corrupt") == [bad]
    assert state_of_outside(world.spool) == before


NAMES = [
    "../queued/{id}", "queued/{id}", "{id}/", "./{id}", "/{id}", "{id}/message.eml", "..", ".", "/", "",
    "{id}\0", "\0", "{id}\n", "\udcff" * 16, "*", "?" * 16, "é" * 16, "x" * 100_000, "<{id}>", "@", "<>",
    "-{id}",    "0" * 15 + "/", "0" * 17, " {id}", "{id} ", "%2e%2e",
]  # fmt: skip


@pytest.mark.parametrize("command", ["status", "show", *LEASING])
def test_what_is_no_id_names_no_message_and_no_path(
    world: World, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = world.submit()
    opened: list[object] = []
    real = os.open

    def watched(path: object, *more: int, **named: int) -> int:
        opened.append(path)
        return real(path, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", watched)
    for name in NAMES:
        given = name.format(id=id)
        opened.clear()
        done = world.run(command, "--", given)
        assert done.code in (NO_INPUT, USAGE), (given, done)
        assert done.out == ""
        assert given == "." or given not in opened  # that one is how a directory is listed
        assert not [path for path in opened if str(path).endswith("/message.eml")]
    assert world.run("queue", "--count").out == "1\n"


def test_a_sidecar_with_more_than_this_mailstrom_knows_is_delivered_all_the_same(world: World) -> None:
    id = world.submit()
    entry = world.spool / "queued" / id
    first_line_with("colour", deep(500))(entry)
    line('{"event":"blessed","time":1,"by":"' + "x" * 1_000_000 + '"}')(entry)
    line(
        json.dumps(
            {"event": "results", "time": 1, "recipients": [{"address": "z@example.net", "status": "?"}]}
        )
    )(entry)
    assert world.run("status", id).code == OK
    assert world.run("queue").out.count(id) == 1
    assert world.run("check-spool").code == DATA
    assert world.run("flush").code == OK
    assert world.delivered() == 1
    assert '"event":"blessed"' in (world.spool / "delivered" / id / "message.jsonl").read_text()


@pytest.mark.parametrize("when", [0, 1e-9, 253402300800.0, 9e14])
def test_a_time_from_another_age_is_shown_and_harms_nothing(world: World, when: float) -> None:
    id, other = world.submit(), world.submit()
    waits = {"address": "b@example.net", "status": "deferred", "next": when}
    entry = world.spool / "queued" / id
    line(json.dumps({"event": "results", "time": when, "recipients": [waits], "transcript": "S: 220"}))(entry)
    for odd in (when, -when, "then", None, [[]], {}, True, 1e300):
        line(json.dumps({"event": "blessed", "time": odd, "by": [odd], "transcript": "S: 220"}))(entry)
    line('{"event":"blessed","transcript":"","time":NaN,"by":' + deep(500) + "}")(entry)
    for words in (["status", "-v", id], ["status", "-v", "--json", id]):
        assert world.run(*words).code == OK
    for words in (
        ["status", id],
        ["status", "--json", id],
        ["queue"],
        ["queue", "--json"],
        ["show", "--log", id],
    ):
        assert world.run(*words).code == OK
    assert world.run("check-spool").code in (OK, DATA)
    assert world.run("flush").code == OK
    assert (world.spool / "delivered" / other).is_dir()
    assert world.run("check-spool", "--repair").code == OK
    assert world.delivered() == 2
