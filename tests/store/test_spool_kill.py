"""A process killed at any of its system calls: what it leaves is whole, in one state, and not forgotten."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mailstrom_cli.mail.status import STATES, UNFINISHED
from mailstrom_cli.store.ids import is_id
from mailstrom_cli.store.intake import MANY
from mailstrom_cli.store.spool import Spool, open_store
from tests.peers.needs import lacking

from .contract import octets, put
from .samples import BODY, NOW, visible

HERE = Path(__file__).parents[2]


SUBMIT = """
import sys
from mailstrom_cli.store.spool import open_store
from tests.store.samples import NOW, submission
spool = open_store(sys.argv[1])
print(*spool.intake([submission(key="k", digest="d")], NOW), flush=True)
"""
RENAME = "rename,renameat,renameat2"
KILLED = (
    "mkdir,mkdirat",
    "fsync",
    RENAME,
    "flock",
    "utimensat",
    "fadvise64",
    "chmod,fchmod,fchmodat",
    "mknod,mknodat",
    "write",
)


@pytest.fixture(scope="session")
def strace() -> str:
    path = shutil.which("strace") or lacking("strace is not installed")
    trial = [path, "-f", "-o", "/dev/null", "-e", "inject=fsync:signal=KILL:when=1", "true"]
    if subprocess.run(trial, capture_output=True).returncode != 0:
        lacking("strace may not trace here")
    return path


def killed(strace: str, code: str, root: Path, calls: str, number: int) -> subprocess.CompletedProcess[str]:
    inject = f"inject={calls}:signal=KILL:when={number}"
    run = [
        strace,
        "-o",
        "/dev/null",
        "-e",
        f"trace={calls}",
        "-e",
        inject,
        sys.executable,
        "-c",
        code,
        str(root),
    ]
    return subprocess.run(run, capture_output=True, text=True, cwd=HERE)


@pytest.mark.parametrize("calls", KILLED)
def test_a_submit_killed_at_any_call_leaves_a_whole_message_or_none(
    strace: str, tmp_path: Path, calls: str
) -> None:
    kills = 0
    for number in range(1, 60):
        root = tmp_path / str(number) / "spool"
        root.parent.mkdir()
        done = killed(strace, SUBMIT, root, calls, number)
        if done.returncode == 0:
            assert is_id(done.stdout.strip())
            break
        kills += 1
        assert done.returncode in (-9, 137)
        spool = open_store(str(root))
        found = list(spool.ids(STATES))
        assert len(found) <= 1
        assert visible(root) == found
        for id in [*found, *done.stdout.split()]:
            assert octets(spool, id) == BODY
            assert spool.read(id).state == "queued"
        again = put(spool, key="k", digest="d")
        assert found in ([], [again])
        spool.sweep(NOW + 1e9, 0, 0)
        assert list((root / "tmp").iterdir()) == []
        assert visible(root) == [again]
        spool.close()
    else:
        pytest.fail("no submit came to its end")
    assert kills > 0


BATCH = f"""
import sys
from mailstrom_cli.store import commit
from mailstrom_cli.store.spool import open_store
from tests.store.samples import NOW, submission
commit.TRUSTED, commit.MUCH = range(1 << 32), 1 << 40  # one commit, whatever it is on and whoever writes
spool = open_store(sys.argv[1])
print(*spool.intake([submission() for _ in range({MANY})], NOW), flush=True)
"""


@pytest.mark.parametrize(
    ("calls", "number", "published"),
    [("syncfs", 1, 0), (RENAME, 1, 0), (RENAME, 2, 1), (RENAME, MANY, MANY - 1), ("fsync", 1, MANY)],
)
def test_a_large_batch_killed_at_any_call_leaves_whole_messages(
    strace: str, spool: Spool, root: Path, calls: str, number: int, published: int
) -> None:
    """It can only leave a part of itself between its renames."""
    done = killed(strace, BATCH, root, calls, number)
    assert done.returncode in (-9, 137)
    assert done.stdout == ""
    found = list(spool.ids(STATES))
    assert len(found) == published
    assert all(octets(spool, id) == BODY and spool.read(id).state == "queued" for id in found)
    assert len(list((root / "tmp").iterdir())) == MANY - published
    spool.sweep(NOW + 1e9, 0, 0)
    assert list((root / "tmp").iterdir()) == []
    assert sorted(visible(root)) == found


FLUSH = """
import sys
from mailstrom_cli.store.spool import open_store
from tests.store.samples import NOW, event, results
spool = open_store(sys.argv[1])
(id,) = spool.ids(["queued"])
with spool.lease(id) as lease:
    lease.postpone(NOW + 300)
    lease.record(results(NOW + 1, b=NOW + 60))
    lease.record(event("held", NOW + 2))
    lease.record(event("released", NOW + 3))
    lease.record(results(NOW + 4, b="failed"))
with spool.lease(id) as lease:
    lease.record(event("retried", NOW + 5, recipients=["b@example.net"]))
    lease.record(results(NOW + 6, b="delivered"))
spool.purge(id)
print("done")
"""


@pytest.mark.parametrize(
    "calls", ["write", "rename,renameat,renameat2", "utimensat", "unlink,unlinkat,rmdir"]
)
def test_a_flush_killed_at_any_call_leaves_the_message_in_one_state_and_in_the_schedule(
    strace: str, tmp_path: Path, calls: str
) -> None:
    kills = 0
    for number in range(1, 60):
        root = tmp_path / str(number) / "spool"
        root.parent.mkdir()
        spool = open_store(str(root))
        id = put(spool)
        done = killed(strace, FLUSH, root, calls, number)
        if done.returncode == 0:
            assert visible(root) == []
            break
        kills += 1
        assert done.returncode in (-9, 137)
        if visible(root):
            entry = spool.read(id)
            assert visible(root) == [id]
            assert octets(spool, id) == BODY
            if entry.state in UNFINISHED and not entry.held:
                assert [s.id for s in spool.scheduled()] == [id]
            with spool.lease(id) as lease:
                assert lease.entry == entry
            assert list(spool.ids([entry.state])) == [id]
            assert spool.count(STATES) == 1
        spool.sweep(time.time() + 4000, 0, 0)
        assert list((root / "tmp").iterdir()) == []
        spool.close()
    else:
        pytest.fail("no flush came to its end")
    assert kills > 0
