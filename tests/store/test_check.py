"""Every fault of a spool is found, told without a change, and with `repair` put right; no mail is lost."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.errors import CONFIG, NO_PERMISSION, MailstromError, NoSpool
from mailstrom_cli.store import check_entry
from mailstrom_cli.store.check import Check
from mailstrom_cli.store.entry import DamagedEntry
from mailstrom_cli.store.lease import read_sidecar
from mailstrom_cli.store.verdict import ERROR, NOTE
from tests.peers.needs import lacking

from .contract import octets
from .faults import FAULTS, NOW, Sound, as_root, dated, tear
from .samples import BODY, submission
from .test_spool_damage import DAMAGE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailstrom_cli.store.verdict import Finding


@pytest.fixture
def sound(root: Path) -> Iterator[Sound]:
    made = Sound(root)
    yield made
    made.close()


def everything(root: Path) -> dict[str, object]:
    """All there is in a spool and beside it, but for the times of reading."""
    found: dict[str, object] = {}
    for path in sorted(root.parent.rglob("*")):
        held = path.lstat()
        told: object = held.st_mode, held.st_uid, held.st_nlink, held.st_mtime_ns, held.st_ino
        if path.is_symlink():
            told = told, path.readlink()
        elif path.is_file():
            told = told, path.read_bytes()
        found[str(path)] = told
    return found


def mail(root: Path) -> int:
    """How many messages are whole somewhere below the spool."""
    return sum(path.read_bytes() == BODY for path in root.rglob("message.eml") if path.is_file())


def brief(findings: list[Finding]) -> list[tuple[str, str, bool]]:
    return [(f.severity, f.where, bool(f.repair)) for f in findings]


def test_a_sound_spool_has_no_faults(sound: Sound) -> None:
    before = everything(sound.root)
    assert sound.check() == sound.check(repair=True) == []
    assert everything(sound.root) == before
    check = Check(str(sound.root), NOW)
    assert list(check) == []
    assert check.messages == 5


def template(name: str, sound: Sound, where: str) -> str:
    key = sound.key.name if "{key}" in where else ""
    return where.format(key=key, **{k: v for k, v in vars(sound).items() if isinstance(v, str)})


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_and_put_right(sound: Sound, name: str) -> None:
    damage, severity, where, what, repairable = FAULTS[name]
    where = template(name, sound, where)
    damage(sound)
    whole, before = mail(sound.root), everything(sound.root)
    found = sound.check()
    told = [f for f in found if f.where == where and what in f.what]
    assert [(f.severity, bool(f.repair), f.repaired) for f in told] == [(severity, repairable, False)], found
    # A copy in another state is out of place there, too.
    assert name.startswith("twice") or found == told
    assert everything(sound.root) == before
    found = sound.check(repair=True)
    repaired = [f for f in found if f.where == where and what in f.what]
    # The key of a message that is set aside is free.
    assert (
        name.startswith("twice") or [f for f in found if "is gone" not in f.what or f in repaired] == repaired
    )
    assert [(f.severity, f.repaired) for f in repaired] == [(severity, repairable)]
    assert mail(sound.root) == whole
    left = [f for f in sound.check() if f.where == where and what in f.what]
    assert left == ([] if repairable else told)
    if repairable:
        again = sound.check(repair=True)
        assert [f for f in again if f.left] == []
        store = sound.store()
        assert octets(store, store.intake([submission()], NOW)[0]) == BODY


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("state", ["queued", "failed"])
def test_what_a_flusher_would_set_aside_is_set_aside(sound: Sound, kind: str, state: str) -> None:
    id = getattr(sound, state)
    DAMAGE[kind](sound.root / state / id)
    before = everything(sound.root)
    (found,) = [f for f in sound.check() if f.where == f"{state}/{id}" and f.severity == ERROR]
    assert (found.severity, found.where, found.repair) == (ERROR, f"{state}/{id}", "set aside in corrupt/")
    assert everything(sound.root) == before
    (repaired,) = [f for f in sound.check(repair=True) if f.where == f"{state}/{id}" and f.severity == ERROR]
    assert repaired == found.done()
    assert (sound.root / "corrupt" / id / "reason").read_text() == found.what + "\n"
    again = {f.where: f for f in sound.check()}
    assert again[f"corrupt/{id}"].what == f"set aside: {found.what}"
    assert not any(f.left for f in again.values() if not f.where.startswith(("stolen", "second")))


# --- beside others ---


def test_what_others_lease_is_in_their_hands(sound: Sound) -> None:
    store = sound.store()
    entry = sound.entry("deferred")
    lease = store.lease(sound.deferred)
    assert lease is not None
    dated(entry, 0)
    tear(sound.sidecar("deferred"))
    assert sound.check() == sound.check(repair=True) == []
    assert (entry.stat().st_mtime, sound.sidecar("deferred").read_bytes()[-1:]) == (0, b":")
    lease.release()
    assert [f.severity for f in sound.check()] == [NOTE, ERROR]


def test_what_an_attempt_was_postponed_to_is_no_fault(sound: Sound) -> None:
    store = sound.store()
    lease = store.lease(sound.queued)
    assert lease is not None
    with lease:
        lease.postpone(NOW + 1000)
    assert sound.check() == []


@pytest.mark.parametrize("repair", [False, True])
def test_what_moves_between_two_looks_is_no_fault(
    sound: Sound, monkeypatch: pytest.MonkeyPatch, repair: bool
) -> None:
    """It is moved, and not yet where it belongs, when first looked at."""
    wrong = sound.root / "queued" / sound.deferred
    sound.entry("deferred").rename(wrong)
    real = check_entry.Held

    def moved_first(id: str, parent: int) -> check_entry.Held:
        if wrong.exists():
            wrong.rename(sound.root / "deferred" / id)
        return real(id, parent)

    monkeypatch.setattr(check_entry, "Held", moved_first)
    assert sound.check(repair=repair) == []


def test_what_goes_while_it_is_looked_at_is_no_fault(sound: Sound, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when it is removed, which begins with a rename, after the second look began."""
    looks = 0

    def gone(directory: int) -> bytes:
        nonlocal looks
        if os.path.samestat(os.fstat(directory), sound.entry("failed").stat()):
            looks += 1
            if looks == 2:
                sound.entry("failed").rename(sound.root / "tmp" / sound.failed)
            raise DamagedEntry("message.jsonl is missing")
        return read_sidecar(directory)

    monkeypatch.setattr(check_entry, "read_sidecar", gone)
    assert sound.check(repair=True) == []
    assert looks == 2
    assert os.listdir(sound.root / "corrupt") == []


def test_what_a_writer_left_is_told_after_an_hour_and_removed_unless_it_is_at_it(sound: Sound) -> None:
    for name in ("dead", "busy"):
        (sound.root / "tmp" / name).mkdir(mode=0o700)
        (sound.root / "tmp" / name / "message.eml").touch()
    (sound.root / "tmp" / "host-1").touch()
    with (sound.root / "tmp" / "busy" / "message.eml").open() as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        assert sound.check(later=3000) == []
        found = sound.check(later=8000)
        assert brief(found) == [
            (NOTE, "tmp/busy", False),
            (NOTE, "tmp/dead", True),
            (NOTE, "tmp/host-1", True),
        ]
        assert "2 h" in found[0].what
        assert [f.repaired for f in sound.check(later=8000, repair=True)] == [False, True, True]
        assert os.listdir(sound.root / "tmp") == ["busy"]


def test_a_key_that_a_submit_has_is_let_be(sound: Sound) -> None:
    key = sound.key
    with key.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        dated(key, NOW - 3600)
        assert sound.check(repair=True) == []
    assert [f.where for f in sound.check(repair=True)] == [f"keys/{key.name}"]


def test_a_file_that_is_not_even_locked_yet_is_let_be(sound: Sound) -> None:
    for path in (sound.key, sound.root / "marks" / "recent"):
        path.write_bytes(b"")
        dated(path, NOW)  # the time at which the tests were loaded may be minutes ago
        assert sound.check(repair=True) == []
        dated(path, NOW - 3600)
        assert [f.repaired for f in sound.check(repair=True)] == [True]
        assert not path.exists()


def test_a_lock_that_somebody_has_is_not_taken_away(sound: Sound) -> None:
    os.link(sound.root / "run.lock", sound.root.parent / "second")
    with (sound.root / "run.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (found,) = sound.check(repair=True)
        assert (found.left, found.hint) == (True, "not repaired: somebody has locked it")
    assert [f.repaired for f in sound.check(repair=True)] == [True]


# --- more ---


def test_what_another_may_have_open_is_set_aside_and_not_taken_over(sound: Sound) -> None:
    inodes = {}
    for name in ("format", "trigger", "run.lock"):
        as_root(sound.root / name)
        inodes[name] = (sound.root / name).stat().st_ino
    assert [f.repaired for f in sound.check(repair=True)] == [True] * 3
    for name, inode in inodes.items():
        assert (sound.root / "corrupt" / name / "planted").stat().st_ino == inode
    assert sound.store().wake("x") is False


def test_a_spool_may_be_a_file_system_of_its_own(sound: Sound) -> None:
    (sound.root / "lost+found").mkdir(mode=0o700)
    assert sound.check() == []


def test_many_faults_at_once_are_all_put_right(sound: Sound) -> None:
    sound.root.chmod(0o777)
    (sound.root / "tmp").rmdir()
    (sound.root / "format").unlink()
    sound.entry("queued").chmod(0o777)
    sound.sidecar("queued").chmod(0o777)
    dated(sound.entry("queued"), 0)
    tear(sound.sidecar("queued"))
    os.truncate(sound.sidecar("failed"), 10)
    found = sound.check()
    assert len([f for f in found if f.left]) == 7
    assert {f.where for f in sound.check(repair=True) if not f.repaired} == set()
    assert [f.where for f in sound.check()] == [f"corrupt/{sound.failed}"]
    assert sound.store().read(sound.queued).state == "queued"


def test_what_one_repair_uncovers_is_told_and_repaired_too(
    sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def unless_closed(path: str, *more: int, **named: int) -> int:
        """As it is for everybody but root."""
        if path == sound.queued and not sound.entry("queued").stat().st_mode & 0o700:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path, *more, **named)

    monkeypatch.setattr(os, "open", unless_closed)
    (sound.entry("queued") / "core").touch()
    sound.entry("queued").chmod(0)
    mode, unread = sound.check()
    assert ("0000" in mode.what, "Permission denied" in unread.what, unread.severity) == (True, True, ERROR)
    found = {f.what: f for f in sound.check(repair=True)}
    assert found[mode.what].repaired
    assert found[unread.what].repaired
    assert [f.where for f in found.values() if f.left] == [f"queued/{sound.queued}/core"]


def test_what_cannot_be_repaired_says_why(sound: Sound, monkeypatch: pytest.MonkeyPatch) -> None:
    sound.sidecar("failed").chmod(0o666)

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "chmod", refused)
    (found,) = sound.check(repair=True)
    assert (found.repaired, found.left) == (False, True)
    assert found.hint == "not repaired: Read-only file system"


def test_out_of_descriptors_is_no_fault_of_the_spool(sound: Sound, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def failing(path: str, *more: int, **named: int) -> int:
        if path == sound.queued:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
        return real(path, *more, **named)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", failing)
        with pytest.raises(OSError, match="Too many open files"):
            sound.check(repair=True)

    def out_of_memory(*_: object) -> list[str]:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(check_entry, "read_sidecar", out_of_memory)
    with pytest.raises(OSError, match="allocate memory"):
        sound.check(repair=True)
    assert os.listdir(sound.root / "corrupt") == []


def test_no_descriptor_is_left_open(sound: Sound) -> None:
    os.truncate(sound.sidecar("failed"), 10)
    dated(sound.entry("queued"), 0)
    before = os.listdir("/proc/self/fd")
    sound.check()
    sound.check(repair=True)
    assert os.listdir("/proc/self/fd") == before


def test_a_directory_on_another_file_system_is_told(sound: Sound) -> None:
    if os.geteuid() != 0:
        lacking("only root can mount")
    mount = ["mount", "-t", "tmpfs", "-o", "mode=0700", "none", sound.root / "hosts"]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lacking(f"this root may not mount: {done.stderr}")
    try:
        (found,) = sound.check(repair=True)
        assert (found.severity, found.where, found.repaired) == (ERROR, "hosts", False)
        assert "another file system" in found.what
    finally:
        subprocess.run(["umount", sound.root / "hosts"], check=True)


def test_where_there_is_no_spool_to_check(sound: Sound, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(NoSpool):
            list(Check(str(path), NOW))
    for url in ("memory:", "postgres://x"):
        with pytest.raises(MailstromError) as refusal:
            Check(url, NOW)
        assert refusal.value.exit_code == CONFIG
    (sound.root / "format").write_text("mailstrom spool 2\n")
    with pytest.raises(MailstromError, match="'mailstrom spool 2'") as refusal:
        sound.check(repair=True)
    assert refusal.value.exit_code == CONFIG
    if os.geteuid() == 0:
        as_root(sound.root)
        with pytest.raises(MailstromError, match="belongs to user") as refusal:
            sound.check()
        assert refusal.value.exit_code == NO_PERMISSION


def test_a_url_names_the_same_spool(sound: Sound) -> None:
    sound.root.chmod(0o750)
    assert list(Check(f"spool://{sound.root}", NOW)) == sound.check()
