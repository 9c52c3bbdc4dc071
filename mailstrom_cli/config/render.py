"""Settings as text: the commented file that `config init` writes, and what `config show` tells."""

from __future__ import annotations

from mailstrom_cli.config.keys import KEYS, TABLES
from mailstrom_cli.config.places import host_name
from mailstrom_cli.config.rate import format_rate
from mailstrom_cli.config.schema import Rate
from mailstrom_cli.config.via import Via

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from mailstrom_cli.config.keys import Key
    from mailstrom_cli.config.load import Loaded

WIDTH = 100
COLUMN = 44  # where comments begin
HEAD = (
    "The configuration of mailstrom. Nothing needs to be set to start: every setting below is the default; "
    'take its # away to change it. Durations are "90s", "5m", "2h" or "5d", sizes "50MiB" or "10MB". The '
    "environment (MAILSTROM_VIA, MAILSTROM_TLS_LEVEL ...) goes before this file, and the command line before "
    "both. `mailstrom config check` tells what is wrong, `mailstrom config show` what is in force."
)
EXAMPLES = {
    "route[]": (
        "The first [[route]] that matches a recipient decides how that mail leaves; else `via` does.",
        "[[route]]",
        {"sender": '"*@example.org"', "recipient": '"*@example.net"', "via": '"lmtp:///run/lmtp.sock"'},
    ),
    "auth.*": (
        "Credentials by next-hop host, for relays that want a password. Keep either the command or the file.",
        '[auth."smtp.example.org"]',
        {"username": '"me"', "password_command": '["pass", "show", "smtp"]',
         "password_file": '"/etc/mailstrom/password"', "mechanism": '"auto"'},
    ),
    "tls.policy.*": (
        (
            "TLS by destination: the recipient's domain where mail leaves by mx:, else the host of the next "
            "hop. `*.example.net` is every name below example.net; the longest one that fits counts. With "
            "mx: the name of the MX host counts only where the MX records are signed, since DNS could be "
            "forged. Keep either match or fingerprints."
        ),
        '[tls.policy."*.example.net"]',
        {"level": '"verify"', "match": '["mx.example.net", "*.example.com"]',
         "fingerprints": f'["{"0a" * 32}"]', "ca_file": '"/etc/mailstrom/ca.pem"',
         "client_cert": '"/etc/mailstrom/client.pem"', "client_key": '"/etc/mailstrom/client.key"'},
    ),
    "dkim.*": (
        "DKIM, by the domain of From or one above it; `mailstrom dkim keygen DOMAIN` makes a key.",
        '[dkim."example.org"]',
        {"selector": '"rsa-202611"', "key_file": '"/etc/mailstrom/dkim.pem"'},
    ),
}  # fmt: skip
SHOWN = {
    "password_credential": '"smtp"', "password_keyring": '"mailstrom"', "oauth": '"microsoft"',
    "client_id": '"00000000-0000-0000-0000-000000000000"',
    "client_secret_file": '"/etc/mailstrom/client-secret"', "scope": '"offline_access"',
    "device_endpoint": '"https://login.example.org/device"',
    "token_endpoint": '"https://login.example.org/token"',
    "token_file": '"/var/lib/mailstrom-tokens/me.json"',
}  # fmt: skip
"""Further keys of the examples, which stay commented out in them."""


def template() -> str:
    """A configuration file with every key, commented out, at its default."""
    lines = [*_prose(HEAD), ""]
    for key in _keys_of(""):
        lines += [*_prose(key.help), f"#{key.last} = {key.kind.write(key.default)}", ""]
    for pattern, (about, header, example) in EXAMPLES.items():
        lines += [*_prose(about), "#", f"#   {header}"]
        for key in _keys_of(pattern):
            held = example.get(key.last)
            shown = f"{key.last} = {held}" if held else f"# {key.last} = {SHOWN[key.last]}"
            if COLUMN + len(key.help) < WIDTH:
                lines.append(f"#   {shown:<{COLUMN}}# {key.help}")
            else:
                lines += [*(f"#   {line}" for line in _prose(key.help)), f"#   {shown}"]
        lines.append("")
    for table, about in TABLES.items():
        lines += [*_prose(f"{table}: {about}"), f"[{table}]"]
        for key in _keys_of(table):
            setting = f"#{key.last} = {key.kind.write(key.default)}"
            if COLUMN + len(key.help) < WIDTH:
                lines.append(f"{setting:<{COLUMN}}# {key.help}")
            else:
                lines += [*_prose(key.help), setting]
        lines.append("")
    return "\n".join(lines)


def _keys_of(table: str) -> list[Key]:
    return [key for key in KEYS if key.name.rpartition(".")[0] == table]


def _prose(text: str) -> list[str]:
    from textwrap import wrap

    return [f"# {line}" for line in wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)]


# --- what is in force ---


def in_force(loaded: Loaded) -> Iterator[tuple[Key, str, Any]]:
    """Every setting: its key, its full name, its value. What a route or a host's credentials leave out is
    left out."""
    for key in KEYS:
        if not key.repeated:
            held: Any = loaded.settings
            for part in key.name.split("."):
                held = getattr(held, part)
            yield key, key.name, held
    groups: list[tuple[str, str, Any]] = [
        *(("route[].", f"route[{i}].", route) for i, route in enumerate(loaded.settings.route)),
        *(("auth.*.", f'auth."{host}".', auth) for host, auth in loaded.settings.auth.items()),
        *(("tls.policy.*.", f'tls.policy."{n}".', held) for n, held in loaded.settings.tls.policy.items()),
        *(("dkim.*.", f'dkim."{domain}".', keys) for domain, keys in loaded.settings.dkim.items()),
    ]
    for pattern, name, item in groups:
        for key in KEYS:
            if key.name.startswith(pattern) and getattr(item, key.last) is not None:
                yield key, name + key.last, getattr(item, key.last)


def show(loaded: Loaded) -> str:
    """The settings in force as a TOML file, with the source of each as a comment."""
    lines = [f"# {loaded.path or 'no configuration file'}"]
    shown = sorted(in_force(loaded), key=lambda item: "." in item[1])  # top-level keys go first
    table = ""
    for key, name, held in shown:
        header = name.rpartition(".")[0]
        if header != table:
            table = header
            lines += ["", "[[route]]" if header.startswith("route[") else f"[{header}]"]
        source = loaded.source(name)
        if name == "helo_name" and not held:
            source += f": {host_name()}"
        lines.append(f"{f'{key.last} = {key.kind.write(held)}':<{COLUMN - 1}} # {source}")
    return "\n".join(lines) + "\n"


def as_json(loaded: Loaded) -> dict[str, Any]:
    """The settings in force by name: value (durations in seconds, sizes in octets) and source."""
    return {
        "file": loaded.path,
        "settings": {
            name: {"value": _plain(held), "source": loaded.source(name)} for _, name, held in in_force(loaded)
        },
    }


def _plain(held: Any) -> Any:
    if isinstance(held, tuple):
        return [_plain(item) for item in held]
    if isinstance(held, dict):
        return {name: _plain(item) for name, item in held.items()}
    if isinstance(held, Rate):
        return format_rate(held)
    return str(held) if isinstance(held, Via) else held
