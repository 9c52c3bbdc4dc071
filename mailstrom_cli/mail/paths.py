"""The reverse-path and the recipients of a message: as asked for, else as its header names them."""

from __future__ import annotations

from mailstrom_cli.mail.address import AddressError, parse_mailbox, parse_reverse_path, unbracketed
from mailstrom_cli.mail.address_list import AddressList, decoded, parse_address_list
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailstrom_cli.mail.finding import Findings
    from mailstrom_cli.mail.header import Field
    from mailstrom_cli.mail.request import Context, Request
    from mailstrom_cli.mail.structure import Fields

ORIGINATORS = ("from", "sender", "reply-to")
DESTINATIONS = ("to", "cc", "bcc")


@value
class Paths:
    """reverse_path: "" is the null one.  recipients: canonical, each once, in order.  authors: of From.
    completed: fields, by their line, whose bare names got the origin, as they are to be sent."""

    reverse_path: str
    recipients: tuple[str, ...]
    authors: AddressList
    completed: dict[int, bytes]


def find_paths(fields: Fields, request: Request, context: Context, findings: Findings) -> Paths:
    """Parses every address field once. An error in a field that the envelope needs, or in From, is refused;
    in another it is noted. When a Resent- block is there, that block alone counts, and the fields of the
    message that is resent are left as they are (RFC 5322, 3.6.6)."""
    prefix = "resent-" if fields.resent else ""
    originators = [prefix + "sender", prefix + "from"] if request.reverse_path is None else []
    originator = next((f for key in originators if (f := fields.first(key))), None)
    destinations = [prefix + key for key in DESTINATIONS] if request.recipients is None else []
    needed = {*destinations, *([originator.key] if originator else [])}
    if not prefix:
        needed.add("from")
    lists: dict[str, AddressList] = {}
    completed: dict[int, bytes] = {}
    for key in dict.fromkeys(("from", *[prefix + key for key in (*ORIGINATORS, *DESTINATIONS)])):
        field = fields.first(key)
        if field is None or (key.endswith("bcc") and key not in needed):
            continue
        origin = context.origin if key.startswith(prefix) else ""
        parsed = _parse(field, origin, key in needed, findings)
        if parsed is not None:
            lists[key], text = parsed
            if lists[key].bare and not key.endswith("bcc"):
                completed[field.line] = _completed(field, text, lists[key].bare, origin)
                what = f"names without a domain were completed with `{origin}`"
                findings.fix(what, line=field.line, field=field.name)
    _check_authors(fields, lists.get("from"), findings)
    if request.reverse_path is not None:
        reverse_path = _asked_reverse_path(request.reverse_path, context, findings)
    else:
        reverse_path = _reverse_path(originator, lists, bool(prefix), findings)
    if request.recipients is not None:
        recipients = _asked_recipients(request.recipients, context, findings)
    else:
        boxes = [box for key in destinations if key in lists for box in lists[key].mailboxes]
        recipients = tuple(dict.fromkeys(map(str, boxes)))
    unread = any(fields.first(key) and key not in lists for key in destinations) or not fields.complete
    if not recipients and not unread and not request.recipients:
        names = "" if request.recipients is not None else f": {prefix.title()}To, Cc and Bcc name no address"
        findings.refuse(f"the message has no recipients{names}", hint="name them with --to ADDRESS")
    if len(recipients) > context.recipients:
        findings.refuse(f"the message has {len(recipients)} recipients; {context.recipients} are the most")
    return Paths(reverse_path, recipients, lists.get("from", AddressList(())), completed)


def _parse(field: Field, origin: str, needed: bool, findings: Findings) -> tuple[AddressList, str] | None:
    """The addresses of a field, and the text they were parsed from, which has blanks for the field's name, so
    that positions in it are those in the message's lines."""
    try:
        text = " " * (field.colon + 1) + decoded(field.raw)[field.colon + 1 :]
    except AddressError:
        return None  # refused where the header is checked
    try:
        return parse_address_list(text, origin), text
    except AddressError as error:
        line = field.line + text.count("\n", 0, error.at)
        report = findings.refuse if needed else findings.note
        report(str(error), "RFC 5322, 3.4", line=line, field=field.name)
        return None


def _completed(field: Field, text: str, bare: Sequence[int], origin: str) -> bytes:
    """The field with the origin put behind every bare name."""
    name = field.colon + 1
    cuts = [name, *bare, len(text)]
    pieces = [text[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]  # noqa: RUF007  (spares an import)
    return field.raw[:name] + f"@{origin}".join(pieces).encode()


def _check_authors(fields: Fields, authors: AddressList | None, findings: Findings) -> None:
    field = fields.first("from")
    if field is None or authors is None:
        return
    if not authors.mailboxes and not _is_group(field):
        findings.refuse("it names no address", "RFC 5322, 3.6.2", line=field.line, field=field.name)
    if len(authors.mailboxes) > 1 and "sender" not in fields.by_key:
        what = "it names several authors, and there is no Sender to tell which of them sends"
        findings.note(what, "RFC 5322, 3.6.2", line=field.line, field=field.name)


def _is_group(field: Field) -> bool:
    """Whether a field without a mailbox has an empty group, which names nobody on purpose (RFC 6854)."""
    return b";" in field.raw


def _reverse_path(
    originator: Field | None,
    lists: dict[str, AddressList],
    resent: bool,
    findings: Findings,
) -> str:
    hint = "name the sender with --from ADDRESS"
    if originator is None:
        if resent:
            what = "it is missing beside the other Resent- fields"
            findings.refuse(what, "RFC 5322, 3.6.6", field="Resent-From", hint=hint)
        return ""  # a missing From is refused where the header is checked
    if originator.key not in lists:
        return ""
    boxes = lists[originator.key].mailboxes
    if not boxes and (originator.key != "from" or _is_group(originator)):
        what = "it names no address to send from"
        findings.refuse(what, "RFC 5322, 3.6.2", line=originator.line, field=originator.name, hint=hint)
    return str(boxes[0]) if boxes else ""


def _asked_reverse_path(text: str, context: Context, findings: Findings) -> str:
    try:
        return parse_reverse_path(text, context.origin)
    except AddressError as error:
        findings.refuse(str(error), "RFC 5321, 4.1.2", option="sender")
        return ""


def _asked_recipients(texts: Sequence[str], context: Context, findings: Findings) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for text in texts:
        try:
            found[str(parse_mailbox(unbracketed(text), context.origin))] = None
        except AddressError as error:
            findings.refuse(str(error), "RFC 5321, 4.1.2", option="recipient")
    return tuple(found)
