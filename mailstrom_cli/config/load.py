"""Settings from a TOML file, the environment and the command line, in this order; the last one wins.

Everything that is wrong is collected, each with its place, so that one look is enough to put it right.
"""

from __future__ import annotations

import os

from mailstrom_cli.config.places import SYSTEM_CONFIG, default_spool, host_name, spool_from_text, user_config
from mailstrom_cli.config.schema import DEFAULTS, PREFIX, Settings, build
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from mailstrom_cli.config.problems import Problem
    from mailstrom_cli.config.tables import Tree

__all__ = ["DEFAULT", "Loaded", "host_name", "load"]

DEFAULT = "default"
COMMAND_LINE = "command line"
CONFIG_VARIABLE = PREFIX + "CONFIG"


@value
class Loaded:
    """path: the file that was read, if any.  sources: where each key that is not by default was set:
    `FILE:LINE`, the environment variable, or "command line"; `source` knows of the others, too."""

    settings: Settings
    sources: Mapping[str, str]
    path: str | None

    def source(self, key: str) -> str:
        return self.sources.get(key, DEFAULT)


def load(config: str | None, environ: Mapping[str, str], overrides: Mapping[str, str]) -> Loaded:
    """The settings in force. `config` names a file that must exist; without it the first of the usual places
    is read. `overrides` maps dotted keys to text as in the environment (`via`: separated by commas).
    Raises ConfigError (exit 78)."""
    changed: dict[str, Any] = {}
    sources: dict[str, str] = {}
    problems: list[Problem] = []
    tree = _file(config, environ)
    if tree is not None:
        from mailstrom_cli.config.tables import read_tree

        read_tree(tree, changed, sources, problems)
    overrides = dict(overrides)
    variables = sorted(name for name in environ if name.startswith(PREFIX) and name != CONFIG_VARIABLE)
    # The spool alone is what most callers name, and the table of keys is not needed for it.
    for texts, name in ((environ, PREFIX + "SPOOL"), (overrides, "spool")):
        if name not in texts:
            continue
        if not (spool := spool_from_text(texts[name])):
            break  # both are read below, in their order
        changed["spool"], sources["spool"] = spool, COMMAND_LINE if texts is overrides else name
        if texts is overrides:
            del overrides[name]
        else:
            variables.remove(name)
    if variables or overrides:
        from mailstrom_cli.config.keys import KEYS

        plain_keys = {key.name: key for key in KEYS if not key.repeated}
        by_variable = {key.variable: key for key in plain_keys.values()}
        for variable in variables:
            if variable in by_variable:
                key = by_variable[variable]
                _text(key, environ[variable], variable, changed, sources, problems)
            else:
                from mailstrom_cli.config.tables import read_variable

                read_variable(variable, environ[variable], changed, sources, problems)
        for name, text in overrides.items():
            _text(plain_keys[name], text, COMMAND_LINE, changed, sources, problems)
    if not changed.get("spool"):
        changed["spool"] = default_spool(environ)
    settings = build(changed)
    if settings.retry is not DEFAULTS.retry and settings.retry.max_delay < settings.retry.base_delay:
        problems.append(_delays(settings, sources))
    if problems:
        from mailstrom_cli.config.problems import ConfigError

        raise ConfigError(problems)
    return Loaded(settings, sources, tree.path if tree is not None else None)


def _text(
    key: Any, text: str, where: str, changed: dict[str, Any], sources: dict[str, str], problems: list[Problem]
) -> None:
    """One setting from the environment or the command line."""
    try:
        changed[key.name] = key.kind.read(key.kind.from_text(text))
        sources[key.name] = where
    except ValueError as error:
        from mailstrom_cli.config.problems import Problem, expected

        what = f"`{key.name}`: {error}" if error.args else expected(key.name, key.kind, text)
        problems.append(Problem(where, what))


def _delays(settings: Settings, sources: Mapping[str, str]) -> Problem:
    from mailstrom_cli.config.kinds import format_duration
    from mailstrom_cli.config.problems import Problem

    retry = settings.retry
    where = sources.get("retry.max_delay") or sources["retry.base_delay"]
    return Problem(
        where,
        f"`retry.max_delay` ({format_duration(retry.max_delay)}) is shorter than "
        f"`retry.base_delay` ({format_duration(retry.base_delay)})",
    )


# --- the file ---


def _file(config: str | None, environ: Mapping[str, str]) -> Tree | None:
    """The parsed file, or None where none of the usual places has one."""
    named = config if config is not None else environ.get(CONFIG_VARIABLE) or None
    for path in [named] if named is not None else [user_config(environ), SYSTEM_CONFIG]:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            if named is None and not os.path.lexists(path):
                continue
            from mailstrom_cli.config.tables import unreadable

            raise unreadable(path, error, config is not None, named is not None) from None
        from mailstrom_cli.config.tables import parse

        return parse(path, descriptor)
    return None
