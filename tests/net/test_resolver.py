"""What the DNS says, asked of a real server (unbound), and of servers that say nothing or are not there."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import threading
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from mailstrom_cli.config.resolvers import parse_server
from mailstrom_cli.net import nameserver
from mailstrom_cli.net import resolver as resolver_module
from mailstrom_cli.net.resolver import Resolver
from mailstrom_cli.policy.mx import Lookup, MxRecord, in_order

from ..peers.dns import Dns
from ..peers.needs import need
from ..peers.process import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

ZONES = {
    "example.test": "@ MX 20 second\n@ MX 10 first\n@ MX 10 equal\n"
    "first A 127.0.0.2\nfirst AAAA ::1\nsecond A 127.0.0.3\nsecond A 127.0.0.4\nequal A 127.0.0.5\n"
    "six AAAA ::1\ntext TXT hello\nalias CNAME first\nwww CNAME implicit.test.\n"
    "far CNAME gone\nround CNAME about\nabout CNAME round\nsplit A 127.0.0.2\n"
    "mail MX 10 soft.lame.test.\nmixed MX 10 gone\nmixed MX 20 first",
    "implicit.test": "@ A 127.0.0.6",
    "empty.test": "@ TXT nothing",
    "null.test": "@ MX 0 .\n@ A 127.0.0.2",
    "nullish.test": "@ MX 0 .\n@ MX 10 first.example.test.",
    "xn--bcher-kva.test": "@ MX 10 first.example.test.",
    "xn--mnchen-3ya.test": "@ A 127.0.0.7",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Dns]:
    need("unbound")
    with Dns(ZONES, servfail=["lame.test"], refuse=["closed.test"], silent=["silent.test"]) as running:
        yield running


pytestmark = pytest.mark.peer


def ask(
    server: str, question: str, name: str, ip: str = "both", lifetime: float = 5.0
) -> tuple[Lookup, list[Any]]:
    async def once() -> tuple[Lookup, list[Any]]:
        resolver = Resolver((server,), ip)
        resolver._resolver().lifetime = lifetime
        answer: tuple[Lookup, list[Any]] = await getattr(resolver, question)(name)
        return answer

    return asyncio.run(once())


def test_mx_records_with_their_preferences(server) -> None:
    told, records = ask(server.resolver, "mx", "example.test")
    assert told.kind == "found"
    assert sorted((r.preference, r.host) for r in records) == [
        (10, "equal.example.test"),
        (10, "first.example.test"),
        (20, "second.example.test"),
    ]
    orders = [in_order(records, Random(seed)) for seed in range(20)]
    assert all(order[-1] == ["second.example.test"] for order in orders)
    assert {order[0][0] for order in orders} == {"equal.example.test", "first.example.test"}


@pytest.mark.parametrize("name", ["EXAMPLE.Test", "example.test."])
def test_a_name_in_another_spelling(server, name: str) -> None:
    assert len(ask(server.resolver, "mx", name)[1]) == 3


@pytest.mark.parametrize(("name", "host"), [("implicit.test", "implicit.test"), ("six.example.test",) * 2])
def test_a_domain_without_mx_is_its_own_host(server, name: str, host: str) -> None:
    assert ask(server.resolver, "mx", name) == (Lookup("found"), [MxRecord(0, host)])


def test_a_cname_is_followed(server) -> None:
    assert ask(server.resolver, "mx", "www.example.test") == (
        Lookup("found"),
        [MxRecord(0, "www.example.test")],
    )
    told, addresses = ask(server.resolver, "addresses", "alias.example.test")
    assert (told.kind, sorted(addresses)) == ("found", ["127.0.0.2", "::1"])


def test_null_mx(server) -> None:
    told, records = ask(server.resolver, "mx", "null.test")
    assert (told.kind, records) == ("nullmx", [])
    assert told.text == "the domain null.test says that it takes no mail (null MX)"


def test_a_root_beside_a_real_host_is_no_null_mx(server) -> None:
    told, records = ask(server.resolver, "mx", "nullish.test")
    assert told.kind == "found"
    assert in_order(records, Random(1)) == [["first.example.test"]]


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("gone.example.test", "nxdomain", "the domain gone.example.test does not exist"),
        ("far.example.test", "nxdomain", "the domain far.example.test does not exist"),
        ("empty.test", "nodata", "the domain empty.test has neither MX nor address records"),
        ("text.example.test", "nodata", "the domain text.example.test has neither MX nor address records"),
    ],
)
def test_no_such_domain_and_no_such_data(server, name: str, kind: str, text: str) -> None:
    assert ask(server.resolver, "mx", name) == (Lookup(kind, text), [])


@pytest.mark.parametrize("name", ["lame.test", "closed.test", "round.example.test"])
@pytest.mark.parametrize("question", ["mx", "addresses"])
def test_servfail_refused_and_a_cname_loop_are_failures_and_name_what_was_asked(
    server, name: str, question: str
) -> None:
    told, found = ask(server.resolver, question, name, lifetime=2.0)
    assert (told.kind, found) == ("failed", [])
    assert name in told.text


@pytest.mark.parametrize("question", ["mx", "addresses"])
def test_a_question_that_is_not_answered_times_out(server, question: str) -> None:
    told, found = ask(server.resolver, question, "silent.test", lifetime=0.1)
    assert (told.kind, found) == ("failed", [])


def test_a_server_that_never_answers_and_one_that_is_not_there() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        told, _ = ask(f"127.0.0.1:{deaf.getsockname()[1]}", "mx", "example.test", lifetime=0.1)
    assert told.kind == "failed"
    assert told.text.startswith("looking up MX of example.test failed: ")
    told, _ = ask(f"127.0.0.1:{free_port()}", "mx", "example.test", lifetime=0.1)
    assert told.kind == "failed"


def test_the_reason_names_each_server_and_what_became_of_it(server, monkeypatch) -> None:
    monkeypatch.setattr(nameserver, "TRY_SECONDS", 0.3)
    monkeypatch.setattr(resolver_module, "LIFETIME_SECONDS", 0.6)
    with deaf() as first, deaf() as second:
        places = [f"127.0.0.1:{one.getsockname()[1]}" for one in (first, second)]

        async def why(*servers: str) -> str:
            return (await Resolver(servers, "both").mx("lame.test"))[0].text

        failed = "looking up MX of lame.test failed: "
        assert asyncio.run(why(server.resolver)) == f"{failed}{server.resolver} answered SERVFAIL"
        text = f"{failed}{places[0]} and {places[1]} did not answer within 0.3 s"
        assert asyncio.run(why(*places)) == text
        text = f"{failed}{server.resolver} answered SERVFAIL; {places[0]} did not answer within 0."
        assert asyncio.run(why(server.resolver, places[0])).startswith(text)


@contextlib.contextmanager
def deaf() -> Iterator[socket.socket]:
    """A DNS server that never answers; what it was asked can be read."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        one.setblocking(False)
        yield one


def heard(one: socket.socket) -> int:
    """How often it was asked, since the last time."""
    for count in itertools.count():
        try:
            one.recv(512)
        except BlockingIOError:
            return count
    raise AssertionError


def test_a_server_that_does_not_answer_is_not_asked_first_again(server, monkeypatch) -> None:
    monkeypatch.setattr(nameserver, "TRY_SECONDS", 0.3)
    monkeypatch.setattr(resolver_module, "LIFETIME_SECONDS", 0.6)

    async def story() -> None:
        with deaf() as one:
            resolver = Resolver((f"127.0.0.1:{one.getsockname()[1]}", server.resolver), "ipv4")
            for host in ("first", "second", "equal"):
                told, found = await resolver.addresses(f"{host}.example.test")
                assert told.kind == "found" and found
            assert heard(one) == 1
            told, _ = await resolver.mx("lame.test")
            assert told.kind == "failed" and heard(one) > 0, "where the other fails it is asked all the same"

    asyncio.run(story())


def test_a_server_that_has_rested_is_tried_by_one_and_is_the_first_again(monkeypatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    made = [
        nameserver.nameserver(parse_server(f"192.0.2.{n}"), trust_ad=False, ca_file="") for n in (1, 2, 3)
    ]
    first, second, third = made
    assert nameserver.in_order(made) == [first, second, third]
    first.rest()
    assert nameserver.in_order(made) == [second, third, first]
    second.rest()
    assert nameserver.in_order(made) == [third, first, second]
    now += nameserver.REST_SECONDS + 1
    assert nameserver.in_order(made) == [first, second, third]
    assert nameserver.in_order(made) == [second, third, first], "others do not wait for what it will say"
    now += nameserver.TRY_SECONDS + 1
    assert nameserver.in_order(made)[0] == first


def test_addresses_of_both_families_and_of_one(server) -> None:
    name = "first.example.test"
    assert sorted(ask(server.resolver, "addresses", name)[1]) == ["127.0.0.2", "::1"]
    assert ask(server.resolver, "addresses", name, "ipv4")[1] == ["127.0.0.2"]
    assert ask(server.resolver, "addresses", name, "ipv6")[1] == ["::1"]
    assert ask(server.resolver, "addresses", "second.example.test", "ipv6") == (
        Lookup("nodata", "the host second.example.test has no AAAA record"),
        [],
    )


@pytest.mark.parametrize("name", ["bücher.test", "BÜCHER.test", "xn--bcher-kva.test"])
def test_an_internationalised_domain(server, name: str) -> None:
    told, records = ask(server.resolver, "mx", name)
    assert (told.kind, records) == ("found", [MxRecord(10, "first.example.test")])


def test_an_internationalised_domain_without_mx(server) -> None:
    told, (record,) = ask(server.resolver, "mx", "münchen.test")
    assert told.kind == "found"
    assert ask(server.resolver, "addresses", record.host)[1] == ["127.0.0.7"]


@pytest.mark.parametrize("name", ["a" * 64 + ".test", "a..test", ".", "", "x" * 300])
def test_a_name_that_cannot_be_asked_for_is_a_value_too(server, name: str) -> None:
    told, found = ask(server.resolver, "mx", name, lifetime=1.0)
    assert told.kind in ("failed", "nodata", "nxdomain")
    assert found == []


def test_relays_by_name_and_by_address(server) -> None:
    assert ask(server.resolver, "relay_addresses", "second.example.test")[0].kind == "found"
    assert ask(server.resolver, "relay_addresses", "gone.example.test")[0].kind == "nxdomain"
    assert ask(server.resolver, "relay_addresses", "192.0.2.7") == (Lookup("found"), ["192.0.2.7"])
    assert ask(server.resolver, "relay_addresses", "2001:DB8::7")[1] == ["2001:db8::7"]
    assert "127.0.0.1" in ask(server.resolver, "relay_addresses", "localhost")[1]


def test_relays_by_the_names_of_this_system() -> None:
    assert "127.0.0.1" in ask("system", "relay_addresses", "localhost")[1]
    assert set(ask("system", "relay_addresses", "localhost", "ipv4")[1]) == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        (socket.EAI_NONAME, "nxdomain", "the host relay.example.org has no address: why not"),
        (
            socket.EAI_AGAIN,
            "failed",
            "looking up the host relay.example.org failed: why not (192.0.2.1 and 192.0.2.2)",
        ),
    ],
)
def test_a_name_that_this_system_does_not_know(
    tmp_path, monkeypatch, code: int, kind: str, text: str
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(code, "why not")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(resolver_module, "RESOLV_CONF", str(tmp_path / "resolv.conf"))
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.1\nnameserver 192.0.2.2\n")
    told, found = ask("system", "relay_addresses", "relay.example.org")
    assert (told, found) == (Lookup(kind, text), [])


def test_a_system_that_does_not_answer_is_not_waited_for(tmp_path, monkeypatch) -> None:
    awake = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: awake.wait(5))
    monkeypatch.setattr(resolver_module, "SYSTEM_SECONDS", 0.05)
    monkeypatch.setattr(resolver_module, "RESOLV_CONF", str(tmp_path / "resolv.conf"))
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.1\n")
    told, found = ask("system", "relay_addresses", "relay.example.org")
    awake.set()
    assert (told.kind, found) == ("failed", [])
    text = "looking up the host relay.example.org failed: 192.0.2.1 did not answer within 0.05 s"
    assert told.text == text


def test_what_is_asked_twice_at_once_is_looked_up_once(server) -> None:
    asked: list[str] = []

    class Counting(Resolver):
        async def _ask(self, name: str, kind: str) -> tuple[Lookup, list[Any]]:
            asked.append(kind)
            return await super()._ask(name, kind)

    async def many() -> list[tuple[Lookup, list[MxRecord]]]:
        resolver = Counting((server.resolver,), "both")
        return await asyncio.gather(*(resolver.mx("example.test") for _ in range(10)))

    assert {len(records) for _, records in asyncio.run(many())} == {3}
    assert asked == ["MX"]


class Scripted(Resolver):
    """Answers `_ask` itself, and keeps what it said as long as `seconds`."""

    def __init__(self, seconds: float, servers: tuple[str, ...] = ("127.0.0.1",)) -> None:
        super().__init__(servers, "ipv4")
        self.seconds = seconds
        self.asked: list[str] = []

    async def _ask(self, name: str, kind: str) -> tuple[Lookup, list[Any]]:
        self.asked.append(f"{kind} {name}")
        return self._keep(name, kind, self.seconds, (Lookup("found"), ["127.0.0.9"]))


@pytest.mark.parametrize(("seconds", "times"), [(60, 1), (0, 3)])
def test_an_answer_counts_as_long_as_it_says(seconds: float, times: int) -> None:
    async def story() -> None:
        resolver = Scripted(seconds)
        for name in ("mx.example.test", "MX.Example.Test", "mx.example.test"):
            assert await resolver.addresses(name) == (Lookup("found"), ["127.0.0.9"])
        assert len(resolver.asked) == times

    asyncio.run(story())


def test_on_another_network_everything_is_asked_again(monkeypatch) -> None:
    async def story() -> None:
        resolver = Scripted(60, ("system",))
        monkeypatch.setattr(resolver_module, "LOOK_SECONDS", 0.0)
        for stamp in (1, 1, 2, 2):
            monkeypatch.setattr(resolver_module, "_stamp", lambda path, stamp=stamp: (stamp,))
            await resolver.addresses("mx.example.test")
        assert len(resolver.asked) == 2

    asyncio.run(story())


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """What is sent to the server."""
    sent: list[str] = []
    query = nameserver.Nameserver.async_query

    async def counting(self: Any, request: Any, *place: Any, **more: Any) -> Any:
        sent.append(request.question[0].to_text())
        return await query(self, request, *place, **more)

    monkeypatch.setattr(nameserver.Nameserver, "async_query", counting)
    return sent


@pytest.mark.parametrize(
    ("question", "name", "times"),
    [
        ("mx", "example.test", 1),
        ("mx", "implicit.test", 3),  # MX, A and AAAA
        ("mx", "gone.example.test", 3),
        ("addresses", "second.example.test", 2),
        ("addresses", "text.example.test", 2),
        ("txt", "first.example.test", 1),
        ("mx", "lame.test", 1),
    ],
)
def test_every_answer_is_kept(server, asked, question: str, name: str, times: int) -> None:
    async def story() -> None:
        resolver = Resolver((server.resolver,), "both")
        answers = [await getattr(resolver, question)(spelt) for spelt in (name, name.upper(), name)]
        assert len({answer[0].kind for answer in answers}) == 1
        assert len(asked) == times

    asyncio.run(story())


@pytest.mark.parametrize(
    ("limit", "name"),
    [
        ("MOST_SECONDS", "first.example.test"),
        ("NEGATIVE_SECONDS", "text.example.test"),
        ("NEGATIVE_SECONDS", "gone.example.test"),
        ("FAILED_SECONDS", "lame.test"),
    ],
)
def test_no_answer_is_kept_longer_than_is_good(server, asked, monkeypatch, limit: str, name: str) -> None:
    """Each kind has its own limit: with that one at nothing everything is asked again."""

    async def story(times: int) -> None:
        del asked[:]
        resolver = Resolver((server.resolver,), "ipv4")
        for _ in range(3):
            await resolver.addresses(name)
        assert len(asked) == times

    for other in ("MOST_SECONDS", "NEGATIVE_SECONDS", "FAILED_SECONDS"):
        with monkeypatch.context() as patch:
            patch.setattr(resolver_module, other, 0.0)
            asyncio.run(story(3 if other == limit else 1))


def test_an_answer_is_not_kept_longer_than_its_ttl_says(server, monkeypatch) -> None:
    now = 1000.0
    monkeypatch.setattr(resolver_module.time, "monotonic", lambda: now)

    async def story() -> None:
        nonlocal now
        resolver = Resolver((server.resolver,), "ipv4")
        for name in ("first.example.test", "gone.example.test", "text.example.test"):
            await resolver.addresses(name)
            assert resolver._kept(name, "A"), name
        now += 30
        assert all(resolver._kept(f"{host}.example.test", "A") for host in ("first", "gone", "text"))
        now += 31
        assert not any(resolver._kept(f"{host}.example.test", "A") for host in ("first", "gone", "text"))

    asyncio.run(story())


def test_what_is_kept_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(resolver_module, "KEPT", 10)

    async def story() -> None:
        resolver = Scripted(60)
        for n in range(35):
            await resolver.addresses(f"n{n}.example.test")
            assert len(resolver._answers) <= 10

    asyncio.run(story())
