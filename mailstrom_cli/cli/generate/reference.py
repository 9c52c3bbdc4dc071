"""Exit codes, files and settings as tables, for the man page and for the README."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailstrom_cli import errors
from mailstrom_cli.config.keys import reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

EXIT_CODES = (
    (errors.OK, "done"),
    (errors.USAGE, "the command line is wrong"),
    (
        errors.DATA,
        "the message is not valid, or another message has its key; or the spool has faults (check-spool)",
    ),
    (errors.NO_INPUT, "input cannot be read, or there is no such id or spool"),
    (errors.UNAVAILABLE, "some recipient failed (--wait)"),
    (errors.SOFTWARE, "a bug of mailstrom"),
    (errors.OS_ERROR, "nothing could be stored now (sendmail)"),
    (errors.CANT_CREATE, "the spool cannot be created"),
    (
        errors.TEMPORARY,
        "not now, and not stored (disk full, out of descriptors); or still deferred (--wait)",
    ),
    (errors.NO_PERMISSION, "not permitted: a spool that others own or may write"),
    (errors.CONFIG, "the configuration is wrong, or something else is in the place of a part of the spool"),
    (130, "interrupted"),
)

FILES = (
    ("$XDG_CONFIG_HOME/mailstrom/config.toml", "configuration of a user; the variable is ~/.config if unset"),
    ("/etc/mailstrom/config.toml", "configuration of the system, where the user has none"),
    ("/var/spool/mailstrom", "spool of root"),
    ("$XDG_STATE_HOME/mailstrom", "spool of everybody else; the variable is ~/.local/state if unset"),
    ("/var/lib/mailstrom-tokens", "OAuth tokens by relay, of root (`mailstrom auth login`)"),
    ("$XDG_STATE_HOME/mailstrom-tokens", "OAuth tokens of everybody else"),
)  # fmt: skip

ENVIRONMENT = (
    ("MAILSTROM_CONFIG", "configuration file, as --config"),
    ("MAILSTROM_SPOOL", "spool, as --spool"),
    ("TMPDIR", "where a large message from a pipe waits while it is read"),
    ("NO_COLOR", "no colours on a terminal"),
)

MARKS: dict[str, Callable[[], str]] = {
    "exit-codes": lambda: table(("code", "meaning"), ((str(code), text) for code, text in EXIT_CODES)),
    "configuration": lambda: table(
        ("key", "default", "meaning"),
        (
            (f"`{name}`", f"`{default}`" if default else "", help.replace("|", r"\|"))
            for name, default, _, help in reference()
        ),
    ),
}


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def filled(readme: str) -> str:
    """The README with every table between `<!-- begin NAME -->` and `<!-- end NAME -->` as it should be."""
    for name, made in MARKS.items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        before, found, rest = readme.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise LookupError(f"README.md lacks the marks of {name}")
        readme = before + begin + made() + end + after
    return readme
