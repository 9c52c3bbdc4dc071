"""How much TLS a connection needs, from the level that is asked for and what else is known of it."""

from __future__ import annotations

NONE, MAY, ENCRYPT, VERIFY = "none", "may", "encrypt", "verify"
LOOPBACK = ("127.0.0.1", "::1")
"""Addresses at which `tls.auth_loopback` allows to log in without TLS."""


def level(asked: str, *, implicit: bool, login: bool) -> str:
    """The level that counts: a password is only ever given to a verified server, and a relay that is reached
    by smtps:// is never spoken to in plain text."""
    if login:
        return VERIFY
    return ENCRYPT if implicit and asked in (NONE, MAY) else asked


def plain_text_instead(level: str, attempts: int) -> bool:
    """Whether a failed STARTTLS may be left out on the same host: only where TLS is opportunistic, and only
    once an attempt has ended before (RFC 7435, 4: some protection most of the time)."""
    return level == MAY and attempts > 0
