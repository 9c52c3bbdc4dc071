"""A message in a form that more servers take: 7-bit content (RFC 6152, 3), or no line over 998 octets.

Each body part that needs it gets another Content-Transfer-Encoding; the multiparts and messages around it say
no longer that they have 8-bit content. Every other octet stays. What comes out, decoded, is what went in, and
converted again it does not change.

Two kinds of signature could break. A multipart/signed must not be changed on its way (RFC 1847, 2.1): what
would have to be is Impossible. A DKIM or ARC signature covers the message as a whole. At submission it is
left whole too: whoever submits can still mend the message and sign it again. At delivery the message is
converted all the same: its signer was to sign only what needs no conversion (RFC 6376, 5.3), a message whose
signature fails is to be treated as one without (RFC 6376, 6.1), and the alternative is certain failure.
Postfix converts so too; Exim sends 8-bit content to whoever did not offer to take it, which RFC 6152 forbids.
"""

from __future__ import annotations

from mailstrom_cli.mail import transfer
from mailstrom_cli.mail.mime import IDENTITY, MESSAGES, fields, parse
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailstrom_cli.mail.content import Data
    from mailstrom_cli.mail.mime import Part

    # From where to where other octets stand, and these.
    Edit = tuple[int, int, Callable[[], Iterator[bytes]]]

SLICE = 1 << 19  # octets of what stays as it is, taken at a time


@value
class Impossible:
    """Why a message cannot be converted, as a clause: "a part is signed ..."."""

    reason: str


class _Stop(Exception):
    """Ends the planning; the text is a reason."""


def to_7bit(data: Data, *, header: bool = False) -> Iterator[bytes] | Impossible:
    """A message of CRLF lines without octets above 127, in chunks of 1 MiB or less. Its own header fields
    stay as they are, unless `header` asks for them too."""
    return _converted(data, _SevenBit(data, content=True, header=header))


def to_ascii(data: Data) -> Iterator[bytes] | Impossible:
    """A message of CRLF lines with its own header fields in ASCII (see `downgrade`), and the rest as it is,
    in chunks of 1 MiB or less."""
    return _converted(data, _SevenBit(data, content=False, header=True))


def long_lines(data: Data) -> Iterator[bytes] | Impossible:
    """A message of CRLF or LF lines with no line over 998 octets in a body: text as quoted-printable, other
    content as base64, in chunks of 1 MiB or less. Impossible too where a DKIM signature covers the body."""
    return _converted(data, _LongLines(data))


def _converted(data: Data, plan: _Plan) -> Iterator[bytes] | Impossible:
    try:
        edits = plan.edits()
    except _Stop as stop:
        return Impossible(str(stop))
    return _edited(data, edits)


def _edited(data: Data, edits: list[Edit]) -> Iterator[bytes]:
    at = 0
    for start, end, made in edits:
        yield from _copied(data, at, start)
        yield from made()
        at = end
    yield from _copied(data, at, len(data))


def _copied(data: Data, start: int, end: int) -> Iterator[bytes]:
    for at in range(start, end, SLICE):
        yield data[at : min(at + SLICE, end)]


class _Plan:
    """Which slices of a message are replaced, and by what."""

    text_encoding = ""  # of text, or "" for the shorter one

    def __init__(self, data: Data) -> None:
        self.data = data

    def edits(self) -> list[Edit]:
        """Raises _Stop."""
        parts = parse(self.data)
        bodies: list[Edit] = []
        encodings: dict[Part, str] = {}
        for part in parts:
            self.check_header(part)
            if part.is_leaf:
                if self.needs(part.body, part.end):
                    encodings[part] = self.encoding(part)
                    bodies.append((part.body, part.end, self.encoded(part, encodings[part])))
            elif part.type not in MESSAGES:
                bodies += self.fillers(part)
        self.spread(encodings)
        headers: list[Edit] = [
            (part.start, part.body, self.header(part, encodings.get(part, "")))
            for part in parts
            if encodings.get(part) or self.header_needs(part)
        ]
        return sorted(headers + bodies, key=lambda edit: edit[0])

    def needs(self, start: int, end: int) -> bool:
        """Whether a slice cannot stay as it is."""
        raise NotImplementedError

    def spread(self, encodings: dict[Part, str]) -> None:
        """Adds the encodings of the parts around those that get another."""

    def header_needs(self, part: Part) -> bool:
        return False

    def check_header(self, part: Part) -> None:
        """Raises _Stop when nothing can be done about what the header of a part needs."""

    def fillers(self, part: Part) -> list[Edit]:
        """What is before the first and after the last part of a multipart, for people whose reader knows no
        MIME (RFC 2046, 5.1.1)."""
        edits: list[Edit] = []
        for start, end in ((part.body, part.first), (part.close, part.end)):
            if start is not None and end is not None and self.needs(start, end):
                self.check_unsigned(part)
                edits.append((start, end, self.filler(start, end)))
        return edits

    def filler(self, start: int, end: int) -> Callable[[], Iterator[bytes]]:
        """Raises _Stop."""
        raise NotImplementedError

    def check_unsigned(self, part: Part) -> None:
        if part.signed:
            raise _Stop("a part of it is signed (multipart/signed) and must not be changed")

    def encoding(self, part: Part) -> str:
        """The encoding in which a leaf can stand. Raises _Stop."""
        self.check_unsigned(part)
        if part.encoding in ("quoted-printable", "base64"):
            return part.encoding
        if part.encoding not in IDENTITY:
            raise _Stop(f"a part of it has the unknown encoding {part.encoding[:40]!a}")
        kind, _, subtype = part.type.partition("/")
        if kind == "multipart" or (kind == "message" and not subtype.startswith("global")):
            # RFC 2045, 6.4; for message/global, RFC 6532, 3.7.
            raise _Stop(f"a part of it is a broken {part.type[:40]!a}, which no encoding is allowed for")
        if kind not in ("text", "message"):
            return "base64"
        return self.text_encoding or transfer.shorter(self.data, part.body, part.end)

    def encoded(self, part: Part, encoding: str) -> Callable[[], Iterator[bytes]]:
        if encoding == part.encoding:
            encode = transfer.rewrapped if encoding == "base64" else transfer.requoted
        else:
            encode = transfer.base64 if encoding == "base64" else transfer.quoted_printable
        if encoding != "base64" or part.end == len(self.data):
            return lambda: encode(self.data, part.body, part.end)
        return lambda: _without_last_line_end(encode(self.data, part.body, part.end))

    def header(self, part: Part, encoding: str) -> Callable[[], Iterator[bytes]]:
        """A header with another encoding, and with what a message must have that has one (RFC 2045, 4)."""
        return lambda: self._header(part, encoding)

    def _header(self, part: Part, encoding: str) -> Iterator[bytes]:
        data, blank = self.data, b""
        line = b"Content-Transfer-Encoding: %s\r\n" % encoding.encode() if encoding else b""
        for name, start, end in fields(data, part.start, part.body):
            if name == b"content-transfer-encoding" and encoding:
                yield line
                line = b""
            elif data[start:end] in (b"\r\n", b"\n"):
                blank = data[start:end]
            else:
                yield from self.field(part, name, start, end)
        if line and part.is_message and b"mime-version" not in part.declared:
            yield b"MIME-Version: 1.0\r\n"
            if b"content-type" not in part.declared and part.is_leaf:
                yield b"Content-Type: text/plain; charset=%s\r\n" % self.charset(part)
        yield line
        yield blank or b"\r\n"

    def field(self, part: Part, name: bytes, start: int, end: int) -> Iterator[bytes]:
        return _copied(self.data, start, end)

    def charset(self, part: Part) -> bytes:
        if transfer.is_ascii(self.data, part.body, part.end):
            return b"us-ascii"
        return b"utf-8" if transfer.is_utf8(self.data, part.body, part.end) else b"unknown-8bit"


class _SevenBit(_Plan):
    """content: the bodies of all parts, and the headers of those inside the message.  header: its own."""

    def __init__(self, data: Data, *, content: bool, header: bool) -> None:
        super().__init__(data)
        self.content = content
        self.own_header = header

    def needs(self, start: int, end: int) -> bool:
        return self.content and not transfer.is_ascii(self.data, start, end)

    def spread(self, encodings: dict[Part, str]) -> None:
        for part in list(encodings):
            around = part.parent
            while around is not None and around not in encodings:
                encodings[around] = "7bit" if around.encoding in ("8bit", "binary") else ""
                around = around.parent

    def header_needs(self, part: Part) -> bool:
        wanted = self.content if part.parent is not None else self.own_header
        return wanted and not transfer.is_ascii(self.data, part.start, part.body)

    def check_header(self, part: Part) -> None:
        if self.header_needs(part):
            self.check_unsigned(part)
            for _ in self._header(part, ""):
                pass

    def field(self, part: Part, name: bytes, start: int, end: int) -> Iterator[bytes]:
        wanted = self.content if part.parent is not None else self.own_header
        if not wanted or transfer.is_ascii(self.data, start, end):
            yield from _copied(self.data, start, end)
            return
        from mailstrom_cli.mail.downgrade import ascii_field

        made = ascii_field(self.data[start:end])
        if made is None:
            raise _Stop(f"its field `{name[:40].decode('latin-1')}` has no form in ASCII")
        yield made

    def filler(self, start: int, end: int) -> Callable[[], Iterator[bytes]]:
        """With `?` for what is not ASCII: readers ignore it (RFC 2046, 5.1.1)."""
        table = bytes(c if c < 128 else ord("?") for c in range(256))
        return lambda: (chunk.translate(table) for chunk in _copied(self.data, start, end))


class _LongLines(_Plan):
    text_encoding = "quoted-printable"

    def needs(self, start: int, end: int) -> bool:
        return transfer.has_long_line(self.data, start, end)

    def check_header(self, part: Part) -> None:
        if part.parent is not None and self.needs(part.start, part.body):
            raise _Stop("a header field of one of its parts has a line over 998 octets")

    def encoding(self, part: Part) -> str:
        if part.dkim:
            raise _Stop("its DKIM signature covers the line and must stay valid")
        return super().encoding(part)

    def filler(self, start: int, end: int) -> Callable[[], Iterator[bytes]]:
        raise _Stop("the line is in no part")


def _without_last_line_end(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Base64 before a delimiter, whose line end is there already (RFC 2046, 5.1.1)."""
    held = b""
    for chunk in chunks:
        if held:
            yield held
        held = chunk
    yield held.removesuffix(b"\r\n")
