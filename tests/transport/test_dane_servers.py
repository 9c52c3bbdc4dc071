"""DANE with signed zones, a resolver that validates them, and a real Postfix: as the server that mail goes to,
and, beside us, as another client that has to come to the same verdict."""

from __future__ import annotations

import contextlib
import hashlib
import re
import ssl
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trustme

from mailstrom_cli.net.resolver import Resolver
from mailstrom_cli.policy.der import public_key

from ..peers.needs import need, need_root
from ..peers.postfix import Postfix
from ..peers.process import free_port, wait_for
from ..peers.signed_dns import SignedDns
from .sending import Sender, settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailstrom_cli.mail.status import Result

HOST, NAMES = "127.0.0.2", "127.0.0.35"
NOTHING = ("", None, None)


class Case(NamedTuple):
    """tlsa: the records of the MX host; `{ee}`, `{key}`, `{ca}` stand for digests, `{wrong}` for one of
    nothing.  ours: what our recipient is told: status, enhanced code or protection, proof.  theirs: what
    Postfix logs as a client: status and how it trusts the server.  records: instead of the usual ones."""

    tlsa: str
    ours: tuple[str, str, str | None]
    theirs: tuple[str, str]
    records: str = ""


DELIVERED, DEFERRED = "delivered", "deferred"
PROVEN = (DELIVERED, "verified", "dane-ee"), ("sent", "Verified")
ENCRYPTED = (DELIVERED, "encrypted", None), ("sent", "Untrusted")
REFUSED = (DEFERRED, "4.7.5", None), (DEFERRED, "Untrusted")
UNKNOWN = (DEFERRED, "4.7.5", None), (DEFERRED, "")

CASES = {
    "key": Case("3 1 1 {key}", *PROVEN),
    "whole": Case("3 0 1 {ee}", *PROVEN),
    "sha512": Case("3 1 2 {key512}", *PROVEN),
    "one-of-two": Case("3 1 1 {wrong}\n3 1 1 {key}", *PROVEN),
    "mismatch": Case("3 1 1 {wrong}", *REFUSED),
    "none": Case("", *ENCRYPTED),
    "pkix": Case("1 1 1 {key}", *ENCRYPTED),
    "malformed": Case("3 1 1 abcd", *ENCRYPTED),
    "bogus-tlsa": Case("3 1 1 {key}", *UNKNOWN),
    "bogus-zone": Case("3 1 1 {key}", (DEFERRED, "4.4.3", None), (DEFERRED, "")),
    "unsigned": Case("3 1 1 {wrong}", *ENCRYPTED),
    "unsigned-mx": Case("", (DELIVERED, "encrypted", "dane-ee"), ("sent", "Trusted"), "@ MX 10 mx.key.test."),
    "alias": Case("", *PROVEN, "@ MX 10 other\nother CNAME mx.key.test."),
    "alias-own": Case(
        "", *PROVEN, "@ MX 10 other\nother CNAME mx.none.test.\n_{port}._tcp.other TLSA 3 1 1 {key}"
    ),
    "alias-unsigned": Case(
        "", *PROVEN, "@ MX 10 other\nother CNAME mx.unsigned.test.\n_{port}._tcp.other TLSA 3 1 1 {key}"
    ),
    "no-starttls": Case(
        "3 1 1 {key}", (DEFERRED, "4.7.4", None), (DEFERRED, ""), "@ MX 10 mx\nmx A 127.0.0.3"
    ),
}
INSECURE = ("unsigned", "unsigned-mx")


class World(NamedTuple):
    dns: SignedDns
    port: int
    client: Postfix


class Expired:
    """A certificate that is out of date, for another name, and of an authority that nobody knows: with DANE-EE
    that does not matter (RFC 7671, 5.1)."""

    def __init__(self, folder: Path) -> None:
        import datetime

        past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)
        leaf = trustme.CA().issue_cert("another.invalid", not_after=past)
        self.chain, self.key = folder / "dane.pem", folder / "dane.key"
        leaf.cert_chain_pems[0].write_to_path(str(self.chain))
        leaf.private_key_pem.write_to_path(str(self.key))
        self.der = ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())

    def files(self, kind: str) -> tuple[str, str]:
        return str(self.chain), str(self.key)

    def digests(self) -> dict[str, str]:
        key = public_key(self.der)
        return {
            "ee": hashlib.sha256(self.der).hexdigest(),
            "key": hashlib.sha256(key).hexdigest(),
            "key512": hashlib.sha512(key).hexdigest(),
            "wrong": "ab" * 32,
        }


def zone(case: Case, port: int, digests: dict[str, str]) -> str:
    lines = [case.records or f"@ MX 10 mx\nmx A {HOST}"]
    lines += [f"_{port}._tcp.mx TLSA {record}" for record in case.tlsa.splitlines()]
    return "\n".join(lines).replace("{port}", str(port)).format(**digests)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    for program in ("postfix", "unbound", "kzonesign", "unshare"):
        need(program)
    need_root()
    certificate = Expired(tmp_path_factory.mktemp("dane"))
    port = free_port(HOST, "127.0.0.3")
    zones = {f"{name}.test": zone(case, port, certificate.digests()) for name, case in CASES.items()}
    insecure = {f"{name}.test": zones.pop(f"{name}.test") for name in INSECURE}
    dns = SignedDns(zones, ["bogus-zone.test", f"_{port}._tcp.mx.bogus-tlsa.test"], insecure, host=NAMES)
    dns.port = 53  # the only one that a resolv.conf knows
    domains = [f"{name}.test" for name in CASES]
    with contextlib.ExitStack() as running:
        running.enter_context(dns)
        running.enter_context(Postfix(domains, hosts=[HOST], port=port, tls=certificate))  # type: ignore[arg-type]
        running.enter_context(Postfix(domains, hosts=["127.0.0.3"], port=port))
        client = running.enter_context(
            Postfix([], relay_to=("", 0), settings=CLIENT.format(port=port), names=dns)
        )
        yield World(dns, port, client)


CLIENT = """
relayhost =
smtp_tcp_port = {port}
smtp_tls_security_level = dane
smtp_dns_support_level = dnssec
smtp_host_lookup = dns
smtp_tls_loglevel = 1
smtp_address_preference = ipv4
inet_protocols = ipv4
minimal_backoff_time = 1h
maximal_backoff_time = 1h
"""


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
    trust: dict[str, str] = {}
    for process, how in re.findall(r"postfix/smtp\[(\d+)\]: (\w+) TLS connection established", log):
        after = log.partition(f"postfix/smtp[{process}]: {how} TLS connection")[2]
        told_of = re.search(rf"postfix/smtp\[{process}\]: .*to=<good@([\w-]+)\.test>", after)
        if told_of:
            trust[told_of[1]] = how
    assert {name: (statuses[name], trust.get(name, "")) for name in CASES} == {
        name: case.theirs for name, case in CASES.items()
    }, log
