"""The message on stdin as sendmail reads it: up to a line of one dot, and with a header where it has none."""

from __future__ import annotations

from mailstrom_cli.mail.header import NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LONGEST_NAME = 1000  # octets that are looked at for the name of a first field
DOTS = (b"\n.\n", b"\n.\r\n")


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
        at = next((len(held) - n for n in (3, 2, 1) if held[-n:] in (b"\n.\r", b"\n.", b"\n")), len(held))
        if at < len(held):
            yield held[given : at + 1]
            held, given = held[at:], 1
        else:
            yield held[given:]
            held, given = b"", 0
    if held not in (b"\n.", b"\n.\r"):
        yield held[given:]


def with_header(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces, with an empty line before a text that does not begin with a header field; the separator
    line of an mbox may come first."""
    rest = iter(pieces)
    head = b""
    for piece in rest:
        head += piece
        if head.count(b"\n", 0, 2 * LONGEST_NAME) >= 2 or len(head) >= 2 * LONGEST_NAME:
            break
    start = head.find(b"\n") + 1 if head.startswith(b"From ") and not _begins_field(head) else 0
    if not _begins_field(head[start:]) and not head.startswith((b"\n", b"\r\n"), start):
        head = head[:start] + b"\n" + head[start:]
    yield head
    yield from rest


def _begins_field(text: bytes) -> bool:
    name, colon, _ = text[:LONGEST_NAME].partition(b":")
    name = name.rstrip(b" \t")
    return bool(colon and name) and not name.translate(None, NAME)
