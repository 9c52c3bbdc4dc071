"""Reading what a real server has delivered into a maildir, with the server's own trace fields taken off."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .process import wait_for

if TYPE_CHECKING:
    from pathlib import Path

TRACE = ("return-path", "x-original-to", "delivered-to", "envelope-to", "delivery-date")
FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:(.*(?:\n[ \t].*)*)\n")
MESSAGE_ID = re.compile(rb"(?im)^message-id:\s*(<[^>\n]*>)")


@dataclass(frozen=True)
class Delivery:
    """One message in a maildir; lines end with LF, as the servers store them."""

    recipient: str
    """As a trace field names it, else (Dovecot, several recipients) the maildir's own name."""
    reverse_path: str
    message_id: str
    received: tuple[str, ...]
    """The Received fields that the servers added, the last hop first."""
    original: bytes
    """The message as the first server got it, with LF."""


def read(file: Path, hops: int = 1) -> Delivery:
    """Take the trace fields on top off; `hops` Received fields belong to the servers."""
    data = file.read_bytes()
    found: dict[str, str] = {}
    received: list[str] = []
    at = 0
    while match := FIELD.match(data, at):
        name = match[1].decode().lower()
        text = match[2].decode("utf-8", "surrogateescape").strip()
        if name == "received" and len(received) < hops:
            received.append(text)
        elif name in TRACE and name not in found:
            found[name] = text
        else:
            break
        at = match.end()
    head = data[at : data.find(b"\n\n", at) + 1]
    message_id = MESSAGE_ID.search(head)
    named = next(
        (found[name] for name in ("x-original-to", "envelope-to", "delivered-to") if name in found), ""
    )
    return Delivery(
        recipient=named or file.parent.parent.name,
        reverse_path=found.get("return-path", "").strip("<>"),
        message_id=message_id[1].decode("utf-8", "surrogateescape") if message_id else "",
        received=tuple(received),
        original=data[at:],
    )


class Mailbox:
    """All maildirs below a folder."""

    def __init__(self, folder: Path, hops: int = 1) -> None:
        self.folder = folder
        self.hops = hops

    def count(self) -> int:
        """How many messages have been delivered so far."""
        return sum(1 for _ in self._files())

    def deliveries(self) -> list[Delivery]:
        """What has been delivered so far."""
        return [read(file, self.hops) for file in self._files()]

    def delivered(self) -> list[tuple[str, str]]:
        """(recipient, Message-ID) of each delivery, sorted: what an exactly-once check compares."""
        return sorted((d.recipient, d.message_id) for d in self.deliveries())

    def wait(self, count: int, seconds: float = 20.0) -> list[Delivery]:
        """The deliveries, as soon as there are `count`; TimeoutError when they do not come."""
        wait_for(lambda: self.count() >= count, seconds, f"{count} messages below {self.folder}")
        return self.deliveries()

    def _files(self) -> list[Path]:
        return sorted(p for part in ("new", "cur") for p in self.folder.glob(f"**/{part}/*"))
