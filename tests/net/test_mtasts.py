"""MTA-STS policies (RFC 8461) of a real HTTPS server: fetched, kept, renewed, and what is no policy."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from mailstrom_cli.net import https, mtasts
from mailstrom_cli.net.mtasts import Policies
from mailstrom_cli.policy import sts
from mailstrom_cli.policy.mx import Lookup
from mailstrom_cli.policy.sts import Found
from mailstrom_cli.store.base import Note
from mailstrom_cli.store.memory import Memory

from ..peers.policy_host import PolicyHost, Reply, policy
from ..transport.sending import Names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailstrom_cli.policy.sts import Policy

    from ..peers.certs import Certificates

DOMAIN = "example.test"
HOST = f"mta-sts.{DOMAIN}"
DAY = 86_400.0
OLD, NEW = policy("old.example.test"), policy("new.example.test")


class Clock:
    """Stands for the module `time`; `ahead` is by how many seconds it is."""

    ahead = 0.0

    def time(self) -> float:
        return time.time() + self.ahead

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


class World:
    """One domain, its policy host, and who asks. `anew`: another process, with the same store."""

    def __init__(self, host: PolicyHost, ca_file: str, clock: Clock) -> None:
        self.host, self.clock, self.ca_file = host, clock, ca_file
        self.names = Names(hosts={HOST: ["127.0.0.1"]})
        self.store = Memory()
        self.port = host.port
        self.runner = asyncio.Runner()
        self.anew()
        self.id("1")
        self.serve(OLD)

    def id(self, id: str) -> None:
        self.names.texts[f"_mta-sts.{DOMAIN}"] = ["v=spf1 -all", f"v=STSv1; id={id};"]

    def no_record(self, kind: str = "nxdomain") -> None:
        self.names.texts[f"_mta-sts.{DOMAIN}"] = Lookup(kind)

    def serve(self, reply: Reply | bytes) -> None:
        self.host.serve(DOMAIN, reply)

    def anew(self) -> None:
        names: Any = self.names
        self.policies = Policies(names, self.store, self.ca_file, self.port)

    def ask(self, times: int = 1) -> Found:
        async def ask() -> list[Found]:
            return await asyncio.gather(*(self.policies.of(DOMAIN) for _ in range(times)))

        (found, *others) = self.runner.run(ask())
        assert all(other == found for other in others)
        return found

    def policy(self) -> Policy | None:
        return self.ask().policy

    def settle(self) -> None:
        """What goes on in the background has come to its end."""
        self.runner.run(self.policies.close())

    @property
    def fetches(self) -> int:
        return self.host.count(DOMAIN)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(mtasts, "time", made)
    return made


@pytest.fixture
def world(clock: Clock, certificates: Certificates) -> Iterator[World]:
    with PolicyHost(certificates.context()) as host:
        made = World(host, certificates.ca_file, clock)
        yield made
        host.hold.set()
        made.settle()
        made.runner.close()


def parsed(octets: bytes) -> Policy:
    return sts.parse(octets)


# --- fetched once, and kept ---


def test_a_policy_is_fetched_once_and_kept_for_other_processes(world: World) -> None:
    assert world.ask(times=5) == Found(parsed(OLD))
    assert world.policy() == parsed(OLD)
    world.anew()
    assert world.policy() == parsed(OLD)
    assert world.host.asked == [HOST]
    ((name, note),) = world.store.notes("mta-sts")
    assert name == DOMAIN and note.until == pytest.approx(time.time() + 604_800, abs=60)


def test_names_are_the_same_in_capitals(world: World) -> None:
    assert world.runner.run(world.policies.of("EXAMPLE.test")).policy == parsed(OLD)
    assert world.policy() and world.fetches == 1


def test_a_domain_without_a_record_is_not_asked_for_a_policy(world: World) -> None:
    for text in ([], ["v=spf1 -all"], ["v=STSv1; id=1", "v=STSv1; id=2"], ["v=STSv1;"]):
        world.names.texts[f"_mta-sts.{DOMAIN}"] = text
        assert world.ask() == sts.NOTHING
    world.no_record()
    assert world.ask() == sts.NOTHING
    assert world.host.asked == [] and list(world.store.notes("mta-sts")) == []


def test_a_policy_of_64_kib_with_parameters_of_its_type_is_one(world: World) -> None:
    longest = OLD + b"x: " + b"y" * (sts.LARGEST - len(OLD) - 3)
    world.serve(Reply(longest, headers={"content-type": "Text/Plain; charset=utf-8"}))
    assert len(longest) == 65_536 and world.policy() == parsed(OLD)
    world.anew()
    assert world.policy() == parsed(OLD) and world.fetches == 1


# --- what is no policy ---

BAD = {
    "missing": (Reply(OLD, status=404), sts.FETCH_ERROR, f"{HOST}: HTTP status 404"),
    "moved": (
        Reply(OLD, 301, {"Location": f"https://{HOST}/other", "Content-Type": "text/plain"}),
        sts.FETCH_ERROR,
        f"{HOST}: HTTP status 301",
    ),
    "in trouble": (Reply(OLD, status=500), sts.FETCH_ERROR, f"{HOST}: HTTP status 500"),
    "too long": (
        Reply(OLD + b"x: " + b"y" * 65_536),
        sts.FETCH_ERROR,
        f"{HOST}: an answer of more than 65536 octets",
    ),
    "html": (
        Reply(OLD, headers={"Content-Type": "text/html"}),
        sts.FETCH_ERROR,
        f"{HOST}: its policy is not text/plain",
    ),
    "without a type": (Reply(OLD, headers={}), sts.FETCH_ERROR, f"{HOST}: its policy is not text/plain"),
    "nonsense": (Reply(b"Hello"), sts.INVALID, "line 1 of the policy is no `key: value`"),
    "not UTF-8": (Reply(OLD + b"\xff"), sts.INVALID, "the policy is not UTF-8"),
    "without mx": (Reply(policy()), sts.INVALID, "the policy names no mx"),
}


@pytest.mark.parametrize("how", BAD)
def test_what_is_no_policy_is_none(world: World, how: str) -> None:
    reply, failure, text = BAD[how]
    world.serve(reply)
    world.host.serve(f"elsewhere.{DOMAIN}", OLD)
    assert world.ask() == Found(None, failure, text)
    assert world.host.asked == [HOST] and list(world.store.notes("mta-sts")) == []


@pytest.mark.parametrize("kind", ["expired", "wrong-name", "self-signed"])
def test_a_certificate_that_is_not_good_gives_no_policy(
    clock: Clock, certificates: Certificates, kind: str
) -> None:
    with PolicyHost(certificates.context(kind)) as host:
        world = World(host, certificates.ca_file, clock)
        found = world.ask()
        world.runner.close()
    assert (found.policy, found.failure, host.asked) == (None, sts.UNTRUSTED, [])
    assert found.text.startswith(f"{HOST}: certificate not verified: ")


def test_without_its_authority_a_certificate_is_not_good(clock: Clock, certificates: Certificates) -> None:
    with PolicyHost(certificates.context()) as host:
        world = World(host, "", clock)
        assert world.ask().failure == sts.UNTRUSTED
        world.runner.close()


def test_a_policy_host_that_cannot_be_reached(world: World) -> None:
    del world.names.hosts[HOST]
    found = world.ask()
    assert (found.failure, found.text) == (sts.FETCH_ERROR, f"no {HOST}")
    world.names.hosts[HOST] = ["127.0.0.1"]
    world.port = 1
    world.anew()
    assert world.ask().text == f"{HOST}: Connection refused"


def test_the_next_address_is_taken_when_one_does_not_answer(world: World) -> None:
    world.names.hosts[HOST] = ["127.0.0.66", "127.0.0.1"]  # nobody listens at the first
    assert world.policy() == parsed(OLD)


def test_a_policy_host_that_nobody_can_tell_where_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def addresses(host: str) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(world.names, "addresses", addresses)
    monkeypatch.setattr(mtasts, "FETCH_SECONDS", 0.1)
    begun = time.monotonic()
    assert world.ask().text == f"{HOST}: timed out"
    assert time.monotonic() - begun < 2


def test_a_policy_host_that_says_nothing_is_not_waited_for_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mtasts, "FETCH_SECONDS", 0.3)
    world.host.hold.clear()
    begun = time.monotonic()
    assert world.ask().text == f"{HOST}: timed out"
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("where", ["connected", "handshake", "answer"])
def test_a_policy_host_has_so_long_in_all(certificates: Certificates, where: str) -> None:
    """It says something every 20 ms, which is never late for a time-out of each piece."""
    over = threading.Event()

    def drip(listener: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as accepted_ones:
            accepted = accepted_ones.enter_context(listener.accept()[0])
            text = itertools.chain(bytes.fromhex("1603034000"), itertools.repeat(2))  # a record of 16 KiB
            if where == "answer":
                secured = certificates.context().wrap_socket(accepted, server_side=True)
                accepted = accepted_ones.enter_context(secured)
                text = itertools.chain(b"HTTP/1.1 200 OK\r\nX: ", itertools.repeat(120))
            end = time.monotonic() + 10
            while not over.wait(0.02) and time.monotonic() < end:
                if where != "connected":
                    accepted.sendall(bytes([next(text)]))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        port = listener.getsockname()[1]
        begun = time.monotonic()
        try:
            with pytest.raises(https.NoAnswer, match=f"{HOST}: timed out"):
                trusted = https.context(certificates.ca_file)
                https.get(HOST, sts.PATH, ["127.0.0.1"], trusted, 0.3, port)
            assert time.monotonic() - begun < 5
        finally:
            over.set()
            thread.join()


# --- failures ---


def test_a_failure_is_not_repeated_for_every_message(world: World, clock: Clock) -> None:
    world.serve(Reply(status=500))
    for _ in range(3):
        assert world.ask().failure == sts.FETCH_ERROR
    assert world.fetches == 1
    clock.ahead = mtasts.AGAIN_SECONDS + 1
    world.serve(OLD)
    assert world.ask() == Found(parsed(OLD)) and world.fetches == 2


def test_a_new_record_is_worth_a_try_at_once(world: World) -> None:
    world.serve(Reply(status=500))
    assert world.policy() is None
    world.serve(NEW)
    world.id("2")
    assert world.policy() == parsed(NEW)


def test_a_policy_that_is_kept_outlives_a_fetch_that_fails(world: World, clock: Clock) -> None:
    world.policy()
    world.serve(Reply(status=500))
    world.id("2")
    for _ in range(2):
        assert world.ask() == Found(parsed(OLD), sts.FETCH_ERROR, f"{HOST}: HTTP status 500")
        world.anew()
    clock.ahead = 604_801.0
    world.anew()
    assert world.ask() == Found(None, sts.FETCH_ERROR, f"{HOST}: HTTP status 500")


@pytest.mark.parametrize("kind", ["nxdomain", "nodata", "failed", "local"])
@pytest.mark.parametrize("same", [True, False], ids=["memory", "store"])
def test_a_policy_that_is_kept_outlives_its_record(world: World, clock: Clock, kind: str, same: bool) -> None:
    world.policy()
    world.no_record(kind)
    if not same:
        world.anew()
    assert world.ask() == Found(parsed(OLD))
    clock.ahead = 604_799.0
    assert world.ask() == Found(parsed(OLD))
    clock.ahead = 604_801.0
    assert world.ask() == sts.NOTHING
    assert world.fetches == 1, "what has no record is not fetched"


def test_a_record_that_nobody_tells_is_not_waited_for_twice(
    world: World, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(mtasts, "TXT_SECONDS", 0.05)
    world.policy()
    asked = []

    async def txt(name: str) -> Any:
        asked.append(name)
        await asyncio.Event().wait()

    monkeypatch.setattr(world.names, "txt", txt)
    begun = time.monotonic()
    for _ in range(3):
        assert world.ask() == Found(parsed(OLD))
    assert asked == [f"_mta-sts.{DOMAIN}"] and time.monotonic() - begun < 2
    clock.ahead = mtasts.SILENT_SECONDS + 1
    world.ask()
    assert len(asked) == 2


# --- renewed ---


def test_another_id_is_another_policy_at_once(world: World) -> None:
    assert world.policy() == parsed(OLD)
    world.serve(NEW)
    assert world.policy() == parsed(OLD), "while the record says so"
    world.id("2")
    assert world.policy() == parsed(NEW)
    assert world.policy() == parsed(NEW) and world.fetches == 2


def test_what_another_process_has_fetched_is_not_fetched_again(world: World) -> None:
    first = world.policies
    world.policy()
    world.anew()
    world.serve(NEW)
    world.id("2")
    assert world.policy() == parsed(NEW)
    world.policies = first
    assert world.policy() == parsed(NEW) and world.fetches == 2


def test_an_old_policy_goes_on_while_a_new_one_is_slow(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.policy()
    monkeypatch.setattr(mtasts, "PATIENCE", 0.05)
    world.host.hold.clear()
    world.serve(NEW)
    world.id("2")
    assert world.policy() == parsed(OLD)
    world.host.hold.set()
    world.settle()
    assert world.policy() == parsed(NEW) and world.fetches == 2


@pytest.mark.parametrize(
    ("max_age", "age", "renewed"),
    [
        (7 * DAY, DAY - 60, False),
        (7 * DAY, DAY + 60, True),
        (DAY, DAY / 2, False),
        (DAY, DAY * 3 / 4 + 60, True),
        (7 * DAY, -600.0, True),  # the clock was ahead when it was fetched
    ],
)
def test_a_policy_is_renewed_before_its_end_and_no_mail_waits(
    world: World, clock: Clock, max_age: float, age: float, renewed: bool
) -> None:
    old, new = (policy(mx, max_age=int(max_age)) for mx in ("old.example.test", "new.example.test"))
    world.serve(old)
    world.policy()
    clock.ahead = age
    world.serve(new)
    world.host.hold.clear()
    assert world.policy() == world.policy() == parsed(old)
    world.host.hold.set()
    world.settle()
    assert world.policy() == parsed(new if renewed else old)
    assert world.fetches == 1 + renewed


def test_what_cannot_be_renewed_is_tried_again_later(world: World, clock: Clock) -> None:
    world.policy()
    clock.ahead = DAY + 60
    world.serve(Reply(status=500))
    world.ask()
    world.settle()
    assert world.ask() == Found(parsed(OLD), sts.FETCH_ERROR, f"{HOST}: HTTP status 500")
    assert world.fetches == 2
    clock.ahead += mtasts.AGAIN_SECONDS
    world.serve(NEW)
    world.ask()
    world.settle()
    assert world.ask() == Found(parsed(NEW)) and world.fetches == 3


def test_a_policy_that_has_ended_is_fetched_anew(world: World, clock: Clock) -> None:
    world.policy()
    clock.ahead = 604_801.0
    world.serve(NEW)
    assert world.policy() == parsed(NEW)


def test_a_policy_from_the_far_future_is_none(world: World, clock: Clock) -> None:
    clock.ahead = 3650 * DAY
    assert world.policy() == parsed(OLD)
    clock.ahead = 0.0
    world.serve(NEW)
    assert world.policy() == parsed(NEW)


def test_a_policy_that_is_withdrawn(world: World) -> None:
    world.policy()
    gone = policy(mode="none")
    world.serve(gone)
    world.id("2")
    assert world.ask() == Found(parsed(gone))


def test_a_policy_for_no_time_is_not_fetched_for_every_message(world: World, clock: Clock) -> None:
    world.serve(policy("old.example.test", max_age=0))
    assert world.policy() and world.policy() and world.fetches == 1
    clock.ahead = mtasts.SHORTEST + 1
    assert world.policy() and world.fetches == 2


# --- the store ---


@pytest.mark.parametrize(
    "text",
    ["", "1", "1 x\nversion: STSv1", "1 1e999\n" + OLD.decode(), "1 nan\n" + OLD.decode(), "1 5\nHello"],
)
def test_what_nobody_can_have_stored_is_as_good_as_none(world: World, text: str) -> None:
    world.store.set_note("mta-sts", DOMAIN, Note(text, 1e12))
    world.no_record()
    assert world.ask() == sts.NOTHING
    world.id("1")
    assert world.policy() == parsed(OLD)


def test_a_store_that_fails_costs_no_mail(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    for method in ("note", "set_note"):
        monkeypatch.setattr(world.store, method, full)
    assert world.policy() == world.policy() == parsed(OLD) and world.fetches == 1
    world.serve(Reply(status=500))
    world.id("2")
    assert world.policy() == world.policy() == parsed(OLD), "nor what is known without it"
    world.serve(NEW)
    world.id("3")
    assert world.policy() == world.policy() == parsed(NEW)


def test_a_store_that_could_not_be_written_is_not_believed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    world.policy()
    monkeypatch.setattr(world.store, "set_note", full)
    world.serve(NEW)
    world.id("2")
    assert world.policy() == parsed(NEW)
    world.serve(Reply(status=500))
    world.id("3")
    assert world.policy() == world.policy() == parsed(NEW)
