"""What is signed, and for whom: the fields of a header, and the domains of its From.

A name in `h=` once more than there are such fields is over-signed: one that is added on the way breaks the
signature (RFC 6376, 8.15). Which fields are signed, and which over-signed, is as rspamd has it by default:
those that a reader is shown or that decide how a body is shown. What mailing lists and resenders add is only
signed where it is there.
"""

from __future__ import annotations

from mailstrom_cli.mail.address import AddressError
from mailstrom_cli.mail.address_list import decoded, parse_address_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from mailstrom_cli.mail.header import Field

ALWAYS = ("from", "reply-to", "subject", "to", "cc")
"""Over-signed, whether they are there or not."""
PRESENT = (
    *("date", "message-id", "sender", "in-reply-to", "references"),
    *("mime-version", "content-type", "content-transfer-encoding"),
)
"""Over-signed where they are there."""
AS_THEY_ARE = (
    *("resent-date", "resent-from", "resent-sender", "resent-to", "resent-cc", "resent-message-id"),
    *("list-id", "list-help", "list-unsubscribe", "list-unsubscribe-post", "list-subscribe", "list-post"),
    *("list-owner", "list-archive"),
)


def signed_fields(fields: Sequence[Field]) -> tuple[tuple[str, ...], tuple[Field, ...]]:
    """The names for `h=`, and the fields that they are, in the order in which they are hashed: of several
    with one name the last is first (RFC 6376, 5.4.2)."""
    by_key: dict[str, list[Field]] = {}
    for field in reversed(fields):
        by_key.setdefault(field.key, []).append(field)
    names: list[str] = []
    chosen: list[Field] = []
    for key in (*ALWAYS, *PRESENT, *AS_THEY_ARE):
        there = by_key.get(key, [])
        once_more = key in ALWAYS or (there and key in PRESENT)
        names += [key] * (len(there) + bool(once_more))
        chosen += there
    return tuple(names), tuple(chosen)


def author_domains(fields: Sequence[Field]) -> tuple[str, ...]:
    """The domains in From, as A-labels in lower case, each once; none of a From that cannot be read."""
    found: dict[str, None] = {}
    for field in fields:
        if field.key == "from":
            try:
                mailboxes = parse_address_list(decoded(field.raw[field.colon + 1 :])).mailboxes
            except AddressError:
                continue
            found.update(dict.fromkeys(box.domain for box in mailboxes))
    return tuple(found)


def signing_domain(domain: str, entries: Container[str]) -> str | None:
    """Of the domains that have keys the one to sign for this one: itself, or the nearest above it, which is
    aligned with it as DMARC has it by default (RFC 7489, 3.1.1)."""
    while domain and domain not in entries:
        _, _, domain = domain.partition(".")
    return domain or None
