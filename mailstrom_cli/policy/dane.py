"""TLSA records as values, and which certificates they stand for (RFC 6698, 7671, 7672)."""

from __future__ import annotations

import hashlib

from mailstrom_cli.policy.der import public_key
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

TA, EE = 2, 3
CERTIFICATE, KEY = 0, 1
WHOLE, SHA256, SHA512 = 0, 1, 2
LENGTH = {SHA256: 32, SHA512: 64}


@value
class Tlsa:
    """usage: 2 DANE-TA, 3 DANE-EE (0 and 1 are of no use to SMTP).  selector: 0 the whole certificate, 1 its
    public key.  mtype: 0 the octets themselves, 1 their SHA-256, 2 their SHA-512.  data: what must match."""

    usage: int
    selector: int
    mtype: int
    data: bytes


def usable(records: Sequence[Tlsa], *, anchors: bool) -> tuple[Tlsa, ...]:
    """The records that can prove a server (RFC 7672, 3.1): none of usage 0 and 1, nothing that is malformed
    or not known, and of several digests of one kind only the strongest (RFC 7671, 9). In an order that does
    not depend on that of the answer.

    anchors: whether DANE-TA can be checked, for which the interpreter has to tell a server's whole chain.
    """
    fit = [r for r in records if _fit(r) and (r.usage == EE or anchors)]
    strongest = {(r.usage, r.selector): max(o.mtype for o in fit if _kind(o) == _kind(r)) for r in fit}
    kept = {r for r in fit if r.mtype in (WHOLE, strongest[_kind(r)])}
    return tuple(sorted(kept, key=lambda r: (r.usage, r.selector, r.mtype, r.data)))


def _kind(record: Tlsa) -> tuple[int, int]:
    return record.usage, record.selector


def _fit(record: Tlsa) -> bool:
    if record.usage not in (TA, EE) or record.selector not in (CERTIFICATE, KEY):
        return False
    if record.mtype == WHOLE:
        return bool(record.data)
    return len(record.data) == LENGTH.get(record.mtype)


def matches(record: Tlsa, certificate: bytes) -> bool:
    """Whether a record stands for this certificate, given in DER; its usage is not looked at."""
    try:
        held = certificate if record.selector == CERTIFICATE else public_key(certificate)
    except ValueError:
        return False
    if record.mtype == SHA256:
        held = hashlib.sha256(held).digest()
    elif record.mtype == SHA512:
        held = hashlib.sha512(held).digest()
    return held == record.data


def proves(records: Sequence[Tlsa], certificate: bytes) -> bool:
    """Whether the server's own certificate is one that the records name (DANE-EE): neither its names, nor its
    dates, nor who issued it matter then (RFC 7671, 5.1)."""
    return any(r.usage == EE and matches(r, certificate) for r in records)


def anchors(records: Sequence[Tlsa], chain: Sequence[bytes]) -> tuple[bytes, ...]:
    """The certificates that DANE-TA records name: of those that the server has shown, or, where a record is
    a whole certificate, that one. What they have not issued proves nothing."""
    named = [r for r in records if r.usage == TA]
    shown = [c for c in chain if any(matches(r, c) for r in named)]
    given = [r.data for r in named if r.selector == CERTIFICATE and r.mtype == WHOLE]
    return tuple(dict.fromkeys(shown + given))
