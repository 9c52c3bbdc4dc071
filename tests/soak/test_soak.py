"""The soak, the short form: everything as in an hour, but the hour. See `lane`."""

from __future__ import annotations

import pytest

from tests.peers.needs import need_root

from .lane import STEADY, Lane


@pytest.mark.parametrize("kind", ("ext4", "xfs"))
def test_kills_power_cuts_and_a_failing_server_lose_nothing(kind: str) -> None:
    need_root()
    lane = Lane(kind, 4, seed=1, pause=0.1, cut_after=1.2, live=1.0, patience=1.0)
    books = lane.soak()
    assert books.problems == [], lane.table()
    assert books.cuts and books.counts["run killed"] and books.counts["recipients delivered"], lane.table()


def test_a_failing_server_and_killed_submitters_lose_nothing() -> None:
    lane = Lane(STEADY, 2, seed=1, pause=0.1, patience=1.0)
    books = lane.soak()
    assert books.problems == [], lane.table()
    assert books.counts["recipients delivered"], lane.table()
