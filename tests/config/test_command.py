"""`mailstrom config`, as a user types it."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.cli import app, report
from mailstrom_cli.config import load as load_module

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith(("MAILSTROM_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(load_module, "SYSTEM_CONFIG", str(tmp_path / "none"))
    return tmp_path


def mailstrom(*arguments: str) -> int:
    return report.guarded(lambda: app.run(arguments), arguments)


def test_init_writes_a_private_file_that_check_and_show_read(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = home / ".config/mailstrom/config.toml"
    assert mailstrom("config", "init") == 0
    assert capsys.readouterr() == (f"{path}\n", "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert mailstrom("config", "check") == 0
    assert capsys.readouterr() == (f"ok: {path}\n", "")
    assert mailstrom("config", "show") == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"# {path}\nhelo_name = ") and err == ""


def test_init_replaces_a_file_only_by_force(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = home / "c.toml"
    path.write_text("mine")
    assert mailstrom("config", "init", str(path)) == 73
    assert capsys.readouterr() == ("", f"error: {path} is there already\nhint: --force replaces it\n")
    assert path.read_text() == "mine"
    assert mailstrom("config", "init", "--force", str(path)) == 0
    assert capsys.readouterr() == (f"{path}\n", "")
    assert mailstrom("--config", str(path), "config", "check") == 0


def test_init_says_why_a_file_cannot_be_written(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mailstrom("config", "init", "/proc/none/c.toml") == 73
    assert capsys.readouterr() == (
        "",
        "error: /proc/none/c.toml cannot be written: No such file or directory\n",
    )


def test_init_of_root_is_for_every_user_to_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("mailstrom_cli.config.places.SYSTEM_CONFIG", str(home / "etc/mailstrom/config.toml"))
    assert mailstrom("config", "init") == 0
    assert stat.S_IMODE((home / "etc/mailstrom/config.toml").stat().st_mode) == 0o644


def test_check_tells_every_problem_and_exits_78(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = home / "c.toml"
    path.write_text("helo_nam = 1\n\n[smtp]\nport = 0\n")
    assert mailstrom("--config", str(path), "config", "check") == 78
    assert capsys.readouterr() == (
        "",
        (
            f"error: {path}:1: `helo_nam` is not a key\n"
            "hint: did you mean `helo_name`?\n"
            f"error: {path}:4: `smtp.port` must be a port from 1 to 65535, not 0\n"
        ),
    )


def test_check_looks_at_password_files(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = home / "c.toml"
    path.write_text(f'[auth.a]\nusername = "me"\npassword_file = "{home}/none"\n')
    assert mailstrom("--config", str(path), "config", "check") == 78
    assert capsys.readouterr() == (
        "",
        f'error: {path}:3: `auth."a".password_file`: {home}/none cannot be read: No such file or directory\n',
    )


def test_show_of_a_wrong_configuration_tells_the_first_problem(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = home / "c.toml"
    path.write_text("a = 1\nb = 2\n")
    assert mailstrom("--config", str(path), "config", "show") == 78
    assert capsys.readouterr() == (
        "",
        (
            f"error: {path}:1: `a` is not a key\n"
            "hint: `mailstrom config init FILE` writes a file with every key; "
            "`mailstrom config check` tells of 1 other problem\n"
        ),
    )


def test_show_as_json_has_what_the_command_line_set(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (
        "--via",
        "smtp://a.example.org",
        "--via",
        "mx:",
        "--spool",
        "spool",
        "config",
        "show",
        "--json",
    )
    assert mailstrom(*arguments) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert settings["via"] == {"value": ["smtp://a.example.org", "mx:"], "source": "command line"}
    assert settings["spool"] == {"value": f"{os.getcwd()}/spool", "source": "command line"}


def test_a_control_character_in_a_file_name_is_refused(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mailstrom("config", "init", f"{home}/a\nb") == 64
    assert os.listdir(home) == []


def test_config_alone_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert mailstrom("config", "--help") == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("show", "check", "init"))
