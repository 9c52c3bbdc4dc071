"""Where a power cut happens, what is looked at after it, and the rest of the work."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mailstrom_cli.api import Mailstrom
from mailstrom_cli.config.schema import Settings, build
from mailstrom_cli.config.via import parse_via
from mailstrom_cli.errors import NoSpool
from mailstrom_cli.mail.status import STATES, UNFINISHED
from mailstrom_cli.queue.flush import sweep
from mailstrom_cli.store.check import Check

if TYPE_CHECKING:
    from pathlib import Path

    from mailstrom_cli.store.entry import Entry
    from tests.peers.scripted import ScriptedServer


@dataclass
class Place:
    """Where one cut happens: a folder on the disk, one beside it, and a server. sent: each message that is
    submitted, by its Message-ID, as it is to be stored."""

    folder: Path
    beside: Path
    server: ScriptedServer
    sent: dict[str, bytes] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    _used: list[Mailstrom] = field(default_factory=list)

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "MAILSTROM_SPOOL": str(self.spool),
            "MAILSTROM_VIA": f"smtp://127.0.0.1:{self.server.port}",
            "MAILSTROM_LIMITS_MIN_FREE": "0",
            "MAILSTROM_HELO_NAME": "client.example.test",
            "HOME": str(self.beside),  # for a dead.letter
        }

    def mail(self, *, create: bool = False) -> Mailstrom:
        settings: Settings = build(
            {
                "spool": str(self.spool),
                "via": (parse_via(self.environment["MAILSTROM_VIA"]),),
                "limits.min_free": 0,
                "helo_name": "client.example.test",
            }
        )
        mail = Mailstrom(settings, create=create)
        self._used.append(mail)
        return mail

    def close(self) -> None:
        """Let go of the disk."""
        for mail in self._used:
            if mail._store is not None:
                mail.store.close()
        self._used.clear()

    def message(self, to: str = "b@example.net", size: int = 0) -> bytes:
        """Another message, complete, so that it is stored as it is but for its line ends."""
        number = len(self.sent) + 1
        name = f"<{number}@example.org>"
        text = (
            f"From: a@example.org\nTo: {to}\nDate: Tue, 24 Nov 2026 10:00:00 +0000\nMessage-ID: {name}\n"
            f"Subject: {number}\n\n.{number}\n" + f"{'x' * 70}\n" * (size // 71)
        ).encode()
        self.sent[name] = text.replace(b"\n", b"\r\n")
        return text

    def files(self, count: int, *sizes: int) -> list[str]:
        made = []
        for number in range(count):
            path = self.beside / f"{number}.eml"
            path.write_bytes(self.message(size=sizes[number] if number < len(sizes) else 0))
            made.append(str(path))
        return made


# --- what is looked at after a cut ---


SWEPT_UP = re.compile(r"nobody looks for it here$|on hold, which it is not by its sidecar$")
"""Errors that the next sweep mends: a move or a time is on the disk, and its reason is not (g in
`store.spool`)."""


def faults(place: Place) -> list[str]:
    """What `mailstrom check-spool` says of errors and warnings."""
    found = Check(str(place.spool), time.time())
    return [f"{one.severity}: {one.where}: {one.what}" for one in found if one.left]


def look(place: Place) -> dict[str, Entry]:
    """Every message that is visible, by id: each is whole, and in one state. None was damaged."""
    try:
        store = place.mail().store
    except NoSpool:
        return {}
    damaged = list((place.spool / "corrupt").iterdir()) if (place.spool / "corrupt").exists() else []
    assert damaged == [], "set aside"
    found: dict[str, Entry] = {}
    for state in STATES:
        for id in store.ids([state]):
            assert id not in found, f"{id} is in two states"
            found[id] = entry = store.read(id)
            with store.open_message(id) as message:
                assert message.read() == place.sent[entry.envelope.message_id], f"{id} is not as it was sent"
    names = Counter(entry.envelope.message_id for entry in found.values())
    assert all(times == 1 for times in names.values()), "a message is there twice"
    wrong = [found for found in faults(place) if not SWEPT_UP.search(found)]
    assert wrong == [], f"check-spool finds what no sweep puts right: {wrong}"
    return found


def finish(place: Place) -> Mailstrom:
    """What comes next on every machine: the sweep of whoever flushes first, and a pass over all there is."""
    mail = place.mail(create=True)
    place.server.script.recipients = {"defer": "250 2.1.5 Ok"}
    sweep(mail.settings, mail.store)
    scheduled = [item.id for item in mail.store.scheduled()]
    for entry in mail.queue(STATES):
        waits = entry.state in UNFINISHED and not entry.held
        assert not waits or entry.id in scheduled, f"{entry.id} waits, and nobody will look at it"
    mail.flush(everything=True)
    mail.store.sweep(time.time() + 7200, 0.0, 0.0)  # an hour later nobody is at what lies in tmp/
    left = os.listdir(place.spool / "tmp")
    assert left == [], "left in tmp/"
    wrong = faults(place)
    assert wrong == [], f"check-spool finds what nobody put right: {wrong}"
    return mail
