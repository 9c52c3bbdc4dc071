"""The Date and the Message-ID that a message without them is given (RFC 5322, 3.3, 3.6.1 and 3.6.4)."""

from __future__ import annotations

import time

from mailstrom_cli.mail.address import AddressError, canonical_domain

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def date_time(now: float, offset: int) -> str:
    """`now`, in seconds since the epoch, as a date-time in the zone that is `offset` seconds east of UTC."""
    minutes = offset // 60
    at = time.gmtime(int(now) + minutes * 60)
    sign, minutes = "-" if minutes < 0 else "+", abs(minutes)
    return (
        f"{DAYS[at.tm_wday]}, {at.tm_mday} {MONTHS[at.tm_mon - 1]} {at.tm_year} "
        f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} {sign}{minutes // 60:02}{minutes % 60:02}"
    )


def message_id(token: str, now: float, domains: tuple[str, ...]) -> str:
    """A msg-id that the random `token` and the time make unique, at the first of the domains that is a full
    name in ASCII, else at the first that is a name at all."""
    names = []
    for domain in domains:
        try:
            names.append(canonical_domain(domain))
        except AddressError:
            continue
    names = [name for name in names if name.isascii()] or ["localhost"]
    right = next((name for name in names if "." in name), names[0])
    return f"<{token}.{int(now)}@{right}>"
