"""What is put right in a header, and when not: each fix is told of, and none breaks a signature.

What               | When                                        | Where a signature covers it
-------------------|---------------------------------------------|----------------------------
From added         | missing or empty, and one was given (sendmail front) | refused
Date, Message-ID   | missing or empty (RFC 5322, 3.6)            | refused
Resent-Date added  | missing in the first Resent- block (3.6.6)  | refused
Bcc, Resent-Bcc    | always removed (RFC 5322, 3.6.3)            | refused
Return-Path        | always removed (RFC 5321, 4.4)              | left, noted
Content-Length     | always removed: it counts other line ends   | left, noted
bare names         | completed with `origin`, outside a Bcc      | refused
MIME-Version, Content-Type, Content-Transfer-Encoding | added where the text is not ASCII and there is no
                   | MIME-Version (RFC 2045, 4; RFC 1428)        | left, noted
text beyond ASCII  | as encoded-words (RFC 2047), where that makes the whole header ASCII, so that no server
                   | needs SMTPUTF8                              | left, noted

Beside the header: an mbox separator line is dropped; every line end becomes CRLF, a lone CR in the text
too, and the last line has one;
with `add_from`, an empty line is put before a first line that is no field. No signature covers these.
"""

from __future__ import annotations

from mailstrom_cli.mail.content import MAX_LINE, first_long_line
from mailstrom_cli.mail.stamp import date_time, message_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mailstrom_cli.mail.content import Content
    from mailstrom_cli.mail.finding import Findings
    from mailstrom_cli.mail.header import Field
    from mailstrom_cli.mail.paths import Paths
    from mailstrom_cli.mail.request import Context
    from mailstrom_cli.mail.structure import Fields

SECRET = ("bcc", "resent-bcc")
REMOVED = (*SECRET, "return-path", "content-length")
RULES = {"bcc": "RFC 5322, 3.6.3", "resent-bcc": "RFC 5322, 3.6.6", "return-path": "RFC 5321, 4.4"}
RESIGN = "sign the message after this is put right, not before"


class Fixer:
    """Puts one header right. `identity`: the Message-ID, once `fixed` is called."""

    def __init__(
        self, fields: Fields, paths: Paths, body: Content, context: Context, findings: Findings
    ) -> None:
        self.fields = fields
        self.paths = paths
        self.body = body
        self.findings = findings
        self.domains = (context.host, context.origin, *[box.domain for box in paths.authors.mailboxes[:1]])
        self.context = context
        self.changed: dict[int, bytes] = {}  # fields by their line, as they are to be sent
        self.added: list[tuple[str, bytes]] = []
        self.identity = ""

    def fixed(self, octets: bytes) -> bytes:
        """The header section as it is to be sent, without the empty line after it; `octets` as it came."""
        self._complete()
        self._remove()
        self._stamp()
        self._declare()
        if not octets.isascii() or not all(map(bytes.isascii, self.changed.values())):
            self._encode()
        if self.changed:
            octets = b""
            for field in self.fields.all:
                after = self.changed.get(field.line, b"")
                if first_long_line(after) >= 0 > first_long_line(field.raw):
                    what = f"with its names completed it has a line over {MAX_LINE} octets"
                    self.findings.refuse(what, "RFC 5322, 2.1.1", line=field.line, field=field.name)
            octets = b"".join([self.changed.get(field.line, field.raw) for field in self.fields.all])
        return octets + b"".join([line for _, line in self.added])

    def _may(self, key: str, name: str, line: int | None = None, *, needed: bool = True) -> bool:
        """Whether no signature covers a field to be fixed; what is needed, and cannot be, is refused."""
        signature = self.fields.signed.get(key)
        if signature is None:
            return True
        why = f"the {signature.name} on line {signature.line} covers it"
        if needed:
            what = f"it must be put right, and cannot be, as {why}"
            self.findings.refuse(what, "RFC 6376, 5.4", line=line, field=name, hint=RESIGN)
        else:
            self.findings.note(f"it is left as it is, as {why}", "RFC 6376, 5.4", line=line, field=name)
        return False

    def _add(self, name: str, value: str) -> None:
        self.added.append((name, f"{name}: {value}\r\n".encode()))

    def _complete(self) -> None:
        for field in self.fields.all:
            if field.line == 0 and self._may(field.key, field.name):  # the From that was given
                self.changed[0] = field.raw
                self.findings.fix("added", "RFC 5322, 3.6.2", field=field.name)
            if field.line in self.paths.completed and self._may(field.key, field.name, field.line):
                self.changed[field.line] = self.paths.completed[field.line]

    def _remove(self) -> None:
        for key in REMOVED:
            for field in self.fields.by_key.get(key, ()):
                if self._may(key, field.name, field.line, needed=key in SECRET):
                    self.changed[field.line] = b""
                    self.findings.fix("removed", RULES.get(key, ""), line=field.line, field=field.name)

    def _stamp(self) -> None:
        held = self.fields.first("message-id")
        self.identity = _identity(held) or message_id(self.context.token, self.context.now, self.domains)
        given = self.fields.given
        if given is not None and given.body:
            self._fill("from", given.name, given.body.decode)
        self._fill("date", "Date", self._now)
        self._fill("message-id", "Message-ID", lambda: self.identity)
        block = self.fields.resent
        if block and "resent-date" not in block and self._may("resent-date", "Resent-Date"):
            first = next(iter(block.values()))[0]
            stamp = f"Resent-Date: {self._now()}\r\n".encode()
            self.changed[first.line] = stamp + self.changed.get(first.line, first.raw)
            self.findings.fix("added", "RFC 5322, 3.6.6", line=first.line, field="Resent-Date")

    def _now(self) -> str:
        return date_time(self.context.now, self.context.timezone)

    def _fill(self, key: str, name: str, value: Callable[[], str]) -> None:
        held = self.fields.first(key)
        if held is None:
            if self._may(key, name):
                self._add(name, value())
                self.findings.fix("added", "RFC 5322, 3.6", field=name)
        elif not held.body and self._may(key, name, held.line):
            self.changed[held.line] = held.raw[: held.colon + 1] + f" {value()}\r\n".encode()
            self.findings.fix(
                "it was empty and was filled in", "RFC 5322, 3.6", line=held.line, field=held.name
            )

    def _declare(self) -> None:
        if not self.body.eight_bit:
            return
        from mailstrom_cli.mail.mime_fields import declaration

        lacking = declaration(self.fields, self.body)
        if all(self._may(name.lower(), name, needed=False) for name, _ in lacking):
            for name, value in lacking:
                self._add(name, value)
                what = f"added, as the text is not ASCII: `{value}`"
                self.findings.fix(what, "RFC 2045, 4", field=name)

    def _encode(self) -> None:
        """Text beyond ASCII as encoded-words, unless something beyond ASCII has to stay anyway."""
        from mailstrom_cli.mail.header_text import in_ascii

        encoded: dict[int, bytes] = {}
        for field in self.fields.all:
            raw = self.changed.get(field.line, field.raw)
            if raw.isascii():
                continue
            before, name, text = self._parts(field, raw)
            if text is None:
                return  # no UTF-8, and refused for that
            if not self._may(field.key, field.name, field.line, needed=False):
                return
            value = in_ascii(field.key, name.decode("ascii", "replace"), text)
            if value is None or first_long_line(value.encode()) >= 0:
                what = "its text beyond ASCII has to stay, so only servers with SMTPUTF8 take the message"
                self.findings.note(what, "RFC 6531, 3.1", line=field.line, field=field.name)
                return
            encoded[field.line] = before + name + value.encode()
        for field in self.fields.all:
            if field.line in encoded:
                self.changed[field.line] = encoded[field.line]
                what = "its text beyond ASCII was written as encoded-words"
                self.findings.fix(what, "RFC 2047", line=field.line, field=field.name)

    def _parts(self, field: Field, raw: bytes) -> tuple[bytes, bytes, str | None]:
        """What stands before a field, its name with the colon, and its value if that is UTF-8."""
        start = raw.index(field.raw[: field.colon + 1])  # a Resent-Date may have been put before it
        name = start + field.colon + 1
        try:
            return raw[:start], raw[start:name], raw[name:].decode()
        except UnicodeDecodeError:
            return raw[:start], raw[start:name], None


def _identity(field: Field | None) -> str:
    """The Message-ID that the message has, whatever its form; "" for none."""
    held = field.body.decode("utf-8", "replace") if field else ""
    start = held.find("<")
    end = held.find(">", start)
    return held[start : end + 1] if 0 <= start < end else held
