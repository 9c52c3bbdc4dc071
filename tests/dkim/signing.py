"""Keys that all tests sign with, and dkimpy, which verifies."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import dkim

from mailstrom_cli.dkim import keys
from mailstrom_cli.dkim.canonical import RelaxedBody
from mailstrom_cli.dkim.record import record_strings
from mailstrom_cli.dkim.signature import Signer, signature
from mailstrom_cli.mail.header import split_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mailstrom_cli.dkim.keys import PrivateKey

TYPES = ("rsa", "ed25519")
NOW = 1_795_488_300


@cache
def pair(type: str) -> tuple[bytes, PrivateKey]:
    """A key, in PEM and to sign with; its selector in these tests is its type."""
    return keys.generate(type, 2048)


def signed(message: bytes, *types: str, domain: str = "example.org") -> bytes:
    """A message of CRLF lines with a signature of each type in front."""
    header = split_header(message)
    body = RelaxedBody()
    body.update(message[header.end :])
    made = [
        signature(Signer(domain, type, pair(type)[1]), header.fields, body.digest(), NOW) for type in types
    ]
    return b"".join(made) + message


def public(name: bytes, timeout: int = 5) -> bytes | None:
    """What the DNS has at a name, for dkimpy."""
    selector = name.split(b".")[0].decode()
    return "".join(record_strings(pair(selector)[1])).encode() if selector in TYPES else None


def verified(message: bytes, count: int = 1) -> list[bool]:
    """What dkimpy makes of each of the first signatures of a message."""
    found = []
    for index in range(count):
        try:
            found.append(bool(dkim.DKIM(message, timeout=5).verify(index, dnsfunc=public)))
        except dkim.DKIMException:
            found.append(False)
    return found


def cut(octets: bytes, places: Iterable[int]) -> Sequence[bytes]:
    """The octets in pieces."""
    edges = [0, *sorted(place % (len(octets) + 1) for place in places), len(octets)]
    return [octets[start:end] for start, end in pairwise(edges)]
