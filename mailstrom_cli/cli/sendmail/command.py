"""`mailstrom sendmail` for click: help and completion; the grammar is sendmail's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mailstrom_cli.cli.sendmail import main

if TYPE_CHECKING:
    from mailstrom_cli.cli.base import Given


@click.command(
    "sendmail",
    context_settings={
        "help_option_names": ["--help"],
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
        "max_content_width": 100,
    },
)
@click.argument("words", metavar="[OPTION]... [ADDRESS]...", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def sendmail(given: Given, words: tuple[str, ...]) -> int:
    """Read a message from stdin and store it, as programs expect of /usr/sbin/sendmail; its options are those
    of sendmail, in `man mailstrom-sendmail`.

    Exit code 0 means that the message is stored and will be delivered by `mailstrom run` or `mailstrom
    flush`; 71 that nothing could be stored now. Links named sendmail, mailq and newaliases to `mailstrom`
    or `mailstrom-sendmail` do the same.
    """
    return main.run("sendmail", words, given.config, given.spool, given.via)
