"""What a scripted server remembers of its sessions and transactions."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

MESSAGE_ID = re.compile(rb"^Message-ID:[ \t]*(?:\r\n[ \t]+)*(<[^>\r\n]*>)", re.IGNORECASE | re.MULTILINE)
BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


@dataclass
class Recipient:
    """One RCPT command: `reply` is the answer to it, `final` the one after the dot that held for it."""

    address: str
    parameters: tuple[str, ...]
    reply: str
    final: str = ""

    @property
    def accepted(self) -> bool:
        return self.reply.startswith("2")

    @property
    def delivered(self) -> bool:
        return self.accepted and self.final.startswith("2")


@dataclass
class Transaction:
    """From MAIL on; `body` has its dots undone, and is None when none came or digests are kept only."""

    reverse_path: str
    parameters: tuple[str, ...]
    recipients: list[Recipient] = field(default_factory=list)
    body: bytes | None = None
    size: int = 0
    sha256: str = ""
    message_id: str = ""
    chunks: int = 0

    @property
    def accepted(self) -> bool:
        """Whether the server took the message for at least one recipient."""
        return any(r.delivered for r in self.recipients)

    def take(self, body: bytes, keep: bool) -> None:
        """Remember a message that came in completely."""
        self.body = body if keep else None
        self.size = len(body)
        self.sha256 = hashlib.sha256(body).hexdigest()
        found = MESSAGE_ID.search(body, 0, body.find(b"\r\n\r\n") + 2 or len(body))
        self.message_id = found[1].decode("utf-8", "surrogateescape") if found else ""


@dataclass
class Session:
    """One connection: all that was said ("C: ...", "S: ..."), and what the client did wrong."""

    peer: str = ""
    helo: str = ""
    extended: bool = False
    tls: str | None = None
    server_name: str | None = None
    auth: str | None = None
    log: list[str] = field(default_factory=list)
    transactions: list[Transaction] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    end: str = "open"
    """open, quit, closed (the client left without QUIT), lost (an error on the line), server (we hung up)."""

    @property
    def commands(self) -> list[str]:
        return [line[3:] for line in self.log if line.startswith("C: ")]


def body_faults(data: bytes, eight_bit: bool) -> list[str]:
    """What RFC 5321 and RFC 5322 forbid in a message as it came over the line."""
    faults = []
    if found := BARE.search(data):
        faults.append(_bare(found, "the message"))
    if any(len(line) > 998 for line in data.split(b"\r\n")):
        faults.append("a line of more than 998 octets")
    if not eight_bit and not data.isascii():
        faults.append("8-bit data without BODY=8BITMIME")
    if b"\0" in data:
        faults.append("NUL in the message")
    return faults


def line_faults(line: bytes, utf8: bool) -> list[str]:
    """What is forbidden in a command line (its CRLF taken off)."""
    faults = []
    if found := BARE.search(line):
        faults.append(_bare(found, "a command"))
    if not utf8 and not line.isascii():
        faults.append("8-bit data in a command without SMTPUTF8")
    return faults


def _bare(found: re.Match[bytes], where: str) -> str:
    name = "CR" if found[0] == b"\r" else "LF"
    return f"bare {name} at octet {found.start()} of {where}"
