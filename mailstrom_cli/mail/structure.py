"""The rules that a header section follows as a whole (RFC 5322, 3.6)."""

from __future__ import annotations

from mailstrom_cli.mail.address import AddressError
from mailstrom_cli.mail.address_list import decoded
from mailstrom_cli.mail.content import MAX_LINE, first_long_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailstrom_cli.mail.finding import Findings
    from mailstrom_cli.mail.header import Field, Header

ONCE = (
    *("from", "sender", "reply-to", "to", "cc", "bcc"),
    *("message-id", "date", "subject", "in-reply-to", "references"),
)
RESENT = frozenset(
    f"resent-{name}" for name in ("date", "from", "sender", "to", "cc", "bcc", "message-id", "reply-to")
)
TRACE = ("received", "return-path")
MAX_RECEIVED = 99  # RFC 5321, 6.3: at least 100 tell of a loop


class Fields:
    """A header's fields by their names.

    all: in order.  complete: there is a header, and every line of it is part of one.
    resent: those of the first Resent- block, which is of the last resending (RFC 5322, 3.6.6); it ends where
    a name of it repeats or a trace field comes.
    """

    def __init__(self, header: Header) -> None:
        self.all = header.fields
        self.complete = header.fault is None and header.fields != ()
        self.by_key: dict[str, list[Field]] = {}
        for field in header.fields:
            self.by_key.setdefault(field.key, []).append(field)
        self.resent: dict[str, Field] = {}
        if not RESENT.isdisjoint(self.by_key):
            self._find_block()

    def first(self, key: str) -> Field | None:
        """The field of this name that stands first; of the first block, if it is a Resent- field."""
        if key in RESENT:
            return self.resent.get(key)
        return self.by_key[key][0] if key in self.by_key else None

    def _find_block(self) -> None:
        for field in self.all:
            if field.key in RESENT and field.key not in self.resent:
                self.resent[field.key] = field
            elif self.resent and (field.key in RESENT or field.key in TRACE):
                return


def check_fields(header: Header, fields: Fields, findings: Findings) -> None:
    """Everything that must be right with a header and needs no look into its addresses. Of what is no message
    at all, only that is told."""
    if not fields.all:
        _refuse_without_fields(header, findings)
        return
    first = 2 if header.mbox else 1
    if header.mbox:
        findings.fix("the separator line of an mbox was dropped", line=1)
    octets = header.octets
    if (at := octets.find(b"\0")) >= 0:
        line = first + octets.count(b"\n", 0, at)
        findings.refuse("a NUL octet is in the header", "RFC 5322, 4", line=line)
    if (at := first_long_line(octets)) >= 0:
        length = octets.index(b"\r", at) - at
        line = first + octets.count(b"\n", 0, at)
        name = next((f.name for f in reversed(fields.all) if f.line <= line), None)
        findings.refuse(
            f"the line has {length} octets; {MAX_LINE} are the most",
            "RFC 5322, 2.1.1",
            line=line,
            field=name,
            hint="fold long header fields at a blank",
        )
    if not octets.isascii():
        _check_utf8(fields, findings)
    for field in fields.all:
        if field.raw[field.colon - 1] in b" \t":
            findings.note(
                "a blank stands before its colon", "RFC 5322, 4.5", line=field.line, field=field.name
            )
    for key in ONCE:
        same = fields.by_key.get(key, [])
        if len(same) > 1:
            what = f"it may stand once, and is on line {same[0].line} already"
            findings.refuse(what, "RFC 5322, 3.6", line=same[1].line, field=same[1].name)
    received = fields.by_key.get("received", [])
    if len(received) > MAX_RECEIVED:
        what = f"there are {len(received)} of it: the message runs in a loop"
        findings.refuse(what, "RFC 5321, 6.3", line=received[MAX_RECEIVED].line, field="Received")
    if header.fault:
        line, what = header.fault
        hint = "an empty line must stand between the header and the text"
        findings.refuse(what, "RFC 5322, 2.2", line=line, hint=hint)
    elif "from" not in fields.by_key:
        hint = "every message names its author: `From: you@example.org`"
        findings.refuse("it is missing", "RFC 5322, 3.6.2", field="From", hint=hint)


def _refuse_without_fields(header: Header, findings: Findings) -> None:
    hint = "a message starts with header fields (`From: you@example.org`), then an empty line, then the text"
    if header.fault:
        line, what = header.fault
        findings.refuse(what, "RFC 5322, 2.2", line=line, hint=hint)
    elif header.blank:
        what = "the message starts with an empty line and has no header"
        findings.refuse(what, "RFC 5322, 3.6", line=header.lines, hint=hint)
    else:
        findings.refuse("the message is empty", hint=hint)


def _check_utf8(fields: Fields, findings: Findings) -> None:
    for field in fields.all:
        if field.raw.isascii():
            continue
        try:
            decoded(field.raw)
        except AddressError as error:
            line = field.line + field.raw.decode("latin-1").count("\n", 0, error.at)
            findings.refuse(
                str(error),
                "RFC 6532, 3.1",
                line=line,
                field=field.name,
                hint="write header text as UTF-8 or as encoded-words (RFC 2047)",
            )
