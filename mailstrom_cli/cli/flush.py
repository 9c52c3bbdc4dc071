"""`mailstrom flush`: one pass over what is due."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mailstrom_cli.cli import log, report
from mailstrom_cli.cli.base import command
from mailstrom_cli.cli.options import Option
from mailstrom_cli.errors import USAGE, MailstromError

if TYPE_CHECKING:
    from mailstrom_cli.cli.base import Given
    from mailstrom_cli.mail.status import Result
    from mailstrom_cli.store.entry import Entry


@command("flush", Option(("--all",), "Try everything that is not held, whatever its back-off."))
@click.argument("ids", metavar="[ID]...", nargs=-1)
def flush(given: Given, ids: tuple[str, ...], all: bool) -> None:
    """Make one pass over what is due, then exit; for cron. Naming an ID ignores the back-off of that one.

    Silent on success, whatever became of the messages: `mailstrom status` and `mailstrom queue` tell that,
    and with -v each result is told on stderr. Beside `mailstrom run` it wakes that and waits for its pass.
    """
    if ids and all:
        raise MailstromError("name messages, or ask for --all", "leave one of them out", USAGE)
    mail = given.open()
    log.start(mail.settings.log, "warning")
    mail.flush(ids, everything=all, on_result=_tell if given.verbose else None)


def _tell(entry: Entry, results: list[Result]) -> None:
    for result in results:
        parts = (entry.id, result.address, result.code, result.enhanced, result.text)
        report.tell(result.status, " ".join(str(part) for part in parts if part))
