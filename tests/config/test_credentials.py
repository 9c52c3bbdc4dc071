"""Where tokens come from and where they are kept."""

from __future__ import annotations

import os

import pytest

from mailstrom_cli.config.credentials import endpoint, provider
from mailstrom_cli.config.places import SYSTEM_TOKENS, token_file
from mailstrom_cli.config.schema import Auth


@pytest.mark.parametrize(
    "url",
    [
        "https://login.example.org/token",
        "https://login.example.org:8443/a/b?tenant=x",
        "https://192.0.2.1/t",
        "https://[2001:db8::1]:443/t",
        "http://127.0.0.1:8080/token",
        "http://[::1]:8080/token",
    ],
)
def test_an_endpoint(url: str) -> None:
    assert endpoint(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "login.example.org",
        "https://",
        "https:///token",
        "http://localhost/token",
        "http://127.0.0.1.example.org/token",
        "https://me:pw@login.example.org/",
        "https://login.example.org/a b",
        "https://login.example.org/#x",
        "https://login.example.org:70000/",
        "https://login.ex\nample.org/",
        "https://a_b c/",
        7,
    ],
)
def test_what_is_none(url: object) -> None:
    with pytest.raises(ValueError):
        endpoint(url)


def test_presets_and_what_replaces_them() -> None:
    google = provider(Auth("me", oauth="google", client_id="x"))
    assert google.token_endpoint == "https://oauth2.googleapis.com/token"
    assert google.scope == "https://mail.google.com/"
    own = "https://login.microsoftonline.com/example.org/oauth2/v2.0/token"
    microsoft = provider(Auth("me", oauth="microsoft", client_id="x", token_endpoint=own))
    assert microsoft.token_endpoint == own
    assert "offline_access" in microsoft.scope
    assert microsoft.device_endpoint == ("https://login.microsoftonline.com/common/oauth2/v2.0/devicecode")


def test_where_tokens_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert token_file("smtp.example.org", {}) == f"{SYSTEM_TOKENS}/smtp.example.org.json"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert token_file("a", {"XDG_STATE_HOME": "/s"}) == "/s/mailstrom-tokens/a.json"
    assert token_file("a", {"HOME": "/h"}) == "/h/.local/state/mailstrom-tokens/a.json"
