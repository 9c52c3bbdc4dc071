"""[dkim]: from a file and from the environment, written as it was read; `submit` looks at no key."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

from mailstrom_cli.config.load import load
from mailstrom_cli.config.render import as_json, show
from mailstrom_cli.config.schema import Dkim

if TYPE_CHECKING:
    from pathlib import Path

FILE = """
[dkim."Example.ORG"]
selector = ["a", "B.c"]
key_file = ["/etc/a.pem", "~/b.pem"]
[dkim."bücher.example"]
selector = "2026"
key_file = "/etc/b.pem"
"""
ENTRIES = {
    "example.org": Dkim(("a", "b.c"), ("/etc/a.pem", os.path.expanduser("~/b.pem"))),
    "xn--bcher-kva.example": Dkim(("2026",), ("/etc/b.pem",)),
}


def test_one_key_or_several_by_domain(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(FILE, encoding="utf-8")
    loaded = load(str(path), {}, {})
    assert loaded.settings.dkim == ENTRIES
    assert loaded.source('dkim."example.org".selector') == f"{path}:3"
    shown = tomllib.loads(show(loaded))["dkim"]
    assert shown["example.org"]["selector"] == ["a", "b.c"]
    assert shown["xn--bcher-kva.example"] == {"selector": "2026", "key_file": "/etc/b.pem"}
    assert as_json(loaded)["settings"]['dkim."xn--bcher-kva.example".key_file'] == {
        "value": ["/etc/b.pem"],
        "source": f"{path}:7",
    }


def test_the_environment_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(FILE, encoding="utf-8")
    environ = {"MAILSTROM_DKIM": '{"a.example" = {selector = "s", key_file = "/k"}}'}
    loaded = load(str(path), environ, {})
    assert loaded.settings.dkim == {"a.example": Dkim(("s",), ("/k",))}
    assert set(loaded.sources.values()) == {"MAILSTROM_DKIM"}


def test_submit_needs_no_key_and_loads_nothing_that_signs(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[dkim."example.org"]\nselector = "a"\nkey_file = "/nonexistent"\n')
    program = (
        "import sys\nfrom mailstrom_cli.__main__ import main\ncode = main()\n"
        "bad = [n for n in sys.modules if n.startswith(('mailstrom_cli.dkim', 'cryptography', 'hashlib'))]\n"
        "print(code, bad, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--config", str(path), "--spool", str(tmp_path / "spool"), "submit"],
        input="From: a@example.org\nTo: b@example.net\n\nHello\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "0 []\n"
