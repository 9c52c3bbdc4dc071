"""How tables reach people: rich on a terminal, plain aligned columns in a pipe, one harmless line a cell."""

from __future__ import annotations

import json
import sys
from itertools import chain, islice
from typing import TYPE_CHECKING

from mailstrom_cli.cli.report import one_line, write_out

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console
    from rich.text import Text


LONGEST_CELL = 200
EMPTY = "-"
ALIGNED = 500  # rows that are looked at for the widths of plain columns; a long list is not held in memory
STYLES = {"delivered": "green", "deferred": "yellow", "failed": "red", "queued": "cyan", "held": "magenta"}


def on_terminal() -> bool:
    """Whether stdout is a terminal, and not a dumb one."""
    import os

    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def print_json(object: object) -> None:
    """One object on one line."""
    write_out(json.dumps(object) + "\n")


def print_text(text: str) -> None:
    """One line of plain text."""
    write_out(text + "\n")


def plain_table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table in a pipe: a heading, then a line a row, columns two spaces apart, nothing cut.

    Nothing at all when there are no rows. An empty cell is EMPTY, so that columns can be counted.
    """
    safe = (tuple(one_line(cell, LONGEST_CELL) or EMPTY for cell in row) for row in rows)
    first = list(islice(safe, ALIGNED))
    if not first:
        return
    widths = [max(len(row[i]) for row in (heading, *first)) for i in range(len(heading))]
    for row in chain([heading], first, safe):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def plain_row(form: str, cells: tuple[str, ...]) -> str:
    """A line of a table in a pipe, in which no line waits for the widths of others: a %-format has them.

    Nothing is cut: what is too long for its column moves the rest of its line. An empty cell is to be EMPTY.
    """
    line = form % cells
    if line.isprintable() and (len(line) <= LONGEST_CELL or max(map(len, cells)) <= LONGEST_CELL):
        return line
    return form % tuple([one_line(cell, LONGEST_CELL) for cell in cells])


def console() -> Console:
    """The terminal of stdout."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


class Screen:
    """The terminal of stdout, for lines in one style each."""

    def __init__(self) -> None:
        self._console = console()
        self._width = self._console.width
        self._codes: dict[str, tuple[str, str]] = {}

    def lines(self, text: str, style: str = "", indent: int = 0) -> str:
        """Text from anywhere, escaped and capped, in as many lines as it takes, without the last line end.
        rich takes 0.1 ms for each of them, and is asked only where a character may be wide."""
        text = one_line(text, LONGEST_CELL)
        if not text.isascii():
            return self._shown(text, style, indent)
        before, after = self._around(style)
        pieces, room = [text], self._width - indent
        if len(text) > room:
            from textwrap import wrap

            pieces = wrap(text, max(room, 1), break_on_hyphens=False)
        return "\n".join([f"{'':{indent}}{before}{piece}{after}" for piece in pieces])

    def _around(self, style: str) -> tuple[str, str]:
        """What turns a style on and off."""
        if style not in self._codes:
            before, _, after = self._shown("x", style, 0).partition("x")
            self._codes[style] = before, after
        return self._codes[style]

    def _shown(self, text: str, style: str, indent: int) -> str:
        from rich.padding import Padding
        from rich.text import Text

        with self._console.capture() as shown:
            self._console.print(Padding(Text(text, style), (0, 0, 0, indent), expand=False))
        return shown.get().removesuffix("\n")


def cell(text: str, style: str = "") -> Text:
    """Text from anywhere for a rich table: escaped, capped, never read as markup; words keep their colour."""
    from rich.text import Text

    return Text(one_line(text, LONGEST_CELL), style or STYLES.get(text, ""))
