"""`mailstrom flush`: one pass over what is due."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import click

from mailstrom_cli.cli import log, report
from mailstrom_cli.cli.base import command
from mailstrom_cli.cli.options import Option
from mailstrom_cli.cli.status import find_each
from mailstrom_cli.cli.view import reply
from mailstrom_cli.config.places import default_spool
from mailstrom_cli.errors import OK, USAGE, MailstromError, NoSpool
from mailstrom_cli.mail.status import FAILED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailstrom_cli.api import Mailstrom
    from mailstrom_cli.cli.base import Given
    from mailstrom_cli.mail.status import Result
    from mailstrom_cli.store.base import Store
    from mailstrom_cli.store.entry import Entry


@command("flush", Option(("--all",), "Try everything that is not held, whatever its back-off."))
@click.argument("ids", metavar="[ID]...", nargs=-1)
def flush(given: Given, ids: tuple[str, ...], all: bool) -> int:
    """Make one pass over what is due, then exit; for cron. Naming an ID ignores the back-off of that one.

    Silent on success, whatever became of the messages: `mailstrom status` and `mailstrom queue` tell that,
    and with -v each result is told on stderr. Beside `mailstrom run` it wakes that and waits for its pass.
    """
    if ids and all:
        raise MailstromError("name messages, or ask for --all", "leave one of them out", USAGE)
    mail = given.open()
    log.start(mail.settings.log, "warning")
    try:
        store = mail.store
    except NoSpool:
        if ids or mail.settings.spool != default_spool(os.environ):
            raise
        return OK  # cron has nothing to do for who has not submitted anything yet
    entries, code = find_each(mail, ids)
    if ids and not entries:
        return code
    if not given.quiet:
        _tell_idle(entries)
    named = [entry.id for entry in entries]
    if given.verbose:
        _flush_and_tell(mail, store, named, all)
    else:
        mail.flush(named, everything=all, may_fork=True)
    return code


def _tell_idle(entries: Iterable[Entry]) -> None:
    """Why nothing happens to messages that are named."""
    for entry in entries:
        if entry.next_attempt is None:
            again = "; `mailstrom retry` tries it again" if entry.state == FAILED else ""
            report.tell("note", f"{entry.id} is already {entry.state}{again}")
        elif entry.held:
            report.tell("note", f"{entry.id} is held; `mailstrom release` lets it go")


def _flush_and_tell(mail: Mailstrom, store: Store, ids: list[str], everything: bool) -> None:
    """Flush, and tell each result: as it comes, or afterwards what a `run` beside us has recorded."""
    began = round(time.time(), 3)
    due = ids or [item.id for item in store.scheduled() if everything or item.due <= began]
    told: set[str] = set()

    def tell(entry: Entry, results: list[Result]) -> None:
        told.add(entry.id)
        for result in results:
            parts = (entry.id, result.address, result.code, result.enhanced, result.text)
            report.tell(result.status, " ".join(str(part) for part in parts if part))

    mail.flush(ids, everything=everything, on_result=tell)
    for id in due:
        if id in told:
            continue
        try:
            entry = store.read(id)
        except (MailstromError, OSError):
            continue
        for r in entry.recipients:
            if r.last_attempt is not None and r.last_attempt >= began:
                report.tell(r.status, f"{id} {r.address} {reply(r)}".rstrip())
