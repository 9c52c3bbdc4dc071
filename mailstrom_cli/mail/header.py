"""The header section of a message as its fields, octet for octet (RFC 5322, 2.2).

Nothing here is written anew: a field is a slice of the message, so what is not touched leaves as it came, and
the signatures over it stay good. A line ends with LF and what CR stand before it. A lone CR ends none, or who
filters LF alone could be made to send a field that is not theirs; only where the message has no LF at all,
each CR ends a line.
"""

from __future__ import annotations

from mailstrom_cli.mail.content import lf
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailstrom_cli.mail.content import Data

MAX_HEADER = 2 << 20  # octets; a To field with 20,000 recipients has half of it
MAX_FIELDS = 100_000
NAME = bytes(range(33, 127))  # what a field name is made of, and `:`, which ends it (RFC 5322, 2.2)


@value
class Field:
    """One field. line: its first, counted from 1.  name: as written.  key: the name in lower case.
    raw: the whole field, folding and last CRLF included.  colon: where it is in `raw`."""

    line: int
    name: str
    key: str
    raw: bytes
    colon: int

    @property
    def body(self) -> bytes:
        """What follows the colon, unfolded and stripped of blanks (RFC 5322, 2.2.3)."""
        return self.raw[self.colon + 1 :].replace(b"\r\n", b"").strip(b" \t")


@value
class Header:
    """A header section. fields: in order.  octets: the section from its first field on, CRLF lines, without
    the empty line after it.  lines: how many lines of the input it has, that empty one included.
    blank: whether there is an empty line.  end: where the body starts in the input.
    mbox: the line `From ...` before it was there.  fault: the first line that is no field, with what is wrong
    with it, or None; no field after it is told of.  cut: ended before a line that is no field, where the
    input has no empty line."""

    fields: tuple[Field, ...]
    octets: bytes
    lines: int
    blank: bool
    end: int
    mbox: bool
    fault: tuple[int, str] | None
    cut: bool = False


def split_header(data: Data) -> Header:
    """The header section at the start of a message whose lines end with LF, CRLF or CR. A lone CR that ends
    no line is still in its octets."""
    newline = _newline(data)
    end, blank = _section(data, newline)
    whole = end <= MAX_HEADER
    section = lf(data[: min(end, MAX_HEADER)]).replace(newline, b"\r\n")
    if blank and whole:
        section = section[:-2]
    elif section and not section.endswith(b"\n"):
        section += b"\r\n"
    mbox = _is_mbox_line(section)
    start = section.index(b"\n") + 1 if mbox else 0
    fields: list[Field] = []
    fault = _split(section, start, 2 if mbox else 1, fields)
    if not whole and (not fault or len(fields) == MAX_FIELDS):
        fields.clear()
        fault = section.count(b"\n"), f"the header section has over {MAX_HEADER} octets"
    lines = section.count(b"\n") + blank
    return Header(tuple(fields), section[start:], lines, blank, end, mbox, fault)


def ended_at_fault(data: Data, header: Header) -> Header:
    """The header section as it is when an empty line stands before the line that is no field. Not when the
    lines from there to the first empty one have a Bcc, which would show in the text."""
    if header.fault is None or len(header.fields) >= MAX_FIELDS:
        return header
    if not header.fields and header.fault[0] > 1 + header.mbox:
        return header  # too long to be looked at
    lines = data[: min(header.end, MAX_HEADER)].split(_newline(data))
    before = header.fault[0] - 1
    rest = (part for line in lines[before:] for part in line.split(b"\r"))
    if header.fields and any(_name(line) in (b"bcc", b"resent-bcc") for line in rest):
        return header
    octets = b"".join([field.raw for field in header.fields])
    end = sum([len(line) + 1 for line in lines[:before]])
    return Header(header.fields, octets, before, True, end, header.mbox, None, True)


def _name(line: bytes) -> bytes:
    name, colon, _ = line.partition(b":")
    return name.rstrip(b" \t").lower() if colon else b""


def _newline(data: Data) -> bytes:
    """What ends the lines of a message."""
    return b"\r" if data.find(b"\n") < 0 <= data.find(b"\r") else b"\n"


def _section(data: Data, newline: bytes) -> tuple[int, bool]:
    """Where the body starts, and whether an empty line stands before it. Looks at MAX_HEADER octets at
    most."""
    for window in (1 << 14, MAX_HEADER + 2):
        head = data[:window]
        if end := _empty_line(head, newline):
            return end, True
        if len(head) == len(data):
            break
    return len(data), False


def _empty_line(head: bytes, newline: bytes) -> int:
    """Where the first empty line ends; 0 for none."""
    if newline == b"\r" or b"\r" not in head:
        pair = newline * 2
        return 1 if head.startswith(newline) else head.find(pair) + 2 if pair in head else 0
    bare = head.lstrip(b"\r")
    if bare.startswith(b"\n"):
        return len(head) - len(bare) + 1
    found = [at + len(pair) for pair in (b"\n\n", b"\n\r\n") if (at := head.find(pair)) >= 0]
    first = min(found, default=0)
    before = first or len(head)
    start = head.find(b"\n\r\r", 0, before) + 1
    while start:  # a run of CR is an empty line only where LF ends it
        stop = start
        while head[stop : stop + 1] == b"\r":
            stop += 1
        if head[stop : stop + 1] == b"\n":
            return stop + 1
        start = head.find(b"\n\r\r", stop, before) + 1
    return first


def _is_mbox_line(section: bytes) -> bool:
    """Whether an mbox's separator comes first: `From ` and no colon for its next, which makes it a field."""
    return section.startswith(b"From ") and not section[5:100].lstrip(b" \t").startswith(b":")


def _split(section: bytes, at: int, number: int, fields: list[Field]) -> tuple[int, str] | None:
    """Appends the fields from octet `at`, line `number`, on; what is wrong with the first line that is
    none."""
    end = len(section)
    while at < end:
        stop = section.index(b"\n", at) + 1
        first = number
        number += 1
        while section[stop : stop + 1] in (b" ", b"\t"):
            stop = section.index(b"\n", stop) + 1
            number += 1
        raw = section[at:stop]
        colon = raw.find(b":")
        name = raw[:colon].rstrip(b" \t")  # blanks before the colon are obsolete, not wrong (RFC 5322, 4.5)
        if colon < 1 or not name or name.translate(None, NAME):
            return first, _fault(raw, colon, name)
        if len(fields) == MAX_FIELDS:
            return first, f"the header has over {MAX_FIELDS} fields"
        text = name.decode("ascii")
        fields.append(Field(first, text, text.lower(), raw, colon))
        at = stop
    return None


def _fault(raw: bytes, colon: int, name: bytes) -> str:
    line = raw[: raw.index(b"\r\n")].decode("ascii", "backslashreplace")
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line)
    text = f"`{text if len(text) <= 60 else text[:57] + '...'}`"
    if raw[:1] in (b" ", b"\t"):
        return f"{text} starts with a blank, which continues a field, and there is none before it"
    if colon < 0 or b"\r\n" in raw[:colon]:
        return f"{text} is no header field: it has no colon"
    if not name:
        return f"{text} has no field name before the colon"
    strange = name.translate(None, NAME)[:1]
    what = "a space" if strange == b" " else f"octet 0x{strange.hex().upper()}"
    return f"{text} is no header field: its name would have {what} in it"
