"""As much of DER (X.690) as it takes to find the public key of a certificate (RFC 5280, 4.1)."""

from __future__ import annotations

SEQUENCE, INTEGER, VERSION = 0x30, 0x02, 0xA0
BEFORE_KEY = (INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE)  # serial, algorithm, issuer, validity, subject


def public_key(certificate: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a certificate in DER, with its tag and length. Raises ValueError for octets
    that are none."""
    start, end = _element(certificate, 0, len(certificate), SEQUENCE)
    if end != len(certificate):
        raise ValueError("octets after the certificate")
    at, end = _element(certificate, start, end, SEQUENCE)
    if certificate[at : at + 1] == bytes([VERSION]):
        _, at = _element(certificate, at, end, VERSION)
    for tag in BEFORE_KEY:
        _, at = _element(certificate, at, end, tag)
    return certificate[at : _element(certificate, at, end, SEQUENCE)[1]]


def _element(data: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    """Where the content of the element at `at` begins and where it ends."""
    if at + 2 > end or data[at] != tag:
        raise ValueError(f"no element {tag:#x} at octet {at}")
    length, start = data[at + 1], at + 2
    if length > 0x7F:
        count = length & 0x7F
        octets = data[start : start + count]
        length, start = int.from_bytes(octets), start + count
        if not 1 <= count <= 4 or len(octets) < count or octets[0] == 0 or length < 0x80:
            raise ValueError(f"no length of DER at octet {at + 1}")
    if start + length > end:
        raise ValueError(f"the element at octet {at} is cut short")
    return start, start + length
