"""The text of a message with lines that no server has to take, encoded anew, part by part (RFC 5322, 2.1.1).

`convert` makes a whole message of a whole message, in pieces; here its header is told from its text, so that
the header can be put right as any other.
"""

from __future__ import annotations

from mailstrom_cli.mail.content import Content, crlf
from mailstrom_cli.mail.convert import Impossible, long_lines
from mailstrom_cli.mail.header import split_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailstrom_cli.mail.content import Data
    from mailstrom_cli.mail.header import Header

GROWTH = 4096  # octets, more than the header grows by


class Recoded(Content):
    """What the recoded message has from octet `start` on. Each look at it encodes it again, in pieces."""

    __slots__ = ()

    def _slices(self) -> Iterator[bytes]:
        converted = long_lines(self._data)
        assert not isinstance(converted, Impossible)
        skip, held, ended = self._start, b"", True
        for chunk in converted:
            piece = held + chunk[skip:]
            skip = max(0, skip - len(chunk))
            held = b"\r" if piece.endswith(b"\r") else b""  # half a line end waits for the rest
            if whole := crlf(piece.removesuffix(held)):
                yield whole
                ended = whole.endswith(b"\n")
        if not ended:
            yield b"\r\n"


def recoded(data: Data, header: Header) -> tuple[Header, Content] | str:
    """The header and the text as they are with no line too long in the text, or why that cannot be."""
    if _has_lone_returns(data):
        return "some of its lines end with CR alone or with CR CR LF"
    converted = long_lines(data)
    if isinstance(converted, Impossible):
        return converted.reason
    beginning = b""
    for chunk in converted:
        beginning += chunk
        if len(beginning) > header.end + GROWTH:
            break
    after = split_header(beginning)
    body = Recoded(data, after.end)
    return "it is in no part that could be encoded" if body.longest else (after, body)


def _has_lone_returns(data: Data) -> bool:
    at = data.find(b"\r")
    while at >= 0:
        if data[at + 1 : at + 2] != b"\n":
            return True
        at = data.find(b"\r", at + 1)
    return False
