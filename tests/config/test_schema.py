"""The table and the classes say the same: every field has one key, every default is valid."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from mailstrom_cli.config.keys import KEYS, TABLES, Key, reference
from mailstrom_cli.config.schema import (
    DEFAULTS,
    GROUPS,
    Auth,
    Dkim,
    Route,
    Settings,
    TlsPolicy,
    build,
)
from mailstrom_cli.values import fields

if TYPE_CHECKING:
    from collections.abc import Iterator

FIXED = [key for key in KEYS if not key.repeated]


def leaves(held: Any, prefix: str = "") -> Iterator[str]:
    for name in fields(held):
        item = getattr(held, name)
        if isinstance(item, GROUPS):
            yield from leaves(item, f"{prefix}{name}.")
        else:
            yield prefix + name


def test_every_field_has_one_key() -> None:
    expected = {*leaves(DEFAULTS)} - {"route", "auth", "tls.policy", "dkim"}
    expected |= {f"route[].{name}" for name in fields(Route)} | {f"auth.*.{name}" for name in fields(Auth)}
    expected |= {f"tls.policy.*.{name}" for name in fields(TlsPolicy)}
    expected |= {f"dkim.*.{name}" for name in fields(Dkim)}
    names = [key.name for key in KEYS]
    assert sorted(names) == sorted(expected)


def test_every_table_of_the_keys_is_described() -> None:
    assert set(TABLES) == {key.name.rpartition(".")[0] for key in FIXED} - {""}


@pytest.mark.parametrize("key", FIXED, ids=lambda key: key.name)
def test_every_default_is_what_its_kind_reads_and_writes(key: Key) -> None:
    written = tomllib.loads(f"x = {key.kind.write(key.default)}")["x"]
    assert key.kind.read(written) == key.default


def test_every_key_has_help_and_a_variable_of_its_own() -> None:
    assert all(key.help and key.help == key.help.strip() and not key.help.endswith(".") for key in KEYS)
    assert len({key.variable for key in FIXED}) == len(FIXED)
    variables = {key.name: key.variable for key in KEYS}
    assert variables["smtp.timeout.connect"] == "MAILSTROM_SMTP_TIMEOUT_CONNECT"
    assert variables["via"] == "MAILSTROM_VIA"
    assert variables["route[].via"] == "MAILSTROM_ROUTE"
    assert variables["auth.*.username"] == "MAILSTROM_AUTH"
    assert variables["tls.policy.*.level"] == "MAILSTROM_TLS_POLICY"
    assert variables["dkim.*.selector"] == "MAILSTROM_DKIM"


def test_build_changes_what_is_named_and_nothing_else() -> None:
    assert build({}) is DEFAULTS
    built = build({"smtp.timeout.dot": 1, "origin": "example.org", "route": (Route(None, "*", ()),)})
    assert (built.smtp.timeout.dot, built.origin, len(built.route)) == (1, "example.org", 1)
    assert built.smtp.timeout.connect == 30 and built.tls is DEFAULTS.tls
    assert Settings() == DEFAULTS


def test_the_reference_has_a_row_for_every_key() -> None:
    rows = reference()
    assert [row[0] for row in rows] == [key.name for key in KEYS]
    assert ("retry.base_delay", '"5m"', "MAILSTROM_RETRY_BASE_DELAY", "until the second attempt") in rows
    assert ("auth.*.username", "", "MAILSTROM_AUTH", "the name to log in with") in rows


def test_the_documented_defaults() -> None:
    retry, limits = DEFAULTS.retry, DEFAULTS.limits
    assert (retry.retries, retry.base_delay, retry.factor, retry.max_delay) == (3, 300, 6, 21600)
    assert (retry.jitter, retry.max_age) == (0.1, 432000)
    assert (limits.message_size, limits.min_free) == (50 << 20, 50 << 20)
    assert (DEFAULTS.retention.delivered, DEFAULTS.retention.failed) == (7 * 86400, 30 * 86400)
    assert DEFAULTS.tls.level == "may" and str(DEFAULTS.via[0]) == "mx:"
