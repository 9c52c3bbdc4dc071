"""Commands whose clock is libfaketime's and is set while they run; monotonic time and files keep theirs."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tests.peers.needs import lacking

if TYPE_CHECKING:
    from .command import Limited

DAY = 86_400
TEN_YEARS = 3652 * DAY
SLEEP = Path(__file__).with_name("sleep")


def library() -> str:
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    return found[0] if found else lacking("libfaketime is not installed (Debian package faketime)")


class Clock:
    """The clock of a user's commands from now on. It is in a file, which each command reads at each look."""

    def __init__(self, mail: Limited, file: Path) -> None:
        self._file = file
        self.set("+0")
        mail.environment |= {
            "LD_PRELOAD": library(),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            "TZ": "UTC",
            "PYTHONPATH": os.pathsep.join((str(SLEEP), os.environ.get("PYTHONPATH", ""))),
        }

    def set(self, to: str) -> None:
        """`+3652d`, `-1d`; `2038-01-19 03:14:07` stands still there, `@...` goes on from there."""
        passing = self._file.with_suffix(".new")
        passing.write_text(f"{to}\n")
        passing.rename(self._file)

    def ahead(self, seconds: float) -> None:
        self.set(f"{seconds:+.0f}")
