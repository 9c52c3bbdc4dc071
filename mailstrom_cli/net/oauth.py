"""OAuth 2.0 tokens for a relay: the access token when it is needed (RFC 6749, 6), and how they are first got
(the device flow, RFC 8628). All of it blocks."""

from __future__ import annotations

import logging
import os
import time

from mailstrom_cli.config.credentials import provider
from mailstrom_cli.config.places import token_file
from mailstrom_cli.config.secret import read_secret
from mailstrom_cli.errors import MailstromError
from mailstrom_cli.net.https import NoAnswer, post
from mailstrom_cli.smtp.wire import plain
from mailstrom_cli.store.tokens import TokenFile, Tokens
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mailstrom_cli.config.schema import Auth

log = logging.getLogger("mailstrom")

EARLY = 300.0
"""Seconds before its end that an access token is replaced, or a quarter of its life where that is short."""
LONGEST_LIFE = 7 * 86_400.0
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
INTERVAL, SLOWER = 5.0, 5.0  # seconds (RFC 8628, 3.2 and 3.5)
MOST_INTERVAL, MOST_WAIT = 300.0, 3600.0
TEXT = 300


class NoToken(Exception):
    """There is no access token; the text says why. login: only a new login helps."""

    def __init__(self, text: str, *, login: bool = False) -> None:
        super().__init__(text)
        self.login = login


@value
class Client:
    """The application that asks. file: of its tokens for this host."""

    host: str
    id: str
    secret: str
    device_endpoint: str
    token_endpoint: str
    scope: str
    file: str
    ca_file: str

    def __repr__(self) -> str:
        return f"Client({self.host!r}, ...)"


def client(auth: Auth, host: str, ca_file: str) -> Client:
    """Raises MailstromError when its secret cannot be read."""
    known = provider(auth)
    secret = ""
    if auth.client_secret_file:
        secret = read_secret(auth.client_secret_file).decode("utf-8", "replace").strip()
    return Client(
        host, auth.client_id or "", secret, known.device_endpoint, known.token_endpoint, known.scope,
        auth.token_file or token_file(host, os.environ), ca_file,
    )  # fmt: skip


# --- when it is needed ---


def access_token(auth: Auth, host: str, ca_file: str) -> str:
    """The token that is kept, or a new one when that has come near its end. Raises NoToken."""
    try:
        asking = client(auth, host, ca_file)
        file = TokenFile(asking.file)
        with file.locked():
            held = file.read()
            if held is None:
                raise NoToken(f"nobody has logged in yet: {_again(host)}", login=True)
            now = time.time()
            if held.access and now < held.until <= now + LONGEST_LIFE:
                return held.access
            renewed = _refreshed(asking, held)
            try:
                file.write(renewed)
            except OSError as error:
                log.error("%s: new tokens cannot be kept: %s", asking.file, error.strerror)
            return renewed.access
    except MailstromError as error:
        raise NoToken(error.message) from None
    except NoAnswer as error:
        raise NoToken(f"no access token: {error}") from None
    except OSError as error:
        raise NoToken(f"the tokens in {asking.file} cannot be read: {error.strerror}") from None


def forget(auth: Auth, host: str, access: str) -> None:
    """Have a new access token got the next time: this one is not taken. Raises OSError, MailstromError."""
    file = TokenFile(auth.token_file or token_file(host, os.environ))
    with file.locked():
        held = file.read()
        if held is not None and held.access == access:
            file.write(Tokens(held.refresh))


def _refreshed(asking: Client, held: Tokens) -> Tokens:
    form = {"grant_type": "refresh_token", "refresh_token": held.refresh}
    status, told = _ask(asking, asking.token_endpoint, form)
    if status == 200:
        return _tokens(told, time.time(), held.refresh)
    why = _reason(told, status, (held.refresh, held.access, asking.secret))
    if told.get("error") == "invalid_grant":
        text = f"the login has ended or was withdrawn ({why}): {_again(asking.host)}"
        raise NoToken(text, login=True)
    raise NoToken(f"no access token: {why}")


def _again(host: str) -> str:
    return f"run `mailstrom auth login {host}`"


def _ask(asking: Client, url: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
    form["client_id"] = asking.id
    if asking.secret:
        form["client_secret"] = asking.secret
    return post(url, form, asking.ca_file)


def _tokens(told: dict[str, Any], now: float, refresh: str) -> Tokens:
    """refresh: what stays good when there is no new one. Raises NoToken."""
    access, new = told.get("access_token"), told.get("refresh_token") or refresh
    if not _is_token(access):
        raise NoToken("the answer has no access token that can be used")
    if not _is_token(new):
        raise NoToken("the answer has no refresh token; `scope` may have to name offline_access")
    life = min(_seconds(told.get("expires_in"), EARLY), LONGEST_LIFE)
    return Tokens(str(new), str(access), round(now + life - min(EARLY, life / 4), 3))


def _is_token(held: object) -> bool:
    """RFC 6750, 2.1; whatever else would end a line somewhere."""
    return isinstance(held, str) and held != "" and held.isascii() and held.isprintable() and " " not in held


def _seconds(held: object, default: float) -> float:
    """Some services write numbers as text."""
    try:
        seconds = float(held) if isinstance(held, int | float | str) else default
    except ValueError:
        return default
    return seconds if 0 <= seconds < 1e12 else default


def _reason(told: dict[str, Any], status: int, secrets: tuple[str, ...]) -> str:
    """An error in the service's words, without the secrets that it may repeat."""
    words = [str(told[key]) for key in ("error", "error_description") if told.get(key)]
    text = plain(": ".join(words).encode("utf-8", "replace")) or f"HTTP status {status}"
    for secret in filter(None, secrets):
        text = text.replace(secret, "(hidden)")
    return text[:TEXT]


# --- the first time ---


@value
class Prompt:
    """What somebody has to do in a browser."""

    url: str
    code: str


def log_in(
    asking: Client,
    show: Callable[[Prompt], None],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """The device flow: shows where to go, waits until somebody has gone there, and keeps the tokens. Raises
    NoToken."""
    form = {"scope": asking.scope} if asking.scope else {}
    try:
        status, told = _ask(asking, asking.device_endpoint, form)
    except NoAnswer as error:
        raise NoToken(str(error)) from None
    code = told.get("device_code")
    where = told.get("verification_uri") or told.get("verification_url")  # the second one is Google's
    if status != 200 or not (isinstance(code, str) and isinstance(where, str) and told.get("user_code")):
        raise NoToken(_reason(told, status, (asking.secret,)))
    interval = min(max(1.0, _seconds(told.get("interval"), INTERVAL)), MOST_INTERVAL)
    end = clock() + min(_seconds(told.get("expires_in"), MOST_WAIT), MOST_WAIT)
    show(Prompt(plain(where.encode()), plain(str(told["user_code"]).encode())))
    while True:
        sleep(interval)
        if clock() >= end:
            raise NoToken("nobody has come in time")
        answer = _poll(asking, code)
        if isinstance(answer, Tokens):
            keep(asking, answer)
            return
        interval = min(interval + answer, MOST_INTERVAL)


def _poll(asking: Client, code: str) -> Tokens | float:
    """The tokens, or how many seconds more to wait each time from now on. Raises NoToken."""
    try:
        status, told = _ask(asking, asking.token_endpoint, {"grant_type": DEVICE, "device_code": code})
    except NoAnswer:
        return SLOWER  # RFC 8628, 3.5: no reason to give up
    if status == 200:
        return _tokens(told, time.time(), "")
    error = told.get("error")
    if error == "authorization_pending":
        return 0.0
    if error == "slow_down":
        return SLOWER
    if error == "access_denied":
        raise NoToken("access was denied")
    if error == "expired_token":
        raise NoToken("nobody has come in time")
    raise NoToken(_reason(told, status, (asking.secret, code)))


def given(refresh: str) -> Tokens:
    """With a refresh token that was got in another way."""
    return Tokens(refresh)


def keep(asking: Client, tokens: Tokens) -> None:
    """Raises NoToken."""
    file = TokenFile(asking.file)
    try:
        with file.locked():
            file.write(tokens)
    except OSError as error:
        raise NoToken(f"{asking.file} cannot be written: {error.strerror}") from None
