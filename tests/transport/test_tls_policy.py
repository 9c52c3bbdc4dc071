"""How a server proves who it is, and who decides what counts: policies by destination, fingerprints, names,
client certificates, TLSA records."""

from __future__ import annotations

import hashlib
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from mailstrom_cli.config.schema import Auth, TlsPolicy
from mailstrom_cli.errors import MailstromError
from mailstrom_cli.net.tls import fingerprints
from mailstrom_cli.policy.dane import Tlsa
from mailstrom_cli.policy.der import public_key
from mailstrom_cli.policy.mx import Lookup

from ..peers.scripted import Script
from .sending import Names, statuses

if TYPE_CHECKING:
    from ..peers.certs import Certificates
    from ..peers.scripted import ScriptedServer

RELAY = "mx.example.test"
VERIFIED = ("delivered", "TLSv1.3 verified")
ENCRYPTED = ("delivered", "TLSv1.3 encrypted")


@pytest.fixture
def offering(scripted, certificates):
    """offering(kind of certificate, **script) -> a server."""
    return lambda kind="good", **script: scripted(Script(tls=certificates.context(kind), **script))


def via(server: ScriptedServer, host: str = RELAY) -> str:
    return f"smtp://{host}:{server.port}"


def der(certificates: Certificates, kind: str) -> bytes:
    chain, _ = certificates.files(kind)
    with open(chain) as file:
        return ssl.PEM_cert_to_DER_cert(file.read().partition("-----END")[0] + "-----END CERTIFICATE-----\n")


def proof(told) -> tuple[str, str | None, str | None]:
    return told.status, told.tls, told.tls_by


# --- the status ---


def test_the_status_tells_version_cipher_and_proof(offering, sender, certificates) -> None:
    (told,) = sender(tls_level="verify", tls_ca_file=certificates.ca_file).send(via(offering()))
    assert proof(told) == (*VERIFIED, "certificate")
    assert told.tls_cipher in (
        "TLS_AES_256_GCM_SHA384",
        "TLS_AES_128_GCM_SHA256",
        "TLS_CHACHA20_POLY1305_SHA256",
    )
    (told,) = sender(tls_level="encrypt").send(via(offering()))
    assert proof(told) == (*ENCRYPTED, None) and told.tls_cipher
    (told,) = sender(tls_level="none").send(via(offering()))
    assert (told.tls, told.tls_cipher, told.tls_by) == (None, None, None)


def test_tls_1_2_is_enough(offering, sender, certificates, scripted) -> None:
    context = certificates.context(maximum_version=ssl.TLSVersion.TLSv1_2)
    server = scripted(Script(tls=context))
    (told,) = sender(tls_level="verify", tls_ca_file=certificates.ca_file).send(via(server))
    assert told.tls == "TLSv1.2 verified" and told.tls_cipher.startswith("ECDHE-")


# --- fingerprints ---


@pytest.mark.parametrize("kind", ["good", "self-signed", "expired", "wrong-name"])
@pytest.mark.parametrize("of", [0, 1], ids=["certificate", "key"])
def test_a_known_fingerprint_is_enough_for_any_certificate(
    offering, sender, certificates, kind: str, of: int
) -> None:
    pin = fingerprints(der(certificates, kind))[of]
    policy = {RELAY: TlsPolicy(fingerprints=("00" * 32, pin))}
    (told,) = sender(tls_policy=policy).send(via(offering(kind)))
    assert proof(told) == (*VERIFIED, "fingerprint")


def test_an_unknown_fingerprint_is_refused_though_an_authority_vouches_for_it(
    offering, sender, certificates
) -> None:
    pin = fingerprints(der(certificates, "self-signed"))
    server = offering("good")
    out = sender(tls_ca_file=certificates.ca_file, tls_policy={RELAY: TlsPolicy(fingerprints=pin)})
    (told,) = out.send(via(server), attempts=5)
    assert statuses([told]) == [("deferred", None, "4.7.5")]
    assert told.text.endswith(
        "certificate not verified: its fingerprint is none of those in the configuration"
    )
    assert server.transactions == []


# --- which names ---


def mx_names(signed: bool = False) -> Names:
    """The MX host of example.com is mx.example.test."""
    names = ("example.com",) if signed else ()
    return Names(mx={"example.com": [(10, RELAY)]}, signed=names)


@pytest.mark.parametrize("signed", [False, True])
def test_the_name_of_an_mx_host_counts_only_if_it_is_signed(
    offering, sender, certificates, signed: bool
) -> None:
    """The certificate is good for mx.example.test; whoever forges MX records has one that is good, too."""
    server = offering()
    out = sender(
        mx_names(signed), tls_level="verify", tls_ca_file=certificates.ca_file, smtp_port=server.port
    )
    (told,) = out.send("mx:", "good@example.com", domain="example.com")
    if signed:
        assert proof(told) == (*VERIFIED, "certificate")
    else:
        assert statuses([told]) == [("deferred", None, "4.7.5")]
        assert told.text.endswith("and not for example.com or *.example.com")
        assert server.transactions == []


@pytest.mark.parametrize("match", [(RELAY,), ("*.example.test",), ("other.test", "*.test")])
def test_what_a_policy_names_counts_instead(offering, sender, certificates, match: tuple[str, ...]) -> None:
    server = offering()
    policy = {"example.com": TlsPolicy(match=match)}
    out = sender(mx_names(), tls_policy=policy, tls_ca_file=certificates.ca_file, smtp_port=server.port)
    (told,) = out.send("mx:", "good@example.com", domain="example.com")
    assert proof(told) == (*VERIFIED, "certificate")
    out = sender(tls_policy={RELAY: TlsPolicy(match=("other.example",))}, tls_ca_file=certificates.ca_file)
    assert statuses(out.send(via(server))) == [("deferred", None, "4.7.5")]


def test_a_host_below_the_domain_of_the_recipient_counts(offering, sender, certificates) -> None:
    server = offering()
    names = Names(mx={"example.net": [(10, RELAY)]})  # the certificate has *.example.net in it
    out = sender(names, tls_level="verify", tls_ca_file=certificates.ca_file, smtp_port=server.port)
    (told,) = out.send("mx:", "good@example.net", domain="example.net")
    assert proof(told) == (*VERIFIED, "certificate")
    assert server.sessions[0].server_name == RELAY, "SNI is the name of the host"


def test_an_mx_host_that_is_called_like_its_address_is_no_address_of_the_configuration(
    offering, sender, certificates
) -> None:
    """Whoever forges MX records could name it so."""
    server = offering()
    names = Names({"example.com": [(10, "127.0.0.1")]}, {"127.0.0.1": ["127.0.0.1"]})
    out = sender(names, tls_level="verify", tls_ca_file=certificates.ca_file, smtp_port=server.port)
    assert statuses(out.send("mx:", "a@example.com", domain="example.com")) == [("deferred", None, "4.7.5")]
    (told,) = out.send("mx:", "a@[127.0.0.1]", domain="[127.0.0.1]")
    assert proof(told) == (*VERIFIED, "certificate")


def test_a_session_is_for_every_domain_that_asks_for_the_same(offering, sender) -> None:
    """Whether MX records are signed makes no difference to opportunistic TLS."""
    server = offering()
    mx = {"a.test": [(10, RELAY)], "b.test": [(10, RELAY)]}
    out = sender(Names(mx, signed=("a.test", RELAY)), smtp_port=server.port)
    for domain in mx:
        assert out.send("mx:", f"good@{domain}", domain=domain)[0].tls == "TLSv1.3 encrypted"
    assert len(server.sessions) == 1


def test_a_session_is_not_for_a_domain_that_its_certificate_is_not_for(
    offering, sender, certificates
) -> None:
    server = offering()
    names = Names(mx={"example.net": [(10, RELAY)], "example.com": [(10, RELAY)]})
    out = sender(names, tls_level="verify", tls_ca_file=certificates.ca_file, smtp_port=server.port)
    assert out.send("mx:", "a@example.net", domain="example.net")[0].status == "delivered"
    assert out.send("mx:", "a@example.com", domain="example.com")[0].status == "deferred"


# --- policies ---


def test_the_policy_of_the_destination_counts(offering, sender, certificates) -> None:
    server = offering("self-signed")
    names = Names(mx={d: [(10, RELAY)] for d in ("a.test", "b.a.test", "c.test", "b\xfccher.test")})
    policy = {
        "a.test": TlsPolicy(level="none"),
        "*.a.test": TlsPolicy(level="encrypt"),
        "xn--bcher-kva.test": TlsPolicy(level="verify"),
    }
    out = sender(names, tls_policy=policy, smtp_port=server.port)
    found = {d: out.send("mx:", f"good@{d}", domain=d)[0] for d in names.domains}
    assert {d: (r.status, r.tls) for d, r in found.items()} == {
        "a.test": ("delivered", None),
        "b.a.test": ENCRYPTED,
        "c.test": ENCRYPTED,
        "b\xfccher.test": ("deferred", None),
    }


def test_authorities_of_a_policy_are_the_only_ones(offering, sender, certificates, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    server = offering()
    own = {RELAY: TlsPolicy(level="verify", ca_file=certificates.ca_file)}
    assert sender(tls_policy=own, tls_ca_file=str(other)).send(via(server))[0].tls == "TLSv1.3 verified"
    strange = {RELAY: TlsPolicy(level="verify", ca_file=str(other))}
    (told,) = sender(tls_policy=strange, tls_ca_file=certificates.ca_file).send(via(server))
    assert statuses([told]) == [("deferred", None, "4.7.5")]


def test_with_authorities_of_its_own_a_destination_needs_none_of_the_system(
    offering, sender, certificates, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(
        ssl.SSLContext, "load_default_certs", lambda made: made.load_verify_locations(certificates.ca_file)
    )
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    server = offering()
    assert sender(tls_level="verify", tls_ca_file=str(other)).send(via(server))[0].status == "delivered"
    strange = {RELAY: TlsPolicy(level="verify", ca_file=str(other))}
    assert statuses(sender(tls_policy=strange).send(via(server))) == [("deferred", None, "4.7.5")]


def test_no_address_is_told_as_a_name(offering, sender, certificates) -> None:
    server = offering()
    out = sender(tls_level="verify", tls_ca_file=certificates.ca_file)
    (told,) = out.send(f"smtp://127.0.0.1:{server.port}")
    assert proof(told) == (*VERIFIED, "certificate")
    assert server.sessions[0].server_name is None


# --- client certificates ---


@pytest.fixture
def asking(scripted, certificates) -> ScriptedServer:
    """A server that takes nobody without a certificate."""
    context = certificates.context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates.ca_file)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # which tells within the handshake
    return scripted(Script(tls=context), strict=False)


@pytest.mark.parametrize("place", ["default", "policy", "one file"])
def test_a_client_certificate_is_shown(asking, sender, certificates, tmp_path: Path, place: str) -> None:
    cert, key = certificates.files("good")
    if place == "one file":
        both = tmp_path / "both.pem"
        both.write_bytes(Path(key).read_bytes() + Path(cert).read_bytes())
        both.chmod(0o600)
        out = sender(tls_level="encrypt", tls_client_cert=str(both))
    elif place == "policy":
        policy = {RELAY: TlsPolicy(level="encrypt", client_cert=cert, client_key=key)}
        out = sender(tls_policy=policy)
    else:
        out = sender(tls_level="encrypt", tls_client_cert=cert, tls_client_key=key)
    assert out.send(via(asking))[0].status == "delivered"
    assert sender(tls_level="encrypt").send(via(asking))[0].status == "deferred"


def test_a_key_that_others_can_read_is_not_used(sender, certificates, tmp_path: Path) -> None:
    cert, key = certificates.files("good")
    open_key = tmp_path / "open.key"
    open_key.write_bytes(Path(key).read_bytes())
    open_key.chmod(0o644)
    for where in (
        {"tls_client_cert": cert, "tls_client_key": str(open_key)},
        {"tls_client_cert": str(open_key)},
    ):
        with pytest.raises(MailstromError) as raised:
            sender(**where)
        assert str(open_key) in raised.value.message and "not private" in raised.value.message
        assert raised.value.exit_code == 78


def test_a_client_certificate_that_cannot_be_used_is_named(sender, certificates, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as s

    cert, key = certificates.files("good")
    locked = tmp_path / "locked.key"
    with open(key, "rb") as file:
        held = s.load_pem_private_key(file.read(), None)
    locked.write_bytes(
        held.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"marker"))
    )
    locked.chmod(0o600)
    _, other = certificates.files("expired")
    before = len(os.listdir("/proc/self/fd"))
    for wrong, reason in ((str(locked), "the key has a passphrase"), (other, "key values mismatch")):
        with pytest.raises(MailstromError) as raised:
            sender(tls_client_cert=cert, tls_client_key=wrong)
        assert raised.value.message == f"the client certificate {cert} cannot be used: {reason}"
    assert len(os.listdir("/proc/self/fd")) == before


# --- DANE, where the answers of DNS are as they are scripted ---


def record(certificates: Certificates, kind: str, usage: int = 3) -> Tlsa:
    return Tlsa(usage, 1, 1, hashlib.sha256(public_key(der(certificates, kind))).digest())


SIGNED = ("example.com", RELAY, "real.test")
MX = {"example.com": [(10, RELAY)]}
HOSTS = {RELAY: ["127.0.0.1"], "real.test": ["127.0.0.1"]}


def dane(sender, server: ScriptedServer, names: Names, **changed):
    out = sender(names, tls_level="dane", smtp_port=server.port, **changed)
    return out.send("mx:", "good@example.com", domain="example.com", attempts=5)[0]


def test_records_name_the_certificate(offering, sender, certificates) -> None:
    server = offering("expired")
    names = Names(MX, HOSTS, SIGNED, tlsa={RELAY: [record(certificates, "expired")]})
    assert proof(dane(sender, server, names)) == (*VERIFIED, "dane-ee")
    assert server.sessions[0].server_name == RELAY


def test_records_name_another_certificate(offering, sender, certificates) -> None:
    server = offering("good")
    names = Names(MX, HOSTS, SIGNED, tlsa={RELAY: [record(certificates, "expired")]})
    told = dane(sender, server, names, tls_ca_file=certificates.ca_file)
    assert statuses([told]) == [("deferred", None, "4.7.5")]
    assert told.text.endswith(f"it is not what the TLSA records of {RELAY} name")
    assert server.transactions == []


@pytest.mark.parametrize("kind", ["failed", "local"])
def test_no_answer_is_no_plain_text(offering, sender, certificates, kind: str) -> None:
    """Who keeps back the answer could keep back the records."""
    server = offering()
    names = Names(MX, HOSTS, SIGNED, tlsa={RELAY: Lookup(kind, "looking up TLSA failed: no answer")})
    told = dane(sender, server, names)
    assert statuses([told]) == [("deferred", None, "4.7.5" if kind == "failed" else "4.3.0")]
    assert "looking up TLSA failed: no answer" in told.text
    assert not told.judged, "it uses up no retry"
    assert server.sessions == []


def test_another_host_may_have_an_answer(offering, sender, certificates) -> None:
    server = offering()
    names = Names(
        {"example.com": [(10, "dark.test"), (20, RELAY)]},
        {**HOSTS, "dark.test": ["127.0.0.2"]},
        (*SIGNED, "dark.test"),
        tlsa={"dark.test": Lookup("failed", "no answer"), RELAY: [record(certificates, "good")]},
    )
    assert proof(dane(sender, server, names)) == (*VERIFIED, "dane-ee")


@pytest.mark.parametrize("unsigned", [RELAY, "the records"])
def test_without_signatures_no_record_counts(offering, sender, certificates, unsigned: str) -> None:
    server = offering("good")
    wrong = record(certificates, "expired")
    if unsigned == RELAY:  # its addresses
        names = Names(MX, HOSTS, ("example.com",), tlsa={RELAY: [wrong]})
    else:
        names = Names(MX, HOSTS, SIGNED, tlsa={RELAY: [wrong]})
        names.unsigned_tlsa.append(RELAY)
    assert proof(dane(sender, server, names)) == (*ENCRYPTED, None)
    assert names.asked == ([] if unsigned == RELAY else [RELAY])


@pytest.mark.parametrize("trusted", [True, False])
def test_where_no_resolver_is_believed_that_is_said_once(offering, sender, caplog, trusted: bool) -> None:
    server = offering()
    names = Names(MX, HOSTS)
    names.trusted = trusted
    out = sender(names, tls_level="dane", smtp_port=server.port)
    for _ in range(2):
        out.send("mx:", "good@example.com", domain="example.com")
    told = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(told) == (not trusted)
    assert all("[dns] trust_ad" in text for text in told)


ALIAS = {"alias.test": "real.test"}
BY_ALIAS = {"example.com": [(10, "alias.test")]}


@pytest.mark.parametrize(
    ("signed", "where", "asked"),
    [
        (("alias.test", "real.test"), "real.test", ["real.test"]),
        (("alias.test", "real.test"), "alias.test", ["real.test", "alias.test"]),
        (("alias.test",), "alias.test", ["alias.test"]),
        (("real.test",), None, []),
    ],
)
def test_an_alias(offering, sender, certificates, signed, where: str | None, asked: list[str]) -> None:
    """Its own name comes after the one that it leads to; alone where only it is signed (RFC 7672, 2.2.2)."""
    server = offering("expired")
    held = {where: "expired"} if where else {"real.test": "good"}
    tlsa = {name: [record(certificates, kind)] for name, kind in held.items()}
    names = Names(BY_ALIAS, HOSTS, ("example.com", *signed), ALIAS, tlsa)
    told = dane(sender, server, names)
    assert proof(told) == ((*VERIFIED, "dane-ee") if where else (*ENCRYPTED, None))
    assert names.asked == asked
    assert server.sessions[0].server_name == (where or "alias.test")


def test_records_for_a_relay(offering, sender, certificates) -> None:
    server = offering("self-signed")
    names = Names(signed=(RELAY,), tlsa={RELAY: [record(certificates, "self-signed")]})
    (told,) = sender(names, tls_level="dane").send(via(server))
    assert proof(told) == (*VERIFIED, "dane-ee")


def test_a_password_goes_to_a_server_that_records_prove_or_an_authority(
    offering, sender, certificates, tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text("secret\n")
    secret.chmod(0o600)
    auth = {RELAY: Auth("me", password_file=str(secret))}
    server = offering("self-signed", mechanisms=("PLAIN",), users={"me": "secret"})
    names = Names(signed=(RELAY,), tlsa={RELAY: [record(certificates, "self-signed")]})
    (told,) = sender(names, tls_level="dane", auth=auth).send(via(server))
    assert proof(told) == (*VERIFIED, "dane-ee")
    for tlsa in ([Tlsa(1, 1, 1, b"x" * 32)], []):
        names = Names(signed=(RELAY,), tlsa={RELAY: tlsa})
        (told,) = sender(names, tls_level="dane", auth=auth).send(via(server))
        assert statuses([told]) == [("deferred", None, "4.7.5")]
    assert sum(c.startswith("AUTH") for c in server.commands) == 1


def test_changed_records_count_for_the_next_message(offering, sender, certificates) -> None:
    """A session that old records proved is no longer used."""
    server = offering("good")
    names = Names(MX, HOSTS, SIGNED, tlsa={RELAY: [record(certificates, "good")]})
    out = sender(names, tls_level="dane", smtp_port=server.port)
    send = lambda: out.send("mx:", "good@example.com", domain="example.com")[0]  # noqa: E731
    assert [proof(send()) for _ in range(2)] == [(*VERIFIED, "dane-ee")] * 2
    assert len(server.sessions) == 1
    names.records = {RELAY: [record(certificates, "expired")]}
    assert send().status == "deferred"
    names.records = {}
    assert proof(send()) == (*ENCRYPTED, None)


@pytest.mark.parametrize("anew", [False, True])
def test_an_authority_that_changes_is_learned_anew(
    scripted, sender, certificates, chains, tmp_path: Path, anew: bool
) -> None:
    """With the chain of a server the authority that a record names is known; the next time it is asked."""
    authority = trustme.CA()
    leaf = authority.issue_cert(RELAY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    chain = tmp_path / "chain.pem"
    for blob in (*leaf.cert_chain_pems, authority.cert_pem):
        blob.write_to_path(str(chain), append=True)
    with leaf.private_key_pem.tempfile() as key:
        context.load_cert_chain(chain, key)
    server = scripted(Script(tls=context), strict=False)
    ca = ssl.PEM_cert_to_DER_cert(authority.cert_pem.bytes().decode())
    tlsa = Tlsa(2, 0, 1, hashlib.sha256(ca).digest())
    names = Names(MX, HOSTS, SIGNED, tlsa={RELAY: [tlsa]})
    out = sender(names, tls_level="dane", smtp_port=server.port, limits_messages_per_connection=1)
    send = lambda: out.send("mx:", "good@example.com", domain="example.com")[0]  # noqa: E731
    assert proof(send()) == (*VERIFIED, "dane-ta")
    assert len(server.sessions) == 2
    if anew:  # another server, which nobody knows
        server.script.tls = certificates.context("good")
        assert send().enhanced == "4.7.5"
        server.script.tls = context
    assert proof(send()) == (*VERIFIED, "dane-ta")
    assert len(server.sessions) == (5 if anew else 3)
