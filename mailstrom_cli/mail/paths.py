"""The reverse-path and the recipients of a message: as asked for, else as its header names them."""

from __future__ import annotations

from mailstrom_cli.mail.address import AddressError, canonical_domain, parse_reverse_path
from mailstrom_cli.mail.address_list import AddressList, decoded, parse_address_list
from mailstrom_cli.mail.recipients import Recipients
from mailstrom_cli.mail.structure import DESTINATIONS
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailstrom_cli.mail.finding import Findings
    from mailstrom_cli.mail.header import Field
    from mailstrom_cli.mail.request import Context, Request
    from mailstrom_cli.mail.structure import Fields

ORIGINATORS = ("from", "sender", "reply-to")
KEYS = {
    p: tuple(dict.fromkeys(("from", *[p + k for k in (*ORIGINATORS, *DESTINATIONS)])))
    for p in ("", "resent-")
}


@value
class Paths:
    """reverse_path: "" is the null one.  recipients: (address, orcpt) in order, each address canonical and
    once.  authors: of From.  completed: fields, by their line, whose bare names got the origin, as they are
    to be sent."""

    reverse_path: str
    recipients: tuple[tuple[str, str | None], ...]
    authors: AddressList
    completed: dict[int, bytes]

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple([address for address, _ in self.recipients])


def find_paths(fields: Fields, request: Request, context: Context, findings: Findings) -> Paths:
    """Parses every address field once; several To, Cc or Bcc all count (RFC 5322, 4.5.3). An error in a field
    that the envelope needs, or in From, is refused; in another it is noted. When a Resent- block is there,
    that block alone counts, and the fields of the message that is resent are left as they are (RFC 5322,
    3.6.6)."""
    prefix = "resent-" if fields.resent else ""
    originators = [prefix + "sender", prefix + "from"] if request.reverse_path is None else []
    originator = next((f for key in originators if (f := fields.first(key))), None)
    destinations = [prefix + key for key in DESTINATIONS] if request.recipients is None else []
    needed = {*destinations, *([originator.key] if originator else [])}
    author = fields.first("from")
    if not prefix and (request.add_from is None or (author is not None and author is fields.given)):
        needed.add("from")
    lists: dict[int, AddressList] = {}  # by the line of the field
    completed: dict[int, bytes] = {}
    for key in KEYS[prefix]:
        same = fields.every(key)
        if not same or (key.endswith("bcc") and key not in needed):
            continue
        origin = context.origin if key.startswith(prefix) else ""
        for field in same:
            parsed = _parse(field, origin, context, key in needed, findings)
            if parsed is None:
                continue
            found, text = parsed
            lists[field.line] = found
            if found.bare and origin and not key.endswith("bcc"):
                completed[field.line] = _completed(field, text, found.bare, canonical_domain(origin))
                what = f"names without a domain were completed with `{origin}`"
                findings.fix(what, line=field.line, field=field.name)
            for at in found.unquoted:
                what = "a display name with an @ in it should be in quotes; the address in < and > counts"
                line = field.line + text.count("\n", 0, at)
                findings.note(what, "RFC 5322, 3.4", line=line, field=field.name)
            if b"=?" in field.raw:
                _check_encoded_words(field, text, found, findings)
    _check_originators(fields, lists, findings, strict="from" in needed)
    if request.reverse_path is not None:
        reverse_path = _asked_reverse_path(request.reverse_path, context, findings)
    else:
        reverse_path = _reverse_path(originator, lists, findings)
    named = [field.line for key in destinations for field in fields.every(key)]
    recipients = _recipients(request, context, findings, [lists[line] for line in named if line in lists])
    unread = any(line not in lists for line in named) or not fields.complete
    if not recipients and not unread and not request.recipients:
        names = "" if request.recipients is not None else f": {prefix.title()}To, Cc and Bcc name no address"
        findings.refuse(f"the message has no recipients{names}", hint="name them with --to ADDRESS")
    if len(recipients) > context.recipients:
        findings.refuse(f"the message has {len(recipients)} recipients; {context.recipients} are the most")
    authors = lists.get(author.line) if author else None
    return Paths(reverse_path, recipients, authors or AddressList(()), completed)


def _parse(
    field: Field, origin: str, context: Context, needed: bool, findings: Findings
) -> tuple[AddressList, str] | None:
    """The addresses of a field, and the text they were parsed from, which has blanks for the field's name, so
    that positions in it are those in the message's lines."""
    try:
        text = " " * (field.colon + 1) + decoded(field.raw)[field.colon + 1 :]
    except AddressError:
        return None  # refused where the header is checked
    known = context.aliases if field.key.rpartition("-")[2] in DESTINATIONS else ()
    try:
        return parse_address_list(text, origin, known), text
    except AddressError as error:
        line = field.line + text.count("\n", 0, error.at)
        report = findings.refuse if needed else findings.note
        report(str(error), "RFC 5322, 3.4", line=line, field=field.name)
        return None


def _completed(field: Field, text: str, bare: Sequence[tuple[int, int]], domain: str) -> bytes:
    """The field with the origin put behind every bare name."""
    name = field.colon + 1
    cuts = [name, *[end for _, end in bare], len(text)]
    pieces = [text[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]  # noqa: RUF007  (spares an import)
    return field.raw[:name] + f"@{domain}".join(pieces).encode()


def _check_encoded_words(field: Field, text: str, parsed: AddressList, findings: Findings) -> None:
    """Encoded-words in display names; in quotes or in an address they are shown as they stand."""
    from mailstrom_cli.mail.encoded_word import word_fault

    for start, end in parsed.names:
        name = text[start:end]
        if name.startswith('"') and "=?" in name and "?=" in name:
            what: str | None = "an encoded-word stands in quotes, where it is not decoded"
        else:
            what = word_fault(name)
        if what:
            line = field.line + text.count("\n", 0, start)
            findings.note(what, "RFC 2047, 5", line=line, field=field.name)
            return
    if any("=?" in box.local and "?=" in box.local for box in parsed.mailboxes):
        what = "an encoded-word stands in an address, where it is not decoded"
        findings.note(what, "RFC 2047, 5", line=field.line, field=field.name)


def _check_originators(
    fields: Fields, lists: dict[int, AddressList], findings: Findings, *, strict: bool
) -> None:
    field = fields.first("from")
    if field is not None and (authors := lists.get(field.line)) is not None:
        if not authors.mailboxes and not authors.names and (strict or field.body):
            report = findings.refuse if strict else findings.note
            report("it names no address", "RFC 5322, 3.6.2", line=field.line, field=field.name)
        if len(authors.mailboxes) > 1 and "sender" not in fields.by_key:
            what = "it names several authors, and there is no Sender to tell which of them sends"
            findings.note(what, "RFC 5322, 3.6.2", line=field.line, field=field.name)
    field = fields.first("sender")
    if field is not None and field.line in lists and len(lists[field.line].mailboxes) > 1:
        findings.note("it names more than one", "RFC 5322, 3.6.2", line=field.line, field=field.name)


def _reverse_path(originator: Field | None, lists: dict[int, AddressList], findings: Findings) -> str:
    """The Sender's address, else the first author's. A group names nobody who could be told of a failure, and
    nor do its members (RFC 6854, 2.1 and 4): then somebody else must be asked for."""
    hint = "name the sender with --from ADDRESS"
    if originator is None or originator.line not in lists:
        return ""  # refused elsewhere
    found = lists[originator.line]
    if found.alone is not None:
        return str(found.alone)
    if found.names or originator.key != "from":
        group = bool(found.names)
        what = "it has a group, which cannot be the sender" if group else "it names no address to send from"
        rule = "RFC 6854, 2.1" if group else "RFC 5322, 3.6.2"
        findings.refuse(what, rule, line=originator.line, field=originator.name, hint=hint)
    return ""


def _asked_reverse_path(text: str, context: Context, findings: Findings) -> str:
    try:
        return parse_reverse_path(text, context.origin)
    except AddressError as error:
        findings.refuse(str(error), "RFC 5321, 4.1.2", option="sender")
        return ""


def _recipients(
    request: Request, context: Context, findings: Findings, lists: Sequence[AddressList]
) -> tuple[tuple[str, str | None], ...]:
    found = Recipients(context, findings)
    for text in request.recipients or ():
        try:
            found.add_text(text)
        except AddressError as error:
            findings.refuse(str(error), "RFC 5321, 4.1.2", option="recipient")
    for parsed in lists:
        bare = {index for index, _ in parsed.bare}
        for index, box in enumerate(parsed.mailboxes):
            found.add(box, bare=index in bare)
    return found.all()
