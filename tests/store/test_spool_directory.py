"""How a spool is created, opened, judged and refused; and its files, whatever the umask."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mailstrom_cli.errors import (
    CANT_CREATE,
    CONFIG,
    NO_INPUT,
    NO_PERMISSION,
    TEMPORARY,
    MailstromError,
    NoSpool,
)
from mailstrom_cli.mail.status import STATES
from mailstrom_cli.store.layout import DIRECTORIES
from mailstrom_cli.store.spool import Spool, open_store
from tests.peers.needs import lacking

from .contract import put, record
from .samples import NOW, results, submission, visible


def refused(path: object) -> MailstromError:
    with pytest.raises(MailstromError) as refusal:
        open_store(str(path))
    assert str(path) in refusal.value.message
    return refusal.value


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_modes_are_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        spool = open_store(str(tmp_path / "new" / "spool"))
        ids = spool.intake([submission(key="k"), submission()], NOW)
        record(spool, ids[1], results(NOW, b="delivered"))
        spool.mark("recent", NOW)
        assert spool.run_lock().acquire() is None
        os.close(spool.listen())
    finally:
        os.umask(before)
    found = [tmp_path / "new", *(tmp_path / "new").rglob("*")]
    assert len(found) > 18
    for path in found:
        assert mode(path) == (0o700 if path.is_dir() else 0o600), path


def test_a_new_spool_is_complete_and_says_its_format(root: Path, spool: Spool) -> None:
    assert {p.name for p in root.iterdir()} == {*DIRECTORIES, "format", "trigger"}
    assert (root / "format").read_text() == "mailstrom spool 1\n"
    assert stat.S_ISFIFO((root / "trigger").stat().st_mode)


def test_a_new_spool_is_synced_with_the_parents_it_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, synced = os.fsync, set[str]()

    def fsync(fd: int) -> None:
        synced.add(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    root = tmp_path / "a" / "b" / "spool"
    open_store(str(root))
    expected = [
        tmp_path,
        tmp_path / "a",
        tmp_path / "a" / "b",
        root,
        root / "format",
        *map(root.joinpath, DIRECTORIES),
    ]
    assert synced == {str(path) for path in expected}


@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_syncs_no_directories_is_tolerated(
    root: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    real = os.fsync

    def fsync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(error, os.strerror(error))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    spool = open_store(str(root))
    assert spool.read(put(spool)).state == "queued"


@pytest.mark.parametrize("missing", [*DIRECTORIES, "trigger", "format"])
def test_what_a_crash_left_out_of_a_new_spool_is_made_by_the_next_who_opens_it(
    root: Path, spool: Spool, missing: str
) -> None:
    path = root / missing
    path.rmdir() if path.is_dir() else path.unlink()
    (root / "format").write_text("")
    open_store(str(root))
    assert path.exists()
    assert (root / "format").read_text() == "mailstrom spool 1\n"


def test_a_directory_that_went_missing_later_is_made_again(root: Path) -> None:
    open_store(str(root)).close()
    (root / "keys").rmdir()
    (root / "tmp").rmdir()
    assert put(open_store(str(root)), key="k")


def test_opening_is_cheap_and_lists_nothing(
    root: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for name in ("open", "listdir", "scandir", "mkdir", "stat", "fsync"):
        real = getattr(os, name)

        def counted(*given: object, _name: str = name, _real: object = real, **named: object) -> object:
            calls.append(_name)
            return _real(*given, **named)  # type: ignore[operator]

        monkeypatch.setattr(os, name, counted)
    open_store(str(root))
    assert calls == ["open", "open"]


def test_a_spool_of_another_user_is_refused(root: Path, spool: Spool) -> None:
    if os.geteuid() != 0:
        lacking("only root can give a directory away")
    os.chown(root, 65534, 65534)
    error = refused(root)
    assert error.exit_code == NO_PERMISSION
    assert "65534" in error.message


@pytest.mark.parametrize("others", [0o770, 0o707, 0o702])
def test_a_spool_that_others_may_write_is_refused(root: Path, spool: Spool, others: int) -> None:
    root.chmod(others)
    assert refused(root).exit_code == NO_PERMISSION


@pytest.mark.parametrize("held", ["mailstrom spool 2\n", "mailstrom spool 10\n", "x"])
def test_another_format_is_refused(root: Path, spool: Spool, held: str) -> None:
    (root / "format").write_text(held)
    error = refused(root)
    assert error.exit_code == CONFIG
    assert repr(held.strip()) in error.message


def test_a_format_file_that_is_a_link_is_refused(root: Path, spool: Spool) -> None:
    (root / "format").rename(root / "elsewhere")
    (root / "format").symlink_to("elsewhere")
    assert refused(root).exit_code == CONFIG


def test_a_directory_with_other_things_in_it_is_not_made_a_spool(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").touch()
    error = refused(tmp_path)
    assert error.exit_code == CANT_CREATE
    assert "letter.txt" in error.message
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


def test_where_a_spool_cannot_be_the_error_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "spool", tmp_path / ("x" * 300)):
        assert refused(path).exit_code == CANT_CREATE
    (tmp_path / "dangling").symlink_to("nowhere")
    for path in (tmp_path / "dangling", tmp_path / "dangling" / "a" / "spool", Path("/proc/no/spool")):
        assert refused(path).exit_code == CANT_CREATE
    for path in ("", "a\0b"):
        with pytest.raises(MailstromError) as refusal:
            open_store(path)
        assert refusal.value.exit_code == CANT_CREATE


def test_a_spool_that_may_not_be_created_is_73_and_one_that_may_not_be_opened_77(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: str, *_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "mkdir", denied)
        assert refused(root).exit_code == CANT_CREATE
    root.mkdir()
    monkeypatch.setattr(os, "open", denied)
    assert refused(root).exit_code == NO_PERMISSION


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO])
def test_a_spool_that_cannot_be_opened_just_now_is_75_and_not_said_to_be_created(
    spool: Spool, root: Path, error: int, create: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of(*_: object, **__: object) -> int:
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", out_of)
        with pytest.raises(MailstromError, match=f"^cannot open the spool .*{os.strerror(error)}") as refusal:
            open_store(str(root), create=create)
    assert refusal.value.exit_code == TEMPORARY


@pytest.mark.parametrize(("error", "code"), [(errno.EMFILE, TEMPORARY), (errno.ENOSPC, CANT_CREATE)])
def test_a_spool_is_not_created_without_descriptors_for_now_and_without_room_at_all(
    tmp_path: Path, error: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as patch:
        patch.setattr(os, "mkfifo", failing)
        assert refused(tmp_path / "new").exit_code == code
    open_store(str(tmp_path / "new")).close()


def test_without_create_there_is_a_spool_or_an_error(tmp_path: Path, root: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for path in (root, tmp_path / "file" / "spool", tmp_path / "empty"):
        with pytest.raises(NoSpool, match=f"no spool at {path}$") as missed:
            open_store(str(path), create=False)
        assert missed.value.exit_code == NO_INPUT
    assert not root.exists()
    assert os.listdir(tmp_path / "empty") == []
    open_store(str(root)).close()
    open_store(str(root), create=False).close()


SUBMIT_TOGETHER = """
import os, random, sys
from mailstrom_cli.store.spool import open_store
from tests.store.samples import NOW, results, submission
if sys.argv[2]:
    os.urandom = lambda octets: random.randrange(256).to_bytes(octets, "big")
sys.stdin.readline()
for number in range(10):
    store = open_store(sys.argv[1])
    ids = store.intake([submission()], NOW)
    if sys.argv[2]:
        with store.lease(*ids) as lease:
            lease.record(results(NOW, b=("delivered", "failed", NOW + 300)[number % 3]))
    print(*ids)
"""


@pytest.mark.parametrize("few", ["", "few"])
def test_parallel_submits_to_a_new_spool_with_a_frozen_clock_get_each_its_own_id(
    root: Path, few: str
) -> None:
    """few: of 256 ids each is drawn again and again, and messages move from state to state meanwhile."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SUBMIT_TOGETHER, str(root), few],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for _ in range(20)
    ]
    for process in started:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    told = [process.communicate()[0].split() for process in started]
    assert [process.returncode for process in started] == [0] * 20
    ids = [id for some in told for id in some]
    assert len(set(ids)) == 200
    store = open_store(str(root))
    assert list(store.ids(STATES)) == sorted(ids)
    assert sorted(visible(root)) == sorted(ids), "two messages have one id"
    assert list((root / "tmp").iterdir()) == []
