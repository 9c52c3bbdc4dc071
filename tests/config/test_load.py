"""Where settings come from, and which one wins."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.config import load as load_module
from mailstrom_cli.config.keys import KEYS
from mailstrom_cli.config.load import Loaded, load
from mailstrom_cli.config.problems import ConfigError
from mailstrom_cli.config.schema import DEFAULTS, Auth, Rate, Route, TlsPolicy
from mailstrom_cli.config.via import parse_via
from mailstrom_cli.errors import CONFIG
from mailstrom_cli.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# key: (in TOML, in the environment, what is read)
OTHER: dict[str, tuple[str, str, Any]] = {
    "helo_name": ('"mail.example.org"', "mail.example.org", "mail.example.org"),
    "origin": ('"example.org"', "example.org", "example.org"),
    "aliases": (
        '{ Root = "ops@example.org", all = ["a@example.org", "root"] }',
        "root=ops@example.org, all=a@example.org, all = root",
        {"root": ("ops@example.org",), "all": ("a@example.org", "root")},
    ),
    "via": (
        '["smtps://a.example.org", "mx:"]',
        "smtps://a.example.org, mx:",
        (parse_via("smtps://a.example.org"), parse_via("mx:")),
    ),
    "spool": ('"/srv/spool"', "/srv/spool", "/srv/spool"),
    "tls.level": ('"verify"', "verify", "verify"),
    "tls.require_tls": ("true", "True", True),
    "tls.ca_file": ('"/etc/ca.pem"', "/etc/ca.pem", "/etc/ca.pem"),
    "tls.auth_loopback": ("true", "true", True),
    "tls.mta_sts": ("false", "false", False),
    "tls.client_cert": ('"/etc/c.pem"', "/etc/c.pem", "/etc/c.pem"),
    "tls.client_key": ('"/etc/c.key"', "/etc/c.key", "/etc/c.key"),
    "dns.resolver": (
        '["127.0.0.1:5353", "tls://[::1]#name"]',
        "127.0.0.1:5353, tls://[::1]#name",
        ("127.0.0.1:5353", "tls://[::1]#name"),
    ),
    "dns.trust_ad": ("true", "True", True),
    "smtp.port": ("2525", "2525", 2525),
    "smtp.source_address": ('"192.0.2.1"', "192.0.2.1", "192.0.2.1"),
    "smtp.ip": ('"ipv4"', "ipv4", "ipv4"),
    "retry.retries": ("-1", "-1", -1),
    "retry.base_delay": ('"90s"', "1m30s", 90),
    "retry.factor": ("1.5", "1.5", 1.5),
    "retry.max_delay": ('"7h"', "7h", 25200),
    "retry.jitter": ("0.25", "0.25", 0.25),
    "retry.max_age": ('"1d"', "24h", 86400),
    "limits.message_size": ('"10MB"', "10MB", 10_000_000),
    "limits.min_free": ("0", "0", 0),
    "limits.rate": ('"100/m"', "100 / m", Rate(100, 60)),
    "limits.total_rate": ('"7/d"', "7/d", Rate(7, 86400)),
    "retention.delivered": ('"1h"', "60m", 3600),
    "retention.failed": ("0", "0s", 0),
    "log.format": ('"json"', "json", "json"),
    "log.level": ('"debug"', "debug", "debug"),
    "sendmail.t_args": ('"remove"', "remove", "remove"),
    "sendmail.not_stored_exit": ("75", "75", 75),
    "tlsrpt.contact": ('"R@Example.org"', "R@example.org", "R@example.org"),
    "tlsrpt.organization": ('"Example, Inc."', "Example, Inc.", "Example, Inc."),
}
for key in KEYS:
    if key.name.startswith("smtp.timeout."):
        OTHER[key.name] = ('"7s"', "7s", 7)
    elif key.name.startswith("limits."):
        OTHER.setdefault(key.name, ("7", "7", 7))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment in which no configuration is found."""
    monkeypatch.setattr(load_module, "SYSTEM_CONFIG", str(tmp_path / "etc/config.toml"))
    return {"HOME": str(tmp_path), "PATH": "/bin"}


@contextmanager
def as_owner() -> Iterator[None]:
    before = os.geteuid()
    os.seteuid(os.getuid())
    yield
    os.seteuid(before)


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return str(path)


def setting(loaded: Loaded, name: str) -> Any:
    held: Any = loaded.settings
    for part in name.split("."):
        held = getattr(held, part)
    return held


def test_there_is_an_example_for_every_key() -> None:
    assert set(OTHER) == {key.name for key in KEYS if not key.repeated}


@pytest.mark.parametrize("name", OTHER)
def test_every_key_is_read_from_toml(name: str, tmp_path: Path, home: dict[str, str]) -> None:
    table, _, last = name.rpartition(".")
    path = write(tmp_path / "c.toml", f"\n{f'[{table}]' if table else ''}\n{last} = {OTHER[name][0]}\n")
    loaded = load(path, home, {})
    assert setting(loaded, name) == OTHER[name][2] != setting(load(None, home, {}), name)
    assert loaded.sources == {name: f"{path}:3"}
    assert loaded.path == path


@pytest.mark.parametrize("key", [key for key in KEYS if not key.repeated], ids=lambda key: key.name)
def test_every_key_is_read_from_the_environment_and_the_command_line(key: Any, home: dict[str, str]) -> None:
    _, text, read = OTHER[key.name]
    loaded = load(None, {**home, key.variable: text}, {})
    assert setting(loaded, key.name) == read
    assert loaded.sources == {key.name: key.variable}
    loaded = load(None, home, {key.name: text})
    assert setting(loaded, key.name) == read
    assert loaded.sources == {key.name: "command line"}


def test_nothing_needs_to_be_set(home: dict[str, str]) -> None:
    loaded = load(None, home, {})
    assert loaded.path is None and loaded.sources == {}
    assert replace(loaded.settings, spool="") == DEFAULTS
    assert loaded.source("via") == "default"


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, home: dict[str, str]
) -> None:
    path = write(
        tmp_path / "c.toml", 'origin = "file.example"\nvia = "smtp://file.example"\nhelo_name = "file"\n'
    )
    environ = {**home, "MAILSTROM_ORIGIN": "environ.example", "MAILSTROM_VIA": "smtp://environ.example"}
    loaded = load(path, environ, {"via": "smtp://option.example"})
    assert str(loaded.settings.via[0]) == "smtp://option.example"
    assert loaded.settings.origin == "environ.example"
    assert loaded.settings.helo_name == "file"
    assert loaded.sources == {
        "via": "command line",
        "origin": "MAILSTROM_ORIGIN",
        "helo_name": f"{path}:3",
    }


def test_the_first_file_that_exists_is_read(tmp_path: Path, home: dict[str, str]) -> None:
    def origin(environ: dict[str, str], config: str | None = None) -> str:
        return load(config, environ, {}).settings.origin

    write(tmp_path / "etc/config.toml", 'origin = "etc"')
    assert origin(home) == "etc"
    write(tmp_path / ".config/mailstrom/config.toml", 'origin = "home"')
    assert origin(home) == "home"
    write(tmp_path / "xdg/mailstrom/config.toml", 'origin = "xdg"')
    environ = {**home, "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert origin(environ) == "xdg"
    environ["MAILSTROM_CONFIG"] = write(tmp_path / "variable.toml", 'origin = "variable"')
    assert origin(environ) == "variable"
    assert origin(environ, write(tmp_path / "option.toml", 'origin = "option"')) == "option"
    assert origin({**home, "MAILSTROM_CONFIG": ""}) == "home"
    assert origin({**home, "XDG_CONFIG_HOME": "relative"}) == "home"


def test_dev_null_is_an_empty_configuration(tmp_path: Path, home: dict[str, str]) -> None:
    write(tmp_path / "etc/config.toml", 'origin = "etc"')
    assert load("/dev/null", home, {}).settings.origin == ""


def test_routes_and_credentials_from_a_file(tmp_path: Path, home: dict[str, str]) -> None:
    path = write(
        tmp_path / "c.toml",
        """
[[route]]
sender = "<>"
recipient = "*@example.net"
via = ["lmtp:///run/lmtp", "mx:"]
[[route]]
recipient = "*.example.org"
via = "mx:"
[auth."SMTP.example.org"]
username = "me"
password_command = ["pass", "show"]
[auth."2001:db8::1"]
username = "you"
password_file = "/run/password"
mechanism = "plain"
""",
    )
    loaded = load(path, home, {})
    assert loaded.settings.route == (
        Route("<>", "*@example.net", (parse_via("lmtp:///run/lmtp"), parse_via("mx:"))),
        Route(None, "*.example.org", (parse_via("mx:"),)),
    )
    assert loaded.settings.auth == {
        "smtp.example.org": Auth("me", ("pass", "show")),
        "2001:db8::1": Auth("you", None, "/run/password", "plain"),
    }
    assert loaded.source("route[1].via") == f"{path}:8"
    assert loaded.source('auth."smtp.example.org".username') == f"{path}:10"


def test_policies_from_a_file_and_from_the_environment(tmp_path: Path, home: dict[str, str]) -> None:
    path = write(
        tmp_path / "c.toml",
        f"""
[tls]
level = "encrypt"
[tls.policy."*.B\u00fccher.example."]
level = "dane"
client_cert = "/c.pem"
[tls.policy."[2001:DB8:0::1]"]
fingerprints = "{"AB:" * 31}ab"
[tls.policy.relay]
match = ["MX.example.org", "*.example.net.", "192.0.2.1"]
""",
    )
    loaded = load(path, home, {})
    assert loaded.settings.tls.policy == {
        "*.xn--bcher-kva.example": TlsPolicy("dane", client_cert="/c.pem"),
        "2001:db8::1": TlsPolicy(fingerprints=("ab" * 32,)),
        "relay": TlsPolicy(match=("mx.example.org", "*.example.net", "192.0.2.1")),
    }
    assert loaded.source('tls.policy."*.xn--bcher-kva.example".level') == f"{path}:5"
    loaded = load(path, {**home, "MAILSTROM_TLS_POLICY": '{a = {level = "none"}}'}, {})
    assert loaded.settings.tls.policy == {"a": TlsPolicy("none")}
    assert loaded.settings.tls.level == "encrypt"
    assert loaded.sources == {"tls.level": f"{path}:3", 'tls.policy."a".level': "MAILSTROM_TLS_POLICY"}


def test_routes_and_credentials_from_the_environment_replace_those_of_the_file(
    tmp_path: Path, home: dict[str, str]
) -> None:
    path = write(
        tmp_path / "c.toml",
        '[[route]]\nsender = "a@example.org"\nrecipient = "*"\nvia = "mx:"\n'
        '[auth.relay]\nusername = "a"\npassword_file = "/a"\n',
    )
    environ = {
        **home,
        "MAILSTROM_ROUTE": '[{recipient = "*@example.net", via = "mx:"}]',
        "MAILSTROM_AUTH": '{"smtp.example.org" = {username = "b", password_file = "/b"}}',
    }
    loaded = load(path, environ, {})
    assert loaded.settings.route == (Route(None, "*@example.net", (parse_via("mx:"),)),)
    assert loaded.settings.auth == {"smtp.example.org": Auth("b", None, "/b")}
    assert set(loaded.sources.values()) == {"MAILSTROM_ROUTE", "MAILSTROM_AUTH"}
    assert "route[0].sender" not in loaded.sources


def test_the_spool_of_root_is_the_systems_and_that_of_others_is_theirs(
    home: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert load(None, home, {}).settings.spool == "/var/spool/mailstrom"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert load(None, home, {}).settings.spool == f"{home['HOME']}/.local/state/mailstrom"
    assert load(None, {**home, "XDG_STATE_HOME": "/state"}, {}).settings.spool == "/state/mailstrom"
    assert load(None, {**home, "MAILSTROM_SPOOL": "/a"}, {}).settings.spool == "/a"
    assert (
        load(None, {**home, "MAILSTROM_SPOOL": ""}, {}).settings.spool
        == f"{home['HOME']}/.local/state/mailstrom"
    )


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Not root, whom no mode stops."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield
    os.seteuid(before)


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that everybody may enter, with the system's configuration in it."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        monkeypatch.setattr(load_module, "SYSTEM_CONFIG", f"{name}/etc/config.toml")
        write(Path(name) / "etc/config.toml", 'origin = "etc"')
        yield Path(name)


def test_a_file_in_a_usual_place_that_may_not_be_read_is_an_error(shared: Path, unprivileged: None) -> None:
    config = shared / "etc/config.toml"
    with as_owner():
        config.chmod(0)
    with pytest.raises(ConfigError) as caught:
        load(None, {"HOME": str(shared)}, {})
    assert str(caught.value) == f"{config}: the configuration cannot be read: Permission denied"
    assert caught.value.exit_code == CONFIG


def test_a_home_that_may_not_be_entered_has_no_configuration(shared: Path, unprivileged: None) -> None:
    with as_owner():
        write(shared / "home/.config/mailstrom/config.toml", 'origin = "home"')
        (shared / "etc/config.toml").chmod(0o644)
        (shared / "home").chmod(0)
    try:
        assert load(None, {"HOME": str(shared / "home")}, {}).settings.origin == "etc"
    finally:
        with as_owner():
            (shared / "home").chmod(0o700)


def test_a_configuration_that_anybody_may_write_is_refused(tmp_path: Path, home: dict[str, str]) -> None:
    path = write(tmp_path / "c.toml", "")
    os.chmod(path, 0o666)
    with pytest.raises(ConfigError) as caught:
        load(path, home, {})
    assert str(caught.value) == f"{path}: anybody may write this configuration"
    assert caught.value.hint == f"chmod o-w {path}"
    assert caught.value.exit_code == CONFIG


def test_an_endless_file_is_not_read_for_ever(home: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        load("/dev/zero", home, {})


@pytest.mark.parametrize("variable", ["", "/of/the/environment"])
def test_a_spool_of_the_command_line_wins_over_any_variable(variable: str) -> None:
    loaded = load_module.load(None, {"HOME": "/none", "MAILSTROM_SPOOL": variable}, {"spool": "/s"})
    assert (loaded.settings.spool, loaded.source("spool")) == ("/s", "command line")
