"""A message that was signed before it was submitted arrives with a good signature: dkimpy and gpg say so."""

from __future__ import annotations

import os
import subprocess
from email import message_from_bytes
from typing import TYPE_CHECKING

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from ..peers.needs import need
from ..peers.scripted import Script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEADER = (
    b"From: Ann <ann@example.org>\r\nTo:  Bob  <bob@example.test>,\r\n\tcarol@example.test\r\n"
    b"Subject: with  two   blanks \r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n"
    b"Message-ID: <s@example.org>\r\nMIME-Version: 1.0\r\nX-Fold: a\r\n b \r\n"
)
PLAIN = HEADER + b"Content-Type: text/plain\r\n\r\n.dots\r\n..\r\n-- \r\nblank \t\r\n\r\nFrom me\r\n\r\n\r\n"
EIGHT_BIT = PLAIN.replace(b"text/plain", b"text/plain; charset=utf-8") + "Grüße\r\n".encode()
FOLDED = PLAIN + b"x" * 998 + b"\r\n"
SELECTOR = b"key"


def relay(mailstrom, server) -> None:
    mailstrom.configure(f'via = "smtp://127.0.0.1:{server.port}"')


def delivered(mailstrom, server, message: bytes) -> bytes:
    """What the server got when this was submitted and flushed."""
    id = mailstrom.submit("-f", "ann@example.org", "-t", "bob@example.test", input=message)
    mailstrom("flush")
    assert mailstrom.recipients(id)["bob@example.test"]["status"] == "delivered"
    return server.message()


def rsa_key() -> tuple[bytes, bytes]:
    """The private key as dkimpy takes it, and the record of the public one."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem, b"v=DKIM1; k=rsa; p=" + b"".join(public.splitlines()[1:-1])


def ed25519_key() -> tuple[bytes, bytes]:
    from base64 import b64encode

    key = ed25519.Ed25519PrivateKey.generate()
    return b64encode(key.private_bytes_raw()), b"v=DKIM1; k=ed25519; p=" + b64encode(
        key.public_key().public_bytes_raw()
    )


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"], ids=["CRLF", "LF"])
@pytest.mark.parametrize("canonical", [b"relaxed", b"simple"], ids=str)
@pytest.mark.parametrize("algorithm", [b"rsa-sha256", b"ed25519-sha256"], ids=str)
@pytest.mark.parametrize("message", [PLAIN, EIGHT_BIT, FOLDED], ids=["7bit", "8bit", "998 octets"])
def test_a_dkim_signature_stays_valid(mailstrom, scripted, message, algorithm, canonical, line_end) -> None:
    private, record = rsa_key() if algorithm.startswith(b"rsa") else ed25519_key()
    signature = dkim.sign(
        message,
        SELECTOR,
        b"example.org",
        private,
        canonicalize=(canonical, canonical),
        signature_algorithm=algorithm,
        include_headers=[b"from", b"to", b"subject", b"date", b"message-id", b"mime-version", b"x-fold"],
    )
    signed = signature + message
    server = scripted()
    relay(mailstrom, server)
    received = delivered(mailstrom, server, signed.replace(b"\r\n", line_end))
    assert received == signed
    assert dkim.verify(received, dnsfunc=lambda name, timeout=5: record)
    assert not dkim.verify(received + b"more\r\n", dnsfunc=lambda name, timeout=5: record)


def gpg(home: Path, *words: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    program = need("gpg")
    command = [program, "--batch", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", "", *words]
    environment = {**os.environ, "GNUPGHOME": str(home)}
    return subprocess.run(command, input=input, env=environment, capture_output=True, check=False, timeout=60)


@pytest.fixture
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home of gpg with a key; its agent ends with the test. The path of its socket must be short."""
    need("gpgconf")
    home = tmp_path_factory.mktemp("gpg")
    home.chmod(0o700)
    made = gpg(home, "--quick-generate-key", "Ann <ann@example.org>", "ed25519", "sign", "never")
    assert made.returncode == 0, made.stderr.decode()
    yield home
    environment = {**os.environ, "GNUPGHOME": str(home)}
    subprocess.run([need("gpgconf"), "--kill", "all"], env=environment, check=True, timeout=60)


@pytest.mark.parametrize("script", [Script(), Script(eight_bit=False, smtputf8=False)], ids=["new", "old"])
@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"], ids=["CRLF", "LF"])
def test_a_pgp_mime_signature_stays_valid(mailstrom, scripted, keyring, script, line_end) -> None:
    """RFC 3156, 5: made over the part as it is sent, its blanks at the ends of lines encoded."""
    part = (
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        b"Gr=C3=BC=C3=9Fe=20\r\n.\r\n-- =20\r\n=46rom me\r\n"
    )
    made = gpg(keyring, "--armor", "--detach-sign", "--digest-algo", "SHA256", input=part)
    assert made.returncode == 0, made.stderr.decode()
    message = (
        HEADER + b'Content-Type: multipart/signed; boundary="b"; micalg=pgp-sha256;\r\n'
        b' protocol="application/pgp-signature"\r\n\r\n--b\r\n' + part + b"\r\n--b\r\n"
        b"Content-Type: application/pgp-signature\r\n\r\n"
        + made.stdout.replace(b"\n", b"\r\n")
        + b"\r\n--b--\r\n"
    )
    server = scripted(script)
    relay(mailstrom, server)
    received = delivered(mailstrom, server, message.replace(b"\r\n", line_end))
    assert received == message

    signed = received.split(b"--b\r\n")[1].removesuffix(b"\r\n")
    signature = message_from_bytes(received).get_payload()[1].get_payload(decode=True)
    (keyring / "part.asc").write_bytes(signature)
    for content, good in ((signed, True), (signed.replace(b"me", b"you"), False)):
        checked = gpg(keyring, "--verify", str(keyring / "part.asc"), "-", input=content)
        assert (checked.returncode == 0) is good, checked.stderr.decode()
