"""When to try again: for a message that a server deferred, and for a next hop that could not be reached."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from random import Random

    from mailstrom_cli.config.schema import Retry

HOST_LONGEST = 3600.0
CRASH_GUARD = 60.0
"""Seconds a message is put off before an attempt, so that one which kills us is not tried again at once."""
SLACK = 0.001
"""Seconds: times on record are rounded, and nobody is to wait again for the rest of a millisecond."""


def longest(settings: Retry) -> float:
    """Seconds; no delay of ours is longer. What waits for longer was scheduled by a clock that was wrong."""
    return 2 * max(settings.max_delay, HOST_LONGEST)


def to_look_at(due: float, now: float, settings: Retry) -> bool:
    """Whether a message that is scheduled for `due` is to be looked at: its time has come, or cannot be right
    unless the submitter asked for it, which only the message itself tells."""
    return due <= now + SLACK or due > now + longest(settings)


def is_due(next: float, now: float, settings: Retry, at: float | None, *, forced: bool = False) -> bool:
    """Whether a recipient's next attempt is now. at: what the submitter asked for: believed however far, and
    kept to even when an attempt is forced."""
    if next <= now + SLACK:
        return True
    return next != at and (forced or next > now + longest(settings))


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
    return spread(_host_delay(retry, failures), retry.jitter, rng)


def host_least(retry: Retry, failures: int) -> float:
    """Seconds; `host_delay` is no shorter."""
    return _host_delay(retry, failures) * (1 - retry.jitter)


def _host_delay(retry: Retry, failures: int) -> float:
    grown: float = retry.base_delay / 5 * 2 ** min(failures - 1, 32)
    return min(grown, HOST_LONGEST, retry.max_delay)


def crash_guard(settings: Retry) -> float:
    """Seconds."""
    return min(CRASH_GUARD, settings.base_delay)


def spread(seconds: float, jitter: float, rng: Random) -> float:
    """`seconds`, up to `jitter` of it more or less."""
    return seconds * (1 + jitter * rng.uniform(-1, 1))
