"""What is said through the trigger of a store: the id of a message to look at, or what a `flush` wants."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

FLUSH = "flush"  # behind it ids, ALL, or nothing for what is due
ALL = "all"
LINE_IDS = 20
"""Ids in one line, within the 512 octets that POSIX lets every pipe take at once."""
FULL = 2048
"""Octets at once that mean the pipe may have been full, and lines lost; the smallest pipe holds 4096."""


def flush_lines(words: Sequence[str]) -> list[str]:
    """How a `flush` says what it wants: `words` are ids, or ALL."""
    return [" ".join([FLUSH, *words[i : i + LINE_IDS]]) for i in range(0, max(1, len(words)), LINE_IDS)]


class Lines:
    """Whole lines from pieces, as words."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[list[str]]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode("ascii", "replace").split() for line in lines]
