"""The DKIM-Signature field (RFC 6376, 3.5), folded; relaxed/relaxed, with a time and without an expiry."""

from __future__ import annotations

from base64 import b64encode

from mailstrom_cli.dkim.canonical import CRLF, relaxed_field
from mailstrom_cli.dkim.selection import signed_fields
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailstrom_cli.dkim.keys import PrivateKey
    from mailstrom_cli.mail.header import Field

NAME = "DKIM-Signature"
WIDTH = 76  # columns, where nothing has to be longer
PIECE = 72  # of base64


@value
class Signer:
    """A key, and where the public one is published: `selector._domainkey.domain`."""

    domain: str
    selector: str
    key: PrivateKey


def signature(signer: Signer, fields: Sequence[Field], body_hash: bytes, now: int) -> bytes:
    """The field to put on top of a message, with its CRLF. body_hash: `RelaxedBody.digest` of its body."""
    names, chosen = signed_fields(fields)
    tags = [
        f"{NAME}: v=1;",
        f" a={signer.key.algorithm};",
        " c=relaxed/relaxed;",
        f" d={signer.domain};",
        f" s={signer.selector};",
        f" t={now};",
        f" h={names[0]}",
        *(f":{name}" for name in names[1:-1]),
        f":{names[-1]};",
        f" bh={_base64(body_hash)};",
        " b=",
    ]
    unsigned = _folded(tags)
    hashed = b"".join([relaxed_field(f.key, f.raw[f.colon + 1 :]) for f in chosen])
    hashed += relaxed_field(NAME, unsigned[len(NAME) + 1 :]).removesuffix(CRLF)
    signed = _base64(signer.key.sign(hashed))
    return _folded([*tags[:-1], *_pieces(" b=" + signed)]) + CRLF


def _base64(octets: bytes) -> str:
    return b64encode(octets).decode("ascii")


def _pieces(text: str) -> Iterator[str]:
    """Text that may be folded anywhere; the first piece begins a line, as the tag does without its value."""
    return (text[at : at + PIECE] for at in range(0, len(text), PIECE))


def _folded(words: Sequence[str]) -> bytes:
    """The words in lines; where one begins a line, a tab is in place of a blank before it."""
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) > WIDTH:
            lines.append("\t" + word.lstrip(" "))
        else:
            lines[-1] += word
    return "\r\n".join(lines).encode("ascii")
