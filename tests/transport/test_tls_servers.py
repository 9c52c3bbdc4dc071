"""Every level of TLS against Postfix and Exim (OpenSSL and GnuTLS), with certificates of every kind."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.config.schema import TlsPolicy
from mailstrom_cli.net.tls import fingerprints

from ..peers.exim import Exim
from ..peers.needs import need, need_root
from ..peers.postfix import Postfix
from ..peers.process import free_port
from .sending import Sender, settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mailstrom_cli.mail.status import Result

    from ..peers.certs import Certificates

KINDS = ("good", "expired", "wrong-name", "self-signed")
SERVERS = (*KINDS, "TLS 1.1 only", "no TLS")

# level: what becomes of mail to each of SERVERS, on the first attempt and on later ones where that differs
EXPECTED = {
    "none": ("plain", "plain", "plain", "plain", "plain", "plain"),
    "may": ("encrypted", "encrypted", "encrypted", "encrypted", "4.7.5, plain", "plain"),
    "encrypt": ("encrypted", "encrypted", "encrypted", "encrypted", "4.7.5", "4.7.4"),
    "verify": ("verified", "4.7.5", "4.7.5", "4.7.5", "4.7.5", "4.7.4"),
    "pinned": ("verified", "verified", "verified", "verified", "4.7.5", "4.7.4"),
    # Without TLSA records as may; what they change is in test_dane_servers.
    "dane": ("encrypted", "encrypted", "encrypted", "encrypted", "4.7.5, plain", "plain"),
}


@pytest.fixture(scope="module")
def postfix_ports(certificates: Certificates) -> Iterator[Mapping[str, int]]:
    """One Postfix with a port for each of SERVERS."""
    need("postfix")
    need_root()
    ports = {kind: free_port() for kind in SERVERS}
    listeners: dict[int, dict[str, str]] = {}
    for kind in KINDS:
        chain, key = certificates.files(kind)
        listeners[ports[kind]] = {"smtpd_tls_cert_file": chain, "smtpd_tls_key_file": key}
    old = {"smtpd_tls_protocols": "TLSv1.1", "tls_medium_cipherlist": "DEFAULT:@SECLEVEL=0"}
    listeners[ports["TLS 1.1 only"]] = old
    listeners[ports["no TLS"]] = {"smtpd_tls_security_level": "none"}
    with Postfix(tls=certificates, listeners=listeners):
        yield ports


@pytest.fixture(scope="module")
def exim_ports(certificates: Certificates) -> Iterator[Mapping[str, int]]:
    """One Exim with a port for each of SERVERS, and another without TLS."""
    need("exim4")
    need_root()
    ports = {kind: free_port() for kind in SERVERS}
    listeners = {ports[kind]: (kind, "") for kind in KINDS}
    listeners[ports["TLS 1.1 only"]] = ("good", "NORMAL:-VERS-ALL:+VERS-TLS1.1")
    with Exim(tls=certificates, listeners=listeners), Exim(port=ports["no TLS"]):
        yield ports


@pytest.fixture(params=["postfix", "exim"])
def ports(request: pytest.FixtureRequest) -> Mapping[str, int]:
    return request.getfixturevalue(f"{request.param}_ports")


def told(results: list[Result]) -> str:
    (result,) = results
    if result.status != "delivered":
        assert (result.status, result.tls, result.tls_by) == ("deferred", None, None)
        return str(result.enhanced)
    if result.tls is None:
        return "plain"
    version, protection = result.tls.split()
    assert version in ("TLSv1.2", "TLSv1.3") and result.tls_cipher
    assert (result.tls_by is not None) is (protection == "verified")
    return protection


def fingerprint(certificates: Certificates, kind: str) -> str:
    chain, _ = certificates.files(kind)
    with open(chain) as file:
        first = file.read().partition("-----END")[0] + "-----END CERTIFICATE-----\n"
    return fingerprints(ssl.PEM_cert_to_DER_cert(first))[1]


@pytest.mark.peer
@pytest.mark.parametrize("level", EXPECTED)
def test_the_matrix(ports, certificates, level: str) -> None:
    policy = {}
    if level == "pinned":
        pins = tuple(fingerprint(certificates, kind) for kind in KINDS)
        policy = {"mx.example.test": TlsPolicy(fingerprints=pins)}
    with contextlib.ExitStack() as ending:
        out = Sender(
            settings(
                tls_level="may" if policy else level, tls_ca_file=certificates.ca_file, tls_policy=policy
            )
        )
        ending.callback(out.close)
        found = []
        for kind in SERVERS:
            url = f"smtp://mx.example.test:{ports[kind]}"
            first, later = (told(out.send(url, attempts=n)) for n in (0, 1))
            found.append(first if first == later else f"{first}, {later}")
    assert tuple(found) == EXPECTED[level]


@pytest.mark.peer
def test_the_old_server_is_one(ports) -> None:
    """It speaks TLS, to whoever still speaks that: what is refused is its version."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", ports["TLS 1.1 only"]), 10) as plain:
        talk = plain.makefile("rb")
        talk.readline()
        plain.sendall(b"EHLO a.example\r\n")
        while talk.readline()[3:4] == b"-":
            pass
        plain.sendall(b"STARTTLS\r\n")
        assert talk.readline().startswith(b"220")
        talk.close()
        with context.wrap_socket(plain) as wrapped:
            assert wrapped.version() == "TLSv1.1"
