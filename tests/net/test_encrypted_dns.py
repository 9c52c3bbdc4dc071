"""DNS over TLS and over HTTPS, asked of a real server (unbound) with certificates good and bad."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import subprocess
import sys
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from mailstrom_cli.config import resolvers
from mailstrom_cli.config.schema import build
from mailstrom_cli.errors import CONFIG, MailstromError
from mailstrom_cli.net import nameserver
from mailstrom_cli.net import resolver as resolver_module
from mailstrom_cli.net.resolver import Resolver
from mailstrom_cli.policy.mx import Lookup
from mailstrom_cli.store.memory import Memory
from mailstrom_cli.transport.registry import Transports

from ..peers.dns import Dns
from ..peers.needs import need
from ..peers.process import free_port

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from ..peers.certs import Certificates

MANY = "".join(f"many MX {n} mail{n}.a.name.that.makes.the.answer.long\n" for n in range(60))
NAMES = "".join(f"n{n} A 127.0.0.2\n" for n in range(40))
ZONES = {"example.test": f"@ MX 10 first\nfirst A 127.0.0.2\n@ TXT one two\n{MANY}{NAMES}"}

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def server(certificates: Certificates) -> Iterator[Dns]:
    need("unbound")
    with Dns(ZONES, servfail=["lame.test"], silent=["silent.test"], tls=certificates.files()) as running:
        yield running


def use(server: str, ca_file: str, story: Callable[[Resolver], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        resolver = Resolver((server,), "both", ca_file=ca_file)
        try:
            return await story(resolver)
        finally:
            await resolver.close()

    return asyncio.run(run())


def test_it_answers_as_plain_dns_does(server: Dns, certificates: Certificates) -> None:
    async def all_kinds(resolver: Resolver) -> list[Any]:
        answers: list[Any] = [await resolver.addresses("first.example.test")]
        answers += [await resolver.mx(name) for name in ("example.test", "none.example.test", "lame.test")]
        answers.append(await resolver.txt("example.test"))
        told, many = await resolver.mx("many.example.test")
        return [(told.kind, found) for told, found in answers] + [(told.kind, len(many))]

    plain = use(server.resolver, "", all_kinds)
    assert [kind for kind, _ in plain] == ["found", "found", "nxdomain", "failed", "found", "found"]
    ways = [server.dot(), server.dot("127.0.0.1").partition("#")[0], server.doh(), server.doh("127.0.0.1")]
    for way in ways:
        assert use(way, certificates.ca_file, all_kinds) == plain, way


@pytest.mark.parametrize(
    ("kind", "trusted", "reason"),
    [
        ("wrong-name", True, "Hostname mismatch, certificate is not valid for 'localhost'"),
        ("expired", True, "certificate has expired"),
        ("self-signed", True, "unable to get local issuer certificate"),
        ("good", False, "unable to get local issuer certificate"),
    ],
)
def test_a_certificate_that_is_not_valid(
    certificates: Certificates, kind: str, trusted: bool, reason: str
) -> None:
    need("unbound")
    with Dns(ZONES, tls=certificates.files(kind)) as server:
        for way in (server.dot(), server.doh()):
            told, found = use(way, certificates.ca_file if trusted else "", lambda r: r.mx("example.test"))
            assert (told.kind, found) == ("failed", [])
            text = f"looking up MX of example.test failed: {way} has no valid certificate: {reason}"
            assert told.text == text


def test_the_name_after_the_hash_is_what_counts(server: Dns, certificates: Certificates) -> None:
    way = server.dot("elsewhere.invalid")
    told, _ = use(way, certificates.ca_file, lambda r: r.mx("example.test"))
    assert "has no valid certificate: Hostname mismatch" in told.text


@pytest.mark.parametrize("way", ["tls://127.0.0.1:{}#dns.example", "https://127.0.0.1:{}/dns-query"])
def test_servers_that_are_not_there_or_say_nothing(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    refusing = way.format(free_port())
    told, _ = use(refusing, "", lambda r: r.mx("example.test"))
    text = f"looking up MX of example.test failed: {refusing} "
    assert told == Lookup("failed", text + "cannot be reached: Connection refused")
    monkeypatch.setattr(resolver_module, "LIFETIME_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        deaf = way.format(silent.getsockname()[1])
        told, _ = use(deaf, "", lambda r: r.mx("example.test"))
    assert told.kind == "failed"
    assert told.text.startswith(f"looking up MX of example.test failed: {deaf} did not answer within 0.")


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("tls://127.0.0.1:{plain}", "does not speak TLS with us"),
        ("https://127.0.0.1:{plain}/dns-query", "does not speak TLS with us"),
        ("https://localhost:{doh}/elsewhere", "answered with HTTP status 404"),
    ],
)
def test_servers_that_speak_something_else(
    server: Dns, certificates: Certificates, way: str, reason: str
) -> None:
    with plain_server() as plain:
        way = way.format(plain=plain, doh=server.doh_port)
        told, _ = use(way, certificates.ca_file, lambda r: r.mx("example.test"))
    assert told.kind == "failed"
    assert told.text.startswith(f"looking up MX of example.test failed: {way} {reason}")


def test_the_name_of_a_server_that_has_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    told, _ = use("https://dns.example/dns-query", "", lambda r: r.mx("example.test"))
    assert told.kind == "failed"
    assert told.text.endswith("https://dns.example/dns-query has no address: Name or service not known")


def test_out_of_descriptors_is_no_fault_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none_left(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EMFILE, "none")

    monkeypatch.setattr(asyncio, "open_connection", none_left)
    told, _ = use("tls://127.0.0.1", "", lambda r: r.mx("example.test"))
    assert told.kind == "local"
    assert told.text.endswith("tls://127.0.0.1 cannot be reached: Too many open files")


def test_a_web_server_without_http2(certificates: Certificates) -> None:
    async def run() -> Lookup:
        async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        async with await asyncio.start_server(hear, "127.0.0.1", 0, ssl=certificates.context()) as old:
            way = f"https://localhost:{old.sockets[0].getsockname()[1]}/dns-query"
            told, _ = await Resolver((way,), "both", ca_file=certificates.ca_file).mx("example.test")
        return told

    assert asyncio.run(run()).text.endswith("/dns-query does not speak HTTP/2")


@contextlib.contextmanager
def plain_server() -> Iterator[int]:
    """The port of an SMTP server."""
    program = (
        "import socket\n"
        "with socket.create_server(('127.0.0.1', 0)) as server:\n"
        "    print(server.getsockname()[1], flush=True)\n"
        "    while True:\n"
        "        connection = server.accept()[0]\n"
        "        connection.sendall(b'220 mx.example.test ESMTP\\r\\n' * 20)\n"
        "        connection.recv(1000)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


@pytest.mark.parametrize("protocol", ["dot", "doh"])
def test_a_connection_is_kept_for_the_next_question(
    server: Dns, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    made = 0
    connect = asyncio.open_connection

    async def counting(*place: Any, **options: Any) -> Any:
        nonlocal made
        made += 1
        return await connect(*place, **options)

    monkeypatch.setattr(asyncio, "open_connection", counting)

    async def story(resolver: Resolver) -> None:
        for n in range(5):
            assert (await resolver.addresses(f"n{n}.example.test"))[0].kind == "found"
        assert made == 2  # A and AAAA are asked at once
        told = await asyncio.gather(*(resolver.addresses(f"n{n}.example.test") for n in range(10, 40)))
        assert {one.kind for one, _ in told} == {"found"}
        assert 2 < made <= nameserver.LINES
        monkeypatch.setattr(nameserver, "IDLE_SECONDS", -1.0)
        before = made
        assert (await resolver.mx("example.test"))[0].kind == "found"
        assert made == before + 1, "those that have waited too long are not used"

    use(getattr(server, protocol)(), certificates.ca_file, story)


def test_a_connection_that_the_server_has_closed_meanwhile(certificates: Certificates) -> None:
    need("unbound")
    with Dns(ZONES, tls=certificates.files()) as server:

        async def story() -> None:
            for way in (server.dot(), server.doh()):
                resolver = Resolver((way,), "both", ca_file=certificates.ca_file)
                assert (await resolver.mx("example.test"))[0].kind == "found"
                server.stop()
                server.start()
                assert (await resolver.addresses("first.example.test"))[0].kind == "found"
                await resolver.close()

        asyncio.run(story())


def test_what_is_kept_is_closed_with_the_transports(server: Dns, certificates: Certificates) -> None:
    settings = build({"dns.resolver": (server.dot(),), "tls.ca_file": certificates.ca_file})

    async def run() -> None:
        transports = Transports(settings, Random(1), Memory())
        assert transports._resolver is not None
        assert (await transports._resolver.mx("example.test"))[0].kind == "found"
        ((_, line),) = transports._resolver._asking[0]._way._idle
        await transports.close()
        assert line._writer.transport.is_closing()

    asyncio.run(run())


def test_without_the_package_for_http2_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MailstromError) as told:
        Resolver(("9.9.9.9", "https://dns.quad9.net/dns-query"), "both")
    assert (
        told.value.message
        == "DNS over HTTPS, as in `dns.resolver`, needs the package h2, which is not installed"
    )
    assert told.value.hint == resolvers.DOH_HINT and "pip install 'mailstrom[doh]'" in resolvers.DOH_HINT
    assert told.value.exit_code == CONFIG
    Resolver(("9.9.9.9", "tls://9.9.9.9#dns.quad9.net"), "both")
