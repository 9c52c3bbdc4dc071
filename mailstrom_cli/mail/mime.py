"""The MIME structure of a message as slices of it (RFC 2045 and RFC 2046).

One walk over the lines that start with `--`, without recursion: linear in the length of the message, however
deep its parts are nested, and nothing of it is copied. Lines end with CRLF or LF. Nothing here is an error:
what is broken (a multipart without a boundary, or with one that never comes) is one part without children.
"""

from __future__ import annotations

import re

from mailstrom_cli.mail.header import NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailstrom_cli.mail.content import Data

MAX_PARTS = 100_000
"""With more parts than these a message is taken as one part without children: each costs memory."""
MAX_DELIMITER = 1000  # octets of a delimiter line; a boundary has 70 at the most (RFC 2046, 5.1.1)
MAX_NAME = 1000  # octets of a line in which a field's name is looked for
MAX_VALUE = 1 << 16  # octets of a field that are looked at

IDENTITY = ("7bit", "8bit", "binary")
MESSAGES = ("message/rfc822", "message/news")  # what has a header and a body again

_TYPE = re.compile(rb"\s*([^\s/;()\"]+)\s*/\s*([^\s;()\"]+)")
_PARAMETER = re.compile(rb";\s*([^\s;=()\"]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;()\"]+))", re.DOTALL)
_TOKEN = re.compile(rb"\s*([^\s;()]+)")


class Part:
    """One body part, or the message itself.

    start, body, end: where its header and its body start, and where that ends.  blank: an empty line ends its
    header.  parent: the part around it, None for the message.
    first, close: where the first delimiter of a multipart's parts starts, line end before it included, and
    where its close delimiter ends; None while there is none.  children: how many parts are in it.
    type: "text/plain", as Content-Type has it or by default.  boundary: of a multipart.  encoding: the
    Content-Transfer-Encoding, in lower case.  declared: what of `mime-version`, `content-type` is there.
    signed: inside a multipart/signed (RFC 1847).  dkim: inside a message with a DKIM or ARC signature, which
    cover its body (RFC 6376; RFC 8617).
    """

    __slots__ = (
        *("blank", "body", "boundary", "children", "close", "declared", "dkim", "encoding", "end", "first"),
        *("parent", "signed", "start", "type"),
    )

    def __init__(self, start: int, parent: Part | None) -> None:
        self.start = self.body = self.end = start
        self.parent = parent
        self.blank = False
        self.first: int | None = None
        self.close: int | None = None
        self.children = 0
        in_digest = parent is not None and parent.type == "multipart/digest"  # RFC 2046, 5.1.5
        self.type: str = "message/rfc822" if in_digest else "text/plain"
        self.boundary = b""
        self.encoding = "7bit"
        self.declared: set[bytes] = set()
        self.signed: bool = parent is not None and (parent.signed or parent.type == "multipart/signed")
        self.dkim: bool = parent is not None and parent.dkim

    @property
    def is_message(self) -> bool:
        """Whether its header is a message's: the outermost one, or in a message/rfc822."""
        return self.parent is None or self.parent.type in MESSAGES

    @property
    def is_leaf(self) -> bool:
        return not self.children


def parse(data: Data) -> list[Part]:
    """All parts in the order in which they start, the message itself first."""
    parts = _Walk(data).parts
    if len(parts) > MAX_PARTS:
        root = parts[0]
        root.first = root.close = None
        root.children = 0
        return [root]
    return parts


def fields(data: Data, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """The fields of a header from `start` to `stop`: the name of each in lower case, where it starts and
    ends. What comes before the first one, such as an mbox's separator, has the name b""."""
    at = start
    while at < stop:
        name, begin = _name(data, at), at
        at = _line_end(data, at, stop)
        while at < stop and data[at] in b" \t":
            at = _line_end(data, at, stop)
        yield name, begin, at


def _line_end(data: Data, at: int, stop: int) -> int:
    return data.find(b"\n", at, stop) + 1 or stop


def _before_line_end(data: Data, at: int) -> int:
    """Where the line end starts that a line ends with which ends at `at`; `at` if it has none."""
    if data[at - 1 : at] != b"\n":
        return at
    return at - (2 if data[at - 2 : at] == b"\r\n" else 1)


def _name(data: Data, at: int) -> bytes:
    """The name, in lower case, of the field that starts there; b"" if none does (RFC 5322, 2.2)."""
    start = data[at : at + MAX_NAME]
    name = start[: max(start.find(b":"), 0)].rstrip(b" \t")
    return b"" if name.translate(None, NAME) else name.lower()


def _is_mbox_line(text: bytes) -> bool:
    return text.startswith(b"From ") and not text[5:].lstrip(b" \t").startswith(b":")


class _Walk:
    """Goes through a message once."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self.parts: list[Part] = []
        self.unended: list[Part] = []
        self.open: list[Part] = []  # multiparts whose next delimiter may come, outermost first
        self.levels: dict[bytes, list[int]] = {}  # boundary -> where in `open`
        at = self.begin(0, None)
        while self.open and len(self.parts) <= MAX_PARTS:
            line, stop, level, closes = self.delimiter(at)
            if level < 0:
                break
            part = self.open[level]
            end = _before_line_end(data, line)
            self.end_until(part, end)
            if part.first is None:
                part.first = max(end, part.body)
            self.leave(level if closes else level + 1)
            if closes:
                part.close = at = stop
            else:
                at = self.begin(stop, part)
        # Where a delimiter is missing at the end, the last line end is taken as part of it.
        self.end_until(None, _before_line_end(data, len(data)) if self.open else len(data))

    def begin(self, at: int, parent: Part | None) -> int:
        """Opens the part that starts there, and the message that it may be; where its body starts."""
        while True:
            part = Part(at, parent)
            if parent is not None:
                parent.children += 1
            self.parts.append(part)
            self.unended.append(part)
            self.read_header(part)
            at = part.body
            if part.type not in MESSAGES or part.encoding not in IDENTITY or len(self.parts) > MAX_PARTS:
                break
            parent = part
        if part.boundary:
            self.levels.setdefault(part.boundary, []).append(len(self.open))
            self.open.append(part)
        return at

    def leave(self, level: int) -> None:
        """Forgets the multiparts from this level on: no delimiter of theirs counts any more."""
        while len(self.open) > level:
            self.levels[self.open.pop().boundary].pop()

    def end_until(self, last: Part | None, at: int) -> None:
        """Ends all parts inside the last one, or all."""
        while self.unended and self.unended[-1] is not last:
            part = self.unended.pop()
            part.end = max(at, part.body)

    def delimiter(self, at: int) -> tuple[int, int, int, bool]:
        """The next delimiter line from a line's start on: where it starts and ends, the level of its
        multipart (-1: there is no further one), and whether it closes that one."""
        data = self.data
        line = at if data[at : at + 2] == b"--" else data.find(b"\n--", at) + 1
        while line:  # never 0: before a delimiter there is the field with its boundary
            stop, level, closes = self.match(line)
            if level >= 0:
                return line, stop, level, closes
            line = data.find(b"\n--", line + 2) + 1
        return 0, 0, -1, False

    def match(self, line: int) -> tuple[int, int, bool]:
        """Of a line that starts with `--`: its end, its level or -1, and whether it closes."""
        text = self.data[line + 2 : line + MAX_DELIMITER]
        newline = text.find(b"\n")
        stop = line + 2 + (len(text) if newline < 0 else newline + 1)
        if newline >= 0 or stop == len(self.data):
            boundary = text[: newline if newline >= 0 else None].rstrip(b" \t\r")
            if levels := self.levels.get(boundary):
                return stop, levels[-1], False
            if boundary.endswith(b"--") and (levels := self.levels.get(boundary[:-2])):
                return stop, levels[-1], True
        return stop, -1, False

    def read_header(self, part: Part) -> None:
        """Finds where the body of a part starts, and reads what its header says of it."""
        data, at, end = self.data, part.start, len(self.data)
        if part.parent is None and _is_mbox_line(data[:MAX_NAME]):
            at = _line_end(data, 0, end)  # an mbox's separator
        seen: set[bytes] = set()
        before = at
        while at < end:
            two = data[at : at + 2]
            if two[:1] == b"\n" or two == b"\r\n":
                part.blank = True
                part.body = at + (1 if two[:1] == b"\n" else 2)
                break
            name = _name(data, at)
            if not name or (two == b"--" and self.match(at)[1] >= 0):
                break
            before, at = at, _line_end(data, at, end)
            while at < end and data[at] in b" \t":
                at = _line_end(data, at, end)
            if name not in seen and name in READERS:
                seen.add(name)  # of several the first counts
                READERS[name](part, data[before : min(at, before + MAX_VALUE)].partition(b":")[2])
        if not part.blank:
            part.body = at


def _read_type(part: Part, text: bytes) -> None:
    part.declared.add(b"content-type")
    found = _TYPE.match(text)
    # RFC 2045, 5.2: what has no valid type is plain text.
    part.type = (
        f"{found[1].decode('latin-1')}/{found[2].decode('latin-1')}".lower() if found else "text/plain"
    )
    if not part.type.startswith("multipart/"):
        return
    for name, quoted, token in _PARAMETER.findall(text):
        if name.lower() == b"boundary":
            plain = quoted.replace(b"\r\n", b"").replace(b"\n", b"") if quoted else token
            boundary = re.sub(rb"\\(.)", rb"\1", plain, flags=re.DOTALL).rstrip()
            part.boundary = boundary if boundary.isascii() else b""
            return


def _read_encoding(part: Part, text: bytes) -> None:
    found = _TOKEN.match(text)
    part.encoding = found[1].decode("latin-1").lower() if found else "7bit"


def _read_signature(part: Part, text: bytes) -> None:
    part.dkim = part.dkim or part.is_message


READERS = {
    b"content-type": _read_type,
    b"content-transfer-encoding": _read_encoding,
    b"mime-version": lambda part, text: part.declared.add(b"mime-version"),
    b"dkim-signature": _read_signature,
    b"arc-message-signature": _read_signature,
}
