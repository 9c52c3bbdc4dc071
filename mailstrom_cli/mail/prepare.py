"""From octets to a message that can be sent: its envelope, its final octets, and what was found on the way.

A message is refused rather than harmed. What is changed: a missing Date, Message-ID or Resent-Date is added;
Bcc, Resent-Bcc and Return-Path are taken out; bare names in address fields get the origin; an mbox separator
line is dropped; every line end becomes CRLF, and the last line has one. Every other octet leaves as it came.
"""

from __future__ import annotations

from mailstrom_cli.mail.address import needs_smtputf8
from mailstrom_cli.mail.content import MAX_LINE, SLICE, Content, first_long_line
from mailstrom_cli.mail.envelope import Envelope, Recipient
from mailstrom_cli.mail.finding import Finding, Findings
from mailstrom_cli.mail.header import split_header
from mailstrom_cli.mail.paths import find_paths
from mailstrom_cli.mail.request import Context, Request, check_options
from mailstrom_cli.mail.stamp import date_time, message_id
from mailstrom_cli.mail.structure import Fields, check_fields
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailstrom_cli.mail.content import Data
    from mailstrom_cli.mail.header import Field
    from mailstrom_cli.mail.paths import Paths

__all__ = ["Context", "Finding", "Prepared", "Request", "check", "prepare"]

REMOVED = ("bcc", "resent-bcc", "return-path")
STAMPS = ("date", "message-id")


@value
class Prepared:
    """A message that can be sent. fixes: what was changed in it or is worth a note, by line.
    head: the header section and the empty line after it, if there is one.  body: what comes after."""

    envelope: Envelope
    fixes: tuple[Finding, ...]
    head: bytes
    body: Content

    def chunks(self) -> Iterator[bytes]:
        """The message as it is to be sent, CRLF lines, 1 MiB or less at a time. As often as wanted, as long
        as the octets that were given stay."""
        for at in range(0, len(self.head), SLICE):
            yield self.head[at : at + SLICE]
        yield from self.body.chunks()


def prepare(data: Data, request: Request, context: Context) -> Prepared:
    """The message that the octets hold, ready to be sent as asked. Raises MailstromError, whose text has a
    line for every refusal: exit code 65, or 64 when nothing but the request is wrong."""
    prepared, findings = _check(data, request, context)
    if prepared is None:
        raise findings.error()
    return prepared


def check(data: Data, request: Request, context: Context) -> tuple[Prepared | None, tuple[Finding, ...]]:
    """As `prepare`, with all findings by line; no message when one of them is a refusal."""
    prepared, findings = _check(data, request, context)
    return prepared, findings.in_order()


def _check(data: Data, request: Request, context: Context) -> tuple[Prepared | None, Findings]:
    findings = Findings()
    if len(data) > context.message_size:
        _refuse_size(len(data), context, findings)
        return None, findings
    check_options(request, findings)
    header = split_header(data)
    fields = Fields(header)
    check_fields(header, fields, findings)
    body = Content(data, header.end)
    if fields.all:
        _check_body(body, header.lines, findings)
    paths = find_paths(fields, request, context, findings)
    identity, head = _head(header.octets, fields, paths, context, findings)
    if header.blank:
        head += b"\r\n"
    if data[-1:] not in (b"\n", b"\r"):
        findings.fix("the last line had no line end")
    size = len(head) + body.size
    if size > context.message_size:
        _refuse_size(size, context, findings)
    if findings.refused:
        return None, findings
    envelope = Envelope(
        reverse_path=paths.reverse_path,
        recipients=tuple([Recipient(address, request.notify) for address in paths.recipients]),
        message_id=identity,
        size=size,
        body="8bitmime" if body.eight_bit or not head.isascii() else "7bit",
        smtputf8=not head.isascii() or any(map(needs_smtputf8, (paths.reverse_path, *paths.recipients))),
        at=request.at,
        expires=request.expires,
        key=request.key,
        digest=_digest(data, paths) if request.key is not None else None,
        envid=request.envid,
        ret=request.ret,
        submitter=request.submitter,
    )
    return Prepared(envelope, findings.in_order(), head, body), findings


def _refuse_size(size: int, context: Context, findings: Findings) -> None:
    what = f"the message has {size} octets or more; {context.message_size} are the most"
    findings.refuse(what, "RFC 1870", hint="`message_size` in [limits] sets the limit")


def _check_body(body: Content, before: int, findings: Findings) -> None:
    if body.nul:
        line = before + body.line_of("nul")
        findings.refuse(
            "a NUL octet is in the body", "RFC 5322, 4", line=line, hint="encode binary content as base64"
        )
    if body.longest:
        findings.refuse(
            f"the line has over {MAX_LINE} octets; the longest has {body.longest}",
            "RFC 5322, 2.1.1",
            line=before + body.line_of("long"),
            hint="encode the text as quoted-printable or base64",
        )


def _head(
    octets: bytes, fields: Fields, paths: Paths, context: Context, findings: Findings
) -> tuple[str, bytes]:
    """The Message-ID, and the header section as it is to be sent, without the empty line after it."""
    changed = paths.completed
    for key in REMOVED:
        for field in fields.by_key.get(key, ()):
            changed[field.line] = b""
            findings.fix("removed", line=field.line, field=field.name)
    added = b""
    identity = ""
    for key in STAMPS:
        held = fields.first(key)
        text = held.body if held else b""
        if key == "message-id":
            identity = _msg_id(text, held, paths, context, findings)
            line = b"Message-ID: " + identity.encode()
        else:
            line = b"Date: " + date_time(context.now, context.timezone).encode()
        if held and not text:
            changed[held.line] = line + b"\r\n"
            findings.fix("it was empty and was filled in", "RFC 5322, 3.6", line=held.line, field=held.name)
        elif not held:
            added += line + b"\r\n"
            findings.fix("added", "RFC 5322, 3.6", field=line[: line.index(b":")].decode())
    if fields.resent and "resent-date" not in fields.resent:
        first = next(iter(fields.resent.values()))
        stamp = b"Resent-Date: " + date_time(context.now, context.timezone).encode() + b"\r\n"
        changed[first.line] = stamp + changed.get(first.line, first.raw)
        findings.fix("added", "RFC 5322, 3.6.6", line=first.line, field="Resent-Date")
    if changed:
        for field in fields.all:
            after = changed.get(field.line, b"")
            if first_long_line(after) >= 0 > first_long_line(field.raw):
                what = f"with its names completed it has a line over {MAX_LINE} octets"
                findings.refuse(what, "RFC 5322, 2.1.1", line=field.line, field=field.name)
        octets = b"".join([changed.get(field.line, field.raw) for field in fields.all])
    return identity, octets + added


def _msg_id(text: bytes, field: Field | None, paths: Paths, context: Context, findings: Findings) -> str:
    """The Message-ID that the message has, whatever its form, else a new one (RFC 5322, 3.6.4)."""
    if field is None or not text:
        domains = [box.domain for box in paths.authors.mailboxes[:1]]
        return message_id(context.token, context.now, (context.host, context.origin, *domains))
    held = text.decode(errors="replace")
    start = held.find("<")
    end = held.find(">", start)
    if start < 0 or end < 0 or "@" not in held[start:end] or " " in held[start:end]:
        findings.note(
            "it has not the form <left@right>", "RFC 5322, 3.6.4", line=field.line, field=field.name
        )
    return held[start : end + 1] if 0 <= start < end else held


def _digest(data: Data, paths: Paths) -> str:
    """What a second use of a key must repeat: the octets as given, and the envelope's paths."""
    from hashlib import sha256

    digest = sha256(repr((paths.reverse_path, paths.recipients)).encode())
    for at in range(0, len(data), SLICE):
        digest.update(data[at : at + SLICE])
    return digest.hexdigest()
