"""`mailstrom config`: what is in force and why, what is wrong, and a file to start from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from mailstrom_cli.cli import output, report
from mailstrom_cli.cli.base import command
from mailstrom_cli.cli.opening import read_settings
from mailstrom_cli.cli.options import Option
from mailstrom_cli.config.problems import ConfigError, Problem
from mailstrom_cli.config.verify import verify
from mailstrom_cli.errors import CANT_CREATE, CONFIG, OK, MailstromError

if TYPE_CHECKING:
    from mailstrom_cli.cli.base import Given
    from mailstrom_cli.config.load import Loaded


@command("show", Option(("--json",), "One JSON object: value and source by key, in seconds and octets."))
def show(given: Given, json: bool) -> None:
    """Print every setting in force, and where it was set."""
    from mailstrom_cli.config.render import as_json, show

    loaded = read_settings(given.config, given.spool, given.via)
    if json:
        output.print_json(as_json(loaded))
    else:
        report.write_out(show(loaded))


@command("check")
def check(given: Given) -> int:
    """Tell everything that is wrong with the configuration, or `ok` and the name of the file."""
    try:
        loaded = read_settings(given.config, given.spool, given.via)
        problems = verify(loaded)
        if loaded.settings.dkim:
            problems += _verify_keys(loaded)
    except ConfigError as error:
        problems = error.problems
    for problem in problems:
        report.failed(MailstromError(str(problem), problem.hint, CONFIG))
    if problems:
        return CONFIG
    output.print_text(f"ok: {loaded.path or 'no configuration file'}")
    return OK


def _verify_keys(loaded: Loaded) -> tuple[Problem, ...]:
    """The keys of [dkim] that cannot be used; of those that should not be, a warning."""
    from mailstrom_cli.dkim.keys import GOOD_BITS, NotInstalled, check_installed
    from mailstrom_cli.net.keys import read_key

    problems: list[Problem] = []
    for domain, entry in loaded.settings.dkim.items():
        name = f'dkim."{domain}".key_file'
        where = loaded.source(name)
        try:
            check_installed()
        except NotInstalled as error:
            return (Problem(where, error.message, error.hint),)
        for path in entry.key_file:
            try:
                key = read_key(path)
            except MailstromError as error:
                problems.append(Problem(where, f"`{name}`: {error.message}", error.hint))
            else:
                if 0 < key.bits < GOOD_BITS:
                    what = (
                        f"`{name}`: {path} has only {key.bits} bits, and should have {GOOD_BITS} (RFC 8301)"
                    )
                    report.tell("warning", f"{where}: {what}")
    return tuple(problems)


@command("init", Option(("--force",), "Replace a file that is there."))
@click.argument("file", required=False)
def init(given: Given, file: str | None, force: bool) -> None:
    """Write a commented configuration with every key, and print its name.

    FILE is by default the one that this user's mailstrom reads: /etc/mailstrom/config.toml for root.
    """
    from mailstrom_cli.cli.accept import refuse_controls
    from mailstrom_cli.config.places import SYSTEM_CONFIG, user_config
    from mailstrom_cli.config.render import template
    from mailstrom_cli.config.write import write_new

    refuse_controls({"file": file})
    path = file or given.config or (SYSTEM_CONFIG if os.geteuid() == 0 else user_config(os.environ))
    try:
        # Nothing secret is ever in it, and what root writes for the system is for every user to read.
        write_new(path, template().encode(), 0o644 if path == SYSTEM_CONFIG else 0o600, replace=force)
    except FileExistsError:
        raise MailstromError(f"{path} is there already", "--force replaces it", CANT_CREATE) from None
    except OSError as error:
        raise MailstromError(f"{path} cannot be written: {error.strerror}", None, CANT_CREATE) from None
    output.print_text(path)


config = click.Group(
    "config",
    commands={"show": show, "check": check, "init": init},
    help="Show, check or write the configuration.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
