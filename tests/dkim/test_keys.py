"""Keys in PEM, the records of their public halves, and files that are no keys."""

from __future__ import annotations

import sys
from base64 import b64decode
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mailstrom_cli.dkim import keys
from mailstrom_cli.dkim.keys import PrivateKey
from mailstrom_cli.dkim.record import record, record_strings
from mailstrom_cli.errors import CONFIG, MailstromError
from mailstrom_cli.net.keys import read_key

from .signing import TYPES, pair

if TYPE_CHECKING:
    from pathlib import Path

PEM = serialization.Encoding.PEM
PKCS1, PKCS8 = serialization.PrivateFormat.TraditionalOpenSSL, serialization.PrivateFormat.PKCS8
PLAIN = serialization.NoEncryption()


def test_rsa_in_both_kinds_of_pem() -> None:
    secret = rsa.generate_private_key(65537, 1024)
    found = [keys.read(secret.private_bytes(PEM, kind, PLAIN)) for kind in (PKCS1, PKCS8)]
    assert [(key.algorithm, key.type, key.bits) for key in found] == [("rsa-sha256", "rsa", 1024)] * 2
    assert found[0].sign(b"x") == found[1].sign(b"x")


def test_what_is_generated_is_read_again() -> None:
    for type in TYPES:
        pem, key = pair(type)
        assert pem.startswith(b"-----BEGIN PRIVATE KEY-----\n")
        again = keys.read(pem)
        assert (again.type, again.public) == (type, key.public)
        assert again.sign(b"x") == key.sign(b"x")


def test_what_is_no_key_to_sign_with(monkeypatch: pytest.MonkeyPatch) -> None:
    assert keys.LEAST_BITS == 1024
    monkeypatch.setattr(keys, "LEAST_BITS", 2049)
    encrypted = rsa.generate_private_key(65537, 1024).private_bytes(
        PEM, PKCS8, serialization.BestAvailableEncryption(b"s3cret")
    )
    curve = ec.generate_private_key(ec.SECP256R1())
    public = curve.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for pem, what in (
        (b"", "holds no private key in PEM"),
        (b"\0" * 100, "holds no private key in PEM"),
        (public, "holds no private key in PEM"),
        (pair("rsa")[0][:200], "holds no private key in PEM"),
        (encrypted, "is encrypted, and there is nobody to ask for its passphrase"),
        (curve.private_bytes(PEM, PKCS8, PLAIN), "is neither an RSA nor an Ed25519 key"),
        (pair("rsa")[0], "has only 2048 bits, and 2049 are the least (RFC 8301)"),
    ):
        with pytest.raises(ValueError) as caught:
            keys.read(pem)
        assert str(caught.value) == what


def test_a_file_that_others_can_read_is_none(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(pair("ed25519")[0])
    for mode, hint in ((0o644, f"chmod 600 {path}"), (0o600, None)):
        path.chmod(mode)
        if hint is None:
            assert read_key(str(path)).type == "ed25519"
            continue
        with pytest.raises(MailstromError) as caught:
            read_key(str(path))
        assert (caught.value.hint, caught.value.exit_code) == (hint, CONFIG)
    path.write_text("s3cret")
    with pytest.raises(MailstromError) as caught:
        read_key(str(path))
    assert caught.value.message == f"{path} holds no private key in PEM"


def test_nothing_shows_a_key() -> None:
    for type in TYPES:
        assert repr(pair(type)[1]) == f"PrivateKey('{type}-sha256')"


def test_without_the_extra_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pem = pair("ed25519")[0]
    keys.check_installed()
    for name in [n for n in sys.modules if n.partition(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    for work in (keys.check_installed, lambda: keys.read(pem), lambda: keys.generate("rsa", 2048)):
        with pytest.raises(keys.NotInstalled) as caught:
            work()
        assert caught.value.hint == "pip install 'mailstrom[dkim]'"


@pytest.mark.parametrize(("octets", "strings"), [(32, 1), (162, 1), (294, 2), (550, 3), (177, 1), (178, 2)])
def test_a_record_in_strings_of_255_octets(octets: int, strings: int) -> None:
    key = PrivateKey("rsa-sha256", "rsa", 2048, bytes(octets), lambda octets: b"")
    held = record_strings(key)
    assert len(held) == strings
    assert {len(string) for string in held[:-1]} <= {255}
    assert 0 < len(held[-1]) <= 255
    head, _, public = "".join(held).partition("; p=")
    assert head == "v=DKIM1; k=rsa"
    assert b64decode(public, validate=True) == key.public
    shown = record("example.org", "sel", key)
    assert shown.startswith("sel._domainkey.example.org. IN TXT " + ("(\n" if strings > 1 else '"v=DKIM1;'))
    assert shown.count('"') == 2 * strings
