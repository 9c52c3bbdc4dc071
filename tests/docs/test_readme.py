"""Every example in the README is one that works."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from mailstrom_cli.cli.app import cli
from mailstrom_cli.cli.generate.man import EXAMPLES
from mailstrom_cli.cli.options import parse_submit
from mailstrom_cli.config.load import load
from mailstrom_cli.config.verify import verify

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
DEMO = "python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/mailstrom demo"
TEST = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/python -m pytest"
COMMAND = re.compile(r"(?:^|[\s(`/])mailstrom ([a-z-][^|&;()#`\n]*)")


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


def command_lines() -> list[str]:
    """Every `mailstrom ...` in the examples, and those of the man page."""
    found = [m for text in (*blocks("sh"), *blocks("ini"), *blocks("")) for m in COMMAND.findall(text)]
    found += [m for span in re.findall(r"`(mailstrom [^`]+)`", README) for m in COMMAND.findall(span)]
    return found + [m for _, line in EXAMPLES for m in COMMAND.findall(line)]


def test_the_two_commands_are_one_line_each_under_their_marks() -> None:
    for mark, line in (("demo", DEMO), ("test", TEST)):
        assert f"<!-- {mark} -->\n```sh\n{line}\n```\n" in README


@pytest.mark.parametrize("line", sorted({line.split("\n")[0].strip() for line in command_lines()}))
def test_every_command_line_parses(line: str) -> None:
    words = [word for word in shlex.split(line.split(" < ")[0]) if word != "COMMAND"]
    words = words[: words.index("<")] if "<" in words else words
    if parse_submit(words) is not None:
        return
    command: click.Command = cli
    context = click.Context(cli, info_name="mailstrom")
    while isinstance(command, click.Group):
        rest = command.make_context(context.info_name, list(words), resilient_parsing=True)._protected_args
        name = next(word for word in words if not word.startswith("-"))
        assert rest == [name] or rest == []
        words = words[words.index(name) + 1 :]
        found = command.get_command(context, name)
        assert found is not None, line
        command, context = found, click.Context(found, info_name=name)
    if "--help" not in words:
        command.make_context(command.name, words)  # raises when an option or argument is wrong


def test_there_are_examples_enough_to_test() -> None:
    assert len(command_lines()) > 25
    assert len(blocks("toml")) >= 2


@pytest.mark.parametrize("text", blocks("toml"))
def test_every_configuration_loads(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    loaded = load(str(path), {}, {})
    assert loaded.sources
    assert [p for p in verify(loaded) if "pass" not in str(p)] == []


@pytest.mark.parametrize("text", blocks("python"))
def test_the_python_example_runs(text: str, tmp_path: Path) -> None:
    mail = tmp_path / "mail"
    done = subprocess.run(
        [sys.executable, "-c", text.replace("seconds=60", "seconds=0")],
        env={**os.environ, "MAILSTROM_SPOOL": str(tmp_path / "spool"), "MAILSTROM_VIA": f"maildir://{mail}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert "b@example.net" in done.stdout


def test_the_picture_of_the_rooms_is_that_of_the_package() -> None:
    shown = set(re.findall(r"^  ([a-z]+(?:/|\.py))", README, re.MULTILINE))
    there = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in (ROOT / "mailstrom_cli").iterdir()
        if path.name[0] not in "._" and path.name != "py.typed"
    }
    assert shown == there


def test_only_example_domains_are_named() -> None:
    named = set(re.findall(r"@([\w.-]+\.[a-z]+)\b", README))
    assert named
    assert all(re.search(r"(^|\.)(example\.(org|net|com)|test|invalid)$", domain) for domain in named)
