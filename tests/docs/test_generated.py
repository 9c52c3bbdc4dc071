"""Man page, completions and README tables are what the command tree and the settings make of them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from mailstrom_cli.cli.generate.__main__ import generated
from mailstrom_cli.cli.generate.reference import EXIT_CODES
from mailstrom_cli.cli.generate.tree import Node, commands, root
from mailstrom_cli.config.keys import KEYS

from ..peers.needs import need

ROOT = Path(__file__).parents[2]
FILES = generated(str(ROOT))
NODES = [root(), *commands()]
MAN = ROOT / "man/mailstrom.1"


def plain_man() -> str:
    text = MAN.read_text(encoding="utf-8")
    return re.sub(r"\\f[BIR]", "", text).replace("\\-", "-").replace("\\(dq", '"').replace("\\(aq", "'")


@pytest.mark.parametrize("name", FILES)
def test_the_committed_file_is_the_generated_one(name: str) -> None:
    held, made = FILES[name]
    assert held == made, "run `python -m mailstrom_cli.cli.generate`"


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name or "mailstrom")
def test_every_command_and_option_is_in_the_man_page(node: Node) -> None:
    man = plain_man()
    assert node.name in man
    for flag in node.flags:
        for name in flag.names:
            assert name in man, f"{node.name} {name}"


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("completions/")])
@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name or "mailstrom")
def test_every_command_and_option_is_completed(name: str, node: Node) -> None:
    text = FILES[name][0]
    assert not node.path or node.path[-1] in text
    for flag in node.flags:
        for option in flag.names:
            wanted = (
                option
                if not name.endswith("fish")
                else f" -{'l' if option[:2] == '--' else 's'} {option.lstrip('-')} "
            )
            assert wanted in text, f"{node.name} {option}"


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name or "mailstrom")
def test_every_command_and_option_has_help(node: Node) -> None:
    assert len(node.help) > 20
    assert node.line.endswith(".")
    for flag in node.flags:
        assert flag.help.endswith("."), f"{node.name} {flag.names}"


def test_every_exit_code_and_setting_is_in_man_page_and_readme() -> None:
    man, readme = plain_man(), (ROOT / "README.md").read_text(encoding="utf-8")
    for code, text in EXIT_CODES:
        assert f".TP\n{code}\n{text}" in man
        assert f"| {code} | {text} |" in readme
    for key in KEYS:
        assert f"\n{key.name}" in man
        assert f"| `{key.name}` |" in readme


def test_the_man_page_renders_without_a_warning() -> None:
    need("groff")
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", str(MAN)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


# --- the shells ---


def completed(*words: str) -> list[str]:
    """What bash offers for the last word."""
    script = (
        f"source {ROOT}/completions/mailstrom.bash\n"
        "mailstrom() { echo 'ID  STATUS'; echo '06h0rpy7wnbbjrkv  queued'; }\n"
        'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _mailstrom; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script, "bash", *words], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["mailstrom", "su"], ["submit"]),
        (["mailstrom", "--sp"], ["--spool"]),
        (["mailstrom", "--via", "x", "st"], ["status"]),
        (["mailstrom", "submit", "--en"], ["--envid"]),
        (["mailstrom", "submit", "--wa"], ["--wait", "--wait="]),
        (["mailstrom", "submit", "--ret", ""], ["full", "hdrs"]),
        (["mailstrom", "submit", "--key", ""], []),
        (["mailstrom", "submit", "READ"], ["README.md"]),
        (["mailstrom", "queue", "--state", "de"], ["deferred", "delivered"]),
        (["mailstrom", "config", "i"], ["init"]),
        (["mailstrom", "config", "init", "--f"], ["--force"]),
        (["mailstrom", "status", "06"], ["06h0rpy7wnbbjrkv"]),
        (["mailstrom", "-v", "show", ""], ["06h0rpy7wnbbjrkv"]),
    ],
)
def test_bash_completes(words: list[str], offered: list[str]) -> None:
    assert completed(*words) == offered


@pytest.mark.parametrize(("shell", "name"), [("zsh", "_mailstrom"), ("fish", "mailstrom.fish")])
def test_the_other_shells_read_their_file(shell: str, name: str) -> None:
    need(shell)
    done = subprocess.run(
        [shell, "-n", str(ROOT / "completions" / name)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
