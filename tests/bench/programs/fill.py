"""Fill a mailstrom spool through its own intake, with everything durable.

    fill.py CONFIG SPOOL MESSAGE COUNT LATER DOMAIN,...

Each of COUNT messages goes to one domain, in turn. LATER: seconds until they are due.
"""

from __future__ import annotations

import sys
import time

from mailstrom_cli.api import Mailstrom
from mailstrom_cli.mail.envelope import Envelope, Recipient
from mailstrom_cli.store.base import Submission

BATCH = 1000


def main(config: str, spool: str, message: str, count: str, later: str, domains: str) -> None:
    with open(message, "rb") as file:
        data = file.read().replace(b"\n", b"\r\n")
    now = time.time()
    at = now + float(later) if float(later) else None
    names = domains.split(",")
    store = Mailstrom.open(config, spool).store
    envelopes = [
        Envelope("a@bench.test", (Recipient(f"c@{name}"),), "<bench@bench.test>", len(data), at=at)
        for name in names
    ]
    for begin in range(0, int(count), BATCH):
        some = range(begin, min(begin + BATCH, int(count)))
        store.intake([Submission(envelopes[i % len(names)], [data]) for i in some], time.time())


if __name__ == "__main__":
    main(*sys.argv[1:])
