"""A limit on how many messages leave in a time: "100/m"."""

from __future__ import annotations

from mailstrom_cli.config.schema import Rate

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
MOST = 1_000_000


def parse_rate(text: str) -> Rate:
    """Of "100/m", with s, m, h or d; of "" none. Raises ValueError."""
    if not text:
        return Rate()
    count, _, unit = (part.strip() for part in text.partition("/"))
    number = int(count) if count.isascii() and count.isdigit() and len(count) < 9 else 0
    if unit not in SECONDS or not 0 < number <= MOST:
        raise ValueError
    return Rate(number, SECONDS[unit])


def format_rate(rate: Rate) -> str:
    units = {seconds: unit for unit, seconds in SECONDS.items()}
    return f"{rate.count}/{units[rate.seconds]}" if rate.count else ""
