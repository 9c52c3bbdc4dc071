"""MTA-STS (RFC 8461) with a real DNS server, a real HTTPS server, and servers that mail goes to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import subprocess
import sys
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pytest
import trustme

from mailstrom_cli.config.schema import TlsPolicy
from mailstrom_cli.net.resolver import Resolver
from mailstrom_cli.policy.dane import Tlsa
from mailstrom_cli.policy.mx import Lookup, MxRecord
from mailstrom_cli.policy.sts import Found
from mailstrom_cli.store.base import Note
from mailstrom_cli.store.memory import Memory
from mailstrom_cli.store.spool import open_store
from mailstrom_cli.transport.registry import Transports

from ..peers.dns import Dns
from ..peers.needs import need
from ..peers.policy_host import PolicyHost, Reply, policy
from ..peers.process import free_port
from ..peers.scripted import Script, ScriptedServer
from .sending import Names, Sender, settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailstrom_cli.mail.status import Result
    from mailstrom_cli.store.base import Store

    from ..peers.postfix import Postfix

GOOD, OTHER, BARE = "127.0.0.2", "127.0.0.3", "127.0.0.4"
"""MX hosts: with a certificate for every mx.DOMAIN, with one for another name, and without STARTTLS."""

PROVEN = ("delivered", "TLSv1.3 verified", "mta-sts")
ENCRYPTED = ("delivered", "TLSv1.3 encrypted", None)
PLAIN = ("delivered", None, None)


class Case(NamedTuple):
    """host: of mx.DOMAIN.  reply: of the policy host.  wanted: status, protection or enhanced code, proof.
    text: what else the status says.  records: instead of the usual ones; none: without the TXT record."""

    host: str
    reply: Reply | bytes
    wanted: tuple[str, str | None, str | None]
    text: str = ""
    records: str = ""
    none: bool = False


MX = "mx.{domain}"
ASKS = "(the MTA-STS policy of {domain} asks for it)"
REFUSED, UNENCRYPTED = ("deferred", "4.7.5", None), ("deferred", "4.7.4", None)
BOTH = f"@ MX 10 other\n@ MX 20 mx\nother A {BARE}\nmx A {GOOD}"
CASES = {
    "hit": Case(GOOD, policy(MX), PROVEN),
    "wildcard": Case(GOOD, policy("*.{domain}"), PROVEN),
    "second": Case(GOOD, policy(MX), PROVEN, records=BOTH),
    "unlisted": Case(
        GOOD, policy("a.test"), REFUSED, "the MTA-STS policy of {domain} does not allow mx.{domain}"
    ),
    "other": Case(OTHER, policy(MX), REFUSED, f"it is for another.invalid, and not for mx.{{domain}} {ASKS}"),
    "bare": Case(BARE, policy(MX), UNENCRYPTED, f"TLS is required, and the server does not offer it {ASKS}"),
    "testing": Case(GOOD, policy(MX, mode="testing"), PROVEN),
    "testing-other": Case(OTHER, policy(MX, mode="testing"), ENCRYPTED),
    "testing-bare": Case(BARE, policy(MX, mode="testing"), PLAIN),
    "testing-unlisted": Case(GOOD, policy("a.test", mode="testing"), ENCRYPTED),
    "withdrawn": Case(OTHER, policy(mode="none"), ENCRYPTED),
    "no-record": Case(OTHER, policy(MX), ENCRYPTED, none=True),
    "moved": Case(OTHER, Reply(policy(MX), 302, {"Location": "/"}), ENCRYPTED),
    "too-long": Case(OTHER, policy(MX) + b"x: " + b"y" * 65_536, ENCRYPTED),
    "html": Case(OTHER, Reply(policy(MX), headers={"Content-Type": "text/html"}), ENCRYPTED),
    "untrusted": Case(OTHER, policy(MX), ENCRYPTED),  # its policy host has no certificate for its name
}


class World(NamedTuple):
    dns: Dns
    host: PolicyHost
    servers: dict[str, ScriptedServer]
    ca_file: str


def domain_of(name: str) -> str:
    return f"{name}.test"


def zone(case: Case, id: int = 1) -> str:
    lines = [case.records or f"@ MX 10 mx\nmx A {case.host}", "mta-sts A 127.0.0.1"]
    return "\n".join([*lines, *([] if case.none else [f'_mta-sts TXT "v=STSv1; id={id};"'])])


def filled(reply: Reply | bytes, domain: str) -> Reply:
    made = reply if isinstance(reply, Reply) else Reply(reply)
    return Reply(made.body.replace(b"{domain}", domain.encode()), made.status, made.headers)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, str]:
    made = trustme.CA()
    path = str(tmp_path_factory.mktemp("authority") / "ca.pem")
    made.cert_pem.write_to_path(path)
    return made, path


def context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(made)
    return made


@pytest.fixture(scope="module")
def world(authority) -> Iterator[World]:
    need("unbound")
    ca, ca_file = authority
    zones = {domain_of(name): zone(case) for name, case in CASES.items()}
    port = free_port(GOOD, OTHER, BARE)
    scripts = {
        GOOD: Script(tls=context(ca, *(f"mx.{domain}" for domain in zones))),
        OTHER: Script(tls=context(ca, "another.invalid")),
        BARE: Script(),
    }
    servers = {host: ScriptedServer(script, host=host, port=port) for host, script in scripts.items()}
    trusted = [f"mta-sts.{domain}" for domain in zones if domain != "untrusted.test"]
    with (
        Dns(zones) as dns,
        PolicyHost(context(ca, *trusted)) as host,
        servers[GOOD],
        servers[OTHER],
        servers[BARE],
    ):
        for name, case in CASES.items():
            host.serve(domain_of(name), filled(case.reply, domain_of(name)))
        yield World(dns, host, servers, ca_file)


class Process(Protocol):
    """A mailstrom of its own. dns, names: who is asked; store: what it has kept."""

    def __call__(
        self,
        *,
        dns: Dns | None = None,
        names: Names | None = None,
        host: PolicyHost | None = None,
        store: Store | None = None,
        **changed: Any,
    ) -> Sender: ...


@pytest.fixture
def process(world: World) -> Iterator[Process]:
    with contextlib.ExitStack() as open_ones:

        def start(
            *,
            dns: Dns | None = None,
            names: Names | None = None,
            host: PolicyHost | None = None,
            store: Store | None = None,
            **changed: Any,
        ) -> Sender:
            made = settings(
                **{"tls_ca_file": world.ca_file, "smtp_port": world.servers[GOOD].port, **changed}
            )
            resolver = names or Resolver([(dns or world.dns).resolver], "ipv4")
            return open_ones.enter_context(
                contextlib.closing(Sender(made, resolver, store or Memory(), (host or world.host).port))
            )

        yield start


def send(sender: Sender, domain: str, attempts: int = 0) -> Result:
    """attempts: those that came before; plain text is never tried instead where there is none."""
    (told,) = sender.send("mx:", f"good@{domain}", domain=domain, attempts=attempts)
    return told


def outcome(told: Result) -> tuple[str, str | None, str | None]:
    return told.status, told.tls if told.status == "delivered" else told.enhanced, told.tls_by


@pytest.mark.parametrize("name", CASES)
def test_what_becomes_of_mail(world: World, process: Process, name: str) -> None:
    case, domain = CASES[name], domain_of(name)
    before = {host: len(server.transactions) for host, server in world.servers.items()}
    sender = process()
    for attempts in (0, 5):
        told = send(sender, domain, attempts)
        assert outcome(told) == case.wanted, told.text
        assert case.text.format(domain=domain) in told.text
        assert told.unreachable is (told.status == "deferred")
    assert world.host.count(domain) == (name not in ("untrusted", "no-record"))
    host = GOOD if case.records else case.host
    new = {h: len(server.transactions) - before[h] for h, server in world.servers.items()}
    assert sum(new.values()) == new[host] == (2 if told.status == "delivered" else 0)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("testing-other", "it is for another.invalid, and not for mx.testing-other.test"),
        ("testing-bare", "TLS is required, and the server does not offer it"),
        ("testing-unlisted", "the MTA-STS policy of testing-unlisted.test does not allow"),
    ],
)
def test_what_fails_in_testing_is_told(
    process: Process, name: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mailstrom")
    sender = process()
    assert send(sender, domain_of(name)).status == "delivered"
    assert [
        record.message for record in caplog.records if text in record.message and "testing" in record.message
    ]


# --- one domain in the course of time ---


def test_a_policy_outlives_its_record_and_its_host_and_ends(process: Process, authority) -> None:
    ca, _ = authority
    domain, store = "hit.test", Memory()
    other = Case(OTHER, b"", REFUSED)
    with Dns({domain: zone(CASES["hit"])}) as dns, PolicyHost(context(ca, f"mta-sts.{domain}")) as host:

        def tell(case: Case, id: int = 1) -> tuple[str, str | None, str | None]:
            dns.change({domain: zone(case, id)})
            return outcome(send(process(dns=dns, host=host, store=store), domain))

        def serve(*mx: str) -> None:
            host.serve(domain, policy(*mx))

        assert tell(other) == ENCRYPTED, "without a policy, a fetch that fails is none"
        serve(f"mx.{domain}")
        assert tell(CASES["hit"]) == PROVEN
        assert host.count(domain) == 2
        # Now somebody forges the MX host, takes away the record, and keeps the policy host from answering.
        host.serve(domain, Reply(status=503))
        assert tell(other._replace(none=True)) == REFUSED
        assert tell(other, 2) == REFUSED
        assert tell(other._replace(none=True), 3) == REFUSED
        assert host.count(domain) == 3
        # The domain has another policy, which lists another host.
        serve(f"new.{domain}")
        assert tell(CASES["hit"], 4) == REFUSED
        serve(f"mx.{domain}")
        assert tell(CASES["hit"], 5) == PROVEN
        # Its end.
        ((_, note),) = store.notes("mta-sts")
        id, fetched, *rest = note.text.replace("\n", " ", 1).split(" ", 2)
        aged = f"{id} {float(fetched) - 604_801!r}\n{rest[0]}"
        store.set_note("mta-sts", domain, Note(aged, note.until))
        assert tell(other._replace(none=True)) == ENCRYPTED


PROCESS = """
import sys
sys.path.insert(0, ".")
import asyncio
from mailstrom_cli.net.mtasts import Policies
from mailstrom_cli.net.resolver import Resolver
from mailstrom_cli.store.spool import open_store

root, resolver, ca_file, port = sys.argv[1:]

async def main():
    policies = Policies(Resolver([resolver], "ipv4"), open_store(root), ca_file, int(port))
    found = await policies.of("hit.test")
    await policies.close()
    print(found.policy.mode, *found.policy.mx)

asyncio.run(main())
"""


def test_processes_share_what_one_has_fetched(world: World, process: Process, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "spool"))
    sender = process(store=store)
    before = world.host.count("hit.test")
    assert outcome(send(sender, "hit.test")) == PROVEN
    store.close()
    arguments = [str(tmp_path / "spool"), world.dns.resolver, world.ca_file, str(world.host.port)]
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "enforce mx.hit.test\n"
    assert world.host.count("hit.test") == before + 1


def test_what_is_renewed_at_the_end_of_a_pass_is_kept(world: World) -> None:
    store = Memory()

    async def end() -> None:
        made = settings(tls_ca_file=world.ca_file, dns_resolver=(world.dns.resolver,), smtp_ip="ipv4")
        transports = Transports(made, Random(1), store)
        policies = transports._policies
        assert policies is not None
        policies._port = world.host.port
        policies._fetch("hit.test", "1")
        await transports.close()

    asyncio.run(end())
    assert [domain for domain, _ in store.notes("mta-sts")] == ["hit.test"]


def test_a_postfix_that_is_what_the_policy_says(process: Process, authority, tmp_path: Path, postfix) -> None:
    class Files:
        def files(self, kind: str) -> tuple[str, str]:
            leaf = authority[0].issue_cert("mx.hit.test")
            chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
            leaf.private_key_and_cert_chain_pem.write_to_path(str(chain))
            leaf.private_key_pem.write_to_path(str(key))
            return str(chain), str(key)

    server: Postfix = postfix(["hit.test"], tls=Files())
    with Dns({"hit.test": zone(CASES["hit"]._replace(host=server.host))}) as dns:
        told = send(process(dns=dns, smtp_port=server.address[1]), "hit.test")
        assert outcome(told) == PROVEN, told.text


# --- who decides ---


DOMAIN = "hit.test"


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({"tls_mta_sts": False}, ENCRYPTED),
        ({"tls_level": "none"}, PLAIN),
        ({"tls_policy": {"other.test": TlsPolicy(level="may")}}, ENCRYPTED),
        ({"tls_policy": {"other.test": TlsPolicy(level="encrypt")}}, ENCRYPTED),
        ({"tls_policy": {"hit.test": TlsPolicy(level="may")}}, REFUSED),
        ({"tls_level": "encrypt"}, REFUSED),
        ({"tls_level": "dane"}, REFUSED),
        ({"tls_policy": {"*.test": TlsPolicy(level="dane")}}, REFUSED),
    ],
)
def test_a_level_for_a_domain_is_the_last_word(
    process: Process, changed: dict[str, Any], wanted: tuple[str, str | None, str | None]
) -> None:
    sender = process(**changed)
    assert outcome(send(sender, "other.test")) == wanted


def names(**more: Any) -> Names:
    """A resolver that can be told what is signed; the policy of hit.test is there."""
    made = Names(
        {DOMAIN: [(10, f"mx.{DOMAIN}")]}, {f"mta-sts.{DOMAIN}": ["127.0.0.1"], **more.pop("hosts")}, **more
    )
    made.texts = {f"_mta-sts.{DOMAIN}": ["v=STSv1; id=1;"]}
    return made


@pytest.mark.parametrize(
    ("tlsa", "wanted"),
    [
        ([Tlsa(3, 1, 1, b"x" * 32)], "4.7.5"),  # usable, and wrong: the policy of MTA-STS does not save it
        ([Tlsa(1, 1, 1, b"x" * 32)], "mta-sts"),
        (Lookup("nodata"), "mta-sts"),
        (Lookup("failed", "no answer"), "4.7.5"),
    ],
    ids=["usable", "unusable", "none", "unknown"],
)
def test_dane_goes_first(process: Process, tlsa: Any, wanted: str) -> None:
    mx = f"mx.{DOMAIN}"
    held = names(hosts={mx: [GOOD]}, signed=(DOMAIN, mx), tlsa={mx: tlsa})
    told = send(process(names=held, tls_level="dane"), DOMAIN)
    assert (told.tls_by or told.enhanced) == wanted
    assert "MTA-STS" not in told.text


def test_a_policy_counts_from_the_moment_it_is_there(process: Process, world: World) -> None:
    """Also for a host that was spoken to before, and to which a connection is open."""
    held = names(hosts={f"mx.{DOMAIN}": [GOOD]})
    sender, texts = process(names=held), held.texts
    held.texts = {}
    assert outcome(send(sender, DOMAIN)) == ENCRYPTED
    held.texts = texts
    assert outcome(send(sender, DOMAIN)) == outcome(send(sender, DOMAIN)) == PROVEN


@pytest.mark.parametrize("kind", ["failed", "nxdomain", None])
def test_a_record_that_nobody_tells_holds_mail_up_for_a_moment_and_not_for_ever(
    process: Process, monkeypatch: pytest.MonkeyPatch, kind: str | None
) -> None:
    """It is asked for together with the MX records. None: there is no answer at all."""
    monkeypatch.setattr("mailstrom_cli.net.mtasts.TXT_SECONDS", 0.1)
    held, asked, both = names(hosts={f"mx.{DOMAIN}": [OTHER]}), [], asyncio.Event()
    mx = held.mx

    async def txt(name: str) -> tuple[Lookup, list[str]]:
        asked.append(name)
        both.set()
        if kind is None:
            await asyncio.Event().wait()
        return Lookup(str(kind), "no answer"), []

    async def mx_after_txt(domain: str) -> tuple[Lookup, list[MxRecord]]:
        async with asyncio.timeout(5):
            await both.wait()
        return await mx(domain)

    monkeypatch.setattr(held, "txt", txt)
    monkeypatch.setattr(held, "mx", mx_after_txt)
    sender = process(names=held)
    assert outcome(send(sender, DOMAIN)) == outcome(send(sender, DOMAIN)) == ENCRYPTED
    assert asked == [f"_mta-sts.{DOMAIN}"] * (2 if kind == "nxdomain" else 1)


def test_what_was_asked_a_moment_ago_costs_no_question(process: Process, world: World) -> None:
    sender = process()
    assert outcome(send(sender, DOMAIN)) == PROVEN
    policies = sender.smtp._policies
    assert policies.at_hand(DOMAIN) == sender.run(policies.of(DOMAIN))
    assert policies.at_hand("no-record.test") is None
    send(sender, "no-record.test")
    assert policies.at_hand("no-record.test") == Found()


def test_a_relay_costs_no_question(world: World, process: Process) -> None:
    held = names(hosts={"relay.test": [GOOD]})
    held.txt = None  # type: ignore[assignment, method-assign]
    sender = process(names=held)
    (told,) = sender.send(f"smtp://relay.test:{world.servers[GOOD].port}", f"good@{DOMAIN}", domain=DOMAIN)
    assert outcome(told) == ENCRYPTED


def test_a_connection_without_proof_is_for_no_domain_with_a_policy(process: Process) -> None:
    """Both have the same MX host, and the connection for the first is still open."""
    held = names(hosts={f"mx.{DOMAIN}": [OTHER]})
    held.domains["free.test"] = held.domains[DOMAIN]
    sender = process(names=held)
    assert outcome(send(sender, "free.test")) == ENCRYPTED
    assert outcome(send(sender, DOMAIN)) == REFUSED
    assert outcome(send(sender, "free.test")) == ENCRYPTED


def test_many_hosts_that_are_not_allowed_keep_nobody_from_the_one_that_is(process: Process) -> None:
    held = names(hosts={f"mx.{DOMAIN}": [GOOD], **{f"bad{i}.test": [BARE] for i in range(8)}})
    held.domains[DOMAIN] = [MxRecord(i, f"bad{i}.test") for i in range(8)] + held.domains[DOMAIN]
    sender = process(names=held)
    assert outcome(send(sender, DOMAIN)) == PROVEN
