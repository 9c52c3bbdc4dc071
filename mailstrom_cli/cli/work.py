"""`mailstrom hold`, `release`, `retry` and `cancel`: work on messages in the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mailstrom_cli.cli import report
from mailstrom_cli.cli.base import command
from mailstrom_cli.errors import OK, MailstromError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailstrom_cli.cli.base import Given
    from mailstrom_cli.store.entry import Entry

IDS = click.argument("ids", metavar="ID...", nargs=-1, required=True)


@command("hold")
@IDS
def hold(given: Given, ids: tuple[str, ...]) -> int:
    """Attempt nothing for these messages until they are released. Time on hold does not count as age."""
    return _each(given, ids, "held", given.open().hold)


@command("release")
@IDS
def release(given: Given, ids: tuple[str, ...]) -> int:
    """Undo hold: these messages are attempted again when they are due."""
    return _each(given, ids, "released", given.open().release)


@command("retry")
@IDS
def retry(given: Given, ids: tuple[str, ...]) -> int:
    """Make these messages due now for every recipient that is not delivered, with all retries again; those
    that failed or were cancelled, too."""
    return _each(given, ids, "due now", given.open().retry)


@command("cancel")
@IDS
def cancel(given: Given, ids: tuple[str, ...]) -> int:
    """Fail what still waits in these messages with the reason "cancelled"; retry undoes it."""
    return _each(given, ids, "cancelled", given.open().cancel)


def _each(given: Given, ids: Sequence[str], done: str, change: Callable[[str], Entry]) -> int:
    """Change every message; each stands alone, and the first bad one's exit code is the result."""
    code = OK
    for name in ids:
        try:
            entry = change(name)
        except MailstromError as error:
            told = report.failed(error)
            code = code or told
        else:
            if given.verbose:
                report.tell("note", f"{entry.id} {done}")
    return code
