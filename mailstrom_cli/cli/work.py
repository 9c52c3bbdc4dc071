"""`mailstrom hold`, `release`, `retry` and `cancel`: work on messages in the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mailstrom_cli.cli import report
from mailstrom_cli.cli.base import command
from mailstrom_cli.errors import OK, MailstromError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailstrom_cli.api import Mailstrom
    from mailstrom_cli.cli.base import Given
    from mailstrom_cli.store.entry import Entry

IDS = click.argument("ids", metavar="ID...", nargs=-1, required=True)


@command("hold")
@IDS
def hold(given: Given, ids: tuple[str, ...]) -> int:
    """Attempt nothing for these messages until they are released. Time on hold does not count as age."""
    mail = given.open()
    return _each(given, mail, ids, mail.hold, "held", "is held already")


@command("release")
@IDS
def release(given: Given, ids: tuple[str, ...]) -> int:
    """Undo hold: these messages are attempted again when they are due."""
    mail = given.open()
    return _each(given, mail, ids, mail.release, "released", "is not held")


@command("retry")
@IDS
def retry(given: Given, ids: tuple[str, ...]) -> int:
    """Make these messages due now for every recipient that is not delivered, with all retries again; those
    that failed or were cancelled, too."""
    mail = given.open()
    return _each(given, mail, ids, mail.retry, "due now", "is due already")


@command("cancel")
@IDS
def cancel(given: Given, ids: tuple[str, ...]) -> int:
    """Fail what still waits in these messages with the reason "cancelled"; retry undoes it."""
    mail = given.open()
    return _each(given, mail, ids, mail.cancel, "cancelled", "is cancelled already")


def _each(
    given: Given, mail: Mailstrom, ids: Sequence[str], change: Callable[[str], Entry], done: str, idle: str
) -> int:
    """Change every message; each stands alone, and the first bad one's exit code is the result.
    done, idle: what to tell of one that was changed, and of one that was as it should be."""
    code = OK
    store = mail.store
    for name in ids:
        try:
            before = store.read(store.find(name))
            after = change(before.id)
        except (MailstromError, OSError) as error:
            told = report.failed(report.known(error))
            code = code or told
        else:
            if after == before and not given.quiet:
                report.tell("note", f"{after.id} {idle}; nothing to do")
            elif given.verbose:
                report.tell("note", f"{after.id} {done}")
    return code
