"""Logging in (RFC 4954): which mechanism, and how it begins. The mechanisms are in `smtp.sasl`."""

from __future__ import annotations

from binascii import b2a_base64

from mailstrom_cli.smtp.wire import plain
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from mailstrom_cli.mail.reply import Reply

    Steps = Generator[Any, Any, Reply]

LONGEST_COMMAND = 512  # octets; a longer first response waits until it is asked for (RFC 4954, 4)
OTHER_MECHANISM = (504, 534)
"""Replies that refuse the mechanism and not whoever logs in: not known, too weak."""


@value
class Credentials:
    """What to log in with. mechanism: "auto" or one of MECHANISMS in lower case.

    oauth: the password is an access token.  host, port: of the relay, which OAUTHBEARER names.
    """

    username: str
    password: str
    mechanism: str = "auto"
    oauth: bool = False
    host: str = ""
    port: int = 0

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, ...)"


class LoginFailed(Exception):
    """It went wrong on our side of the dialogue; the text says why. ours: the server has no part in it."""

    def __init__(self, text: str, *, ours: bool = False) -> None:
        super().__init__(text)
        self.ours = ours


# --- what this machine has to give: effects ---


@value
class Nonce:
    """Gives a text of printable ASCII without a comma that nobody can guess."""


@value
class Binding:
    """Gives the channel binding of this connection, (type, octets), or None where there is none."""


@value
class Derive:
    """Gives PBKDF2 of these (RFC 8018, 5.2)."""

    hash: str
    password: bytes
    salt: bytes
    iterations: int

    def __repr__(self) -> str:
        return "Derive(...)"


LOCAL = (Nonce, Binding, Derive)


# --- the choice ---


def authenticate(
    credentials: Credentials, offered: tuple[str, ...], write: Callable[..., Any], read: Any
) -> Generator[Any, Any, tuple[str, Reply] | None]:
    """Log in: the mechanism and the last reply, or None when no mechanism serves. `write(...)` and `read` are
    effects. Raises LoginFailed."""
    wanted = _wanted(credentials)
    serving = [name for name in wanted if name in offered]
    bound = any(name in offered for name in BOUND)
    binding: tuple[str, bytes] | None = None
    if any(name.startswith("SCRAM") for name in serving):
        binding = yield Binding()
        unbound = [name for name in serving if binding is not None or name not in BOUND]
        if serving and not unbound:
            raise LoginFailed(f"{serving[0]}: this connection has nothing to bind to", ours=True)
        serving = unbound
    told = None
    for name in serving:
        if name in BOUND:
            steps = _module("scram").scram(credentials, name, binding, write, read)
        elif name.startswith("SCRAM"):
            # RFC 5802, 6: "y" tells a server that offers -PLUS after all that somebody took it from its list.
            # Whoever names this mechanism does not bind, and says so.
            could = binding is not None and not bound and credentials.mechanism == "auto"
            steps = _module("scram").scram(credentials, name, "y" if could else "n", write, read)
        else:
            module, function = SIMPLE[name]
            steps = getattr(_module(module), function)(credentials, write, read)
        try:
            told = name, (yield from steps)
        except LoginFailed as error:
            raise LoginFailed(f"{name}: {error}", ours=error.ours) from None
        if told[1].code not in OTHER_MECHANISM:
            break
    return told


def _wanted(credentials: Credentials) -> tuple[str, ...]:
    if credentials.mechanism == "auto":
        return BEARER if credentials.oauth else PASSWORD
    return (credentials.mechanism.upper(),)


def _module(name: str) -> Any:
    from importlib import import_module

    return import_module(f"mailstrom_cli.smtp.sasl.{name}")


BOUND = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS")
PASSWORD = (*BOUND, "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN")
BEARER = ("OAUTHBEARER", "XOAUTH2")
MECHANISMS = (*PASSWORD, *BEARER)
"""Strongest first."""
SIMPLE = {
    "CRAM-MD5": ("password", "cram_md5"),
    "PLAIN": ("password", "plain"),
    "LOGIN": ("password", "login"),
    "OAUTHBEARER": ("bearer", "oauthbearer"),
    "XOAUTH2": ("bearer", "xoauth2"),
}


# --- for the mechanisms ---


def begin(
    name: str, first: bytes, write: Callable[..., Any], read: Any, secrets: tuple[str, ...] = ()
) -> Generator[Any, Any, Reply]:
    """AUTH with a first response, in one line where it is not too long for that."""
    line = b"AUTH " + name.encode() + b" " + encoded(first)
    reply: Reply
    if len(line) <= LONGEST_COMMAND:
        yield write(line, secrets)
        reply = yield read
        return reply
    yield write(b"AUTH " + name.encode() + b"\r\n")
    reply = yield read
    if reply.code == 334:
        yield write(encoded(first), secrets)
        reply = yield read
    return reply


def encoded(data: bytes) -> bytes:
    """A line of base64."""
    return b2a_base64(data, newline=False) + b"\r\n"


def decoded(reply: Reply) -> bytes:
    """A server's challenge. Raises LoginFailed."""
    from binascii import Error, a2b_base64

    try:
        return a2b_base64(reply.text.encode(), strict_mode=True) if reply.text else b""
    except (Error, ValueError):
        raise LoginFailed("the server's challenge is no base64") from None


def hidden(password: str, sent: bytes) -> tuple[str, ...]:
    """What is not to be seen of a password and of octets that are sent for it: as meant, as it is shown of a
    server's words, and as it is on the line."""
    shown = plain(password.encode()) or password
    return (password, shown, *(encoded(s).decode().rstrip("=\r\n") for s in (sent, password.encode())))
