"""The contract, kept by the built-in stores and by one that another package adds."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.errors import CONFIG, MailstromError
from mailstrom_cli.store.registry import open_store

from . import sqlite_store
from .contract import StoreContract, put
from .sqlite_store import Sqlite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailstrom_cli.store.base import Store


class TestSpool(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        spool = open_store(str(tmp_path / "spool"))
        yield spool
        spool.close()


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return open_store("memory:")


def install(site: Path, name: str, points: str) -> None:
    """What an installer leaves of a package that adds stores."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[mailstrom.stores]\n{points}\n")


class TestThirdParty(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
        install(tmp_path / "site", "mailstrom-sqlite", f"sqlite = {sqlite_store.__name__}:open_store")
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        importlib.invalidate_caches()
        store = open_store(f"sqlite://{tmp_path}/mail.db")
        assert isinstance(store, Sqlite)
        yield store
        store.close()


def test_a_path_and_a_url_are_the_same_spool(tmp_path: Path) -> None:
    id = put(open_store(f"{tmp_path}/a"))
    assert open_store(f"spool://{tmp_path}/a").read(id).id == id


def test_a_named_memory_store_is_one_in_the_process() -> None:
    id = put(open_store("memory://contract"))
    assert open_store("memory://contract").read(id).id == id
    assert open_store("memory://another").count(["queued"]) == 0
    assert open_store("memory:") is not open_store("memory:")


def test_an_unknown_scheme_is_refused_with_those_that_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "mailstrom-floppy", "floppy = no_such_module:open_store")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MailstromError, match="'tape'") as refused:
        open_store("tape://x")
    assert refused.value.exit_code == CONFIG
    assert all(f"{known}:" in str(refused.value.hint) for known in ("floppy", "spool"))
    assert "memory" not in str(refused.value.hint)  # it would lose the mail of a command


def test_a_store_that_cannot_be_loaded_is_a_matter_of_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "mailstrom-floppy", "floppy = no_such_module:open_store")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MailstromError, match="no_such_module") as refused:
        open_store("floppy://a")
    assert refused.value.exit_code == CONFIG


def test_a_submit_to_a_spool_imports_little(tmp_path: Path) -> None:
    """Each of these costs a submit more than its disk does."""
    script = (
        "import sys; from mailstrom_cli.store.registry import open_store\n"
        "from mailstrom_cli.store.base import Submission\n"
        "from mailstrom_cli.mail.envelope import Envelope, Recipient\n"
        "one = Submission(Envelope('', (Recipient('b@example.net'),), '<1@example.org>', 2), [b'\\r\\n'])\n"
        "assert open_store(sys.argv[1]).intake([one], 1.5)\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script, str(tmp_path / "spool")],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    dear = {
        "dataclasses",
        "typing",
        "enum",
        "pathlib",
        "email",
        "re",
        "json",
        "hashlib",
        "asyncio",
        "filelock",
    }
    dear |= {
        "logging",
        "tempfile",
        "shutil",
        "datetime",
        "random",
        "secrets",
        "importlib.metadata",
        "threading",
    }
    assert dear.intersection(done.stdout.split()) == set()
