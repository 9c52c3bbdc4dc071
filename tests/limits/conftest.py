"""A server that takes everything, and a spool that sends to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.peers.scripted import Script, ScriptedServer

from .command import Limited

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(Script()) as made:
        yield made


@pytest.fixture
def mail(tmp_path: Path, server: ScriptedServer) -> Iterator[Limited]:
    made = Limited(tmp_path / "spool", tmp_path / "log", server)
    yield made
    made.stop_all()
