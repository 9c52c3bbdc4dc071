"""What is wrong with a configuration, in sentences: where, what, and what to write instead."""

from __future__ import annotations

from mailstrom_cli.config.keys import KEYS, NAMED, TABLES
from mailstrom_cli.config.schema import PREFIX
from mailstrom_cli.config.text import quoted
from mailstrom_cli.errors import CONFIG, MailstromError
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mailstrom_cli.config.kinds import Kind

KNOWN_TABLES = (*TABLES, "route", *NAMED)
EVERY_KEY = "`mailstrom config init FILE` writes a file with every key"


@value
class Problem:
    """where: `FILE:LINE`, an environment variable or "command line"."""

    where: str
    what: str
    hint: str | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class ConfigError(MailstromError):
    """Everything that is wrong with a configuration; it speaks of the first and counts the others."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        hint = problems[0].hint
        if len(problems) > 1:
            others = "1 other problem" if len(problems) == 2 else f"{len(problems) - 1} other problems"
            more = f"`mailstrom config check` tells of {others}"
            hint = f"{hint.rstrip('.')}{' ' if hint.endswith('?') else '; '}{more}" if hint else more
        super().__init__(str(problems[0]), hint, CONFIG)
        self.problems = tuple(problems)


def expected(name: str, kind: Kind, held: object) -> str:
    """A value of the wrong type or out of range. Nothing that was written into [auth] is repeated."""
    shown = "" if name.startswith("auth.") else f", not {_shown(held)}"
    return f"`{name}` must be {kind.expects}{shown}"


def _shown(held: object) -> str:
    if isinstance(held, str):
        return quoted(held)
    if isinstance(held, bool):
        return str(held).lower()
    if isinstance(held, int | float):
        return str(held)[:40]
    if isinstance(held, dict):
        return "a table"
    if isinstance(held, list):
        return "this list" if held else "an empty list"
    return "a date or a time"


def nearest_key(unknown: str) -> str:
    """A hint which key may have been meant by one that does not exist; `unknown` is written as in KEYS."""
    from difflib import get_close_matches

    table, leaf = _split(unknown)
    repeated = table in ("route[]", *(f"{name}.*" for name in NAMED))
    beside = {k.last: k.last if repeated else k.name for k in KEYS if _split(k.name)[0] == table}
    beside |= {_split(name)[1]: name for name in KNOWN_TABLES if _split(name)[0] == table}
    found = [beside[match] for match in get_close_matches(leaf, beside, 1, 0.6 if repeated else 0.7)]
    elsewhere = [key for key in KEYS if not key.repeated]
    found = found or [key.name for key in elsewhere if key.last == leaf]
    found = found or [key.name for key in elsewhere if get_close_matches(leaf, [key.last], 1, 0.8)][:1]
    if not found:
        return EVERY_KEY
    hint = f"did you mean {' or '.join(f'`{name}`' for name in found)}?"
    if table and not repeated and "." not in found[0]:
        hint += " It belongs above the first [table]"
    return hint


def nearest_table(unknown: str) -> str:
    """A hint which table may have been meant by one that does not exist."""
    from difflib import get_close_matches

    found = get_close_matches(unknown, KNOWN_TABLES, 1, 0.6)
    return f"did you mean [{found[0]}]?" if found else EVERY_KEY


def _split(name: str) -> tuple[str, str]:
    table, _, leaf = name.rpartition(".")
    return table, leaf


def nearest_variable(unknown: str, known: Iterable[str]) -> str:
    """A hint which environment variable may have been meant."""
    from difflib import get_close_matches

    names = [name.removeprefix(PREFIX) for name in known]
    found = get_close_matches(unknown.removeprefix(PREFIX), names, 1, 0.6)
    return f"did you mean {PREFIX}{found[0]}?" if found else EVERY_KEY
