"""The kinds of settings: what each expects, how it is read from TOML or from text, how it is written.

A reader takes what TOML gave and returns the setting; it raises ValueError, without a text when the value is
simply not what `expects` says, else with a sentence of its own that follows the name of the key.
"""

from __future__ import annotations

import os

from mailstrom_cli.config.places import is_url, path_from_text
from mailstrom_cli.config.text import ip_address, is_domain, plain, quoted
from mailstrom_cli.config.via import Via, parse_via
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mailstrom_cli.config.schema import Rate

SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
CENTURY = 36525 * 86400  # any longer, and a file system may not hold the time that it leads to
OCTETS = {
    unit + suffix: base**power
    for suffix, base in (("iB", 1024), ("B", 1000))
    for power, unit in enumerate(("", "K", "M", "G", "T"))
    if unit or suffix == "B"
}


def toml_text(held: object) -> str:
    """A setting as a TOML value: text, numbers and lists of text."""
    if isinstance(held, tuple):
        return f"[{', '.join(toml_text(item) for item in held)}]"
    if isinstance(held, int | float):
        return str(held)
    escaped = str(held).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _same(text: str) -> object:
    return text


@value
class Kind:
    """expects: "a port from 1 to 65535".  read: from a TOML value; raises ValueError.  write: to a TOML
    value.  from_text: what the text of an environment variable or an option would be in TOML."""

    expects: str
    read: Callable[[Any], Any]
    write: Callable[[Any], str] = toml_text
    from_text: Callable[[str], object] = _same


# --- durations and sizes ---


def parse_duration(text: str) -> float:
    """Seconds of "90s", "5m", "2h", "5d" or "1h30m", exact to a millisecond; 0 needs no unit.
    Raises ValueError, with a sentence for a number that lacks its unit."""
    total, units = 0.0, iter(SECONDS)  # units descend, each at most once: `in` uses the iterator up
    rest = text.strip()
    if rest == "0":
        return 0
    if rest[-1:].isdigit():
        raise ValueError(_lacks_unit(quoted(rest)))
    if not rest:
        raise ValueError
    while rest:
        digits = rest.lstrip("0123456789.")
        if not digits or digits[0] not in units:
            raise ValueError
        total += _decimal(rest[: len(rest) - len(digits)]) * SECONDS[digits[0]]
        rest = digits[1:].lstrip(" ")
    return _whole(round(total, 3))


def _lacks_unit(shown: object) -> str:
    return f"{shown} has no unit; write 90s, 5m, 2h or 5d"


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads as this: 5400 is "1h30m"."""
    text, rest = "", int(seconds)
    if rest != seconds:
        return f"{seconds:.3f}".rstrip("0") + "s"
    for unit, length in SECONDS.items():
        count, rest = divmod(rest, length)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def parse_size(text: str) -> int:
    """Octets of "50MiB", "10MB", "512KiB" or a plain number. Raises ValueError."""
    unit = text.strip().lstrip("0123456789.")
    number = _decimal(text.strip().removesuffix(unit))
    sizes = {name.lower(): octets for name, octets in OCTETS.items()}
    if unit and unit.strip().lower() not in sizes:
        raise ValueError
    octets = number * sizes.get(unit.strip().lower(), 1)
    if octets != int(octets):
        raise ValueError
    return int(octets)


def format_size(octets: int) -> str:
    """The shortest exact text: 52428800 is "50MiB", 10000000 is "10MB"."""
    texts = [f"{octets // size}{unit}" for unit, size in OCTETS.items() if octets % size == 0]
    return min(texts, key=len) if octets else "0B"


def _decimal(digits: str) -> float:
    if digits.isascii() and digits.isdigit():
        if len(digits) > 15:  # more than a float holds exactly
            raise ValueError
        return int(digits)
    whole, point, part = digits.partition(".")
    if not (point and whole.isascii() and whole.isdigit() and part.isascii() and part.isdigit()):
        raise ValueError
    return float(digits)


def _whole(number: float) -> float:
    return int(number) if number == int(number) else number


# --- kinds ---


def _text(held: object) -> str:
    if not isinstance(held, str):
        raise ValueError
    try:
        return plain(held)
    except ValueError as error:
        raise ValueError(f"the text {error}") from None


def _number(held: object) -> float:
    if isinstance(held, bool) or not isinstance(held, int | float) or not -1e300 < held < 1e300:
        raise ValueError
    return held


def _number_from_text(text: str) -> object:
    try:
        return _whole(_decimal(text.removeprefix("-"))) * (-1 if text.startswith("-") else 1)
    except ValueError:
        return text


def _in_range(number: float, low: float, high: float) -> float:
    if not low <= number <= high:  # false for nan, too
        raise ValueError
    return number


def integer(low: int, high: int, noun: str = "a whole number") -> Kind:
    """A whole number in a range, both ends included."""

    def read(held: object) -> float:
        number = _in_range(_number(held), low, high)
        if number != int(number):
            raise ValueError
        return int(number)

    return Kind(f"{noun} from {low} to {high}", read, from_text=_number_from_text)


def decimal(low: float, high: float) -> Kind:
    """A number in a range, both ends included."""

    def read(held: object) -> float:
        return _whole(_in_range(_number(held), low, high))

    return Kind(f"a number from {low} to {high}", read, from_text=_number_from_text)


def _flag(held: object) -> bool:
    if not isinstance(held, bool):
        raise ValueError
    return held


def duration(*, zero: bool = False) -> Kind:
    """Seconds; `zero` allows a duration of nothing."""

    def read(held: object) -> float:
        if not isinstance(held, str) and _number(held):
            raise ValueError(_lacks_unit(held))
        seconds = parse_duration(held) if isinstance(held, str) else 0
        return _in_range(seconds, 0 if zero else 0.001, CENTURY)

    above = "" if zero else " and longer than 0"
    return Kind(
        f'a duration such as "90s", "5m", "2h" or "5d"{above}', read, lambda s: toml_text(format_duration(s))
    )


def size(low: int) -> Kind:
    """Octets, at least `low`."""

    def read(held: object) -> float:
        octets = parse_size(held) if isinstance(held, str) else _number(held)
        if octets != int(octets):
            raise ValueError
        return int(_in_range(octets, low, 2**53))

    return Kind(
        f'a size such as "50MiB" or "10MB", at least {format_size(low)}',
        read,
        lambda n: toml_text(format_size(n)),
    )


def choice(*options: str) -> Kind:
    """One of some words."""

    def read(held: object) -> str:
        if held not in options:
            raise ValueError
        return str(held)

    return Kind(f"one of {', '.join(options)}", read)


def _domain(held: object) -> str:
    text = _text(held)
    if text and not is_domain(text, ascii_only=False):
        raise ValueError
    return text


def _helo_name(held: object) -> str:
    text = _text(held)
    if text.startswith("[") and text.endswith("]"):
        literal = text[1:-1]
        ip_address(literal[5:] if literal[:5].lower() == "ipv6:" else literal)
        return text
    if text and not is_domain(text):
        raise ValueError
    return text


def _address(held: object) -> str:
    text = _text(held)
    return ip_address(text) if text else ""


def _path(held: object) -> str:
    text = os.path.expanduser(_text(held))
    if text and not os.path.isabs(text):
        raise ValueError(f"{quoted(text)} is not an absolute path; it may begin with ~/")
    return text


def _spool(held: object) -> str:
    text = _text(held)
    return text if is_url(text) else _path(text)


def _nonempty(held: object) -> str:
    if not _text(held):
        raise ValueError
    return str(held)


def _words(held: object) -> tuple[str, ...]:
    if isinstance(held, str):
        raise ValueError('no shell reads it, so write a list of words, such as ["pass", "show", "smtp"]')
    if not isinstance(held, list) or not held or not all(held):
        raise ValueError
    return tuple(_text(word) for word in held)


def _items(held: object) -> list[Any]:
    return [held] if isinstance(held, str) else held if isinstance(held, list) else []


def _comma_separated(text: str) -> object:
    return [item.strip() for item in text.split(",")]


def _vias(held: object) -> tuple[Via, ...]:
    if not _items(held) or not all(isinstance(item, str) and item for item in _items(held)):
        raise ValueError
    return tuple(parse_via(item) for item in _items(held))


def _resolvers(held: object) -> tuple[str, ...]:
    from mailstrom_cli.config.resolvers import read_resolvers

    return read_resolvers(_items(held))


def _pattern(held: object) -> str:
    text = _nonempty(held)
    local, at, domain = text.rpartition("@")
    if " " in text or "@" in local or (at and not local):
        raise ValueError
    if domain != "*" and not is_domain(domain.removeprefix("*."), ascii_only=False):
        raise ValueError
    return text


def _sender_pattern(held: object) -> str:
    return held if isinstance(held, str) and held == "<>" else _pattern(held)


def _rate(held: object) -> Rate:
    from mailstrom_cli.config.rate import parse_rate

    return parse_rate(_text(held))


def _write_rate(rate: Rate) -> str:
    from mailstrom_cli.config.rate import format_rate

    return toml_text(format_rate(rate))


TEXT = Kind("text that is not empty", _nonempty)
LINE = Kind("text", _text)
DOMAIN = Kind('a domain such as "example.org"', _domain)
HELO_NAME = Kind('a host name such as "mail.example.org", or an address in brackets', _helo_name)
ADDRESS = Kind('an IP address, or ""', _address)
PATH = Kind("an absolute path", _path, from_text=path_from_text)
SPOOL = Kind("an absolute path, or the URL of another store", _spool, from_text=path_from_text)
WORDS = Kind("a list of words that are not empty", _words)
VIAS = Kind("a URL, or a list of URLs that is not empty", _vias, from_text=_comma_separated)
RESOLVER = Kind(
    "system, google, cloudflare, quad9, an IP address, tls://ADDRESS#NAME or https://HOST/PATH, or a list",
    _resolvers,
    from_text=_comma_separated,
)
FLAG = Kind(
    "true or false",
    _flag,
    lambda held: "true" if held else "false",
    lambda text: {"true": True, "false": False}.get(text.lower(), text),
)
RATE = Kind('a rate such as "100/m", with s, m, h or d, or ""', _rate, _write_rate)
PATTERN = Kind('a pattern such as "*@example.net", "*.example.net" or "me@example.net"', _pattern)
SENDER_PATTERN = Kind('a pattern such as "*@example.org", or "<>"', _sender_pattern)
