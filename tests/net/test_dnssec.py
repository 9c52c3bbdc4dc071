"""Which answers count as validated: real signed zones (Knot), a real validating resolver (unbound)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from mailstrom_cli.config.resolvers import parse_server
from mailstrom_cli.net import resolver as resolver_module
from mailstrom_cli.net.nameserver import nameserver
from mailstrom_cli.net.resolver import Resolver
from mailstrom_cli.policy.dane import Tlsa
from mailstrom_cli.policy.mx import Lookup, MxRecord

from ..peers.needs import need
from ..peers.signed_dns import SignedDns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ..peers.certs import Certificates

pytestmark = pytest.mark.peer
DATA = "ab" * 32
ZONES = {
    "good.test": "@ MX 10 mx\nmx A 127.0.0.2\nboth A 127.0.0.2\nboth AAAA ::1\nalias CNAME mx\n"
    f"out CNAME host.plain.test.\n_25._tcp.mx TLSA 3 1 1 {DATA}\n_25._tcp.mx TLSA 2 0 2 {DATA}{DATA}\n"
    f"_26._tcp.mx TLSA 3 1 1 {DATA}\nhalf A 127.0.0.2\n_24._tcp.mx CNAME _25._tcp.mx\n"
    '_mta-sts TXT "v=STSv1; " "id=1;"',
    "alone.test": "@ A 127.0.0.2",
    "broken.test": f"@ MX 10 mx\nmx A 127.0.0.2\n_25._tcp.mx TLSA 3 1 1 {DATA}",
}
PLAIN = {
    "plain.test": f"@ MX 10 host\nhost A 127.0.0.3\n_25._tcp.host TLSA 3 1 1 {DATA}\nin CNAME mx.good.test."
}


@pytest.fixture(scope="module")
def server(certificates: Certificates) -> Iterator[SignedDns]:
    need("unbound")
    need("kzonesign")
    bogus = ["broken.test", "_26._tcp.mx.good.test"]
    with SignedDns(ZONES, bogus, PLAIN, servfail=["lame.test"], tls=certificates.files()) as running:
        yield running


def ask(resolver: Resolver, question: str, *about: Any) -> tuple[Lookup, list[Any]]:
    async def once() -> tuple[Lookup, list[Any]]:
        try:
            answer: tuple[Lookup, list[Any]] = await getattr(resolver, question)(*about)
            return answer
        finally:
            await resolver.close()

    return asyncio.run(once())


@pytest.mark.parametrize(
    ("question", "name", "kind", "secure", "found"),
    [
        ("mx", "good.test", "found", True, [MxRecord(10, "mx.good.test")]),
        ("mx", "alone.test", "found", True, [MxRecord(0, "alone.test")]),
        ("mx", "plain.test", "found", False, [MxRecord(10, "host.plain.test")]),
        ("mx", "out.good.test", "found", False, [MxRecord(0, "out.good.test")]),
        ("mx", "broken.test", "failed", False, []),
        ("addresses", "mx.good.test", "found", True, ["127.0.0.2"]),
        ("addresses", "both.good.test", "found", True, ["127.0.0.2", "::1"]),
        ("addresses", "alias.good.test", "found", True, ["127.0.0.2"]),
        ("addresses", "out.good.test", "found", False, ["127.0.0.3"]),
        ("addresses", "in.plain.test", "found", False, ["127.0.0.2"]),
        ("addresses", "host.plain.test", "found", False, ["127.0.0.3"]),
        ("addresses", "none.good.test", "nxdomain", True, []),
        ("addresses", "none.plain.test", "nxdomain", False, []),
        ("addresses", "mx.broken.test", "failed", False, []),
        ("cname", "out.good.test", "found", True, ["host.plain.test"]),
        ("cname", "mx.good.test", "nodata", True, []),
        ("txt", "_mta-sts.good.test", "found", True, ["v=STSv1; id=1;"]),
        ("txt", "mx.good.test", "nodata", True, []),
    ],
)
def test_what_is_secure(
    server: SignedDns, question: str, name: str, kind: str, secure: bool, found: list[Any]
) -> None:
    told, records = ask(Resolver((server.resolver,), "both"), question, name)
    assert (told.kind, told.secure, records) == (kind, secure, found)


@pytest.mark.parametrize(("name", "canonical"), [("alias.good.test", "mx.good.test"), ("mx.good.test", "")])
def test_the_name_that_an_alias_leads_to(server: SignedDns, name: str, canonical: str) -> None:
    assert ask(Resolver((server.resolver,), "both"), "addresses", name)[0].canonical == canonical


RECORDS = [Tlsa(2, 0, 2, bytes.fromhex(DATA * 2)), Tlsa(3, 1, 1, bytes.fromhex(DATA))]


@pytest.mark.parametrize(
    ("host", "port", "kind", "secure", "found"),
    [
        ("mx.good.test", 25, "found", True, RECORDS),
        ("mx.good.test", 24, "found", True, RECORDS),
        ("mx.good.test", 26, "failed", False, []),
        ("mx.good.test", 27, "nxdomain", True, []),
        ("host.plain.test", 25, "found", False, RECORDS[1:]),
        ("mx.broken.test", 25, "failed", False, []),
        ("mx.lame.test", 25, "failed", False, []),
    ],
)
def test_tlsa(server: SignedDns, host: str, port: int, kind: str, secure: bool, found: list[Tlsa]) -> None:
    told, records = ask(Resolver((server.resolver,), "both"), "tlsa", host, port)
    assert (told.kind, told.secure) == (kind, secure)
    assert sorted(records, key=lambda r: r.usage) == found
    if kind == "failed":
        text = f"looking up TLSA of _{port}._tcp.{host} failed: {server.resolver} answered SERVFAIL"
        assert told.text == text


@pytest.mark.parametrize("protocol", ["dot", "doh"])
def test_over_tls_and_https_too(server: SignedDns, certificates: Certificates, protocol: str) -> None:
    way = getattr(server, protocol)()
    resolver = Resolver((way,), "both", ca_file=certificates.ca_file)
    told, records = ask(resolver, "tlsa", "mx.good.test", 25)
    assert (told.kind, told.secure, len(records)) == ("found", True, 2)


def test_a_resolver_that_is_not_trusted_says_nothing_of_it(server: SignedDns) -> None:
    resolver = Resolver((server.resolver,), "both")
    resolver._resolver()
    resolver._asking[0].trusted = False
    for question, about in (
        ("mx", ("good.test",)),
        ("addresses", ("mx.good.test",)),
        ("tlsa", ("mx.good.test", 25)),
    ):
        told, records = ask(resolver, question, *about)
        assert (told.kind, told.secure, bool(records)) == ("found", False, True)


YES, NO = Lookup("found", secure=True), Lookup("found")
NONE, FAILED = Lookup("nodata", "", True), Lookup("failed", "why")


@pytest.mark.parametrize(
    ("answers", "told", "found"),
    [
        ([(YES, ["a"]), (YES, ["b"])], YES, ["a", "b"]),
        ([(YES, ["a"]), (NONE, [])], YES, ["a"]),
        ([(NONE, []), (YES, ["b"])], YES, ["b"]),
        ([(YES, ["a"]), (FAILED, [])], YES, ["a"]),
        ([(YES, ["a"]), (NO, ["b"])], NO, ["a", "b"]),
        ([(NO, ["a"]), (YES, ["b"])], NO, ["a", "b"]),
        ([(YES, ["a"]), (Lookup("nodata"), [])], NO, ["a"]),
        ([(NONE, []), (FAILED, [])], FAILED, []),
        ([(NONE, []), (NONE, [])], NONE, []),
    ],
)
def test_addresses_are_secure_if_every_answer_is(
    answers: list[tuple[Lookup, list[str]]], told: Lookup, found: list[str]
) -> None:
    assert resolver_module._together(answers) == (told, found)


@pytest.mark.parametrize(("of_mx", "of_a"), [(True, True), (True, False), (False, True), (False, False)])
def test_a_domain_that_is_its_own_host_is_secure_if_both_answers_are(of_mx: bool, of_a: bool) -> None:
    class Scripted(Resolver):
        async def _ask(self, name: str, kind: str) -> tuple[Lookup, list[Any]]:
            return (Lookup("nodata", "", of_mx), []) if kind == "MX" else (Lookup("found", "", of_a), ["a"])

    told, found = ask(Scripted(("127.0.0.1",), "ipv4"), "mx", "alone.test")
    assert (told, found) == (Lookup("found", "", of_mx and of_a), [MxRecord(0, "alone.test")])


@pytest.mark.parametrize(
    ("text", "trust_ad", "trusted"),
    [
        ("127.0.0.53", False, True),
        ("[::1]:5353", False, True),
        ("192.0.2.1", False, False),
        ("192.0.2.1", True, True),
        ("2001:db8::1", False, False),
        ("tls://192.0.2.1#dns.example", False, True),
        ("https://dns.example/dns-query", False, True),
    ],
)
def test_who_is_trusted(text: str, trust_ad: bool, trusted: bool) -> None:
    async def made() -> bool:
        return nameserver(parse_server(text), trust_ad=trust_ad, ca_file="").trusted

    assert asyncio.run(made()) is trusted


@pytest.mark.parametrize(
    ("lines", "trust_ad", "trusted"),
    [
        ("nameserver 192.0.2.1\noptions edns0", False, [False]),
        ("nameserver 192.0.2.1\noptions edns0 trust-ad", False, [True]),
        ("nameserver 192.0.2.1\n# options trust-ad", False, [False]),
        ("nameserver 192.0.2.1", True, [True]),
        ("nameserver 127.0.0.53\nnameserver ::1\noptions rotate", False, [True, True]),
        # whoever keeps the first from answering must not switch off DANE
        ("nameserver 127.0.0.53\nnameserver 192.0.2.1", False, [False, False]),
    ],
)
def test_who_is_trusted_of_those_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, trust_ad: bool, trusted: list[bool]
) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(lines + "\n")
    monkeypatch.setattr(resolver_module, "RESOLV_CONF", str(file))
    resolver = Resolver(("system",), "both", trust_ad)
    assert resolver.trusted is all(trusted)
    assert [server.trusted for server in resolver._asking] == trusted
    assert resolver._resolver().rotate is False
