"""Times as people write and read them: `--at`, ISO 8601, and how long ago or ahead something is."""

from __future__ import annotations

import time
from functools import lru_cache

END_OF_TIME = 253402300800.0  # the year 10000


def parse_time(text: str, now: float) -> float:
    """The moment that `+5m`, `@1790000000`, `02:43` or `2:43`, or ISO 8601 names, in seconds since the epoch.

    A clock time is the next one; a time without an offset is local. Raises ValueError with a sentence.
    """
    try:
        if text.startswith("+"):
            from mailstrom_cli.config.kinds import parse_duration

            when = now + parse_duration(text[1:])
        elif text.startswith("@"):
            when = float(text[1:])
        elif len(text) in (4, 5) and text[-3] == ":":
            when = _next_clock_time(int(text[:-3]), int(text[-2:]), now)
        else:
            from datetime import datetime  # 2 ms, and this form is rarely used

            when = datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError) as error:
        if text.startswith("+") and error.args:
            raise
        when = -1.0
    if not 0 <= when < END_OF_TIME:
        raise ValueError(
            f"{text!r} is not a time; write 2026-11-24T02:43:00Z, 02:43, @1790000000 or +5m"
        ) from None
    return when


def _next_clock_time(hour: int, minute: int, now: float) -> float:
    if not (0 <= hour < 24 and 0 <= minute < 60):
        raise ValueError("no such time of day")
    today = time.localtime(now)
    when = time.mktime((today.tm_year, today.tm_mon, today.tm_mday, hour, minute, 0, 0, 0, -1))
    if when <= now:
        when = time.mktime((today.tm_year, today.tm_mon, today.tm_mday + 1, hour, minute, 0, 0, 0, -1))
    return when


def iso(when: float | None) -> str | None:
    """ISO 8601 in UTC, to the second: 2026-11-24T02:43:00Z."""
    if when is None:
        return None
    second = int(when)
    return _to_the_minute(second // 60) + _SECONDS[second % 60]


_SECONDS = [f"{second:02}Z" for second in range(60)]


@lru_cache(1000)  # messages come in crowds
def _to_the_minute(minute: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:", time.gmtime(minute * 60))


def told(held: object) -> str:
    """What `iso` gives of a time in an event that nobody has checked; `-` for what is none."""
    when = iso(held) if isinstance(held, int | float) and 0 <= held < 1e15 else None
    return when or "-"


def local(when: float) -> str:
    """The local date and time, for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


def span(seconds: float) -> str:
    """About how long: 40s, 5m, 3h, 2d."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 1.5 * size or (seconds >= size and seconds % size < 1):
            return f"{round(seconds / size)}{unit}"
    return f"{max(0, round(seconds))}s"


def ahead(when: float | None, now: float) -> str:
    """When the next attempt is, from now: `now`, `in 5m`, or nothing."""
    if when is None:
        return ""
    return "now" if when <= now + 0.5 else f"in {span(when - now)}"
