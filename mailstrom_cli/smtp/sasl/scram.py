"""SCRAM (RFC 5802, RFC 7677): the password is not given away, and the server has to prove that it knows it.

C: n,,n=user,r=NONCE                    S: r=NONCE+MORE,s=SALT,i=ITERATIONS
C: c=BINDING,r=NONCE+MORE,p=PROOF       S: v=SIGNATURE          C: (nothing)        S: 235
"""

from __future__ import annotations

import hashlib
import hmac
from binascii import Error, a2b_base64, b2a_base64

from mailstrom_cli.smtp.auth import Derive, LoginFailed, Nonce, begin, decoded, encoded, hidden
from mailstrom_cli.smtp.sasl.bearer import saslname
from mailstrom_cli.smtp.sasl.prep import saslprep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mailstrom_cli.mail.reply import Reply
    from mailstrom_cli.smtp.auth import Credentials, Steps

LEAST, MOST = 4096, 1_000_000
"""Iterations: fewer make it cheap to find the password by trying (RFC 7677, 4), more are an attack."""


def scram(
    credentials: Credentials,
    name: str,
    binding: tuple[str, bytes] | str,
    write: Callable[..., Any],
    read: Any,
) -> Steps:
    """binding: what a -PLUS mechanism is bound to, or the flag of the others: "n" this client does not bind,
    "y" it could, but the server does not offer that. Raises LoginFailed."""
    hash = name.removeprefix("SCRAM-").removesuffix("-PLUS").replace("SHA-", "sha").lower()
    user = saslname(_prepared(credentials.username, "username"))
    password = _prepared(credentials.password, "password").encode()
    if isinstance(binding, str):
        head, bound = f"{binding},,", b""
    else:
        head, bound = f"p={binding[0]},,", binding[1]
    nonce: str = yield Nonce()
    first_bare = f"n={user},r={nonce}"
    reply: Reply = yield from begin(name, f"{head}{first_bare}".encode(), write, read)
    if reply.code != 334:
        return _unproved(reply)
    challenge = _text(decoded(reply))
    both, salt, iterations = _challenge(challenge, nonce)
    channel = b2a_base64(head.encode() + bound, newline=False).decode()
    without_proof = f"c={channel},r={both}"
    signed = f"{first_bare},{challenge},{without_proof}".encode()

    salted: bytes = yield Derive(hash, password, salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", hash)
    signature = hmac.digest(hashlib.new(hash, client_key).digest(), signed, hash)
    proof = bytes(k ^ s for k, s in zip(client_key, signature, strict=True))
    answer = f"{without_proof},p={b2a_base64(proof, newline=False).decode()}".encode()
    yield write(encoded(answer), hidden(credentials.password, answer))

    reply = yield read
    if reply.code != 334:
        return _unproved(reply)
    expected = hmac.digest(hmac.digest(salted, b"Server Key", hash), signed, hash)
    said = _text(decoded(reply)).partition(",")[0]
    if said not in WRONG:
        _check(said, expected)
    yield write(b"\r\n")
    reply = yield read
    return _unproved(reply) if said in WRONG else reply


def _prepared(text: str, what: str) -> str:
    try:
        prepared = saslprep(text)
    except ValueError as error:
        text = f"the {what} cannot be used with SCRAM: {error} (RFC 4013); `mechanism` may name another"
        raise LoginFailed(text, ours=True) from None
    if not prepared:
        raise LoginFailed(f"nothing is left of the {what} for SCRAM (RFC 4013)", ours=True)
    return prepared


def _challenge(text: str, nonce: str) -> tuple[str, bytes, int]:
    """Nonce, salt and iterations. Raises LoginFailed."""
    parts = text.split(",")
    if parts[0].startswith("m="):
        raise LoginFailed("the server wants an extension of SCRAM that is not known")
    values = [part[2:] for part in parts[:3]]
    if [part[:2] for part in parts[:3]] != ["r=", "s=", "i="]:
        raise LoginFailed("the server's challenge is not one of SCRAM")
    both, salt, count = values
    if not both.startswith(nonce) or len(both) == len(nonce):
        raise LoginFailed("the server's challenge does not belong to this login")
    if not (count.isascii() and count.isdigit()) or not LEAST <= int(count[:10]) <= MOST:
        raise LoginFailed(f"the server asks for a number of iterations that is not from {LEAST} to {MOST}")
    octets = _base64(salt)
    if not octets:
        raise LoginFailed("the server's challenge has no salt")
    return both, octets, int(count[:10])


def _check(word: str, expected: bytes) -> None:
    """The server's last words. Raises LoginFailed when they do not prove that it knows the password."""
    if word.startswith("e="):
        # The words are the server's, which may say anything: only those of the RFC are repeated.
        reason = word[2:] if word[2:] in ERRORS else "other-error"
        raise LoginFailed(f"the server refuses: {reason}{HINTS.get(reason, '')}")
    if not word.startswith("v=") or not hmac.compare_digest(_base64(word[2:]), expected):
        raise LoginFailed(UNPROVED)


def _unproved(reply: Reply) -> Reply:
    """A login that succeeded before the server has proved anything."""
    if reply.positive:
        raise LoginFailed(UNPROVED)
    return reply


def _text(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise LoginFailed("the server's challenge is no UTF-8") from None


def _base64(text: str) -> bytes:
    try:
        return a2b_base64(text, strict_mode=True) if text else b""
    except (Error, ValueError):
        raise LoginFailed("the server's challenge is no base64") from None


UNPROVED = "the server did not prove that it knows the password"
ERRORS = frozenset(
    {
        "invalid-encoding",
        "extensions-not-supported",
        "channel-bindings-dont-match",
        "server-does-support-channel-binding",
        "channel-binding-not-supported",
        "unsupported-channel-binding-type",
        "invalid-username-encoding",
        "no-resources",
    }
)
WRONG = ("e=invalid-proof", "e=unknown-user")
"""Errors (RFC 5802, 7): of the exchange, and of the user, which the server's reply tells once more."""
_UNBOUND = '; mechanism = "scram-sha-256" does without channel binding'
HINTS = {
    "unsupported-channel-binding-type": _UNBOUND,
    "channel-binding-not-supported": _UNBOUND,
    "channel-bindings-dont-match": ": somebody may be in between",
    "server-does-support-channel-binding": ": somebody may be in between",
}
