"""What a hand put in place of the spool's own files and directories: nothing is followed, nothing outside is
changed, and the error says what is wrong."""

from __future__ import annotations

import errno
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.errors import CONFIG, MailstromError, NoSuchMessage
from mailstrom_cli.mail.status import STATES
from mailstrom_cli.store.base import DamagedMessage, HostState, Note
from mailstrom_cli.store.layout import DIRECTORIES
from mailstrom_cli.store.spool import Spool, open_store
from tests.peers.needs import lacking

from .contract import put, record
from .samples import NOW, results, submission, where

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PRECIOUS = b"precious\n"

PLANTS: dict[str, Callable[[Path, Path], object]] = {
    "a symlink": lambda path, victim: path.symlink_to(victim),
    "a dangling symlink": lambda path, victim: path.symlink_to(victim.with_name("nowhere")),
    "a hard link": lambda path, victim: os.link(victim, path),
    "a FIFO": lambda path, victim: os.mkfifo(path),
    "a directory": lambda path, victim: (path / "in it").mkdir(parents=True),
}


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of the user outside the spool."""
    path = tmp_path / "victim"
    path.write_bytes(PRECIOUS)
    path.chmod(0o644)
    return path


def unharmed(victim: Path) -> bool:
    return (
        victim.read_bytes() == PRECIOUS
        and victim.stat().st_mode & 0o777 == 0o644
        and not victim.with_name("nowhere").exists()
    )


def plant(path: Path, kind: str, victim: Path) -> None:
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    PLANTS[kind](path, victim)


@pytest.mark.parametrize("kind", PLANTS)
def test_what_is_no_mark_gives_way_to_one(spool: Spool, root: Path, victim: Path, kind: str) -> None:
    plant(root / "marks" / "recent", kind, victim)
    assert spool.mark("recent") is None
    assert spool.mark("recent", NOW) is None
    assert spool.mark("recent") == NOW
    assert unharmed(victim)


@pytest.mark.parametrize("kind", PLANTS)
def test_what_is_no_host_gives_way_to_one(spool: Spool, root: Path, victim: Path, kind: str) -> None:
    plant(root / "hosts" / "example.net", kind, victim)
    assert spool.host("example.net") is None
    spool.set_host("example.net", HostState(1, NOW, "refused"))
    assert spool.host("example.net") == HostState(1, NOW, "refused")
    assert list((root / "tmp").iterdir()) == []
    assert unharmed(victim)


@pytest.mark.parametrize("kind", PLANTS)
def test_what_is_no_note_gives_way_to_one(spool: Spool, root: Path, victim: Path, kind: str) -> None:
    plant(root / "notes" / "policy%20example.net", kind, victim)
    assert spool.note("policy", "example.net") is None
    assert list(spool.notes("policy")) == []
    spool.set_note("policy", "example.net", Note("text", NOW))
    assert list(spool.notes("policy")) == [("example.net", Note("text", NOW))]
    assert list((root / "tmp").iterdir()) == []
    assert unharmed(victim)
    plant(root / "notes" / "policy%20example.net", kind, victim)
    spool.sweep(NOW - 60, 0, 0)
    assert list((root / "notes").iterdir()) == [] and unharmed(victim)


@pytest.mark.parametrize("kind", ["a symlink", "a hard link"])
def test_a_note_elsewhere_is_not_read(spool: Spool, root: Path, tmp_path: Path, kind: str) -> None:
    spool.set_note("policy", "example.net", Note("text", NOW))
    path = root / "notes" / "policy%20example.net"
    path.rename(tmp_path / "elsewhere")
    PLANTS[kind](path, tmp_path / "elsewhere")
    assert spool.note("policy", "example.net") is None and list(spool.notes("policy")) == []


@pytest.mark.parametrize("kind", PLANTS)
def test_what_is_no_key_refuses_its_message_and_no_other(
    spool: Spool, root: Path, victim: Path, kind: str
) -> None:
    id = put(spool, key="k", digest="d")
    (key,) = (root / "keys").iterdir()
    plant(key, kind, victim)
    with pytest.raises(MailstromError, match=f"'k'.*keys/{key.name}") as refusal:
        put(spool, key="k", digest="d")
    assert (refusal.value.exit_code, "check-spool" in str(refusal.value.hint)) == (CONFIG, True)
    other = put(spool, key="other", digest="d")
    assert sorted(spool.ids(STATES)) == sorted([id, other])
    assert list((root / "tmp").iterdir()) == []
    assert unharmed(victim)


@pytest.mark.parametrize("kind", PLANTS)
def test_what_is_no_run_lock_is_refused(spool: Spool, root: Path, victim: Path, kind: str) -> None:
    plant(root / "run.lock", kind, victim)
    with pytest.raises(MailstromError, match=r"run\.lock") as refusal:
        spool.run_lock().acquire()
    assert (refusal.value.exit_code, "check-spool" in str(refusal.value.hint)) == (CONFIG, True)
    assert unharmed(victim)


@pytest.mark.parametrize("kind", ["a symlink", "a FIFO", "a file"])
@pytest.mark.parametrize("name", DIRECTORIES)
def test_what_is_no_directory_is_named_and_not_followed(
    spool: Spool, root: Path, tmp_path: Path, name: str, kind: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    plant(root / name, "a FIFO", outside)
    if kind != "a FIFO":
        (root / name).unlink()
        (root / name).touch() if kind == "a file" else (root / name).symlink_to(outside)
    again = open_store(str(root))
    with pytest.raises(NotADirectoryError) as refusal:
        again.directory(name)
    assert refusal.value.filename == str(root / name)
    for use in (
        lambda: list(again.ids(STATES)),
        lambda: list(again.scheduled()),
        lambda: again.damaged(),
        lambda: again.intake([submission(key="k")], NOW),
        lambda: again.mark("recent", NOW),
        lambda: again.set_host("example.net", HostState(1, NOW, "x")),
        lambda: again.set_note("policy", "example.net", Note("x", NOW)),
        lambda: list(again.notes("policy")),
        lambda: again.read("0" * 16),
    ):
        try:
            use()
        except (OSError, MailstromError) as error:
            assert "Not a directory" in str(error) or "no message" in str(error)
    assert list(outside.iterdir()) == []
    again.close()


@pytest.mark.parametrize("name", [*STATES, "corrupt"])
def test_a_directory_that_went_missing_is_listed_as_empty(spool: Spool, root: Path, name: str) -> None:
    (root / name).rmdir()
    again = open_store(str(root))
    assert list(again.ids(STATES)) == list(again.scheduled()) == list(again.finished_since(0)) == []
    assert again.damaged()[0] == again.count(STATES) == 0
    assert (root / name).is_dir()
    again.close()


def test_a_directory_on_another_file_system_is_an_error_before_anything_is_delivered(
    spool: Spool, root: Path
) -> None:
    put(spool)
    if os.geteuid() != 0:
        lacking("only root can mount")
    mount = ["mount", "-t", "tmpfs", "-o", "mode=0700", "none", root / "delivered"]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lacking(f"this root may not mount: {done.stderr}")
    again = open_store(str(root))
    try:
        with pytest.raises(OSError, match="another file system") as refusal:
            next(again.scheduled())
        assert (refusal.value.errno, refusal.value.filename) == (errno.EXDEV, str(root / "delivered"))
    finally:
        again.close()
        subprocess.run(["umount", root / "delivered"], check=True)


@pytest.mark.parametrize("name", ["", "message.eml", "message.jsonl"])
def test_what_another_user_owns_is_set_aside(spool: Spool, root: Path, name: str) -> None:
    if os.geteuid() != 0:
        lacking("only root can give a file away")
    good, bad = put(spool), put(spool)
    os.chown(root / "queued" / bad / name, 65534, 65534)
    with pytest.raises(DamagedMessage, match="belongs to user 65534"):
        spool.lease(bad)
    assert where(root, bad) == ["corrupt"]
    assert "65534" in (root / "corrupt" / bad / "reason").read_text()
    record(spool, good, results(NOW, b="delivered"))
    assert list(spool.ids(STATES)) == [good]


@pytest.mark.parametrize(
    "name", ["../queued/{id}", "../{id}", "{id}/", "./{id}", "{id}/.", "", ".", "..", "\0" * 16]
)
def test_a_path_is_no_id(spool: Spool, root: Path, name: str) -> None:
    id = put(spool)
    (root / id).mkdir()
    for method in (spool.read, spool.events, spool.open_message, spool.lease, spool.purge, spool.find):
        with pytest.raises(NoSuchMessage):
            method(name.format(id=id))
    assert not spool.exists(name.format(id=id))
    assert where(root, id) == ["queued"]
