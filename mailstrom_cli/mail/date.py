"""Whether a Date field's value is a date-time, and a possible one (RFC 5322, 3.3; what is obsolete, 4.3)."""

from __future__ import annotations

from mailstrom_cli.mail.comment import without_comments
from mailstrom_cli.mail.stamp import DAYS, MONTHS

TYPE_CHECKING = False
if TYPE_CHECKING:
    Fault = tuple[str, str]  # a sentence, and the RFC's section

FORM = "it is no date-time such as `Tue, 24 Nov 2026 02:43:00 +0000`"
SYNTAX, OBSOLETE = "RFC 5322, 3.3", "RFC 5322, 4.3"
MONTH_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def date_fault(text: str) -> Fault | None:
    """What is wrong with a date-time, or out of use in it; None when all is well."""
    if not text.isascii():
        return FORM, SYNTAX
    text = without_comments(text)
    head, comma, rest = text.rpartition(",")
    parts = rest.replace(" :", ":").replace(": ", ":").split()
    name = head.strip().capitalize()
    if len(parts) == 4 and ":" in parts[3]:
        return "it has no time zone, such as `+0000`", SYNTAX
    if len(parts) != 5 or (comma and name not in DAYS):
        return FORM, SYNTAX
    day, month, year, clock, zone = parts
    if not (day.isdigit() and len(day) < 3 and month.capitalize() in MONTHS and year.isdigit()):
        return FORM, SYNTAX
    old = not 3 < len(year) < 6
    date = _date(int(day), MONTHS.index(month.capitalize()) + 1, year)
    if date is None:
        return "there is no such day", SYNTAX
    if not _is_clock(clock):
        return "there is no such time of day", SYNTAX
    if zone[0] in "+-":
        if len(zone) != 5 or not zone[1:].isdigit() or int(zone[3:]) > 59:
            return "its time zone is not of the form `+0000`", SYNTAX
    elif not zone.isalpha() or len(zone) > 5:
        return FORM, SYNTAX
    if comma and DAYS[_weekday(*date)] != name:
        return f"that day is a {DAYS[_weekday(*date)]}, not a {name}", SYNTAX
    if zone[0] not in "+-":
        return f"a time zone by name (`{zone}`) is out of use; it is `+0000` and the like", OBSOLETE
    return ("a year has four digits", OBSOLETE) if old else None


def _date(day: int, month: int, year_text: str) -> tuple[int, int, int] | None:
    if len(year_text) > 5:
        return None
    year = int(year_text)
    if len(year_text) < 4:  # RFC 5322, 4.3, on years of two and three digits
        year += 2000 if len(year_text) == 2 and year < 50 else 1900
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    last = 28 if month == 2 and not leap else MONTH_DAYS[month - 1]
    return (year, month, day) if 1 <= day <= last and year >= 1900 else None


def _weekday(year: int, month: int, day: int) -> int:
    """0 is Monday (Sakamoto's rule)."""
    year -= month < 3
    shift = (0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4)[month - 1]
    return (year + year // 4 - year // 100 + year // 400 + shift + day - 1) % 7


def _is_clock(text: str) -> bool:
    parts = text.split(":")
    for part, most in zip(parts, (23, 59, 60), strict=False):
        if len(part) != 2 or not part.isdigit() or int(part) > most:
            return False
    return len(parts) in (2, 3)
