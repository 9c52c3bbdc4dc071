"""A low limit on open files."""

from __future__ import annotations

import resource

import pytest

from mailstrom_cli.config.schema import DEFAULTS
from mailstrom_cli.queue.descriptors import fitting


@pytest.mark.parametrize(
    ("soft", "connections"),
    [(1024, 100), (520, 100), (515, 99), (60, 8), (16, 1), (resource.RLIM_INFINITY, 100)],
)
def test_no_more_connections_than_descriptors(monkeypatch, soft: int, connections: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
    assert fitting(DEFAULTS).limits.connections == connections
