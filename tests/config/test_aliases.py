"""Aliases: what they may be called, what they may stand for, and how they are read and written."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from mailstrom_cli.config.aliases import ALIASES
from mailstrom_cli.config.load import load
from mailstrom_cli.config.problems import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_table_of_names_is_read(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[aliases]\nroot = "ops@example.org"\n"first.last" = ["a@example.org", "root"]\n')
    loaded = load(str(path), {"HOME": "/"}, {})
    assert loaded.settings.aliases == {"root": ("ops@example.org",), "first.last": ("a@example.org", "root")}
    assert loaded.source("aliases") == f"{path}:1"


@pytest.mark.parametrize(
    ("held", "what"),
    [
        ({"a@b": "c@example.org"}, "has an @"),
        ({"a b": "c@example.org"}, "no local name"),
        ({"": "c@example.org"}, "no local name"),
        ({"a": "c@"}, "nothing after the @"),
        ({"a": "b c"}, "a space"),
        ({"a": "b@example.org\r\nBcc: c"}, "U+000D"),
        ({"a": []}, "list of addresses"),
        ({"a": 5}, "list of addresses"),
        ({"a": ["b@example.org", 5]}, "list of addresses"),
        ({"Root": "a@example.org", "root": "b@example.org"}, "twice"),
    ],
)
def test_what_is_no_alias_is_told(held: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError) as caught:
        ALIASES.read(held)
    assert what in str(caught.value)


@pytest.mark.parametrize("held", ["root", 5, ["a"]])
def test_anything_but_a_table_is_refused(held: object) -> None:
    with pytest.raises(ValueError):
        ALIASES.read(held)


def test_an_error_names_the_file_and_the_line(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('origin = "example.org"\n\n[aliases]\nroot = "ops@"\n')
    with pytest.raises(ConfigError) as caught:
        load(str(path), {"HOME": "/"}, {})
    assert f"{path}:3" in str(caught.value.message)


@pytest.mark.parametrize(
    "held", [{}, {"root": ("ops@example.org",)}, {"a.b": ("c@example.org", "d"), "d": ("e",)}]
)
def test_what_is_written_is_read_back(held: dict[str, tuple[str, ...]]) -> None:
    written = tomllib.loads(f"aliases = {ALIASES.write(held)}")["aliases"]
    assert ALIASES.read(written) == held


def test_the_environment_needs_a_name_and_an_address(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {"HOME": str(tmp_path), "MAILSTROM_ALIASES": "root"}, {})
    assert "MAILSTROM_ALIASES" in str(caught.value.message)
    assert "a table of local names" in str(caught.value.message)
