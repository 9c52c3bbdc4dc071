"""OAUTHBEARER (RFC 7628) and XOAUTH2, its forerunner: the password is an access token."""

from __future__ import annotations

from mailstrom_cli.smtp.auth import begin, encoded, hidden

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mailstrom_cli.mail.reply import Reply
    from mailstrom_cli.smtp.auth import Credentials, Steps


def oauthbearer(credentials: Credentials, write: Callable[..., Any], read: Any) -> Steps:
    pairs = [f"n,a={saslname(credentials.username)},"]
    if credentials.host:
        pairs.append(f"host={credentials.host}")
    if credentials.port:
        pairs.append(f"port={credentials.port}")
    pairs += [f"auth=Bearer {credentials.password}", "", ""]
    return _bearer(credentials, "OAUTHBEARER", "\x01".join(pairs), encoded(b"\x01"), write, read)


def xoauth2(credentials: Credentials, write: Callable[..., Any], read: Any) -> Steps:
    first = f"user={credentials.username}\x01auth=Bearer {credentials.password}\x01\x01"
    return _bearer(credentials, "XOAUTH2", first, b"\r\n", write, read)


def _bearer(
    credentials: Credentials, name: str, first: str, seen: bytes, write: Callable[..., Any], read: Any
) -> Steps:
    """A server that takes no token says so in a challenge, and refuses once that was `seen`."""
    sent = first.encode()
    reply: Reply = yield from begin(name, sent, write, read, hidden(credentials.password, sent))
    if reply.code == 334:
        yield write(seen)
        reply = yield read
    return reply


def saslname(username: str) -> str:
    """RFC 5801, 4."""
    return username.replace("=", "=3D").replace(",", "=2C")
