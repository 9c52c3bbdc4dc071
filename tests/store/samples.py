"""Submissions and events, as the tests of every store need them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from mailstrom_cli.mail.envelope import Envelope, Recipient
from mailstrom_cli.mail.status import STATES
from mailstrom_cli.store.base import Submission

NOW = 1_764_000_000.0
BODY = b"From: a@example.org\r\nSubject: x\r\n\r\n.dot\r\n"
ONE = "b@example.net"
TWO = "c@example.net"


def submission(*recipients: str, body: bytes = BODY, **envelope: Any) -> Submission:
    """A message to these recipients, `b@example.net` unless told otherwise."""
    envelope.setdefault("message_id", "<1@example.org>")
    envelope.setdefault("size", len(body))
    addressed = tuple(Recipient(address) for address in recipients or (ONE,))
    half = len(body) // 2
    return Submission(Envelope("a@example.org", addressed, **envelope), [body[:half], body[half:]])


def results(time: float, **statuses: str | float) -> dict[str, Any]:
    """An event: results(NOW, b="delivered", c=NOW + 300) says c is deferred until then."""
    return {"event": "results", "time": time, "recipients": [_result(n, s) for n, s in statuses.items()]}


def _result(name: str, status: str | float) -> dict[str, Any]:
    told: dict[str, Any] = {
        "address": f"{name}@example.net",
        "attempts": 1,
        "host": "mx.example.net[192.0.2.1]:25",
    }
    if isinstance(status, str):
        return told | {"status": status, "code": 250 if status == "delivered" else 550, "text": "so be it"}
    return told | {"status": "deferred", "retries": 1, "next": status, "code": 450, "enhanced": "4.2.0"}


def event(kind: str, time: float, **more: Any) -> dict[str, Any]:
    return {"event": kind, "time": time, **more}


def visible(root: Path) -> list[str]:
    """Every message in a spool, whatever its state."""
    return [p.name for name in (*STATES, "corrupt") for p in (root / name).iterdir()]


def where(root: Path, id: str) -> list[str]:
    """The directories of a spool in which there is anything under this id."""
    return [name for name in (*STATES, "tmp", "corrupt") if (root / name / id).exists()]


PRELUDE = "import sys\nfrom mailstrom_cli.store.spool import open_store\n"


def in_another_process(root: Path, code: str, *arguments: str) -> subprocess.Popen[str]:
    """A Python process that runs `code`, the spool's path in sys.argv[1]."""
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + code, str(root), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
