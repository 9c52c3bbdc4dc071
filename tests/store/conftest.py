"""A spool, and its directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.store.spool import Spool, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(root: Path) -> Iterator[Spool]:
    store = open_store(str(root))
    yield store
    store.close()
