"""DANE with signed zones, a resolver that validates them, and a real Postfix: as the server that mail goes
to, and, beside us, as another client that has to come to the same verdict."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import re
import ssl
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trustme

from mailstrom_cli.net.resolver import Resolver
from mailstrom_cli.net.tls import ANCHORS
from mailstrom_cli.policy.der import public_key

from ..peers.needs import need, need_other_place
from ..peers.postfix import Postfix
from ..peers.process import free_port, wait_for
from ..peers.signed_dns import SignedDns
from .sending import Sender, settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailstrom_cli.mail.status import Result

HOST, PLAIN_HOST, ISSUED_HOST, NAMES = "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.35"


class Case(NamedTuple):
    """tlsa: the records of the MX host; `{ee}`, `{key}`, `{ca}` stand for digests, `{wrong}` for one of
    nothing.  ours: what our recipient is told: status, enhanced code or protection, proof.  theirs: what
    Postfix logs.  records: instead of the usual ones."""

    tlsa: str
    ours: tuple[str, str, str | None]
    theirs: tuple[str, str, str]
    records: str = ""


DELIVERED, DEFERRED = "delivered", "deferred"
PROVEN = (DELIVERED, "verified", "dane-ee"), ("sent", "2.0.0", "Verified")
ENCRYPTED = (DELIVERED, "encrypted", None), ("sent", "2.0.0", "Untrusted")
REFUSED = (DEFERRED, "4.7.5", None), (DEFERRED, "4.7.5", "Untrusted")
UNKNOWN = (DEFERRED, "4.7.5", None), (DEFERRED, "4.7.5", "")
ISSUED = (DELIVERED, "verified", "dane-ta") if ANCHORS else ENCRYPTED[0], PROVEN[1]
NOT_ISSUED = (DEFERRED, "4.7.5", None) if ANCHORS else ENCRYPTED[0], (DEFERRED, "4.7.5", "Untrusted")

CASES = {
    "key": Case("3 1 1 {key}", *PROVEN),
    "whole": Case("3 0 1 {ee}", *PROVEN),
    "sha512": Case("3 1 2 {key512}", *PROVEN),
    "one-of-two": Case("3 1 1 {wrong}\n3 1 1 {key}", *PROVEN),
    "mismatch": Case("3 1 1 {wrong}", *REFUSED),
    "none": Case("", *ENCRYPTED),
    "pkix": Case("1 1 1 {key}", *ENCRYPTED),
    "unknown-digest": Case("3 1 9 abcd", *ENCRYPTED),
    "bogus-tlsa": Case("3 1 1 {key}", *UNKNOWN),
    "bogus-zone": Case("3 1 1 {key}", (DEFERRED, "4.4.3", None), (DEFERRED, "4.4.3", "")),
    "unsigned": Case("3 1 1 {wrong}", *ENCRYPTED),
    "unsigned-mx": Case(
        "", (DELIVERED, "encrypted", "dane-ee"), ("sent", "2.0.0", "Trusted"), "@ MX 10 mx.key.test."
    ),
    "alias": Case("", *PROVEN, "@ MX 10 other\nother CNAME mx.key.test."),
    "alias-own": Case(
        "", *PROVEN, "@ MX 10 other\nother CNAME mx.none.test.\n_{port}._tcp.other TLSA 3 1 1 {key}"
    ),
    "alias-unsigned": Case(
        "", *PROVEN, "@ MX 10 other\nother CNAME mx.unsigned.test.\n_{port}._tcp.other TLSA 3 1 1 {key}"
    ),
    "no-starttls": Case(
        "3 1 1 {key}", (DEFERRED, "4.7.4", None), (DEFERRED, "4.7.4", ""), f"@ MX 10 mx\nmx A {PLAIN_HOST}"
    ),
}
ISSUER = f"@ MX 10 mx\nmx A {ISSUED_HOST}"
CASES |= {
    "issued": Case("2 0 1 {ca}", *ISSUED, ISSUER),
    "issued-key": Case("2 1 1 {cakey}", *ISSUED, ISSUER),
    "issued-by-other": Case("2 0 1 {wrong}", *NOT_ISSUED, ISSUER),
    "issued-to-other": Case("2 0 1 {ca}", *NOT_ISSUED, ISSUER),
}
INSECURE = ("unsigned", "unsigned-mx")


class World(NamedTuple):
    dns: SignedDns
    port: int
    client: Postfix


class Files:
    """The certificate of a server, and the chain above it."""

    def __init__(self, folder: Path, name: str, leaf: trustme.LeafCert, *above: trustme.Blob) -> None:
        self._files = (folder / f"{name}.pem", folder / f"{name}.key")
        for blob in (leaf.cert_chain_pems[0], *above):
            blob.write_to_path(str(self._files[0]), append=True)
        leaf.private_key_pem.write_to_path(str(self._files[1]))

    def files(self, kind: str) -> tuple[str, str]:
        return str(self._files[0]), str(self._files[1])


def der(blob: trustme.Blob) -> bytes:
    return ssl.PEM_cert_to_DER_cert(blob.bytes().decode())


def sha256(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()


def zone(case: Case, port: int, digests: dict[str, str]) -> str:
    lines = [case.records or f"@ MX 10 mx\nmx A {HOST}"]
    lines += [f"_{port}._tcp.mx TLSA {record}" for record in case.tlsa.splitlines()]
    return "\n".join(lines).replace("{port}", str(port)).format(**digests)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    for program in ("postfix", "unbound", "kzonesign"):
        need(program)
    need_other_place()
    # Out of date, for another name, and of an authority that nobody knows: that does not matter to DANE-EE
    # (RFC 7671, 5.1).
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)
    leaf = trustme.CA().issue_cert("another.invalid", not_after=past)
    authority = trustme.CA()
    issued = authority.issue_cert("mx.issued.test", "mx.issued-key.test", "mx.issued-by-other.test")
    own, ca = der(leaf.cert_chain_pems[0]), der(authority.cert_pem)
    digests = {
        "ee": sha256(own),
        "key": sha256(public_key(own)),
        "key512": hashlib.sha512(public_key(own)).hexdigest(),
        "ca": sha256(ca),
        "cakey": sha256(public_key(ca)),
        "wrong": "ab" * 32,
    }
    folder = tmp_path_factory.mktemp("dane")
    port = free_port(HOST, PLAIN_HOST, ISSUED_HOST)
    zones = {f"{name}.test": zone(case, port, digests) for name, case in CASES.items()}
    insecure = {f"{name}.test": zones.pop(f"{name}.test") for name in INSECURE}
    dns = SignedDns(zones, ["bogus-zone.test", f"_{port}._tcp.mx.bogus-tlsa.test"], insecure, host=NAMES)
    dns.port = 53  # the only one that a resolv.conf knows
    domains = [f"{name}.test" for name in CASES]
    with contextlib.ExitStack() as running:
        running.enter_context(dns)
        for host, files in (
            (HOST, Files(folder, "own", leaf)),
            (ISSUED_HOST, Files(folder, "issued", issued, authority.cert_pem)),
            (PLAIN_HOST, None),
        ):
            running.enter_context(Postfix(domains, hosts=[host], port=port, tls=files))  # type: ignore[arg-type]
        client = Postfix([], names=dns, settings=f"smtp_tcp_port = {port}\n")
        running.enter_context(client)
        yield World(dns, port, client)


@pytest.fixture
def ours(world) -> Iterator[Sender]:
    told = settings(tls_level="dane", smtp_port=world.port, smtp_ip="ipv4")
    out = Sender(told, Resolver([world.dns.resolver], "ipv4"))
    yield out
    out.close()


def summary(result: Result) -> tuple[str, str | None, str | None]:
    protection = result.tls.split()[1] if result.tls else "plain"
    return result.status, protection if result.status == DELIVERED else result.enhanced, result.tls_by


@pytest.mark.peer
@pytest.mark.parametrize("name", CASES)
def test_our_verdict(world, ours, name: str) -> None:
    domain = f"{name}.test"
    for attempts in (0, 3):  # later ones never go in plain text, either
        (told,) = ours.send("mx:", f"good@{domain}", domain=domain, attempts=attempts)
        assert summary(told) == CASES[name].ours, told


@pytest.mark.peer
@pytest.mark.parametrize("name", ["issued", "issued-key", "issued-by-other", "issued-to-other"])
def test_our_verdict_where_the_interpreter_tells_the_chain(world, ours, chains, name: str) -> None:
    """As in Python 3.13 and newer."""
    domain = f"{name}.test"
    expected = (*PROVEN[0][:2], "dane-ta") if CASES[name].theirs == PROVEN[1] else REFUSED[0]
    for _ in range(2):  # the second time the authority is known
        (told,) = ours.send("mx:", f"good@{domain}", domain=domain)
        assert summary(told) == expected, told


@pytest.mark.peer
def test_the_verdicts_of_postfix_are_the_same(world) -> None:
    """One message for each case, all at once."""
    out = Sender(settings(tls_level="none"))
    with contextlib.closing(out):
        for name in CASES:
            (told,) = out.send(f"smtp://127.0.0.1:{world.client.port}", f"good@{name}.test")
            assert told.status == DELIVERED
    statuses: dict[str, str] = {}

    def all_told() -> bool:
        found = re.findall(r"to=<good@([\w-]+)\.test>.*status=(\w+)", world.client.log())
        statuses.update(found)
        return len(statuses) == len(CASES)

    wait_for(all_told, 20, "a verdict on each")
    log = world.client.log()
    assert told_by(log) == {name: case.theirs for name, case in CASES.items()}, log


DONE = r"smtp\[(\d+)\]: .* to=<good@([\w-]+)\.test>.* dsn=([\d.]+), status=(\w+)"


def told_by(log: str) -> dict[str, tuple[str, str, str]]:
    """What Postfix logs as a client: status, enhanced code, and how far it trusts the server."""
    found: dict[str, tuple[str, str, str]] = {}
    trust: dict[str, str] = {}  # of the connection that a process has
    for line in log.splitlines():
        if secured := re.search(r"smtp\[(\d+)\]: (\w+) TLS connection established", line):
            trust[secured[1]] = secured[2]
        elif done := re.search(
            r"smtp\[(\d+)\]: .* to=<good@([\w-]+)\.test>.* dsn=([\d.]+), status=(\w+)", line
        ):
            found.setdefault(done[2], (done[4], done[3], trust.pop(done[1], "")))
    return found
