"""A low limit on open files."""

from __future__ import annotations

import resource

import pytest

from mailstrom_cli.config.schema import DEFAULTS
from mailstrom_cli.queue.descriptors import fitting


@pytest.mark.parametrize(
    ("soft", "connections"),
    [(2320, 100), (2319, 99), (520, 21), (60, 1), (16, 1), (resource.RLIM_INFINITY, 100)],
)
def test_no_more_connections_than_descriptors(monkeypatch, soft: int, connections: int) -> None:
    def denied(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
    monkeypatch.setattr(resource, "setrlimit", denied)
    assert fitting(DEFAULTS).limits.connections == connections


def test_the_soft_limit_is_raised_as_far_as_needed(monkeypatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    assert fitting(DEFAULTS) is DEFAULTS
    assert asked == [(2320, 4096)]
