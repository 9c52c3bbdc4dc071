"""What the click commands share: options from a table, -v and -q on every command, and the open spool."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mailstrom_cli.cli.accept import check_verbosity
from mailstrom_cli.cli.options import NO_LIMIT, VERBOSITY, Option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mailstrom_cli.api import Mailstrom
    from mailstrom_cli.config.schema import Settings


class Given:
    """The global options of this command line; -v and -q may come after the command, too."""

    def __init__(
        self,
        config: str | None = None,
        spool: str | None = None,
        via: Sequence[str] = (),
        verbose: bool = False,
        quiet: bool = False,
    ) -> None:
        self.config = config
        self.spool = spool
        self.via = tuple(via)
        self.verbose = verbose
        self.quiet = quiet

    def add(self, *, verbose: bool, quiet: bool) -> None:
        """Add what came after the command. Raises MailstromError when both are asked for."""
        self.verbose |= verbose
        self.quiet |= quiet
        check_verbosity({"verbose": self.verbose, "quiet": self.quiet})

    @property
    def level(self) -> str | None:
        """The log level that -v and -q mean; None for that of the settings."""
        return "debug" if self.verbose else "error" if self.quiet else None

    def settings(self) -> Settings:
        """The settings alone, for what needs no spool. Raises MailstromError."""
        from mailstrom_cli.cli.opening import read_settings

        return read_settings(self.config, self.spool, self.via).settings

    def open(self, *, create: bool = False) -> Mailstrom:
        """The spool and settings that the options name; what only looks makes no spool. Raises
        MailstromError."""
        from mailstrom_cli.cli.opening import open_mail

        return open_mail(self.config, self.spool, self.via, create=create)


class OptionalValue(click.Option):
    """An option whose value may be left out, shown as such in the help."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        return record and (record[0].replace(f" {self.metavar}", f"[={self.metavar}]"), record[1])


class Command(click.Command):
    """A command on which --wait needs no value, and takes one only as --wait=VALUE."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        if any("--wait" in parameter.opts for parameter in self.params):
            args = [f"--wait={NO_LIMIT}" if a == "--wait" and i < end else a for i, a in enumerate(args)]
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # click does not say whose option lacks its value
            raise


def as_click(table: Iterable[Option]) -> list[click.Parameter]:
    """The options of a table as click's."""
    return [
        (OptionalValue if option.optional else click.Option)(
            [*option.names, option.dest],
            help=option.help,
            metavar=option.metavar,
            is_flag=True if option.metavar is None else None,  # False would let the value be left out
            multiple=option.many,
            type=click.Choice(option.choices, case_sensitive=False) if option.choices else None,
        )
        for option in table
    ]


def command(name: str, *options: Option) -> Callable[[Callable[..., int | None]], click.Command]:
    """Make a function that takes `Given` first a click command with -v and -q.

    Its docstring is the help; other parameters come from click decorators below this one, or `options`.
    """

    def decorate(function: Callable[..., int | None]) -> click.Command:
        parameters = list(reversed(getattr(function, "__click_params__", [])))

        @click.pass_obj
        def callback(given: Given, /, **values: object) -> int | None:
            given.add(verbose=bool(values.pop("verbose")), quiet=bool(values.pop("quiet")))
            return function(given, **values)

        return Command(
            name,
            callback=callback,
            params=[*parameters, *as_click((*options, *VERBOSITY))],
            help=function.__doc__,
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        )

    return decorate
