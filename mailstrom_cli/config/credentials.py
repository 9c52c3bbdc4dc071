"""The credentials of one next hop, looked at as a whole: what is missing, what excludes what."""

from __future__ import annotations

from mailstrom_cli.config.text import ip_address, is_domain, plain, port_number
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from mailstrom_cli.config.schema import Auth

PLACES = ("password_command", "password_file", "password_credential", "password_keyring")
BEARER = ("oauthbearer", "xoauth2")
OF_OAUTH = ("client_id", "client_secret_file", "scope", "device_endpoint", "token_endpoint", "token_file")
LOOPBACK = ("127.0.0.1", "::1")


@value
class Provider:
    """Who gives OAuth tokens: where the device flow begins, where tokens are given, what for."""

    device_endpoint: str
    token_endpoint: str
    scope: str


MICROSOFT = "https://login.microsoftonline.com/common/oauth2/v2.0"
PROVIDERS = {
    "google": Provider(
        "https://oauth2.googleapis.com/device/code",
        "https://oauth2.googleapis.com/token",
        "https://mail.google.com/",
    ),
    "microsoft": Provider(
        f"{MICROSOFT}/devicecode",
        f"{MICROSOFT}/token",
        "https://outlook.office.com/SMTP.Send offline_access",
    ),
    "custom": Provider("", "", ""),
}


def provider(auth: Auth) -> Provider:
    """What is known of the one that `auth.oauth` names, with what the configuration says instead."""
    known = PROVIDERS[auth.oauth or "custom"]
    return Provider(
        auth.device_endpoint or known.device_endpoint,
        auth.token_endpoint or known.token_endpoint,
        auth.scope or known.scope,
    )


def faults(found: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    """What is wrong, to follow the name of the table, and what to do."""
    if "username" not in found:
        yield "lacks `username`", None
    ways = [way for way in (*PLACES, "oauth") if found.get(way)]
    if not ways:
        yield (
            "lacks `password_command` or `password_file`",
            "or `password_credential`, `password_keyring` or `oauth`",
        )
    elif len(ways) > 1:
        yield f"has both `{ways[0]}` and `{ways[1]}`", "keep one of them"
    mechanism = found.get("mechanism", "auto")
    if "oauth" not in found:
        extra = [key for key in OF_OAUTH if key in found]
        if extra:
            yield f"has `{extra[0]}` without `oauth`", 'with endpoints of your own, oauth = "custom"'
        return
    if mechanism not in ("auto", *BEARER):
        yield f"has `oauth`, with which nobody can log in by {mechanism}", "leave `mechanism` out"
    if "client_id" not in found:
        yield "lacks `client_id`", "register mailstrom with the provider as an application; it gives you one"
    if found["oauth"] == "custom":
        for key in ("device_endpoint", "token_endpoint"):
            if key not in found:
                yield f"lacks `{key}`", None


def endpoint(held: object) -> str:
    """An https:// URL; http:// only at 127.0.0.1 and [::1], where nobody is in between. Raises ValueError."""
    if not isinstance(held, str):
        raise ValueError
    text = plain(held)
    scheme, found, rest = text.partition("://")
    authority = rest.partition("/")[0]
    if not found or scheme not in ("https", "http") or not authority or not text.isascii():
        raise ValueError
    if any(c in text for c in ' #"<>\\') or "@" in authority:
        raise ValueError
    host, port = _split(authority)
    if port:
        port_number(port)
    if not (is_domain(host) or ip_address(host)):
        raise ValueError
    if scheme == "http" and host not in LOOPBACK:
        raise ValueError("http:// would send secrets in plain text; write https://")
    return text


def _split(authority: str) -> tuple[str, str]:
    if authority.startswith("["):
        host, _, rest = authority[1:].partition("]")
        return host, rest.removeprefix(":")
    host, _, port = authority.partition(":")
    return host, port
