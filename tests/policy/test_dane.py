"""TLSA records and certificates; the public key in a certificate, as the package `cryptography` finds it."""

from __future__ import annotations

import datetime
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstrom_cli.policy.dane import Tlsa, anchors, matches, proves, usable
from mailstrom_cli.policy.der import public_key

KEYS = (
    ec.generate_private_key(ec.SECP256R1()),
    ec.generate_private_key(ec.SECP521R1()),
    ed25519.Ed25519PrivateKey.generate(),
    ed448.Ed448PrivateKey.generate(),
    rsa.generate_private_key(65537, 2048),
)
DAY = datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC)


def certificate(
    key, serial: int = 1, name: str = "mx", issuer: str = "ca", more: int = 0
) -> x509.Certificate:
    """more: octets of a further extension."""
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)] if name else []))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(DAY)
        .not_valid_after(DAY + datetime.timedelta(days=90000))
    )
    if more:
        made = made.add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"x" * more), critical=False
        )
    hashed = None if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()
    return made.sign(key, hashed)


def der(made: x509.Certificate) -> bytes:
    return made.public_bytes(Encoding.DER)


def spki(made: x509.Certificate) -> bytes:
    return made.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


LEAF, OTHER = certificate(KEYS[0]), certificate(KEYS[1])


@settings(max_examples=60, deadline=None)
@given(
    key=st.sampled_from(KEYS),
    serial=st.integers(1, 2**159 - 1),
    name=st.text("abc é\u4e2d", max_size=60),
    issuer=st.text("abc é\u4e2d", min_size=1, max_size=60),
    more=st.sampled_from([0, 100, 200, 300, 70_000]),
)
def test_the_public_key_is_found(key, serial: int, name: str, issuer: str, more: int) -> None:
    made = certificate(key, serial, name, issuer, more)
    assert public_key(der(made)) == spki(made)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_what_is_no_certificate_is_a_value_error_and_nothing_else(data) -> None:
    octets = bytearray(der(LEAF))
    for _ in range(data.draw(st.integers(1, 3))):
        octets[data.draw(st.integers(0, 80))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(octets)))
    for given_octets in (bytes(octets), bytes(octets[:cut]), data.draw(st.binary(max_size=40))):
        try:
            found = public_key(given_octets)
        except ValueError:
            continue
        assert found in given_octets and found[0] == 0x30


@pytest.mark.parametrize(
    "octets",
    [
        *(b"", b"0", b"0\x80\x00\x00", b"0\x81\x01\x00", b"0\x82\x00\x80" + b"x" * 128, b"0\x85"),
        *(b"0\xff" + b"x" * 300, der(LEAF)[:-1], der(LEAF) + b"\0"),
    ],
)
def test_lengths_are_those_of_der(octets: bytes) -> None:
    with pytest.raises(ValueError):
        public_key(octets)


def element(tag: int, *parts: bytes, length: int | None = None) -> bytes:
    content = b"".join(parts)
    return bytes([tag, len(content) if length is None else length]) + content


def built(key: bytes, length: int | None = None) -> bytes:
    """As much of a certificate as is looked at, and one octet that is not the key's."""
    name = element(0x30)
    before = (element(0x02, b"\1"), name, name, name, name)
    return element(0x30, element(0x30, *before, element(0x30, key, length=length)), b"x")


def test_no_element_reaches_out_of_the_one_that_it_is_in() -> None:
    assert public_key(built(b"key")) == b"0\x03key"
    with pytest.raises(ValueError):
        public_key(built(b"key", length=4))


def test_a_length_has_one_form() -> None:
    """Else a certificate could be written in several ways that look alike to one reader only."""
    octets = der(LEAF)
    assert octets[:2] == b"0\x82"
    with pytest.raises(ValueError):
        public_key(b"0\x84\0\0" + octets[2:])
    short = built(b"key")
    with pytest.raises(ValueError):
        public_key(b"0\x81" + short[1:])


HOW = {
    0: lambda data: data,
    1: lambda data: hashlib.sha256(data).digest(),
    2: lambda d: hashlib.sha512(d).digest(),
}


@pytest.mark.parametrize("usage", [2, 3])
@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("mtype", [0, 1, 2])
def test_every_selector_with_every_digest(usage: int, selector: int, mtype: int) -> None:
    take = spki if selector else der
    record = Tlsa(usage, selector, mtype, HOW[mtype](take(LEAF)))
    assert usable([record], anchors=True) == (record,)
    assert matches(record, der(LEAF))
    assert not matches(record, der(OTHER)) and not matches(record, b"") and not matches(record, b"0\x03abc")
    assert proves([record], der(LEAF)) is (usage == 3)
    assert anchors([record], [der(OTHER), der(LEAF)]) == ((der(LEAF),) if usage == 2 else ())


@pytest.mark.parametrize(
    "record",
    [
        Tlsa(0, 0, 1, b"x" * 32),
        Tlsa(1, 1, 1, b"x" * 32),
        Tlsa(4, 1, 1, b"x" * 32),
        Tlsa(255, 1, 1, b"x" * 32),
        Tlsa(3, 2, 1, b"x" * 32),
        Tlsa(3, 1, 3, b"x" * 32),
        Tlsa(3, 1, 1, b"x" * 31),
        Tlsa(3, 1, 1, b"x" * 64),
        Tlsa(3, 1, 2, b"x" * 32),
        Tlsa(3, 1, 0, b""),
    ],
    ids=repr,
)
def test_what_is_of_no_use_is_passed_over(record: Tlsa) -> None:
    good = Tlsa(3, 1, 1, b"g" * 32)
    assert usable([record], anchors=True) == ()
    assert usable([record, good], anchors=True) == (good,)


def test_without_the_chain_an_authority_is_of_no_use() -> None:
    ta, ee = Tlsa(2, 0, 1, b"a" * 32), Tlsa(3, 1, 1, b"e" * 32)
    assert usable([ta, ee], anchors=False) == (ee,)
    assert usable([ta, ee], anchors=True) == usable([ee, ta, ee], anchors=True) == (ta, ee)


def test_of_several_digests_the_strongest_counts_for_each_kind() -> None:
    whole = Tlsa(3, 1, 0, b"w")
    weak, strong = Tlsa(3, 1, 1, b"x" * 32), Tlsa(3, 1, 2, b"x" * 64)
    other = Tlsa(3, 0, 1, b"y" * 32)
    assert usable([weak, strong, whole, other], anchors=True) == (other, whole, strong)
    malformed = Tlsa(3, 1, 2, b"x")
    assert usable([weak, malformed], anchors=True) == (weak,)


def test_a_whole_certificate_in_dns_is_an_anchor_that_a_server_need_not_show() -> None:
    record = Tlsa(2, 0, 0, der(OTHER))
    assert anchors([record], [der(LEAF)]) == (der(OTHER),)
    assert anchors([record], [der(LEAF), der(OTHER)]) == (der(OTHER),)
