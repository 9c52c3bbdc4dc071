"""Keys to sign with: RSA (RFC 8301) and Ed25519 (RFC 8463), through the package `cryptography`.

It is imported where a key is read or made, and nowhere else.
"""

from __future__ import annotations

from hashlib import sha256

from mailstrom_cli.errors import CONFIG, MailstromError
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LEAST_BITS, GOOD_BITS, MOST_BITS = 1024, 2048, 4096
"""Of RSA: fewer than the first are no signature, fewer than the second should not be used, and more than the
last a verifier need not know (RFC 8301, 3.2)."""


@value
class PrivateKey:
    """algorithm: as in `a=`.  type: as in the `k=` of a record.  public: the octets of its `p=`.
    bits: of RSA, else 0.  sign: the signature of some octets."""

    algorithm: str
    type: str
    bits: int
    public: bytes
    sign: Callable[[bytes], bytes]

    def __repr__(self) -> str:
        return f"PrivateKey({self.algorithm!r})"


class NotInstalled(MailstromError):
    """The extra is missing."""

    def __init__(self) -> None:
        super().__init__(
            "[dkim] needs the Python package cryptography, which is not installed",
            "pip install 'mailstrom[dkim]'",
            CONFIG,
        )


def check_installed() -> None:
    """Raises NotInstalled."""
    from importlib.util import find_spec

    if find_spec("cryptography") is None:
        raise NotInstalled


def read(pem: bytes) -> PrivateKey:
    """The key of a PEM file. Raises ValueError, with a clause that says what is wrong ("is encrypted"), and
    NotInstalled."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ModuleNotFoundError:
        raise NotInstalled from None
    try:
        key = load_pem_private_key(pem, None)
    except TypeError:
        raise ValueError("is encrypted, and there is nobody to ask for its passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("holds no private key in PEM") from None
    if isinstance(key, Ed25519PrivateKey):
        return _ed25519(key)
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("is neither an RSA nor an Ed25519 key")
    if key.key_size < LEAST_BITS:
        raise ValueError(f"has only {key.key_size} bits, and {LEAST_BITS} are the least (RFC 8301)")
    return _rsa(key)


def generate(type: str, bits: int) -> tuple[bytes, PrivateKey]:
    """A new key, in PEM and to use. type: "rsa" or "ed25519".  bits: of RSA. Raises NotInstalled."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
    except ModuleNotFoundError:
        raise NotInstalled from None
    made = (
        ed25519.Ed25519PrivateKey.generate() if type == "ed25519" else rsa.generate_private_key(65537, bits)
    )
    pem = made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem, read(pem)


if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey


def _ed25519(key: Ed25519PrivateKey) -> PrivateKey:
    """It signs the hash of what is signed (RFC 8463, 3); the record has the bare key (4.2)."""
    return PrivateKey(
        "ed25519-sha256",
        "ed25519",
        0,
        key.public_key().public_bytes_raw(),
        lambda octets: key.sign(sha256(octets).digest()),
    )


def _rsa(key: RSAPrivateKey) -> PrivateKey:
    """The record has a SubjectPublicKeyInfo, as all know it (RFC 6376, 3.6.1 and C)."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    padding, algorithm = PKCS1v15(), SHA256()
    return PrivateKey(
        "rsa-sha256", "rsa", key.key_size, public, lambda octets: key.sign(octets, padding, algorithm)
    )
