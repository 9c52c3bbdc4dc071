"""The command tree as plain values, for what is generated from it: man page and completions.

Completions hold words, so that a TAB starts no Python; only message ids are asked of `mailstrom queue`.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import click

from mailstrom_cli.cli.app import COMMANDS, cli
from mailstrom_cli.values import value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TAKES_FILES = ("submit",)
FILE_WORDS = ("FILE", "DIR")
IDS = "mailstrom queue --state all 2>/dev/null"


@value
class Flag:
    """One option: its names, the word for its value (None for a flag), whether that may be left out."""

    names: tuple[str, ...]
    metavar: str | None
    optional: bool
    help: str
    choices: tuple[str, ...]

    @property
    def synopsis(self) -> str:
        """Its last name with its value: `--wait[=SECONDS]`."""
        if self.metavar is None:
            return self.names[-1]
        return f"{self.names[-1]}[={self.metavar}]" if self.optional else f"{self.names[-1]} {self.metavar}"


@value
class Node:
    """One command with its path (`config show`), the word for its arguments, its help and options."""

    path: tuple[str, ...]
    arguments: str
    line: str
    help: str
    flags: tuple[Flag, ...]

    @property
    def name(self) -> str:
        return " ".join(self.path)


def root() -> Node:
    """`mailstrom` itself."""
    return _node((), cli, click.Context(cli, **cli.context_settings), cli.get_short_help_str(200))


def commands() -> list[Node]:
    """Every command and subcommand, in the order of the help."""
    context = click.Context(cli, info_name="mailstrom")
    nodes: list[Node] = []
    for name, (_, _, line) in COMMANDS.items():
        command = cli.get_command(context, name)
        if command is None:
            raise LookupError(name)
        nodes += _walk((name,), command, line)
    return nodes


def _walk(path: tuple[str, ...], command: click.Command, line: str) -> Iterator[Node]:
    context = click.Context(command, info_name=path[-1], **command.context_settings)
    yield _node(path, command, context, line)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            sub = command.get_command(context, name)
            if sub is not None:
                yield from _walk((*path, name), sub, sub.get_short_help_str(200))


def _node(path: tuple[str, ...], command: click.Command, context: click.Context, line: str) -> Node:
    flags = []
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option) and not parameter.hidden:
            flags.append(_flag(parameter, context))
    arguments = [p.make_metavar(context) for p in command.params if isinstance(p, click.Argument)]
    if isinstance(command, click.Group):
        arguments = ["COMMAND"]
    return Node(path, " ".join(arguments), line, inspect.cleandoc(command.help or ""), tuple(flags))


def _flag(option: click.Option, context: click.Context) -> Flag:
    choices = tuple(option.type.choices) if isinstance(option.type, click.Choice) else ()
    metavar = None if option.is_flag or option.count else option.make_metavar(context)
    names = tuple(sorted(option.opts, key=len))
    return Flag(names, metavar, "--wait" in names, option.help or "", tuple(str(c) for c in choices))


def first_words(nodes: Iterable[Node]) -> list[Node]:
    """The commands themselves, without subcommands."""
    return [node for node in nodes if len(node.path) == 1]


def below(node: Node, nodes: Iterable[Node]) -> list[Node]:
    """The subcommands of a command."""
    return [n for n in nodes if len(n.path) == len(node.path) + 1 and n.path[:-1] == node.path]


def typed(flags: Iterable[Flag]) -> list[str]:
    """Every name as it is completed; `--wait=` may have a value, `--wait` needs none."""
    return [name for flag in flags for name in flag.names] + [
        f"{flag.names[-1]}=" for flag in flags if flag.optional
    ]
