"""Imports go down only, and each room touches only what is its business.

The floors are import-linter's (pyproject.toml, `[tool.importlinter]`); what concerns the standard library and
single calls is looked for here, in the syntax trees.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mailstrom_cli"
FILES = sorted(PACKAGE.rglob("*.py"))

CLOCK_AND_CHANCE = {"datetime", "random", "secrets"}
TIMELESS = {"gmtime", "strftime", "struct_time"}  # what a pure function may use of `time`: no clock is read
PURE = ("mail", "policy", "smtp", "dkim", "config")
NETWORK = {"socket", "ssl", "dns", "selectors", "smtplib", "socketserver"}
MACHINE = {
    "threading",
    "subprocess",
    "multiprocessing",
    "asyncio",
    "tempfile",
    "shutil",
    "signal",
    "filelock",
    "fcntl",
}
FACE = {"click", "rich", "argparse"}
UNSAFE = {"pickle", "marshal", "shelve", "ctypes", "telnetlib"}
UNSAFE_HERE = {
    "mailstrom_cli/store/commit.py": {"ctypes"},  # syncfs(2) is in no module
    "mailstrom_cli/cli/share.py": {"marshal"},  # from a process to the one that forked it
}

# room: what its modules must not import (roots of module names)
FORBIDDEN = {
    "mail": CLOCK_AND_CHANCE | NETWORK | MACHINE | FACE | {"os", "io", "logging", "tomllib"},
    "policy": CLOCK_AND_CHANCE | NETWORK | MACHINE | FACE | {"os", "io", "logging", "tomllib"},
    "smtp": CLOCK_AND_CHANCE | NETWORK | MACHINE | FACE | {"os", "io", "logging", "tomllib"},
    "dkim": CLOCK_AND_CHANCE | NETWORK | MACHINE | FACE | {"os", "io", "logging", "tomllib"},
    "config": CLOCK_AND_CHANCE | NETWORK | MACHINE | FACE,
    "store": NETWORK | FACE | {"subprocess", "multiprocessing", "asyncio", "tempfile", "shutil"},
    "net": FACE | {"fcntl", "filelock", "tempfile", "shutil"},
    "transport": NETWORK | FACE | {"fcntl", "filelock", "subprocess", "tempfile", "shutil"},
    "queue": NETWORK | FACE | {"fcntl", "filelock", "subprocess", "tempfile", "shutil"},
    "cli": NETWORK | {"fcntl", "filelock", "subprocess", "multiprocessing", "asyncio"},
    "": NETWORK | MACHINE | FACE | {"random", "secrets"},
}
# Pure functions may be told the type of what they are given.
TYPE_ONLY = {"random", "asyncio", "ssl", "socket"}
ONLY_CLI_PRINTS = {"print", "input", "exit", "quit"}
LONGEST_MODULE = 350


def room(path: Path) -> str:
    inside = path.relative_to(PACKAGE).parts
    return inside[0] if len(inside) > 1 else ""


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(node: ast.AST, *, types: bool = False) -> Iterator[tuple[str, int, bool]]:
    """(root of the module's name, line, only for the type checker) for every import below a node."""
    for child in ast.iter_child_nodes(node):
        only_types = types or (
            isinstance(child, ast.If)
            and isinstance(child.test, ast.Name)
            and child.test.id == "TYPE_CHECKING"
        )
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield alias.name.partition(".")[0], child.lineno, types
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield child.module.partition(".")[0], child.lineno, types
        else:
            yield from imports(child, types=only_types)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_room_imports_only_what_is_its_business(path: Path) -> None:
    forbidden = FORBIDDEN[room(path)] | (UNSAFE - UNSAFE_HERE.get(named(path), set()))
    found = [
        f"{named(path)}:{line} imports {name}"
        for name, line, types in imports(tree(path))
        if name in forbidden and not (types and name in TYPE_ONLY)
    ]
    assert found == []


@pytest.mark.parametrize("path", FILES, ids=named)
def test_only_the_command_line_prints_and_exits(path: Path) -> None:
    if room(path) == "cli" or path.name == "__main__.py":
        return
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ONLY_CLI_PRINTS, f"{named(path)}:{node.lineno}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys":
            assert node.attr not in ("exit", "stdout", "stderr", "argv"), f"{named(path)}:{node.lineno}"


@pytest.mark.parametrize("path", [path for path in FILES if room(path) in PURE], ids=named)
def test_what_is_pure_reads_no_clock(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            assert {alias.name for alias in node.names} <= TIMELESS, f"{named(path)}:{node.lineno}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "time":
            assert node.attr in TIMELESS, f"{named(path)}:{node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_there_is_no_shell(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.keyword) and node.arg == "shell":
            assert isinstance(node.value, ast.Constant)
            assert node.value.value is False
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            assert node.attr not in ("system", "popen"), f"{named(path)}:{node.lineno}"
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("create_subprocess_shell", "subprocess_shell"), (
                f"{named(path)}:{node.lineno}"
            )


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_module_says_what_it_is_for_and_is_one_thing(path: Path) -> None:
    assert ast.get_docstring(tree(path)), named(path)
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE


def test_the_law_has_teeth() -> None:
    source = "def f():\n    import socket\nif TYPE_CHECKING:\n    from random import Random\n"
    assert list(imports(ast.parse(source))) == [("socket", 2, False), ("random", 4, True)]


def test_imports_go_down_only() -> None:
    from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == EXIT_STATUS_SUCCESS


def test_every_room_is_under_the_law() -> None:
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms == set(FORBIDDEN) - {""}
