"""How many connections one next hop gets at once: a window that follows what it answers."""

from __future__ import annotations

INITIAL = 5
WORTH = 5
"""Messages that wait for each connection in use before another is worth its price: it takes some five round
trips to open, in which the one that is there takes a message each."""


def initial(limit: int) -> int:
    return min(INITIAL, limit)


def after_success(window: int, limit: int) -> int:
    """One more, up to the limit."""
    return min(window + 1, limit)


def after_failure(window: int) -> int:
    """One less, and never none: a host that is out of reach is left alone by its back-off, not by this."""
    return max(window - 1, 1)


def another(waiting: int, active: int, long: int, width: int, window: int) -> bool:
    """Whether one more may connect, when so many wait and so many do. long: those of them that have been busy
    with one message for long, and of which nothing is to be hoped soon.  width: connections that stood at
    once, which can be used again."""
    quick = active - long
    return active < window and waiting > 0 and (quick < width or waiting >= WORTH * quick)
