"""Power cuts, the short form: see `power` for what is cut, and how it is judged."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest

from mailstrom_cli.store import sweep
from mailstrom_cli.store.base import SWEPT
from mailstrom_cli.store.spool import open_store
from tests.store.contract import put
from tests.store.samples import NOW, results

from .commands import COMMANDS
from .disk import JOURNAL, SYNCED, Disk
from .halt import need_strace
from .power import Cuts, cuts

NAMED = {command.name: command for command in COMMANDS}
LONG = {"flush and sweep", "sendmail", "submit 300 files"}
"""What is cut in the long form alone."""
ORDERED = ("submit", "submit 40 files", "cancel", "hold")
"""What is cut with the journal written, too, which shows what is told of before it is synced."""


@pytest.mark.parametrize("name", sorted(NAMED.keys() - LONG))
def test_a_power_cut_loses_nothing_on_ext4(name: str) -> None:
    assert cuts("ext4", NAMED[name], SYNCED).total() > 1


@pytest.mark.parametrize("name", ORDERED)
def test_a_power_cut_after_a_commit_of_the_journal_loses_nothing_on_ext4(name: str) -> None:
    assert cuts("ext4", NAMED[name], JOURNAL).total() > 1


@pytest.mark.parametrize("name", ("submit 3 files", "submit 40 files", "flush", "expire", "retry"))
def test_a_power_cut_loses_nothing_on_xfs(name: str) -> None:
    assert cuts("xfs", NAMED[name], JOURNAL).total() > 1


@pytest.mark.parametrize("kind", ("ext4", "xfs"))
@pytest.mark.parametrize("name", ("submit", "submit 40 files"))
def test_a_disk_that_fails_for_good_is_no_success(kind: str, name: str) -> None:
    """The command goes on, and tells no id that is not on the disk."""
    assert cuts(kind, NAMED[name], SYNCED, survives=True).total() > 1


def test_a_disk_that_fails_under_a_flush_is_told_in_a_line() -> None:
    assert cuts("xfs", NAMED["flush"], SYNCED, survives=True).total() > 1


def test_a_sweep_that_was_cut_short_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message was moved before the power cut, and its result is lost: only a sweep finds it there."""
    root = tmp_path / "spool"
    with closing(open_store(str(root))) as spool:
        id = put(spool)
        accepted = (root / "queued" / id / "message.jsonl").read_bytes()
        with spool.lease(id) as lease:
            lease.record(results(NOW, b="delivered"))
    begun = time.time()
    (root / "delivered" / id / "message.jsonl").write_bytes(accepted)
    os.utime(root / "delivered" / id, (begun - 600, begun - 600))
    with closing(open_store(str(root))) as spool:
        spool.mark(SWEPT, begun - 660)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(sweep, "sweep_messages", interrupted)
            spool.sweep(begun, 0.0, 0.0)
        spool.sweep(begun + 60, 0.0, 0.0)
        assert [item.id for item in spool.scheduled()] == [id]


def interrupted(*given: object) -> None:
    raise KeyboardInterrupt


# --- whether all this would see it ---

UNSYNCED = """
import os, sys
os.chdir(sys.argv[1])
with open("lost", "w") as file:
    file.write("x" * 3000)
os.rename("lost", "renamed")
if "directory" in sys.argv:
    os.fsync(os.open(".", os.O_RDONLY))
"""


@pytest.mark.parametrize("kind", ("ext4", "xfs"))
def test_what_is_not_synced_is_lost(kind: str) -> None:
    """A program that does not sync loses what it wrote, and one that syncs too little, the half of it."""
    with Disk(kind) as disk:
        for words, left in (((), []), (("directory",), [("renamed", 0)])):
            subprocess.run([sys.executable, "-c", UNSYNCED, disk.path, *words], check=True)
            disk.cut(SYNCED)
            disk.restart()
            found = [(p.name, p.stat().st_size) for p in disk.path.iterdir() if p.is_file()]
            assert found == left


CARELESS = """
import os, sys
from mailstrom_cli.store import commit, files
fsync, unsynced = os.fsync, sys.argv.pop(1)
def careless(fd):
    if not os.readlink(f"/proc/self/fd/{fd}").endswith(unsynced):
        fsync(fd)
os.fsync = careless
files.start_writing = lambda *given: None
if unsynced == "syncfs":
    commit.MUCH = 1 << 40
    commit.Commit.sync = lambda self: None
from mailstrom_cli.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("name", "unsynced"),
    [
        ("submit", "/message.eml"),
        ("submit", "/message.jsonl"),
        ("submit", "/queued"),
        ("submit", ""),
        ("submit 40 files", "syncfs"),
    ],
)
def test_a_sync_that_is_left_out_is_noticed(name: str, unsynced: str) -> None:
    need_strace()

    def without(words: list[str]) -> list[str]:
        return [sys.executable, "-c", CARELESS, unsynced, *words[3:]]

    with tempfile.TemporaryDirectory() as folder, Disk("ext4") as disk:
        run = Cuts(disk, NAMED[name], SYNCED, Path(folder) / "beside")
        run.one()
        with pytest.raises(Exception, match=r"lost|damaged"):
            run.one(wrap=without)
