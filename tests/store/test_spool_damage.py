"""Damaged and planted entries are named, set aside and in nobody's way."""

from __future__ import annotations

import errno
import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.errors import NO_INPUT, NoSuchMessage
from mailstrom_cli.mail.status import STATES
from mailstrom_cli.store.base import DamagedMessage
from mailstrom_cli.store.spool import Spool, open_store
from tests.peers.needs import lacking

from .contract import put, record
from .samples import BODY, NOW, results, where

if TYPE_CHECKING:
    from collections.abc import Callable


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
    good, bad = put(spool), put(spool, now=NOW + 1)
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
    listed = [str(one) if isinstance(one, DamagedMessage) else one for one in again.entries([bad, good])]
    assert listed == [str(told.value), again.read(good)]
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


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.ENOMEM, errno.EIO])
@pytest.mark.parametrize("file", ["message.jsonl", "message.eml"])
def test_what_cannot_be_opened_now_is_no_damage(
    spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch, number: int, file: str
) -> None:
    id = put(spool)
    real = os.open

    def failing(path: str, flags: int, *more: int, **named: int) -> int:
        if path == file:
            raise OSError(number, os.strerror(number), path)
        return real(path, flags, *more, **named)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", failing)
        if file == "message.jsonl":
            for method in (spool.read, spool.lease, spool.events):
                with pytest.raises(OSError, match=str(root / "queued" / id / file)) as told:
                    method(id)
                assert told.value.errno == number
            assert [str(one) for one in spool.entries([id])] == [str(told.value)]
        with pytest.raises(OSError, match=file):
            spool.open_message(id) if file == "message.eml" else spool.purge(id)
    assert where(root, id) == ["queued"]
    assert spool.read(id).state == "queued"


def test_a_directory_that_cannot_be_opened_is_named_in_full(
    spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: str, *_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "open", denied)
    for look in (
        lambda: spool.ids(["queued"]),
        lambda: spool.read("0" * 16),
        lambda: list(spool.scheduled()),
    ):
        with pytest.raises(PermissionError, match=str(root / "queued")):
            look()


def test_what_cannot_be_opened_now_stops_neither_a_sweep_nor_a_search(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = (put(spool, now=NOW + n, message_id=f"<{n}@example.org>") for n in range(2))
    for id in (first, other):
        record(spool, id, results(NOW, b="delivered"))
    closed = spool.directory("delivered")
    real = os.open

    def failing(path: str, flags: int, *more: int, **named: int) -> int:
        if path == other and named.get("dir_fd") == closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", failing)
    assert spool.find("<0@example.org>") == first
    assert spool.sweep(NOW + 9, NOW + 5, NOW + 5) == 1
    assert list(spool.ids(STATES)) == [other]


def test_what_is_set_aside_is_found_and_counted(spool: Spool, root: Path) -> None:
    assert spool.damaged() == (0, str(root / "corrupt"))
    bad = put(spool)
    (root / "queued" / bad / "message.jsonl").write_bytes(b"\xff\n")
    with pytest.raises(DamagedMessage):
        spool.lease(bad)
    for name in (bad, bad[-6:]):
        with pytest.raises(DamagedMessage, match=f"{bad} is damaged: .*JSON") as told:
            spool.read(spool.find(name))
        assert str(root / "corrupt" / bad) in str(told.value.hint)
    assert spool.damaged() == (1, str(root / "corrupt"))


def test_a_planted_device_is_set_aside(spool: Spool, root: Path) -> None:
    if os.geteuid() != 0:
        lacking("only root can make a device")
    id = put(spool)
    sidecar = root / "queued" / id / "message.jsonl"
    sidecar.unlink()
    try:
        os.mknod(sidecar, 0o600 | 0o020000, os.makedev(1, 5))
    except PermissionError:
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
    for name in (".hidden", "lost+found", "I" * 16, "\udcff" * 16, id + "0", id[:-1], "06h"):
        path = root / "queued" / name
        path.mkdir()
        assert list(spool.ids(STATES)) == [s.id for s in spool.scheduled()] == [id], name
        assert spool.count(STATES) == len(list(spool.entries(spool.ids(STATES)))) == 1
        path.rmdir()


def test_damage_does_not_hide_a_message_from_a_search(spool: Spool, root: Path) -> None:
    good, bad = put(spool, now=NOW, message_id="<x@example.org>"), put(spool, now=NOW + 9)
    (root / "queued" / bad / "message.jsonl").write_bytes(b"\xff\n")
    assert spool.find("<x@example.org>") == good
    with pytest.raises(NoSuchMessage):
        spool.find("<y@example.org>")


def test_a_long_sidecar_is_read_in_a_few_calls(
    spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the octets that are copied grow with the square of its length."""
    id, calls = put(spool), 0
    with (root / "queued" / id / "message.jsonl").open("ab") as sidecar:
        sidecar.write(b'{"event":"note","text":"' + b"x" * 10_000_000 + b'"}\n')
    for name in ("read", "pread"):
        real = getattr(os, name)

        def counted(*given: object, _real: Callable[..., bytes] = real) -> bytes:
            nonlocal calls
            calls += 1
            return _real(*given)

        monkeypatch.setattr(os, name, counted)
    assert spool.read(id).state == "queued"
    (root / "queued" / id / "message.jsonl").write_bytes(b"x" * 10_000_000)
    with pytest.raises(NoSuchMessage):
        spool.find("<y@example.org>")
    assert calls < 40
