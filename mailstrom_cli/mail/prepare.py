"""From octets to a message that can be sent: its envelope, its final octets, and what was found on the way.

A message is refused rather than harmed, and is changed only as `fixes` has it in a table. Every other octet
leaves as it came.
"""

from __future__ import annotations

from mailstrom_cli.mail.address import needs_smtputf8
from mailstrom_cli.mail.content import MAX_LINE, SLICE, Content
from mailstrom_cli.mail.envelope import Envelope, Recipient
from mailstrom_cli.mail.finding import Finding, Findings
from mailstrom_cli.mail.fixes import Fixer
from mailstrom_cli.mail.header import Field, ended_at_fault, split_header
from mailstrom_cli.mail.paths import find_paths
from mailstrom_cli.mail.request import Context, Request, check_options
from mailstrom_cli.mail.structure import MIME, Fields, check_fields, note_long_lines
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailstrom_cli.mail.content import Data
    from mailstrom_cli.mail.header import Header
    from mailstrom_cli.mail.paths import Paths

__all__ = ["Context", "Finding", "Prepared", "Request", "check", "prepare"]


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
    prepared, findings = _check(data, request, context, thorough=False)
    if prepared is None:
        raise findings.error()
    return prepared


def check(data: Data, request: Request, context: Context) -> tuple[Prepared | None, tuple[Finding, ...]]:
    """As `prepare`, with all findings by line, and with those that are only worth telling to who asks for
    them; no message when one of them is a refusal."""
    prepared, findings = _check(data, request, context, thorough=True)
    return prepared, findings.in_order()


def _check(
    data: Data, request: Request, context: Context, *, thorough: bool
) -> tuple[Prepared | None, Findings]:
    findings = Findings()
    if len(data) > context.message_size:
        _refuse_size(len(data), context, findings)
        return None, findings
    check_options(request, findings)
    header = split_header(data)
    author = None
    if request.add_from is not None:
        header = _header_of_a_text(data, header, findings)
        author = _field_from(request.add_from)
    fields = Fields(header, author)
    check_fields(header, fields, findings)
    body = Content(data, header.end)
    if fields.all:
        if body.nul:
            what, line = "a NUL octet is in the body", header.lines + body.line_of("nul")
            findings.refuse(what, "RFC 5322, 4", line=line, hint="encode binary content as base64")
        if any(key in fields.by_key for key in MIME):
            from mailstrom_cli.mail.mime_fields import check_mime_fields

            check_mime_fields(fields, body, findings)
        if thorough:
            note_long_lines(header, fields, findings)
        if body.longest:
            header, body = _within_lines(data, header, body, findings)
            fields = Fields(header, author)
    paths = find_paths(fields, request, context, findings)
    fixer = Fixer(fields, paths, body, context, findings)
    head = fixer.fixed(header.octets)
    if header.blank:
        head += b"\r\n"
    if body.returns and data.find(b"\n") >= 0:
        what = f"{body.returns} CR that stood alone in the text were made line ends"
        findings.fix(what, "RFC 5322, 2.3")
    if data[-1:] not in (b"\n", b"\r") and len(data):
        findings.fix("the last line had no line end")
    tls_optional = _tls_optional(fields, findings)
    size = len(head) + body.size
    if size > context.message_size:
        _refuse_size(size, context, findings)
    if findings.refused:
        return None, findings
    envelope = Envelope(
        reverse_path=paths.reverse_path,
        recipients=tuple([Recipient(address, request.notify, orcpt) for address, orcpt in paths.recipients]),
        message_id=fixer.identity,
        size=size,
        body="8bitmime" if body.eight_bit or not head.isascii() else "7bit",
        smtputf8=not head.isascii() or any(map(needs_smtputf8, (paths.reverse_path, *paths.addresses))),
        requiretls=request.requiretls,
        tls_optional=tls_optional and not request.requiretls,
        at=request.at,
        expires=request.expires,
        key=request.key,
        digest=_digest(data, paths) if request.key is not None else None,
        envid=request.envid,
        ret=request.ret,
        submitter=request.submitter,
    )
    return Prepared(envelope, findings.in_order(), head, body), findings


def _tls_optional(fields: Fields, findings: Findings) -> bool:
    """Whether the header says that the policies of the recipients' domains do not matter (RFC 8689, 3)."""
    said = fields.by_key.get("tls-required")
    if said is None:
        return False
    if len(said) > 1 or said[0].body.lower() != b"no":
        what = "it has no effect: it may stand once, and says `No` or nothing"
        findings.note(what, "RFC 8689, 3", line=said[-1].line, field=said[-1].name)
        return False
    return True


def _header_of_a_text(data: Data, header: Header, findings: Findings) -> Header:
    """The header as a sendmail takes it: the first line that is no field is the first line of the text."""
    ended = ended_at_fault(data, header)
    if header.fault is not None and ended.fault is None:
        what = "it is no header field, and an empty line was put before it"
        findings.fix(what, "RFC 5322, 2.1", line=header.fault[0])
    return ended


def _field_from(value: str) -> Field:
    """A From field that is not on any line of the message."""
    return Field(0, "From", "from", f"From: {value}\r\n".encode("utf-8", "replace"), 4)


def _refuse_size(size: int, context: Context, findings: Findings) -> None:
    what = f"the message has {size} octets or more; {context.message_size} are the most"
    findings.refuse(what, "RFC 1870", hint="`message_size` in [limits] sets the limit")


def _within_lines(data: Data, header: Header, body: Content, findings: Findings) -> tuple[Header, Content]:
    """The header and the text with the parts encoded anew that have lines too long; refused where that cannot
    be done."""
    from mailstrom_cli.mail.recoded import recoded

    line = header.lines + body.line_of("long")
    if header.cut:
        data = header.octets + b"\r\n" + data[header.end :]
    outcome = recoded(data, header) if not (body.nul or header.fault) else "the message is broken otherwise"
    if isinstance(outcome, str):
        findings.refuse(
            f"the line has over {MAX_LINE} octets, the longest {body.longest}, and stays so, as {outcome}",
            "RFC 5322, 2.1.1",
            line=line,
            hint="encode the text as quoted-printable or base64",
        )
        return header, body
    what = f"lines of up to {body.longest} octets were encoded as quoted-printable or base64"
    findings.fix(what, "RFC 5322, 2.1.1", line=line)
    return outcome


def _digest(data: Data, paths: Paths) -> str:
    """What a second use of a key must repeat: the message as given, whatever its line ends, and the paths."""
    from hashlib import sha256

    digest = sha256(repr((paths.reverse_path, paths.addresses)).encode())
    for chunk in Content(data).chunks():
        digest.update(chunk)
    return digest.hexdigest()
