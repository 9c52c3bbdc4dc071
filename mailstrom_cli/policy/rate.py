"""When the next message may leave under a rate limit (the generic cell rate algorithm of ITU-T I.371).

What is kept is one time: that at which the messages so far would have left if they had been spread evenly. A
tenth of the limit may run ahead of it, and the spreading is so much wider that no period of that length,
whenever it begins, sees more than the limit.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailstrom_cli.config.schema import Rate


def burst(rate: Rate) -> int:
    """Messages that may leave at once after a pause."""
    return max(1, rate.count // 10)


def interval(rate: Rate) -> float:
    """Seconds between messages in the long run."""
    return rate.seconds / (rate.count - burst(rate) + 1)


def wait(spread: float, now: float, rate: Rate) -> float:
    """Seconds until the next message may leave; 0.0 for now. spread: the time that is kept."""
    if spread > now + rate.seconds:  # set by a clock that was wrong
        return 0.0
    return max(0.0, spread - (burst(rate) - 1) * interval(rate) - now)


def taken(spread: float, now: float, rate: Rate) -> float:
    """The time to keep when one leaves now."""
    if spread > now + rate.seconds:
        spread = now
    return max(spread, now) + interval(rate)
