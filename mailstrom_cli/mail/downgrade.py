"""Addresses and header fields for servers without SMTPUTF8: their ASCII form, where they have one.

Domains have one (A-labels, RFC 5890), text in header fields has one (RFC 2047, RFC 2231), a local part has
none: only its own domain could know another name for it. Until a message leaves the queue that it was
submitted to, its form may be chosen so (RFC 6409, 8; relays further on must not, RFC 6531, 3.2), and what
readers show is the same.
"""

from __future__ import annotations

import re

from mailstrom_cli.mail.address import AddressError, canonical_domain, parse_mailbox
from mailstrom_cli.mail.address_list import ENDS_ATOM, quoted_string
from mailstrom_cli.mail.comment import comment_end
from mailstrom_cli.mail.header_text import ADDRESSES, in_ascii

SEGMENT = 48  # octets of a parameter's value in a line, three for each that is encoded
WITH_PARAMETERS = ("content-type", "content-disposition")
ATTRIBUTE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$&+-.^_`{|}~")
DOMAIN_ENDS = ENDS_ATOM - {"."}

_PARAMETER = re.compile(r';\s*([^\s;=()"*]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;()"]+))', re.DOTALL)


def ascii_address(address: str) -> str | None:
    """The address (or the null reverse-path) in ASCII; None when its local part is not."""
    if address.isascii():
        return address
    try:
        made = str(parse_mailbox(address))
    except AddressError:
        return None
    return made if made.isascii() else None


def ascii_field(raw: bytes) -> bytes | None:
    """A whole field, its folds and last line end included, in ASCII and with a CRLF; None when its syntax has
    no room for that, an address in it has no such form, or its octets are not UTF-8."""
    name, _, octets = raw.partition(b":")
    key = name.strip(b" \t").lower().decode("latin-1")
    try:
        value = octets.decode().replace("\r\n", "\n").rstrip("\n").replace("\n", "\r\n") + "\r\n"
        if key in ADDRESSES:
            value = _with_a_labels(value)
        elif key in WITH_PARAMETERS:
            value = _PARAMETER.sub(_extended, value)
        made = value if value.isascii() else in_ascii(key, name.decode(), value)
    except ValueError:  # UnicodeDecodeError, AddressError
        return None
    return None if made is None else name + b":" + made.encode("ascii")


def _with_a_labels(text: str) -> str:
    """An address field's value with its domains in ASCII. Raises AddressError."""
    parts, plain, at, end = [], 0, 0, len(text)
    while at < end:
        character = text[at]
        at += 1
        if character == '"':
            at = quoted_string(text, at - 1)[1]
        elif character == "(":
            at = comment_end(text, at - 1)
            if at < 0:
                raise AddressError("a comment has no end")
        elif character == "@":
            start = at
            while at < end and text[at] not in DOMAIN_ENDS:
                at += 1
            if not text[start:at].isascii():
                parts += [text[plain:start], canonical_domain(text[start:at])]
                plain = at
    return "".join(parts) + text[plain:]


def _extended(found: re.Match[str]) -> str:
    """A parameter with a value beyond ASCII in extended notation (RFC 2231, 3 and 4)."""
    name, quoted, token = found.groups()
    value = re.sub(r"\\(.)", r"\1", quoted.replace("\r\n", "")) if quoted is not None else token
    if value.isascii():
        return found[0]
    octets = [chr(c) if c in ATTRIBUTE else f"%{c:02X}" for c in value.encode()]
    segments, line = [], "utf-8''"
    for octet in octets:
        if len(line) + len(octet) > SEGMENT:
            segments.append(line)
            line = ""
        line += octet
    segments.append(line)
    if len(segments) == 1:
        return f";\r\n {name}*={line}"
    made = [f"{name}*{number}*={segment}" for number, segment in enumerate(segments)]
    return ";\r\n " + ";\r\n ".join(made)
