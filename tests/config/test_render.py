"""What is written is read back: the file of `config init`, and the text of `config show`."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

from mailstrom_cli.config.keys import KEYS
from mailstrom_cli.config.load import Loaded, load
from mailstrom_cli.config.places import default_spool
from mailstrom_cli.config.render import as_json, show, template
from mailstrom_cli.config.schema import Auth, Dkim, build
from mailstrom_cli.values import replace

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def read(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> Loaded:
    path = tmp_path / "c.toml"
    path.write_text(text, encoding="utf-8")
    return load(str(path), {"HOME": str(tmp_path), **(environ or {})}, {})


def uncommented(text: str) -> str:
    """Every setting set: a comment has a space behind its #, a setting has none."""
    lines = text.splitlines()
    return "\n".join(
        line[1:] if line.startswith("#") and line[1:2] not in (" ", "") else line for line in lines
    )


def examples(text: str) -> str:
    """The tables that are shown as examples."""
    return "\n".join(line[4:] for line in text.splitlines() if line.startswith("#   "))


def test_the_template_says_what_is_the_default_anyway(tmp_path: Path) -> None:
    loaded = read(tmp_path, template())
    assert loaded.settings == build({"spool": default_spool({"HOME": str(tmp_path)})})
    assert loaded.sources == {}


def test_the_template_with_every_line_uncommented_is_the_defaults_too(tmp_path: Path) -> None:
    loaded = read(tmp_path, uncommented(template()))
    assert loaded.settings == build({"spool": default_spool({"HOME": str(tmp_path)})})
    assert set(loaded.sources) == {key.name for key in KEYS if not key.repeated}


def test_the_template_has_every_key_with_its_help() -> None:
    text = template()
    joined = " ".join(line.lstrip("# ") for line in text.splitlines())
    for key in KEYS:
        assert f"{key.last} = " in text
        assert key.help in joined
    assert max(len(line) for line in text.splitlines()) <= 110


def test_the_examples_of_the_template_have_every_key_and_load_without_the_second_password(
    tmp_path: Path,
) -> None:
    tables = tomllib.loads(examples(template()))
    assert set(tables["route"][0]) == {"sender", "recipient", "via"}
    assert set(tables["auth"]["smtp.example.org"]) == {
        "username",
        "password_command",
        "password_file",
        "mechanism",
    }
    policy = tables["tls"]["policy"]["*.example.net"]
    assert set(policy) == {"level", "match", "fingerprints", "ca_file", "client_cert", "client_key"}
    second = ("password_file", "fingerprints")
    one = "\n".join(line for line in examples(template()).splitlines() if not line.startswith(second))
    loaded = read(tmp_path, one)
    assert loaded.settings.auth == {"smtp.example.org": Auth("me", ("pass", "show", "smtp"))}
    assert loaded.settings.tls.policy["*.example.net"].match == ("mx.example.net", "*.example.com")
    assert loaded.settings.dkim == {"example.org": Dkim(("rsa-202611",), ("/etc/mailstrom/dkim.pem",))}
    assert len(loaded.settings.route) == 1


FILE = """
helo_name = "mail.example.org"
via = ["smtp://[2001:db8::1]:587", "maildir:///a%2Cb"]
[[route]]
recipient = "*@example.net"
via = "mx:"
[[route]]
sender = "<>"
via = "mx:"
[auth."smtp.example.org"]
username = 'a"b\\c'
password_file = "/p"
[smtp.timeout]
dot = "0.25s"
[tls.policy."*.Bücher.example."]
match = "MX.example.net"
[tls.policy."[2001:DB8:0::1]"]
level = "none"
[tls.policy."example.net"]
fingerprints = "{pin}"
""".replace("{pin}", "AB:" * 31 + "ab")


def test_what_show_prints_loads_as_the_same_settings(tmp_path: Path) -> None:
    loaded = read(tmp_path, FILE, {"MAILSTROM_LIMITS_MESSAGE_SIZE": "1000001"})
    again = tmp_path / "again.toml"
    again.write_text(show(loaded), encoding="utf-8")
    assert load(str(again), {"HOME": str(tmp_path)}, {}).settings == loaded.settings


def test_show_tells_where_each_setting_is_from(tmp_path: Path) -> None:
    lines = show(read(tmp_path, FILE, {"MAILSTROM_SMTP_PORT": "26"})).splitlines()
    path = tmp_path / "c.toml"
    assert lines[0] == f"# {path}"
    said = {line.partition("  ")[0]: line.partition("# ")[2] for line in lines[1:]}
    assert said['helo_name = "mail.example.org"'] == f"{path}:2"
    assert said["port = 26"] == "MAILSTROM_SMTP_PORT"
    assert said['level = "may"'] == "default"
    assert said['password_file = "/p"'] == f"{path}:12"
    assert said['recipient = "*@example.net"'] == f"{path}:5"
    assert lines.count("[[route]]") == 2


def test_show_names_the_host_that_an_empty_helo_name_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailstrom_cli.config.render.host_name", lambda: "mx.example.org")
    assert show(read(tmp_path, "")).splitlines()[1].split("# ") == [
        'helo_name = ""'.ljust(44),
        "default: mx.example.org",
    ]


def test_json_has_seconds_octets_and_sources(tmp_path: Path) -> None:
    loaded = read(tmp_path, FILE)
    told = json.loads(json.dumps(as_json(loaded)))
    path = str(tmp_path / "c.toml")
    assert told["file"] == path
    settings = told["settings"]
    assert settings["retry.base_delay"] == {"value": 300, "source": "default"}
    assert settings["limits.message_size"] == {"value": 50 << 20, "source": "default"}
    assert settings["via"]["value"] == ["smtp://[2001:db8::1]:587", "maildir:///a%2Cb"]
    assert settings["route[0].recipient"] == {"value": "*@example.net", "source": f"{path}:5"}
    assert settings['auth."smtp.example.org".username'] == {"value": 'a"b\\c', "source": f"{path}:11"}
    assert settings['auth."smtp.example.org".mechanism'] == {"value": "auto", "source": "default"}
    assert "route[0].sender" not in settings


def test_a_setting_that_is_not_shown_does_not_exist(tmp_path: Path) -> None:
    loaded = read(tmp_path, "")
    assert {*as_json(loaded)["settings"]} == {key.name for key in KEYS if not key.repeated}
    assert replace(loaded.settings) == loaded.settings
