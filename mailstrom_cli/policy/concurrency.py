"""How many connections one next hop gets at once: a window that follows what it answers."""

from __future__ import annotations

INITIAL = 5


def initial(limit: int) -> int:
    return min(INITIAL, limit)


def after_success(window: int, limit: int) -> int:
    """One more, up to the limit."""
    return min(window + 1, limit)


def after_failure(window: int) -> int:
    """One less, and never none: a host that is out of reach is left alone by its back-off, not by this."""
    return max(window - 1, 1)
