"""The command tree of click: global options, and commands whose modules are imported when they are used."""

from __future__ import annotations

import io
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

from mailstrom_cli import __version__
from mailstrom_cli.cli.accept import check_verbosity, refuse_controls
from mailstrom_cli.cli.base import Given, as_click
from mailstrom_cli.cli.options import GLOBAL
from mailstrom_cli.errors import NO_INPUT, USAGE, MailstromError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# name: (module below mailstrom_cli.cli, its click command, one line for `mailstrom --help`)
COMMANDS = {
    "submit": ("submit", "submit", "Spool a message, or many, and print an id for each."),
    "send": ("send", "send", "Write a message from a text and files, and spool it."),
    "status": ("status", "status", "Tell what became of a message, for every recipient."),
    "queue": ("queue", "queue", "List what is not yet delivered or failed."),
    "flush": ("flush", "flush", "Deliver what is due, once, and exit."),
    "run": ("run", "run", "Deliver what is due, until stopped."),
    "hold": ("work", "hold", "Attempt nothing for a message until it is released."),
    "release": ("work", "release", "Undo hold."),
    "retry": ("work", "retry", "Make a message due now, a failed or cancelled one too."),
    "cancel": ("work", "cancel", "Fail what waits; retry undoes it."),
    "show": ("show", "show", "Print a message as it will be sent, or what is recorded of it."),
    "check-spool": ("check_spool", "check_spool", "Tell what is wrong with the spool, and put it right."),
    "auth": ("auth", "auth", "Log in at a provider that gives OAuth tokens for a relay."),
    "config": ("config", "config", "Show, check or write the configuration."),
    "tlsrpt": ("tlsrpt", "tlsrpt", "Report on TLS to the domains that ask for it."),
    "dkim": ("dkim", "dkim", "Make a key to sign mail with."),
    "sendmail": ("sendmail.command", "sendmail", "Take a message or a command line as sendmail does."),
    "demo": ("demo", "demo", "Watch the whole path on this machine, without network or set-up."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is run or helped, and not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(f"mailstrom_cli.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    params=as_click(GLOBAL),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`mailstrom COMMAND --help` tells more of each; `mailstrom demo` shows it at work.",
)
@click.version_option(__version__, message="mailstrom %(version)s")
@click.pass_context
def cli(ctx: click.Context, /, **options: Any) -> None:
    """A mail queue: submit a message, and know at any time what became of it for every recipient."""
    refuse_controls(options)
    check_verbosity(options)
    ctx.obj = Given(**options)


def run(arguments: Sequence[str]) -> int:
    """Run a command line; its exit code. Raises MailstromError for what is wrong with the line, too."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8 is no error
    try:
        # Not `cli.main`: it exits by itself when a pipe breaks.
        with cli.make_context("mailstrom", list(arguments)) as context:
            code = cli.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stderr.write(f"{error.format_message()}\n")
        return USAGE
    except click.FileError as error:
        raise MailstromError(error.format_message(), None, NO_INPUT) from None
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "mailstrom"
        message = error.format_message().rstrip(".")
        raise MailstromError(
            message[:1].lower() + message[1:], f"`{where} --help` tells how it is used", USAGE
        ) from None
    return code if isinstance(code, int) else 0
