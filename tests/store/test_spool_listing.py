"""A message that moves from state to state while they are listed one after the other is in the list."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.mail.status import DEFERRED, DELIVERED, FAILED, QUEUED, STATES
from mailstrom_cli.store import work
from mailstrom_cli.store.spool import open_store

from .contract import put
from .samples import NOW, results

if TYPE_CHECKING:
    from pathlib import Path

    from mailstrom_cli.store.spool import Spool

ORDERS = (STATES, tuple(reversed(STATES)), (FAILED, QUEUED, DELIVERED, DEFERRED))


def attempt(spool: Spool, id: str, status: str) -> None:
    with spool.lease(id) as lease:
        lease.record(results(NOW, b=NOW + 300 if status == DEFERRED else status))


@pytest.mark.parametrize("after", range(6))
@pytest.mark.parametrize("states", ORDERS)
@pytest.mark.parametrize("status", (DEFERRED, DELIVERED, FAILED))
def test_a_message_that_moves_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str, states: tuple[str, ...], after: int
) -> None:
    with closing(open_store(str(tmp_path / "spool"))) as spool:
        id = put(spool)
        in_between(spool, monkeypatch, after, lambda: attempt(spool, id, status))
        assert list(spool.ids(states)) == [id]


@pytest.mark.parametrize("after", range(6))
@pytest.mark.parametrize("states", ORDERS)
@pytest.mark.parametrize("attempted", (False, True))
def test_a_message_that_goes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attempted: bool, states: tuple[str, ...], after: int
) -> None:
    with closing(open_store(str(tmp_path / "spool"))) as spool:
        id = put(spool)
        attempt(spool, id, FAILED) if attempted else work.cancel(spool, id)
        in_between(spool, monkeypatch, after, lambda: work.retry(spool, id))
        assert list(spool.ids(states)) == [id]


def in_between(spool: Spool, monkeypatch: pytest.MonkeyPatch, after: int, move) -> None:
    """Have something happen after so many directories of a list."""
    listed, usual = [], spool._list

    def list_and_move(directory: str) -> list[str]:
        if len(listed) == after:
            monkeypatch.setattr(spool, "_list", usual)
            move()
        listed.append(directory)
        return usual(directory)

    monkeypatch.setattr(spool, "_list", list_and_move)
