"""Starting up is cheap: a plain `submit` imports little, and no command imports another's modules."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mailstrom_cli.cli.app import COMMANDS

ROOT = Path(__file__).parents[1]
MESSAGE = b"From: a@example.org\nTo: b@example.net\nBcc: c@example.net\n\nHello\n"
FULL = (
    b"Message-ID: <1@example.org>\nDate: Tue, 24 Nov 2026 02:43:00 +0000\nMIME-Version: 1.0\n"
    b"Content-Type: text/plain\nSubject: =?utf-8?q?x?=\n" + MESSAGE
)

# Beside what the interpreter itself has loaded: C modules, and two small ones.
ALLOWED = {"__future__", "errno", "fcntl", "math", "pwd", "select", "time", "_hashlib", "_sha256"}
MOST = 47  # modules of ours; each costs about 0.1 ms
MOST_OF_FILE = 7  # further ones, for what a configuration file says
ROOMS = ("cli", "config", "mail", "store")

# What files are made of, so that it is read without tomllib.
CONFIG = """
helo_name = "mail.example.org"   # this host
origin = 'example.org'
aliases = { root = "ops@example.org" }
via = [
    "smtp://relay.example.org:587",  # else
    "mx:",
]
[[route]]
recipient = "*@example.net"
via = "lmtp:///run/lmtp.sock"
[auth."relay.example.org"]
username = "me"
password_command = ["pass", "show", "smtp"]
[tls]
level = "verify"
[retry]
retries = -1
base_delay = "2m"
jitter = 0.25
[limits]
message_size = "20MiB"
min_free = 0
rate = "100/m"
"""

REPORT = (
    "import sys; before = set(sys.modules)\n"
    "from mailstrom_cli.__main__ import main\n"
    "code = main()\n"
    "print(*sorted(set(sys.modules) - before), file=sys.stderr)\n"
    "sys.exit(code)\n"
)


def modules(tmp_path: Path, *arguments: str, message: bytes = MESSAGE) -> set[str]:
    """What a command line has imported when it ends."""
    env = {**os.environ, "MAILSTROM_SPOOL": str(tmp_path / "spool")}
    done = subprocess.run(
        [sys.executable, "-c", REPORT, *arguments], input=message, capture_output=True, env=env, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return set(done.stderr.decode().splitlines()[-1].split())


@pytest.mark.parametrize(
    "line", [["submit"], ["submit", "-f", "x@example.org", "-t", "y@example.net", "--key", "k"]]
)
def test_a_plain_submit_imports_little(tmp_path: Path, line: list[str]) -> None:
    loaded = modules(tmp_path, *line)
    ours = {name for name in loaded if name.partition(".")[0] == "mailstrom_cli"}
    others = loaded - ours
    if "--key" in line:
        others -= {"hashlib", "_hashlib", "_blake2"}
    assert others - ALLOWED == set()
    rooms = {name.split(".")[1] for name in ours if name.count(".") > 1}
    assert rooms <= set(ROOMS)
    if "--key" not in line:
        assert len(ours) <= MOST, sorted(ours)


def test_a_configuration_file_and_more_fields_import_little_more(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(CONFIG)
    plain = modules(tmp_path, "submit")
    loaded = modules(tmp_path, "--config", str(tmp_path / "c.toml"), "submit", message=FULL)
    config = {name for name in loaded - plain if name.startswith("mailstrom_cli.config")}
    assert len(config) <= MOST_OF_FILE
    fields = {"comment", "date", "encoded_word", "mime_fields"}
    assert loaded - plain - config == {f"mailstrom_cli.mail.{name}" for name in fields}


def test_the_version_imports_less(tmp_path: Path) -> None:
    loaded = modules(tmp_path, "--version")
    assert "click" not in loaded
    assert len(loaded) < 12


def test_help_imports_no_command(tmp_path: Path) -> None:
    loaded = modules(tmp_path, "--help")
    assert "click" in loaded
    assert {f"mailstrom_cli.cli.{module}" for module, _, _ in COMMANDS.values()} & loaded == set()
    assert {"rich", "asyncio", "dns", "filelock", "ssl"} & loaded == set()


@pytest.mark.parametrize("line", [["queue"], ["queue", "--json"], ["config", "show"]])
def test_looking_needs_no_network_and_no_rich(tmp_path: Path, line: list[str]) -> None:
    modules(tmp_path, "submit")
    loaded = modules(tmp_path, *line)
    assert {"rich", "asyncio", "dns", "socket", "ssl"} & loaded == set()
    assert not [name for name in loaded if name.startswith("mailstrom_cli.store.check")]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(tmp_path: Path, command: str) -> None:
    loaded = modules(tmp_path, command, "--help")
    assert {"rich", "dns", "ssl"} & loaded == set()


def every_module() -> list[str]:
    files = sorted((ROOT / "mailstrom_cli").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files]
    return [name.removesuffix(".__init__") for name in names if not name.endswith("generate.__main__")]


def test_every_module_can_be_imported_first() -> None:
    """No module works only because another was imported before it."""
    code = (
        "import importlib, os, sys\n"
        "for name in sys.argv[1:]:\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        try:\n"
        "            importlib.import_module(name)\n"
        "        except BaseException as error:\n"
        "            os.write(2, f'{name}: {error!r}\\n'.encode())\n"
        "        os._exit(0)\n"
        "    os.waitpid(child, 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *every_module()],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
