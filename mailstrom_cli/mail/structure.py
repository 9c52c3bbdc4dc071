"""The rules that a header section follows as a whole (RFC 5322, 3.6)."""

from __future__ import annotations

from mailstrom_cli.mail.address import AddressError
from mailstrom_cli.mail.address_list import decoded
from mailstrom_cli.mail.content import MAX_LINE, first_long_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailstrom_cli.mail.finding import Findings
    from mailstrom_cli.mail.header import Field, Header

ONCE = ("from", "sender", "reply-to", "message-id", "date", "subject", "in-reply-to", "references")
DESTINATIONS = ("to", "cc", "bcc")  # several of one name are read as one (RFC 5322, 4.5.3)
OWN = (*ONCE, *DESTINATIONS)
RESENT = frozenset(
    f"resent-{name}" for name in ("date", "from", "sender", "to", "cc", "bcc", "message-id", "reply-to")
)
RESENT_DESTINATIONS = tuple([f"resent-{name}" for name in DESTINATIONS])
TRACE = ("received", "return-path")
TEXTS = ("subject", "comments", "content-description")  # unstructured, and shown to people
MIME = ("mime-version", "content-type", "content-transfer-encoding")
MAX_RECEIVED = 99  # RFC 5321, 6.3: at least 100 tell of a loop
GOOD_LINE = 78  # octets (RFC 5322, 2.1.1: a line should have no more)
CONTROLS = bytes([*range(1, 9), 11, 12, *range(14, 32), 127])


class Fields:
    """A header's fields by their names.

    all: in order.  complete: there is a header, and every line of it is part of one.
    blocks: the Resent- fields of each resending by their names, the last one first (RFC 5322, 3.6.6).
    resent: the first block.
    given: the field that was to be added.
    signed: the field names, in lower case, that signatures in it cover, each with the first of these.
    """

    def __init__(self, header: Header, added: Field | None = None) -> None:
        """added: a field that is to come behind the others, if there is none of its name."""
        self.all = header.fields
        self.given = added
        self.by_key: dict[str, list[Field]] = {}
        for field in header.fields:
            self.by_key.setdefault(field.key, []).append(field)
        if added is not None and added.key not in self.by_key:
            self.all = (*self.all, added)
            self.by_key[added.key] = [added]
        self.complete = header.fault is None and self.all != ()
        self.blocks = [] if RESENT.isdisjoint(self.by_key) else list(_blocks(self.all))
        self.resent: dict[str, list[Field]] = self.blocks[0] if self.blocks else {}
        self.signed: dict[str, Field] = {}
        if any(key.endswith("-signature") for key in self.by_key):
            from mailstrom_cli.mail.signature import signed

            self.signed = signed(self.by_key)

    def first(self, key: str) -> Field | None:
        """The field of this name that stands first; of the first block, if it is a Resent- field."""
        same = self.every(key)
        return same[0] if same else None

    def every(self, key: str) -> Sequence[Field]:
        """The fields of this name; those of the first block, if they are Resent- fields."""
        return (self.resent if key in RESENT else self.by_key).get(key, ())


def _blocks(fields: tuple[Field, ...]) -> Iterator[dict[str, list[Field]]]:
    """Received ends a block."""
    run: list[Field] = []
    for field in fields:
        if field.key in RESENT:
            run.append(field)
        elif field.key == "received":
            yield from _blocks_of_run(run)
            run = []
    yield from _blocks_of_run(run)


def _blocks_of_run(run: list[Field]) -> Iterator[dict[str, list[Field]]]:
    """A name that repeats begins the next block; that of a destination only where the block before began with
    one, and a name that is none repeats later on. Never Resent-Bcc: once the message has left, it is gone."""
    last = {field.key: at for at, field in enumerate(run) if field.key not in RESENT_DESTINATIONS}
    block: dict[str, list[Field]] = {}
    for at, field in enumerate(run):
        if field.key in block and field.key != "resent-bcc":
            leads = next(iter(block)) not in last
            if field.key in last or (leads and any(last.get(key, 0) > at for key in block)):
                yield block
                block = {}
        block.setdefault(field.key, []).append(field)
    if block:
        yield block


def check_fields(header: Header, fields: Fields, findings: Findings) -> None:
    """Everything that must be right with a header and needs no look into its addresses. Of what is no message
    at all, only that is told."""
    if not fields.all:
        _refuse_without_fields(header, findings)
        return
    if header.mbox:
        findings.fix("the separator line of an mbox was dropped", line=1)
    _check_octets(header, fields, findings)
    for key in ONCE:
        same = fields.by_key.get(key, ())
        if len(same) > 1:
            what = f"it may stand once, and is on line {same[0].line} already"
            findings.refuse(what, "RFC 5322, 3.6", line=same[1].line, field=same[1].name)
    for key in ("to", "cc"):
        for again in fields.by_key.get(key, ())[1:]:
            what = "it may stand once; all of them are read as one"
            findings.note(what, "RFC 5322, 4.5.3", line=again.line, field=again.name)
    received = fields.by_key.get("received", ())
    if len(received) > MAX_RECEIVED:
        what = f"there are {len(received)} of it: the message runs in a loop"
        findings.refuse(what, "RFC 5321, 6.3", line=received[MAX_RECEIVED].line, field="Received")
    _check_order(fields, findings)
    _check_values(fields, findings)
    if header.fault:
        line, what = header.fault
        hint = "an empty line must stand between the header and the text"
        findings.refuse(what, "RFC 5322, 2.2", line=line, hint=hint)
    elif "from" not in fields.by_key:
        hint = "every message names its author: `From: you@example.org`"
        findings.refuse("it is missing", "RFC 5322, 3.6.2", field="From", hint=hint)


def note_long_lines(header: Header, fields: Fields, findings: Findings) -> None:
    """That lines are longer than they should be: it harms nothing, and is told on request only."""
    lines = header.octets.split(b"\r\n")
    long = [number for number, line in enumerate(lines, 1 + header.mbox) if GOOD_LINE < len(line) <= MAX_LINE]
    if long:
        what = f"lines should have {GOOD_LINE} octets at most; of the header, {len(long)} have more"
        findings.note(what, "RFC 5322, 2.1.1", line=long[0], field=_field_at(fields, long[0]))


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


def _field_at(fields: Fields, line: int) -> str | None:
    return next((f.name for f in reversed(fields.all) if 0 < f.line <= line), None)


def _check_octets(header: Header, fields: Fields, findings: Findings) -> None:
    octets = header.octets
    first = 2 if header.mbox else 1
    if (at := octets.find(b"\0")) >= 0:
        line = first + octets.count(b"\n", 0, at)
        findings.refuse("a NUL octet is in the header", "RFC 5322, 4", line=line)
    if (at := octets.replace(b"\r\n", b"\n\n").find(b"\r")) >= 0:
        line = first + octets.count(b"\n", 0, at)
        what = "a CR stands alone in it: it ends a line for some and none for others"
        hint = "end every line in the same way"
        findings.refuse(what, "RFC 5322, 2.2", line=line, field=_field_at(fields, line), hint=hint)
    if (at := first_long_line(octets)) >= 0:
        length = octets.index(b"\r\n", at) - at
        line = first + octets.count(b"\n", 0, at)
        findings.refuse(
            f"the line has {length} octets; {MAX_LINE} are the most",
            "RFC 5322, 2.1.1",
            line=line,
            field=_field_at(fields, line),
            hint="fold long header fields at a blank",
        )
    if not octets.isascii():
        _check_utf8(fields, findings)
    controls = len(octets.translate(None, CONTROLS)) < len(octets)
    folds = b" \r\n" in octets or b"\t\r\n" in octets
    blanks = b" :" in octets or b"\t:" in octets
    for field in fields.all if controls or folds or blanks else ():
        raw = field.raw
        if raw[field.colon - 1] in b" \t":
            what = "a blank stands before its colon"
            findings.note(what, "RFC 5322, 4.5", line=field.line, field=field.name)
        if controls and len(raw.translate(None, CONTROLS)) < len(raw):
            what = "it has a control character in it"
            findings.note(what, "RFC 5322, 4.1", line=field.line, field=field.name)
        if folds and (at := _blank_line(raw)):
            what = "a line of it is nothing but blanks, and ends the header for some"
            line = field.line + raw.count(b"\n", 0, at)
            findings.note(what, "RFC 5322, 3.2.2", line=line, field=field.name)


def _blank_line(raw: bytes) -> int:
    """Where the first line of a field that has nothing but blanks starts; 0 for none."""
    at = raw.find(b"\n") + 1
    while at < len(raw):
        end = raw.index(b"\n", at) + 1
        if not raw[at:end].strip():
            return at
        at = end
    return 0


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


def _check_order(fields: Fields, findings: Findings) -> None:
    """Trace fields and Resent- blocks are put on top of what is there (RFC 5321, 4.4; RFC 5322, 3.6)."""
    if not fields.blocks and "received" not in fields.by_key:
        return
    body = next((f.line for f in fields.all if f.key in OWN), 0)
    for field in fields.all:
        if (field.key in TRACE or field.key in RESENT) and field.line > body > 0:
            rule = "RFC 5321, 4.4" if field.key in TRACE else "RFC 5322, 3.6"
            what = f"it belongs on top of the header, and the message's own fields start on line {body}"
            findings.note(what, rule, line=field.line, field=field.name)
            break
    for block in fields.blocks:
        first = next(iter(block.values()))[0]
        missing = [n for n in ("Resent-Date", "Resent-From") if n.lower() not in block]
        if block is fields.resent:  # this one is ours to complete
            if "resent-from" not in block:
                what = "it is missing beside the other Resent- fields"
                hint = "a resending names who resends: `Resent-From: you@example.org`"
                findings.refuse(what, "RFC 5322, 3.6.6", field="Resent-From", hint=hint)
        elif missing:
            what = f"its block of Resent- fields has no {' and no '.join(missing)}"
            findings.note(what, "RFC 5322, 3.6.6", line=first.line, field=first.name)


def _check_values(fields: Fields, findings: Findings) -> None:
    """Dates, identities and texts, which are kept whatever they are."""
    for key in ("date", *(["resent-date"] if fields.resent else [])):
        for field in fields.by_key.get(key, ()):
            text = field.body.decode("utf-8", "replace")
            if text:
                _check_date(field, text, findings)
    for key in ("message-id", *(["resent-message-id"] if fields.resent else [])):
        for field in fields.by_key.get(key, ()):
            if field.body and not _is_msg_id(field.body.decode("utf-8", "replace")):
                what = "it has not the form <left@right>"
                findings.note(what, "RFC 5322, 3.6.4", line=field.line, field=field.name)
    for key in TEXTS:
        for field in fields.by_key.get(key, ()):
            text = field.body.decode("utf-8", "replace")
            if "=?" in text:
                _check_encoded_words(field, text, findings)


def _check_date(field: Field, text: str, findings: Findings) -> None:
    from mailstrom_cli.mail.date import date_fault

    if told := date_fault(text):
        findings.note(*told, line=field.line, field=field.name)


def _check_encoded_words(field: Field, text: str, findings: Findings) -> None:
    from mailstrom_cli.mail.encoded_word import word_fault

    if fault := word_fault(text):
        findings.note(fault, "RFC 2047, 5", line=field.line, field=field.name)


def _is_msg_id(text: str) -> bool:
    """Whether a value is one msg-id (RFC 5322, 3.6.4); a left side in quotes is obsolete, and too rare."""
    from mailstrom_cli.mail.comment import without_comments

    text = without_comments(text).strip(" \t")
    left, at, right = text[1:-1].partition("@")
    if not (text.startswith("<") and text.endswith(">") and at):
        return False
    literal = right.startswith("[") and right.endswith("]") and not set(right[1:-1]) & set("[]\\ \t<>")
    return is_dot_atom(left) and (literal or is_dot_atom(right))


def is_dot_atom(text: str) -> bool:
    """Whether a text is a dot-atom-text (RFC 5322, 3.2.3; RFC 6532, 3.2)."""
    return all(text.split(".")) and not ATOM_ENDS.intersection(text)


ATOM_ENDS = frozenset(' \t\r\n()<>[]:;@\\,"')
