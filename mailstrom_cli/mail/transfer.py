"""Content-Transfer-Encodings, as streams of CRLF lines of 76 octets or less (RFC 2045, 6.7 and 6.8).

Each takes a slice of a message and gives the same content in another form; memory is bounded, whatever the
length of the slice or of its lines.
"""

from __future__ import annotations

from binascii import b2a_base64

from mailstrom_cli.mail.content import MAX_LINE, crlf, first_long_line, pieces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailstrom_cli.mail.content import Data

SLICE = 1 << 16  # octets taken at a time
LINE = 76  # octets without CRLF (RFC 2045, 6.7 (5) and 6.8)
OCTETS = LINE // 4 * 3  # what a line of base64 holds

PLAIN = bytes(c for c in range(32, 127) if c != ord("=")) + b"\t\r\n"  # what quoted-printable leaves alone
BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
NOT_BASE64 = bytes(c for c in range(256) if c not in BASE64)


def slices(data: Data, start: int, end: int, size: int = SLICE) -> Iterator[bytes]:
    """The octets from `start` to `end` with CRLF for every line end; no CRLF is cut in two."""
    yield from map(crlf, pieces(data, start, end, size))


def is_ascii(data: Data, start: int, end: int) -> bool:
    """Whether no octet is above 127."""
    return all(data[at : min(at + SLICE, end)].isascii() for at in range(start, end, SLICE))


def has_long_line(data: Data, start: int, end: int) -> bool:
    """Whether a line has more than 998 octets; the first one starts with the slice."""
    held = 0
    for chunk in slices(data, start, end):
        if first_long_line(chunk + b"\r\n", held) >= 0:
            return True
        last = chunk.rfind(b"\n")
        held = held + len(chunk) if last < 0 else len(chunk) - last - 1
    return False


def is_utf8(data: Data, start: int, end: int) -> bool:
    from codecs import getincrementaldecoder

    decoder = getincrementaldecoder("utf-8")()
    try:
        for chunk in slices(data, start, end):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def shorter(data: Data, start: int, end: int) -> str:
    """Which of "quoted-printable" and "base64" makes less of a text; of equals the one that people read."""
    octets = special = 0
    for chunk in slices(data, start, end):
        octets += len(chunk)
        special += len(chunk.translate(None, PLAIN))
    quoted = octets + 2 * special
    quoted += 3 * (quoted // (LINE - 3))
    return "base64" if (octets + 2) // 3 * 4 * (LINE + 2) // LINE < quoted else "quoted-printable"


def quoted_printable(data: Data, start: int, end: int) -> Iterator[bytes]:
    """A text as quoted-printable."""
    return _quoted(data, start, end, PLAIN, _blank_escaped)


def requoted(data: Data, start: int, end: int) -> Iterator[bytes]:
    """Quoted-printable once more, its long lines folded and what it forgot to escape escaped."""
    return _quoted(data, start, end, PLAIN + b"=", _blank_dropped)


def _quoted(
    data: Data, start: int, end: int, plain: bytes, ended: Callable[[bytes], bytes]
) -> Iterator[bytes]:
    """plain: the octets that stay.  ended: deals with the blanks at the end of a line."""
    text = b""
    for chunk in slices(data, start, end):
        special = set(chunk.translate(None, plain))
        for octet in sorted(special, key=lambda octet: octet != ord("=")):  # first: the others bring it in
            chunk = chunk.replace(bytes((octet,)), b"=%02X" % octet)
        *lines, text = (text + chunk).split(b"\r\n")
        if lines:
            yield b"\r\n".join([*[_folded(ended(line)) for line in lines], b""])
        if len(text) > MAX_LINE:  # a line that may have no end
            folded, _, text = _folded(text).rpartition(b"\r\n")
            yield folded + b"\r\n"
    if text:
        yield _folded(ended(text))


def _blank_escaped(line: bytes) -> bytes:
    return line[:-1] + b"=%02X" % line[-1] if line[-1:] in (b" ", b"\t") else line


def _blank_dropped(line: bytes) -> bytes:
    """Blanks there were put in on the way, and must not be taken apart by folding (RFC 2045, 6.7 (3))."""
    return line.rstrip(b" \t") if len(line) > LINE else line


def base64(data: Data, start: int, end: int) -> Iterator[bytes]:
    """Any octets, their line ends CRLF, as base64."""
    octets = b""
    for chunk in slices(data, start, end):
        octets += chunk
        cut = len(octets) - len(octets) % OCTETS
        if cut:
            yield _wrapped(b2a_base64(octets[:cut], newline=False))
            octets = octets[cut:]
    if octets:
        yield _wrapped(b2a_base64(octets, newline=False))


def rewrapped(data: Data, start: int, end: int) -> Iterator[bytes]:
    """Base64 once more, its lines of the right length and without what is not of it."""
    text = b""
    for chunk in slices(data, start, end):
        text += chunk.translate(None, NOT_BASE64)
        cut = len(text) - len(text) % LINE
        if cut:
            yield _wrapped(text[:cut])
            text = text[cut:]
    if text:
        yield _wrapped(text)


def _wrapped(text: bytes) -> bytes:
    lines = [text[at : at + LINE] for at in range(0, len(text), LINE)]
    return b"\r\n".join([*lines, b""])


def _folded(line: bytes) -> bytes:
    """A line of quoted-printable with soft line breaks, none of them inside an escape (RFC 2045, 6.7)."""
    pieces, at = [], 0
    while len(line) - at > LINE:
        cut = at + LINE - 1
        escape = line.find(b"=", cut - 2, cut)
        cut = escape if escape >= 0 else cut
        pieces.append(line[at:cut] + b"=\r\n")
        at = cut
    return b"".join(pieces) + line[at:]
