"""TLSA records as values (RFC 6698, 2.1)."""

from __future__ import annotations

from mailstrom_cli.values import value


@value
class Tlsa:
    """usage: 2 DANE-TA, 3 DANE-EE (0 and 1 are of no use to SMTP).  selector: 0 the whole certificate, 1 its
    public key.  mtype: 0 the octets themselves, 1 their SHA-256, 2 their SHA-512.  data: what must match."""

    usage: int
    selector: int
    mtype: int
    data: bytes
