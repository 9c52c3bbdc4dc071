"""What goes over the wire: reply lines in, commands and dot-stuffed data out (RFC 5321, 4.2 and 4.5.2)."""

from __future__ import annotations

from mailstrom_cli.mail.reply import Reply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_LINE = 2048  # octets; RFC 5321, 4.5.3.1.5 grants a server 512
MAX_LINES = 256
"""Lines of one reply. The longest seen in the wild is an EHLO reply of some twenty lines."""

SEEN = 256
_SEEN: dict[bytes, Reply] = {}
"""Replies of one line that came before: most of what a server says in a day are the same three."""

END_OF_DATA = b".\r\n"


class Malformed(ValueError):
    """What the server sent is no SMTP reply."""


class ReplyParser:
    """Replies from bytes, however they are cut: `feed` bytes, then take `next_reply` until it is None."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._lines: list[str] = []

    def feed(self, data: bytes) -> None:
        self._pending += data

    @property
    def backlog(self) -> int:
        """Octets received and not yet taken."""
        return len(self._pending)

    @property
    def pending(self) -> bool:
        """Something was received that has not been taken as a reply."""
        return bool(self._pending or self._lines)

    def next_reply(self) -> Reply | None:
        """The next whole reply. Raises Malformed."""
        pending = self._pending
        while (end := pending.find(b"\n")) >= 0:
            if end > MAX_LINE:
                raise Malformed(f"a reply line of {end} octets")
            line = bytes(pending[:end]).rstrip(b"\r")
            del pending[: end + 1]
            if not self._lines and (known := _SEEN.get(line)):
                return known
            code, more, text = _reply_line(line)
            self._lines.append(text)
            if not more:
                lines, self._lines = self._lines, []
                reply = _reply(code, lines)
                if len(lines) == 1:
                    if len(_SEEN) >= SEEN:
                        _SEEN.clear()
                    _SEEN[line] = reply
                return reply
            if len(self._lines) >= MAX_LINES:
                raise Malformed(f"a reply of more than {MAX_LINES} lines")
        if len(pending) > MAX_LINE:
            raise Malformed(f"a reply line of more than {MAX_LINE} octets")
        return None


def _reply_line(line: bytes) -> tuple[int, bool, str]:
    code, mark = line[:3], line[3:4]
    if len(code) != 3 or not code.isdigit() or not b"200" <= code <= b"599" or mark not in (b" ", b"-", b""):
        raise Malformed(f'"{plain(line[:80])[:80]}" is no SMTP reply')
    return int(code), mark == b"-", plain(line[4:])


def plain(data: bytes) -> str:
    r"""A server's bytes as one line of text. What could end a line, move a cursor or turn its direction
    (control, C1, bidirectional, other invisible characters) and what is no UTF-8 is escaped: \x1b, \u202e."""
    text = data.decode("utf-8", "backslashreplace")
    if not text.isprintable():
        text = "".join(c if c.isprintable() else _SPACES.get(c) or _escaped(c) for c in text)
    return text.strip()


_SPACES = dict.fromkeys("\t\xa0", " ")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _reply(code: int, lines: list[str]) -> Reply:
    """The reply whose last line bears `code`; an enhanced code counts only with its class (RFC 2034, 4)."""
    enhanced = None
    texts = []
    for line in lines:
        word, _, rest = line.partition(" ")
        if is_enhanced(word) and word[0] == str(code)[0]:
            enhanced, line = word, rest.lstrip()
        texts.append(line)
    return Reply(code, enhanced, tuple(texts))


def is_enhanced(word: str) -> bool:
    """An enhanced status code: class 2, 4 or 5, subject and detail of up to three digits (RFC 3463, 2)."""
    parts = word.split(".")
    return (
        len(parts) == 3
        and parts[0] in ("2", "4", "5")
        and all(1 <= len(p) <= 3 and p.isascii() and p.isdigit() for p in parts[1:])
    )


def command(*words: str) -> bytes:
    """One command line. Raises ValueError for what would end it early: nothing is cleaned up silently."""
    line = " ".join(words)
    if any(c in line for c in "\r\n\0"):
        raise ValueError(f"a control character in an SMTP command: {line!r}")
    return line.encode() + b"\r\n"


def dot_stuffed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """A message of CRLF lines as DATA wants it, with the end of data, however it is cut (RFC 5321, 4.5.2)."""
    at_line_start = True
    for chunk in chunks:
        if not chunk:
            continue
        # Base64 has no dot at all, and to look for two octets from behind takes half the time.
        dots = b"." in chunk and chunk.rfind(b"\n.") >= 0
        out = chunk.replace(b"\n.", b"\n..") if dots else chunk
        yield b"." + out if at_line_start and chunk[:1] == b"." else out
        at_line_start = chunk[-1:] == b"\n"
    yield END_OF_DATA if at_line_start else b"\r\n" + END_OF_DATA
