"""`mailstrom run`: the flusher in the foreground."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailstrom_cli.cli import log
from mailstrom_cli.cli.base import command

if TYPE_CHECKING:
    from mailstrom_cli.cli.base import Given


@command("run")
def run(given: Given) -> None:
    """Deliver what is due and wake as soon as something is submitted, in the foreground, until stopped.

    SIGTERM and SIGINT finish the transactions in hand and exit 0; SIGHUP reads the configuration again. There
    is one `run` a spool; `mailstrom flush` beside it is safe. Its log goes to stderr, a line
    for each result.
    """
    mail = given.open(create=True)
    log.start(mail.settings.log, given.level)
    mail.run(lambda settings: log.start(settings.log, given.level))
