"""The channel binding tls-server-end-point (RFC 5929, 4): a hash of the certificate that the server shows.

It is the one that the interpreter gives on every version of TLS: tls-unique ends with TLS 1.2, and before TLS
1.3 says little without an extension of which the interpreter does not tell; tls-exporter it does not give.
"""

from __future__ import annotations

import hashlib

END_POINT = "tls-server-end-point"


def end_point(certificate: bytes) -> bytes | None:
    """Of a certificate in DER. None where the RFC defines none: its signature has no hash (Ed25519), or more
    than one."""
    name = _hash_of(certificate)
    return hashlib.new(name, certificate).digest() if name is not None else None


def _hash_of(certificate: bytes) -> str | None:
    try:
        # Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, ... }
        outer, _ = _inside(certificate)
        _, rest = _inside(outer)
        algorithm, _ = _inside(rest)
        oid, parameters = _inside(algorithm)
    except (IndexError, ValueError):
        return None
    if oid != PSS:
        return SIGNATURES.get(oid)
    found = {name for hashed, name in HASHES.items() if hashed in parameters}
    return None if len(found) > 1 else found.pop() if found else "sha256"  # by default SHA-1


def _inside(der: bytes) -> tuple[bytes, bytes]:
    """The content of the first element, and what follows it."""
    length, at = der[1], 2
    if length & 0x80:
        octets = length & 0x7F
        at += octets
        length = int.from_bytes(der[2:at])
    if at + length > len(der):
        raise ValueError
    return der[at : at + length], der[at + length :]


def _oid(text: str) -> bytes:
    """In DER, without tag and length."""
    first, second, *rest = map(int, text.split("."))
    out = bytearray()
    for number in (first * 40 + second, *rest):
        group = [number & 0x7F]
        while number := number >> 7:
            group.append(number & 0x7F | 0x80)
        out += bytes(reversed(group))
    return bytes(out)


PSS = _oid("1.2.840.113549.1.1.10")
# MD5 and SHA-1 count as SHA-256 (RFC 5929, 4.1).
SIGNATURES = {
    _oid(f"1.2.840.{arc}"): name
    for arc, name in {
        "113549.1.1.4": "sha256", "113549.1.1.5": "sha256", "113549.1.1.14": "sha224",
        "113549.1.1.11": "sha256", "113549.1.1.12": "sha384", "113549.1.1.13": "sha512",
        "10045.4.1": "sha256", "10045.4.3.1": "sha224", "10045.4.3.2": "sha256",
        "10045.4.3.3": "sha384", "10045.4.3.4": "sha512",
    }.items()
}  # fmt: skip
HASHES = {
    _oid(f"2.16.840.1.101.3.4.2.{n}"): name
    for n, name in {1: "sha256", 2: "sha384", 3: "sha512", 4: "sha224"}.items()
}
