"""Queue ids: 48 bits of milliseconds and 32 random bits in Crockford's base32, so that they sort by age.

An id is matched against its pattern, `^[0-9a-hjkmnp-tv-z]{16}$`, before a path is made of it.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH = 16
SHORTEST_PART = 4  # characters of a prefix or suffix that may stand for an id

_LETTERS = frozenset(ALPHABET)
_OCTETS = ALPHABET.encode()


def new_id(now: float, after: str = "") -> str:
    """An id for a message accepted at `now` (seconds since the epoch); it sorts after `after`, an id of the
    same batch."""
    bits = ((int(now * 1000) & (1 << 48) - 1) << 32) | int.from_bytes(os.urandom(4), "big")
    if after:
        before = 0
        for letter in after:
            before = before << 5 | ALPHABET.index(letter)
        if bits <= before:
            bits = before + 1 + int.from_bytes(os.urandom(2), "big")
    return "".join([ALPHABET[bits >> shift & 31] for shift in range(75, -5, -5)])


def is_id(name: str) -> bool:
    """Whether a name can be a queue id."""
    return len(name) == LENGTH and _LETTERS.issuperset(name)


def only_ids(names: list[str]) -> list[str]:
    """Those of the names that can be queue ids. Where all of them can, that costs hardly anything."""
    octets = "".join(names).encode("ascii", "replace")
    if set(map(len, names)) <= {LENGTH} and not octets.translate(None, _OCTETS):
        return names
    return [name for name in names if is_id(name)]


def matching(part: str, ids: Iterable[str]) -> list[str]:
    """The ids of which `part` is a prefix or suffix, sorted; none when it is too short or no part of an
    id."""
    if len(part) < SHORTEST_PART or not _LETTERS.issuperset(part):
        return []
    return sorted({id for id in ids if id.startswith(part) or id.endswith(part)})
