"""SASL mechanisms as generators (RFC 4954; PLAIN RFC 4616, LOGIN as servers know it)."""

from __future__ import annotations

from binascii import b2a_base64

from mailstrom_cli.smtp.wire import plain
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from mailstrom_cli.mail.reply import Reply

    Steps = Generator[Any, Reply, Reply]


@value
class Credentials:
    """What to log in with. mechanism: "auto" or one of MECHANISMS in lower case."""

    username: str
    password: str
    mechanism: str = "auto"

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, ...)"


def authenticate(
    credentials: Credentials, offered: tuple[str, ...], write: Callable[..., Any], read: Any
) -> Generator[Any, Reply, Reply | None]:
    """Log in: the last reply, or None when no mechanism serves. `write(...)` and `read` are effects."""
    wanted = MECHANISMS if credentials.mechanism == "auto" else (credentials.mechanism.upper(),)
    for name in wanted:
        if name in offered and name in MECHANISMS:
            return (yield from MECHANISMS[name](credentials, write, read))
    return None


def _plain(credentials: Credentials, write: Callable[..., Any], read: Any) -> Steps:
    secret = f"\0{credentials.username}\0{credentials.password}".encode()
    yield write(b"AUTH PLAIN " + _base64(secret), _hidden(credentials, secret))
    return (yield read)


def _login(credentials: Credentials, write: Callable[..., Any], read: Any) -> Steps:
    yield write(b"AUTH LOGIN\r\n")
    reply: Reply = yield read
    for answer in (credentials.username, credentials.password):
        if reply.code != 334:
            return reply
        yield write(_base64(answer.encode()), _hidden(credentials, answer.encode()))
        reply = yield read
    return reply


def _hidden(credentials: Credentials, sent: bytes) -> tuple[str, ...]:
    """What is not to be seen of these octets: as meant, as it is shown of a server's words, on the line."""
    password = credentials.password
    return (password, plain(password.encode()) or password, _base64(sent).decode().rstrip("=\r\n"))


def _base64(data: bytes) -> bytes:
    return b2a_base64(data, newline=False) + b"\r\n"


MECHANISMS: dict[str, Callable[..., Steps]] = {"PLAIN": _plain, "LOGIN": _login}
"""Strongest first."""
