"""The message on stdin as sendmail reads it without -i: up to a line of one dot."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DOTS = (b"\n.\n", b"\n.\r\n")
BEGUN = (b"\n.\r", b"\n.", b"\n")


def until_dot(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces up to a line that is a single dot, wherever their boundaries are; other lines stay as they
    are. What comes after that line is not asked for."""
    held, given = b"\n", 1  # as if a line had ended before the first; given: octets of it not to be passed on
    for piece in pieces:
        held += piece
        ends = [at for dot in DOTS if (at := held.find(dot)) >= 0]
        if ends:
            yield held[given : min(ends) + 1]
            return
        # The beginning of such a line waits for what follows; the line end before it was passed on.
        at = len(held) - next((len(begun) for begun in BEGUN if held.endswith(begun)), 0)
        if at < len(held):
            yield held[given : at + 1]
            held, given = held[at:], 1
        else:
            yield held[given:]
            held, given = b"", 0
    if held not in BEGUN:
        yield held[given:]
