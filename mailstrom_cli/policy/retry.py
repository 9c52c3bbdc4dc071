"""When to try again: for a message that a server deferred, and for a next hop that could not be reached."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from random import Random

    from mailstrom_cli.config.schema import Retry

HOST_LONGEST = 3600.0
CRASH_GUARD = 60.0
"""Seconds a message is put off before an attempt, so that one which kills us is not tried again at once."""


def delay(retry: Retry, retries: int, rng: Random) -> float:
    """Seconds to the next attempt after the `retries`-th deferral (from 1): base_delay, then times factor."""
    grown = retry.base_delay * retry.factor ** min(retries - 1, 64)
    return spread(min(grown, retry.max_delay), retry.jitter, rng)


def exhausted(retry: Retry, retries: int) -> bool:
    """Whether the `retries`-th deferral by a server was the last that is allowed; never with retries = -1."""
    return 0 <= retry.retries < retries


def host_delay(retry: Retry, failures: int, rng: Random) -> float:
    """Seconds nothing is sent to a next hop after the `failures`-th time (from 1) that it was out of reach:
    a fifth of base_delay, doubled each time, an hour at the most."""
    grown = retry.base_delay / 5 * 2 ** min(failures - 1, 32)
    return spread(min(grown, HOST_LONGEST, retry.max_delay), retry.jitter, rng)


def crash_guard(retry: Retry) -> float:
    return min(CRASH_GUARD, retry.base_delay)


def spread(seconds: float, jitter: float, rng: Random) -> float:
    """`seconds`, up to `jitter` of it more or less."""
    return seconds * (1 + jitter * rng.uniform(-1, 1))
