"""What the signatures in a header cover, so that no fix breaks one (RFC 6376, 3.5 and 5.4; RFC 8617, 4.1.2).

A name in `h=` is signed whether the field is there or not: to add one that was missing breaks the signature
just as a change does (RFC 6376, 5.4.2). The form of line ends, and empty lines at the end of a text, belong
to no signature.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mailstrom_cli.mail.header import Field

SIGNATURES = ("dkim-signature", "arc-message-signature")


def signed(by_key: Mapping[str, Sequence[Field]]) -> dict[str, Field]:
    """The field names that are signed, in lower case, each with the field of the first signature that covers
    it."""
    found: dict[str, Field] = {}
    for key in SIGNATURES:
        for field in by_key.get(key, ()):
            for name in _names(field.body):
                found.setdefault(name, field)
    return found


def _names(value: bytes) -> list[str]:
    """The names in the tag `h=` of a tag-list (RFC 6376, 3.2)."""
    for tag in value.split(b";"):
        name, equals, content = tag.partition(b"=")
        if equals and name.strip() == b"h":
            return [part.strip().decode("ascii", "replace").lower() for part in content.split(b":")]
    return []
