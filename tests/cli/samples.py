"""Messages in every state, with fixed times, for the golden files; and a store that holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailstrom_cli.api import Mailstrom
from mailstrom_cli.config.schema import DEFAULTS
from mailstrom_cli.errors import NoSuchMessage
from mailstrom_cli.store.entry import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from mailstrom_cli.store.entry import Entry

NOW = 1795488300.0  # 2026-11-24T02:45:00Z
T0 = NOW - 120

HOSTILE = "Try\x1b[2J later\r\nerror: forged \u202eevil " + "x" * 300


def _line(id: str, sender: str, size: int, *recipients: str, at: float = T0) -> dict[str, Any]:
    return {
        "format": 1, "id": id, "submitted": at, "reverse_path": sender, "message_id": f"<{id}@example.org>",
        "size": size, "body": "7bit", "recipients": [{"address": r} for r in recipients],
    }  # fmt: skip


def _results(*rows: dict[str, Any], at: float = T0 + 1, transcript: str | None = None) -> dict[str, Any]:
    event: dict[str, Any] = {"event": "results", "time": at, "recipients": list(rows)}
    return event if transcript is None else {**event, "transcript": transcript}


def _row(address: str, status: str, code: int, enhanced: str, text: str, **more: Any) -> dict[str, Any]:
    host = "mx1.example.net[192.0.2.1]:25"
    row = {"address": address, "status": status, "attempts": 1, "retries": 0, "code": code, "host": host}
    return {**row, "enhanced": enhanced, "text": text, "tls": "TLSv1.3 verified", **more}


SIDECARS: dict[str, list[dict[str, Any]]] = {
    "06h0rpy7wnbbjrkv": [_line("06h0rpy7wnbbjrkv", "a@example.org", 1234, "b@example.net")],
    "06h0rpy828cw2neh": [
        _line("06h0rpy828cw2neh", "news@example.org", 3_456_789, "good@example.net", "busy@example.net",
              "a.rather.long.address@a.rather.long.subdomain.example.com", "unknown@example.net",
              "c@example.net"),
        _results(
            _row("good@example.net", "delivered", 250, "2.0.0", "Ok: queued as 4X", remote_id="4X",
                 tls_cipher="TLS_AES_256_GCM_SHA384", tls_by="dane-ee"),
            _row("busy@example.net", "deferred", 450, "4.2.2", "Mailbox full", next=NOW + 300),
            _row("a.rather.long.address@a.rather.long.subdomain.example.com", "deferred", 451, "4.7.1",
                 "Greylisted, please come back in five minutes", next=NOW + 240),
            _row("unknown@example.net", "failed", 550, "5.1.1", "No such user"),
            {"address": "c@example.net", "status": "deferred", "attempts": 1, "next": NOW + 60,
             "text": "connection refused", "host": "mx.example.com[2001:db8::1]:25"},
            transcript="S: 220 mx1.example.net ESMTP\nC: EHLO mail.example.org\nS: 250 \x1b[31mok",
        ),
    ],
    "06h0rq09x7a60em5": [
        _line("06h0rq09x7a60em5", "", 812, "held@example.net"),
        {"event": "held", "time": T0 + 2},
    ],
    "06h0rq0hstyyebad": [
        _line("06h0rq0hstyyebad", "a@example.org", 2048, "b@example.net", at=T0 - 100_000),
        _results(_row("b@example.net", "deferred", 450, "4.0.0", "Try", next=NOW - 1)),
    ],
    "06h0rq1de1ve7ed0": [
        _line("06h0rq1de1ve7ed0", "a@example.org", 99_999, "b@example.net"),
        _results(_row("b@example.net", "delivered", 250, "2.0.0", "Ok", tls=None)),
    ],
    "06h0rq1fa11ed000": [
        _line("06h0rq1fa11ed000", "a@example.org", 99_999, "b@example.net"),
        {"event": "cancelled", "time": T0 + 3},
    ],
}  # fmt: skip


class Samples:
    """As much of a store as looking needs."""

    def __init__(self) -> None:
        self.known: dict[str, Entry] = {}
        for id, lines in SIDECARS.items():
            folded = [dict(line) for line in lines]
            self.known[id] = fold(folded)
        # The fold refuses a line end in a reply; a store of somebody else might not.
        hostile = self.known["06h0rq0hstyyebad"].recipients[0]
        hostile.text = HOSTILE  # type: ignore[misc]

    def ids(self, states: Sequence[str]) -> Iterator[str]:
        return (id for id, entry in self.known.items() if entry.state in states)

    def entries(self, ids: Iterable[str]) -> Iterator[Entry]:
        return map(self.read, ids)

    def count(self, states: Sequence[str]) -> int:
        return len(list(self.ids(states)))

    def damaged(self) -> tuple[int, str]:
        return 0, ""

    def find(self, name: str) -> str:
        found = [id for id in self.known if id.startswith(name)]
        if len(found) != 1:
            raise NoSuchMessage(name)
        return found[0]

    def read(self, id: str) -> Entry:
        return self.known[id]

    def events(self, id: str) -> list[dict[str, Any]]:
        return SIDECARS[id]


def mailstrom() -> Mailstrom:
    mail = Mailstrom(DEFAULTS)
    mail._store = Samples()  # type: ignore[assignment]
    return mail
