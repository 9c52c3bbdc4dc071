"""PLAIN (RFC 4616), LOGIN (as servers know it) and CRAM-MD5 (RFC 2195)."""

from __future__ import annotations

import hmac

from mailstrom_cli.smtp.auth import begin, decoded, encoded, hidden

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mailstrom_cli.mail.reply import Reply
    from mailstrom_cli.smtp.auth import Credentials, Steps


def plain(credentials: Credentials, write: Callable[..., Any], read: Any) -> Steps:
    secret = f"\0{credentials.username}\0{credentials.password}".encode()
    return begin("PLAIN", secret, write, read, hidden(credentials.password, secret))


def login(credentials: Credentials, write: Callable[..., Any], read: Any) -> Steps:
    yield write(b"AUTH LOGIN\r\n")
    reply: Reply = yield read
    for answer in (credentials.username, credentials.password):
        if reply.code != 334:
            return reply
        yield write(encoded(answer.encode()), hidden(credentials.password, answer.encode()))
        reply = yield read
    return reply


def cram_md5(credentials: Credentials, write: Callable[..., Any], read: Any) -> Steps:
    yield write(b"AUTH CRAM-MD5\r\n")
    reply: Reply = yield read
    if reply.code != 334:
        return reply
    digest = hmac.new(credentials.password.encode(), decoded(reply), "md5").hexdigest()
    answer = f"{credentials.username} {digest}".encode()
    yield write(encoded(answer), (*hidden(credentials.password, answer), digest))
    reply = yield read
    return reply
