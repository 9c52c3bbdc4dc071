"""The server's side of SASL: strict about what a client says, and as false as a script wants it.

It is written from the RFCs, not from the client: SCRAM (5802, 7677), CRAM-MD5 (2195), OAUTHBEARER (7628).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .scripted import Script

GS2 = re.compile(r"(?P<flag>n|y|p=(?P<type>[a-zA-Z0-9.-]+)),(?:a=(?P<authzid>[^,]*))?,")
CLIENT_FIRST = re.compile(r"n=(?P<user>[^,]+),r=(?P<nonce>[!-+\--~]+)")
CLIENT_FINAL = re.compile(r"c=(?P<channel>[^,]+),r=(?P<nonce>[!-+\--~]+),p=(?P<proof>[^,]+)")


class Refused(Exception):
    """The client is not let in. fault: what it did that the RFCs forbid, if it did."""

    def __init__(self, fault: str = "") -> None:
        super().__init__(fault)
        self.fault = fault


@dataclass
class Scram:
    """How a server does SCRAM. The rest is for servers that lie.

    bindings: by type, what this end knows of the channel; {} means that it has none.
    """

    iterations: int = 4096
    salt: bytes = b"salt of the test"
    bindings: dict[str, bytes] | None = None
    nonce: str = "server-nonce"
    replaces_nonce: bool = False
    """The client's part of it is lost: somebody plays back another login."""
    knows_nothing: bool = False
    """It has no password, and takes any."""
    says: str = ""
    """Instead of the signature."""
    silent: bool = False
    """235 comes before any signature."""


def challenge(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


class Exchange:
    """One AUTH. ask(text) sends 334 with this text and gives the octets that the client answers with."""

    def __init__(self, script: Script, ask: Callable[[str], bytes], initial: bytes | None) -> None:
        self.script, self.ask, self.initial = script, ask, initial

    def first(self) -> bytes:
        """What a mechanism begins with in which the client speaks first."""
        return self.ask("") if self.initial is None else self.initial

    def run(self, mechanism: str) -> str:
        """The user who is let in. Raises Refused."""
        if mechanism.startswith("SCRAM-"):
            return self.scram(mechanism)
        name = mechanism.lower().replace("-", "_")
        user: str = getattr(self, name)()
        return user

    def plain(self) -> str:
        parts = self.first().decode().split("\0")
        if len(parts) != 3:
            raise Refused("PLAIN has three parts")
        return self._known(parts[1], parts[2])

    def login(self) -> str:
        user = self.initial.decode() if self.initial else self.ask(challenge("Username:")).decode()
        return self._known(user, self.ask(self.script.password_prompt).decode())

    def cram_md5(self) -> str:
        if self.initial is not None:
            raise Refused("CRAM-MD5 has no initial response")
        stamp = b"<1896.697170952@mx.example.test>"
        user, _, digest = self.ask(challenge(stamp)).decode().rpartition(" ")
        wanted = hmac.new(self.script.users.get(user, "").encode(), stamp, "md5").hexdigest()
        if user not in self.script.users or not hmac.compare_digest(digest, wanted):
            raise Refused
        return user

    def xoauth2(self) -> str:
        parts = self.first().decode().split("\x01")
        if len(parts) != 4 or not parts[0].startswith("user=") or parts[2:] != ["", ""]:
            raise Refused("not as XOAUTH2 has it")
        return self._bearer(parts[0].removeprefix("user="), parts[1], b"")

    def oauthbearer(self) -> str:
        head, *pairs = self.first().decode().split("\x01")
        found = re.fullmatch(r"n,a=([^,]*),", head)
        if found is None or pairs[-2:] != ["", ""]:
            raise Refused("not as RFC 7628 has it")
        named = dict(pair.split("=", 1) for pair in pairs[:-2])
        if set(named) - {"auth", "host", "port"}:
            raise Refused(f"keys {sorted(named)}")
        return self._bearer(_name(found[1]), f"auth={named.get('auth')}", b"\x01")

    def _bearer(self, user: str, auth: str, seen: bytes) -> str:
        kind, _, token = auth.removeprefix("auth=").partition(" ")
        if kind != "Bearer" or not token or " " in token:
            raise Refused("no bearer token")
        if self.script.tokens.get(user) == token:
            return user
        answer = self.ask(challenge(json.dumps({"status": "invalid_token", "scope": "mail"})))
        raise Refused("" if answer == seen else f"{answer!r} after an error")

    def scram(self, mechanism: str) -> str:
        how = self.script.scram
        plus = mechanism.endswith("-PLUS")
        hash = mechanism.removeprefix("SCRAM-").removesuffix("-PLUS").replace("SHA-", "sha").lower()
        text = self.first().decode()
        gs2, first = GS2.match(text), None
        if gs2 is not None:
            first = CLIENT_FIRST.fullmatch(text[gs2.end() :])
        if gs2 is None or first is None or gs2["authzid"]:
            raise Refused(f"not as RFC 5802 has it: {text!r}")
        offers_plus = any(name.endswith("-PLUS") for name in self.script.mechanisms)
        if gs2["flag"] == "y" and offers_plus:
            raise Refused("a client that could bind was told that this server cannot")
        if plus != gs2["flag"].startswith("p="):
            raise Refused("the flag is not that of the mechanism")
        bindings = how.bindings or {}
        if plus and gs2["type"] not in bindings:
            self.ask(challenge("e=unsupported-channel-binding-type"))
            raise Refused
        user = _name(first["user"])
        password = self.script.users.get(user, "")
        nonce = how.nonce if how.replaces_nonce else first["nonce"] + how.nonce
        server_first = f"r={nonce},s={challenge(how.salt)},i={how.iterations}"
        final = CLIENT_FINAL.fullmatch(self.ask(challenge(server_first)).decode())
        if final is None:
            raise Refused("the last message of the client")
        if final["nonce"] != nonce:
            raise Refused("another nonce")
        expected = gs2[0].encode() + (bindings[gs2["type"]] if plus else b"")
        if base64.b64decode(final["channel"]) != expected:
            self.ask(challenge("e=channel-bindings-dont-match"))
            raise Refused
        salted = hashlib.pbkdf2_hmac(hash, password.encode(), how.salt, min(how.iterations, 10_000))
        without = f"c={final['channel']},r={nonce}"
        signed = f"{first[0]},{server_first},{without}".encode()
        stored = hashlib.new(hash, hmac.digest(salted, b"Client Key", hash)).digest()
        signature = hmac.digest(stored, signed, hash)
        key = bytes(a ^ b for a, b in zip(base64.b64decode(final["proof"]), signature, strict=True))
        if not how.knows_nothing and (
            user not in self.script.users or hashlib.new(hash, key).digest() != stored
        ):
            raise Refused
        proof = hmac.digest(hmac.digest(salted, b"Server Key", hash), signed, hash)
        if not how.silent and self.ask(challenge(how.says or f"v={challenge(proof)}")) != b"":
            raise Refused("something was said after the end")
        return user

    def _known(self, user: str, password: str) -> str:
        if self.script.users.get(user) != password:
            raise Refused
        return user


def decoded(line: str) -> bytes:
    """One response. Raises Refused for what is no base64, and for a client that gives up."""
    if line == "*":
        raise Refused
    try:
        return base64.b64decode(line, validate=True)
    except (ValueError, binascii.Error):
        raise Refused("no base64") from None


def _name(text: str) -> str:
    return text.replace("=2C", ",").replace("=3D", "=")
