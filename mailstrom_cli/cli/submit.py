"""`mailstrom submit` for click: help, completion and error reporting; the work is in `accept`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mailstrom_cli.cli import accept
from mailstrom_cli.cli.base import command
from mailstrom_cli.cli.options import SUBMIT, VERBOSITY

if TYPE_CHECKING:
    from mailstrom_cli.cli.base import Given


@command("submit", *(option for option in SUBMIT if option not in VERBOSITY))
@click.argument("files", metavar="[FILE]...", nargs=-1)
def submit(given: Given, files: tuple[str, ...], **options: object) -> int:
    """Read one message from stdin, or one from each FILE, validate it, store it durably and print its id.

    Exit code 0 means that it is stored and will be delivered by `mailstrom run` or `mailstrom flush`. Of many
    messages each stands alone: a bad one is reported with its name, the others are stored, and the exit code
    is that of the first bad one.
    """
    return accept.run({**vars(given), **options}, files)
