"""What a TOML file, or a TOML value in the environment, says: each key checked against the schema."""

from __future__ import annotations

import os
import stat

from mailstrom_cli.config import toml
from mailstrom_cli.config.keys import KEYS, NAMED, TABLES
from mailstrom_cli.config.schema import Route
from mailstrom_cli.config.text import quoted
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from mailstrom_cli.config.keys import Key
    from mailstrom_cli.config.problems import ConfigError, Problem
    from mailstrom_cli.config.toml import Path

    Changed = dict[str, Any]
    Sources = dict[str, str]

LARGEST = 1 << 20  # octets of a configuration file; a device without an end is not read for ever
BY_NAME = {key.name: key for key in KEYS}
EXAMPLES = {
    "MAILSTROM_ROUTE": ("route", '[{recipient = "*@example.net", via = "lmtp:///run/lmtp.sock"}]'),
    "MAILSTROM_AUTH": (
        "auth",
        '{"smtp.example.org" = {username = "me", password_file = "/etc/mailstrom/password"}}',
    ),
    "MAILSTROM_TLS_POLICY": ("tls.policy", '{"*.example.net" = {level = "verify"}}'),
    "MAILSTROM_DKIM": ("dkim", '{"example.org" = {selector = "s", key_file = "/etc/mailstrom/dkim.pem"}}'),
}
ELSEWHERE = "name a file in `password_file`, or a command in `password_command`; a password is not kept here"


@value
class Tree:
    """path: what problems name.  lines: by the path of a key; empty when all came from one variable."""

    path: str
    held: Mapping[str, Any]
    lines: Mapping[Path, int]

    def where(self, path: Path) -> str:
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.path}:{self.lines[path]}" if path else self.path


# --- text to tree ---


def unreadable(path: str, error: OSError | ValueError, by_option: bool, named: bool) -> ConfigError:
    """The error for a configuration file that cannot be opened."""
    by = " (named by --config)" if by_option else " (named by MAILSTROM_CONFIG)" if named else ""
    reason = error.strerror if isinstance(error, OSError) else "not a file name"
    hint = (
        f"`mailstrom config init {path}` writes one"
        if path and isinstance(error, FileNotFoundError)
        else None
    )
    shown = path if path.isprintable() and path else quoted(path)
    return _wrong(shown, f"the configuration cannot be read{by}: {reason}", hint)


def parse(path: str, descriptor: int) -> Tree:
    """Reads and closes the descriptor. Raises ConfigError."""
    if not path.isprintable():
        os.close(descriptor)
        raise _wrong(quoted(path), "the name of a configuration file must be printable")
    mode = os.fstat(descriptor).st_mode
    try:
        with open(descriptor, "rb") as file:
            octets = file.read(LARGEST + 1)
    except OSError as error:
        raise unreadable(path, error, False, False) from None
    if stat.S_ISREG(mode) and mode & stat.S_IWOTH:
        raise _wrong(path, "anybody may write this configuration", f"chmod o-w {path}")
    if len(octets) > LARGEST:
        raise _wrong(path, "the configuration is larger than 1 MiB")
    try:
        text = octets.decode()
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise _wrong(f"{path}:{line}", "not UTF-8, which TOML must be") from None
    try:
        return Tree(path, *toml.read(text))
    except (ValueError, RecursionError) as error:
        raise _syntax(path, error) from None


def _syntax(path: str, error: Exception) -> ConfigError:
    """`Expected '=' (at line 2, column 5)` as a place and a sentence."""
    if isinstance(error, RecursionError):
        return _wrong(path, "not TOML: nested too deeply")
    said, _, place = str(error).rpartition(" (at ")
    numbers = [word for word in place.rstrip(")").replace(",", "").split() if word.isdigit()]
    said = said or str(error)
    if len(numbers) == 2:
        return _wrong(f"{path}:{numbers[0]}:{numbers[1]}", f"not TOML: {said}")
    return _wrong(path, f"not TOML: {said}{' at the end of the text' if place else ''}")


def _wrong(where: str, what: str, hint: str | None = None) -> ConfigError:
    from mailstrom_cli.config.problems import ConfigError, Problem

    return ConfigError([Problem(where, what, hint)])


def read_variable(name: str, text: str, changed: Changed, sources: Sources, problems: list[Problem]) -> None:
    """MAILSTROM_ROUTE, MAILSTROM_AUTH and the others of EXAMPLES: a TOML value, which replaces what the file
    says. Every other name is unknown here."""
    from mailstrom_cli.config.problems import Problem, nearest_variable

    if name not in EXAMPLES:
        known = {key.variable for key in KEYS} | {"MAILSTROM_CONFIG"}
        problems.append(Problem(name, "no such setting", nearest_variable(name, sorted(known))))
        return
    table, example = EXAMPLES[name]
    try:
        held, _ = toml.read(f"x = {text}")
    except (ValueError, RecursionError):
        held = {}
    if list(held) != ["x"]:
        problems.append(Problem(name, f"`{table}` must be a value in TOML", f"write it as in {example}"))
        return
    *parents, last = table.split(".")
    held = {last: held["x"]}
    for parent in reversed(parents):
        held = {parent: held}
    for key in [key for key in sources if key.startswith(table)]:
        del sources[key]
    read_tree(Tree(name, held, {}), changed, sources, problems)


# --- tree to settings ---


def read_tree(tree: Tree, changed: Changed, sources: Sources, problems: list[Problem]) -> None:
    """Adds what the tree sets to `changed` and `sources`, and what is wrong with it to `problems`."""
    _Reader(tree, changed, sources, problems).table(tree.held, (), "")


class _Reader:
    def __init__(self, tree: Tree, changed: Changed, sources: Sources, problems: list[Problem]) -> None:
        self.tree, self.changed, self.sources, self.problems = tree, changed, sources, problems

    def problem(self, path: Path, what: str, hint: str | None = None) -> None:
        from mailstrom_cli.config.problems import Problem

        self.problems.append(Problem(self.tree.where(path), what, hint))

    def table(self, held: Mapping[str, Any], path: Path, prefix: str) -> None:
        """The keys of the top level, or of a table with fixed keys."""
        for name, item in held.items():
            key = prefix + (f'"{name}"' if "." in name else name)  # "tls.level" in quotes is not tls.level
            here = (*path, name)
            if key in BY_NAME:
                read = self.setting(BY_NAME[key], key, item, here)
                if read is not None:
                    self.changed[key] = read
            elif key in TABLES:
                if isinstance(item, dict):
                    self.table(item, here, key + ".")
                else:
                    self.problem(
                        here, f"`{key}` is a table", f"write [{key}], and its keys in the lines below"
                    )
            elif key == "route":
                self.routes(item, here)
            elif key in NAMED:
                self.named(item, here, key)
            elif isinstance(item, dict) and not prefix:
                from mailstrom_cli.config.problems import nearest_table

                self.problem(here, f"`{_shown(name)}` is not a table", nearest_table(name))
            else:
                self.unknown(here, key, key)

    def setting(self, key: Key, name: str, held: object, path: Path) -> Any:
        """What a key is set to, or None when that is wrong."""
        try:
            read = key.kind.read(held)
        except ValueError as error:
            from mailstrom_cli.config.problems import expected

            self.problem(path, f"`{name}`: {error}" if error.args else expected(name, key.kind, held))
            return None
        self.sources[name] = self.tree.where(path)
        return read

    def unknown(self, path: Path, name: str, pattern: str) -> None:
        from mailstrom_cli.config.problems import nearest_key

        self.problem(path, f"`{_shown(name)}` is not a key", nearest_key(pattern))

    def items(self, held: Mapping[str, Any], path: Path, name: str, pattern: str) -> dict[str, Any]:
        """The keys of one route, of one next hop's credentials, of one destination's protection, or of one
        signing domain."""
        found = {}
        for last, item in held.items():
            if last == "password" and pattern == "auth.*.":
                self.problem((*path, last), f"`{name}password` is not a key", ELSEWHERE)
            elif pattern + last in BY_NAME:
                found[last] = self.setting(BY_NAME[pattern + last], name + last, item, (*path, last))
            elif pattern != "route[]." and isinstance(item, dict):
                host, table = _dotted_host([str(path[-1]), last], item), pattern.removesuffix(".*.")
                from mailstrom_cli.config.named import KINDS

                hint = f'quote the {KINDS[table].by}: [{table}."{host}"]'
                self.problem((*path, last), f"`{name}{last}` is not a key", hint)
            else:
                self.unknown((*path, last), name + last, pattern + last)
        return found

    def routes(self, held: object, path: Path) -> None:
        if not isinstance(held, list) or not all(isinstance(item, dict) for item in held):
            self.problem(
                path, "`route` is a list of tables", "write [[route]], with two brackets on each side"
            )
            return
        routes = []
        for index, item in enumerate(held):
            name, here = f"route[{index}]", (*path, index)
            found = self.items(item, here, name + ".", "route[].")
            if "via" not in found:
                self.problem(here, f"`{name}` lacks `via`")
            elif "sender" not in found and "recipient" not in found:
                hint = "for all mail set `via` at the top level"
                self.problem(here, f"`{name}` has neither `sender` nor `recipient`", hint)
            else:
                routes.append(Route(found.get("sender"), found.get("recipient"), found["via"]))
        self.changed["route"] = tuple(routes)

    def named(self, held: object, path: Path, table: str) -> None:
        """A table of tables that have a name each."""
        from mailstrom_cli.config.named import KINDS

        kind = KINDS[table]
        hint = f'write [{table}."{kind.example}"], and its keys in the lines below'
        if not isinstance(held, dict):
            self.problem(path, f"`{table}` is a table by {kind.by}", hint)
            return
        made: dict[str, Any] = {}
        for text, item in held.items():
            here = (*path, text)
            if not isinstance(item, dict):
                what = f"`{table}` is a table by {kind.by}, and {quoted(text)} in it is not a table"
                self.problem(here, what, hint)
                continue
            try:
                name = kind.canonical(text)
            except ValueError as error:
                self.problem(here, f"{quoted(text)} in `{table}`: {error}")
                continue
            if name in made:
                self.problem(here, f"{quoted(text)} in `{table}` is there twice, written differently")
                continue
            shown, before = f'{table}."{name}"', len(self.problems)
            found = self.items(item, here, shown + ".", table + ".*.")
            if len(self.problems) == before:
                for what, hint_of_it in kind.faults(found, name):
                    self.problem(here, f"`{shown}` {what}", hint_of_it)
            if len(self.problems) == before:
                made[name] = kind.make(**found)
        self.changed[table] = made


def _shown(name: str) -> str:
    return name if name.isprintable() and len(name) <= 80 else quoted(name)


def _dotted_host(parts: list[str], held: Mapping[str, Any]) -> str:
    """The host that [auth.smtp.example.org] without quotes meant: tables in tables, down to the keys."""
    while len(held) == 1 and isinstance(following := next(iter(held.values())), dict):
        parts.append(next(iter(held)))
        held = following
    return ".".join(parts)
