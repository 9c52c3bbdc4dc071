"""TLS as a client: contexts for what a connection has to have, and whether a server has proved itself."""

from __future__ import annotations

import hashlib
import os
import ssl

from mailstrom_cli.config.secret import open_secret
from mailstrom_cli.errors import CONFIG, MailstromError
from mailstrom_cli.policy import dane
from mailstrom_cli.policy.der import public_key
from mailstrom_cli.policy.names import covered
from mailstrom_cli.policy.tls import STS, VERIFY
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from mailstrom_cli.policy.tls import Asked, Protection

ANCHORS = hasattr(ssl.SSLObject, "get_unverified_chain")
"""Whether DANE-TA can be checked: Python 3.13 and newer tell the chain that a server has shown."""
CONTEXTS_KEPT, ANCHORS_KEPT = 200, 1000
NOT_TRUSTED, MISMATCH, EXPIRED = (
    "certificate-not-trusted", "certificate-host-mismatch", "certificate-expired"
)  # fmt: skip
X509_V_ERR_CERT_HAS_EXPIRED = 10


class NotProven(Exception):
    """The server is not the one that was wanted; the text says why, `fault` as in `smtp.dialog.Failure`."""

    def __init__(self, why: str, fault: str) -> None:
        super().__init__(why)
        self.fault = fault


@value
class Secured:
    """What was negotiated. text: "TLSv1.3 verified" or "TLSv1.3 encrypted".  cipher: as OpenSSL calls it.
    by: how the server has proved itself: "certificate", "fingerprint", "dane-ee", "dane-ta",
    "mta-sts" (a certificate for a host that the policy of the domain lists), or None."""

    text: str
    cipher: str | None = None
    by: str | None = None

    @property
    def verified(self) -> bool:
        """The server has proved to be the right one."""
        return self.text.endswith(" verified")

    def __str__(self) -> str:
        return self.text


class Handshake:
    """How TLS begins on one connection. again: it failed, and may do better when it is begun once more, now
    that the chain of the server is known."""

    def __init__(self, contexts: Contexts, protection: Protection) -> None:
        self.protection = protection
        self.anchors = contexts.anchors.get(protection, ())
        self.context = contexts.get(protection, self.anchors)
        self.again = False
        self._contexts = contexts

    @property
    def name(self) -> str | None:
        """For SNI; an address is never told (RFC 6066, 3)."""
        return self.protection.sni or None

    def judge(self, wrapped: ssl.SSLObject) -> Secured:
        """What there is now. Raises NotProven, before anything was said under TLS."""
        by = self._proof(wrapped) if self.protection.level == VERIFY else None
        cipher = wrapped.cipher()
        verified = "verified" if by and self.protection.certain else "encrypted"
        return Secured(f"{wrapped.version()} {verified}", cipher[0] if cipher else None, by)

    def _proof(self, wrapped: ssl.SSLObject) -> str:
        wanted = self.protection
        certificate = wrapped.getpeercert(binary_form=True)
        if certificate is None:
            raise NotProven("the server has shown no certificate", NOT_TRUSTED)
        if wanted.fingerprints:
            if not any(f in wanted.fingerprints for f in fingerprints(certificate)):
                raise NotProven("its fingerprint is none of those in the configuration", NOT_TRUSTED)
            return "fingerprint"
        if not wanted.tlsa:
            self._check_names(wrapped)
            return "mta-sts" if wanted.policy == STS else "certificate"
        if dane.proves(wanted.tlsa, certificate):
            return "dane-ee"
        if self.anchors:  # by which OpenSSL has verified it
            self._check_names(wrapped)
            return "dane-ta"
        if ANCHORS and (found := dane.anchors(wanted.tlsa, _chain(wrapped))):
            if len(self._contexts.anchors) >= ANCHORS_KEPT:
                self._contexts.anchors.clear()
            self._contexts.anchors[wanted] = found
            self.again = True
        raise NotProven(f"it is not what the TLSA records of {wanted.sni} name", "tlsa-invalid")

    def _check_names(self, wrapped: ssl.SSLObject) -> None:
        wanted = self.protection.names
        told: dict[str, Any] = wrapped.getpeercert() or {}
        held: Sequence[tuple[str, str]] = told.get("subjectAltName", ())
        names = [name for kind, name in held if kind == "DNS"]
        addresses = [name for kind, name in held if kind == "IP Address"]
        if not covered(wanted, names, addresses):
            there = ", ".join([*names, *addresses][:5]) or "nobody"
            raise NotProven(f"it is for {there}, and not for {' or '.join(wanted)}", MISMATCH)

    def failed(self) -> None:
        """It did not come about, so that what was learned of the server before may be out of date."""
        if self.anchors:
            self._contexts.anchors.pop(self.protection, None)


def fault(error: BaseException) -> str:
    """What OpenSSL found to be wrong with a certificate, in the words of RFC 8460, 4.3; "" for anything
    else."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return ""
    return EXPIRED if error.verify_code == X509_V_ERR_CERT_HAS_EXPIRED else NOT_TRUSTED


def _chain(wrapped: ssl.SSLObject) -> Sequence[bytes]:
    chain: Sequence[bytes] = wrapped.get_unverified_chain()  # type: ignore[attr-defined, unused-ignore]
    return chain


def fingerprints(certificate: bytes) -> tuple[str, ...]:
    """SHA-256 of a certificate, given in DER, and of its public key, in hexadecimal."""
    held = [certificate]
    try:
        held.append(public_key(certificate))
    except ValueError:
        pass
    return tuple(hashlib.sha256(octets).hexdigest() for octets in held)


class Contexts:
    """Contexts, each made once. Raises MailstromError for a file that cannot be used."""

    def __init__(self) -> None:
        self.anchors: dict[Protection, tuple[bytes, ...]] = {}  # learned from servers, for DANE-TA
        self._made: dict[tuple[object, ...], ssl.SSLContext] = {}

    def check(self, asked: Asked) -> None:
        """Whether the files that the configuration names can be used."""
        if asked.ca_file:
            self._get(True, (), asked.ca_file, asked.only, asked.client_cert, asked.client_key)
        elif asked.client_cert:
            self._get(None, (), "", False, asked.client_cert, asked.client_key)

    def get(self, wanted: Protection, anchors: tuple[bytes, ...] = ()) -> ssl.SSLContext:
        """One that checks a certificate where authorities decide on it, else one that takes any: what that
        has to be is seen later, or nobody asks."""
        chain = wanted.level == VERIFY and not wanted.fingerprints and (not wanted.tlsa or bool(anchors))
        mode = chain or (None if wanted.required else False)
        return self._get(mode, anchors, wanted.ca_file, wanted.only, wanted.client_cert, wanted.client_key)

    def _get(
        self, chain: bool | None, anchors: tuple[bytes, ...], ca_file: str, only: bool, cert: str, key: str
    ) -> ssl.SSLContext:
        """chain: True to verify it, None for TLS 1.2 and newer, of whoever it is, False for any TLS."""
        known = (chain, anchors, ca_file, only, cert, key) if chain else (chain, cert, key)
        context = self._made.get(known)
        if context is None:
            if len(self._made) >= CONTEXTS_KEPT:
                self._made.clear()
            context = self._made[known] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False  # that is for `judge`: the name is not always that of SNI
            if chain is not False:
                context.minimum_version = ssl.TLSVersion.TLSv1_2
            if anchors:
                context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
                context.load_verify_locations(cadata=b"".join(anchors))
            elif chain:
                _load_authorities(context, ca_file, only)
            else:
                context.verify_mode = ssl.CERT_NONE
            if cert:
                _load_own(context, cert, key)
        return context


def _load_authorities(context: ssl.SSLContext, ca_file: str, only: bool) -> None:
    try:
        if not only:
            context.load_default_certs()
        if ca_file:
            context.load_verify_locations(ca_file)
    except (OSError, ssl.SSLError) as error:
        reason = "no PEM certificates in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise MailstromError(
            f"the authorities in {ca_file} cannot be used: {reason}",
            "ca_file in [tls] or [tls.policy] names a file of PEM certificates",
            CONFIG,
        ) from None


def _load_own(context: ssl.SSLContext, cert: str, key: str) -> None:
    """The client certificate. The key has to be private, as a password is, and without a passphrase."""

    def passphrase() -> str:
        raise ValueError("the key has a passphrase")

    descriptor = open_secret(key or cert)
    try:
        secret = f"/dev/fd/{descriptor}"
        context.load_cert_chain(cert if key else secret, secret, passphrase)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise MailstromError(
            f"the client certificate {cert} cannot be used: {str(reason).replace('_', ' ').lower()}",
            "client_cert names a PEM file with the certificate and those that lead to its authority, "
            "client_key one with its key; without client_key both are in client_cert",
            CONFIG,
        ) from None
    finally:
        os.close(descriptor)
