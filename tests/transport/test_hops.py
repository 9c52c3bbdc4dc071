"""Which server gets it: MX hosts and their addresses, relays in order, address literals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.policy.mx import Lookup
from mailstrom_cli.transport import targets as targets_module

from ..peers.answers import Close, Drop
from ..peers.process import blackhole, free_port
from ..peers.scripted import Script
from .sending import Names, statuses

if TYPE_CHECKING:
    from mailstrom_cli.mail.status import Result

    from ..peers.scripted import ScriptedServer

THREE = Names(
    {"example.test": [(10, "a"), (20, "b"), (30, "c")]},
    {"a": ["127.0.0.1"], "b": ["127.0.0.2"], "c": ["127.0.0.3"]},
)


def via(server: ScriptedServer, host: str = "127.0.0.1") -> str:
    return f"smtp://{host}:{server.port}"


def asked(*servers: ScriptedServer) -> list[int]:
    """How many sessions each has seen."""
    return [len(s.sessions) for s in servers]


@pytest.fixture
def hosts(scripted):
    """hosts(script, script, ...) -> servers on one port of 127.0.0.1, .2, ...; None: nobody listens there."""

    def start(*scripts: Script | None) -> list[ScriptedServer | None]:
        started: list[ScriptedServer | None] = []
        port = free_port("127.0.0.1", "127.0.0.2", "127.0.0.3")
        for n, script in enumerate(scripts, 1):
            started.append(scripted(script, host=f"127.0.0.{n}", port=port) if script else None)
        return started

    return start


def test_the_best_mx_host_gets_it(hosts, sender) -> None:
    a, b, c = hosts(Script(), Script(), Script())
    (told,) = sender(THREE, smtp_port=a.port).send("mx:")
    assert told.host == f"a[127.0.0.1]:{a.port}"
    assert asked(a, b, c) == [1, 0, 0]


def test_a_host_that_is_out_of_reach_is_passed_over(hosts, sender) -> None:
    _, b, c = hosts(None, Script(), Script())
    (told,) = sender(THREE, smtp_port=b.port).send("mx:")
    assert (told.status, told.host) == ("delivered", f"b[127.0.0.2]:{b.port}")
    assert asked(b, c) == [1, 0]


EQUALS = Names(
    {"example.test": [(10, "a"), (10, "b"), (10, "c")]},
    {"a": ["127.0.0.1"], "b": ["127.0.0.2"], "c": ["127.0.0.3"]},
)


def test_of_equal_hosts_the_one_to_which_a_session_stands_gets_the_next_message(hosts, sender) -> None:
    servers = hosts(Script(), Script(), Script())
    out = sender(EQUALS, smtp_port=servers[0].port)
    assert len({out.send("mx:")[0].host for _ in range(8)}) == 1
    assert sorted(asked(*servers)) == [0, 0, 1]


def test_a_host_that_was_out_of_reach_a_moment_ago_is_tried_last(hosts, sender, monkeypatch) -> None:
    a, b, _ = hosts(Script(replies={"greeting": "554 5.7.1 Go away"}), Script(), Script())
    out = sender(THREE, smtp_port=b.port)
    assert [out.send("mx:")[0].status for _ in range(3)] == ["delivered"] * 3
    assert asked(a, b) == [1, 1]
    monkeypatch.setattr(targets_module, "FAILED_SECONDS", 0.0)
    out.send("mx:")
    assert asked(a) == [2]


def test_addresses_that_do_not_answer_are_not_counted_as_sessions(hosts, sender) -> None:
    *_, c = hosts(None, None, Script())
    assert sender(THREE, smtp_port=c.port).send("mx:")[0].status == "delivered"


def test_all_addresses_of_a_host_are_tried(hosts, sender) -> None:
    _, _, c = hosts(None, None, Script())
    names = Names({"example.test": [(10, "a")]}, {"a": ["127.0.0.1", "127.0.0.2", "127.0.0.3"]})
    (told,) = sender(names, smtp_port=c.port).send("mx:")
    assert (told.status, told.host) == ("delivered", f"a[127.0.0.3]:{c.port}")


def test_nobody_in_reach_defers_and_uses_up_no_retry(sender) -> None:
    port = free_port("127.0.0.1", "127.0.0.2", "127.0.0.3")
    (told,) = sender(THREE, smtp_port=port).send("mx:")
    assert statuses([told]) == [("deferred", None, "4.4.1")]
    assert told.unreachable
    assert told.text == "Connection refused"
    assert told.host == f"c[127.0.0.3]:{port}"
    assert [line.split("[")[0] for line in told.transcript.split("\n")] == ["a", "b", "c"]


def test_a_connection_that_is_not_answered_times_out(sender) -> None:
    with blackhole() as (host, port):
        (told,) = sender(smtp_timeout_connect=0.1).send(f"smtp://{host}:{port}")
    assert statuses([told]) == [("deferred", None, "4.4.1")]
    assert (told.unreachable, told.text) == (True, "timed out while connecting")


def test_a_recipient_that_was_deferred_is_told_to_the_next_host_and_others_are_not(hosts, sender) -> None:
    a, b = hosts(Script(), Script(recipients={"defer": "250 2.1.5 Ok"}))
    told = sender(THREE, smtp_port=a.port).send(
        "mx:", "defer@example.test", "reject@example.test", "ok@example.test"
    )
    assert [(r.status, r.host[0]) for r in told] == [("delivered", "b"), ("failed", "a"), ("delivered", "a")]
    assert [r.address for t in b.transactions for r in t.recipients] == ["defer@example.test"]


def test_two_servers_at_the_most_see_the_message_in_one_attempt(hosts, sender) -> None:
    a, b, c = hosts(*(Script(replies={"mail": "451 4.3.0 Later"}) for _ in range(3)))
    assert statuses(sender(THREE, smtp_port=a.port).send("mx:")) == [("deferred", 451, "4.3.0")]
    assert asked(a, b, c) == [1, 1, 0]


def test_a_server_that_asks_to_wait_is_not_gone_round(hosts, sender) -> None:
    a, b = hosts(Script(replies={"rcpt": "450 4.7.1 Greylisted for 300 seconds"}), Script())
    (told,) = sender(THREE, smtp_port=a.port).send("mx:")
    assert (told.status, told.retry_after) == ("deferred", 300)
    assert asked(b) == [0]


def test_what_a_server_said_counts_more_than_that_another_is_out_of_reach(hosts, sender) -> None:
    a, _ = hosts(Script(), None)
    (told,) = sender(THREE, smtp_port=a.port).send("mx:", "defer@example.test")
    assert statuses([told]) == [("deferred", 450, "4.2.0")]
    assert told.host.startswith("a[")
    assert not told.unreachable


@pytest.mark.parametrize(
    "greeting", ["554 5.7.1 Go away", "421 4.3.2 Busy", Close("421 4.3.2 Busy"), "521 5.3.2 No mail"]
)
def test_a_host_that_does_not_let_us_in_is_passed_over(hosts, sender, greeting) -> None:
    a, b = hosts(Script(replies={"greeting": greeting}), Script())
    assert sender(THREE, smtp_port=a.port).send("mx:")[0].status == "delivered"
    assert asked(a, b) == [1, 1]


def test_both_families_are_tried(scripted, sender) -> None:
    six = scripted(host="::1")
    names = Names({"example.test": [(10, "a")]}, {"a": ["127.0.0.1", "::1"]})
    (told,) = sender(names, smtp_port=six.port).send("mx:")
    assert (told.status, told.host) == ("delivered", f"a[::1]:{six.port}")


@pytest.mark.parametrize("literal", ["[127.0.0.1]", "[ipv6:::1]"])
def test_an_address_literal_is_dialled(scripted, sender, literal: str) -> None:
    server = scripted(host=literal.strip("[]").removeprefix("ipv6:"))
    (told,) = sender(Names(), smtp_port=server.port).send("mx:", f"good@{literal}", domain=literal)
    assert (told.status, told.host) == ("delivered", f"[{server.host}]:{server.port}")


def test_mail_leaves_from_the_address_that_is_set(scripted, sender) -> None:
    server = scripted()
    sender(smtp_source_address="127.0.0.3").send(via(server))
    assert server.sessions[0].peer == "127.0.0.3"


def test_a_source_address_that_this_host_lacks_is_no_fault_of_the_mail(scripted, sender) -> None:
    server = scripted()
    (told,) = sender(smtp_source_address="192.0.2.1").send(via(server))
    assert (told.status, told.enhanced, told.judged) == ("deferred", "4.3.0", False)


# --- lookups without addresses ---


class Says(Names):
    """A resolver that has no address for anybody, for this reason."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    async def mx(self, domain):
        return Lookup(self.kind, f"about {domain}"), []

    async def relay_addresses(self, host):
        return Lookup(self.kind, f"about {host}"), []


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("nxdomain", ("failed", None, "5.4.4")),
        ("nodata", ("failed", None, "5.4.4")),
        ("nullmx", ("failed", 556, "5.1.10")),
        ("failed", ("deferred", None, "4.4.3")),
    ],
)
def test_a_domain_without_hosts(sender, kind: str, wanted: tuple[str, int | None, str]) -> None:
    told = sender(Says(kind)).send("mx:", "a@example.test", "b@example.test")
    assert statuses(told) == [wanted] * 2
    assert {r.text for r in told} == {"about example.test"}
    assert {r.unreachable for r in told} == {kind == "failed"}


@pytest.mark.parametrize(
    ("kind", "enhanced"), [("nxdomain", "4.4.4"), ("nodata", "4.4.4"), ("failed", "4.4.3")]
)
def test_a_relay_without_an_address_fails_nothing(sender, kind: str, enhanced: str) -> None:
    (told,) = sender(Says(kind)).send("smtp://relay.example.org")
    assert (told.status, told.enhanced, told.unreachable) == ("deferred", enhanced, True)


class Partly(Names):
    """Some host names could not be looked up."""

    async def addresses(self, host: str) -> tuple[Lookup, list[str]]:
        return (
            (Lookup("failed", f"no answer for {host}"), [])
            if host == "soft"
            else await super().addresses(host)
        )


def test_mx_hosts_without_any_address_fail_and_one_soft_error_defers(sender) -> None:
    hard = Partly({"example.test": [(10, "nobody"), (20, "noone")]})
    assert statuses(sender(hard).send("mx:")) == [("failed", None, "5.4.4")]
    soft = Partly({"example.test": [(10, "soft"), (20, "noone")]})
    (told,) = sender(soft).send("mx:")
    assert (told.status, told.enhanced, told.text) == ("deferred", "4.4.3", "no answer for soft")


# --- relays in order ---


def test_the_first_relay_that_works_gets_it(scripted, sender) -> None:
    a, b = scripted(), scripted()
    sender().send(f"{via(a)},{via(b)}")
    assert asked(a, b) == [1, 0]


@pytest.mark.parametrize(
    "script",
    [
        Script(replies={"greeting": "554 5.7.1 No"}),
        Script(replies={"ehlo": Drop()}),
        Script(replies={"mail": "451 4.3.0 Later"}),
        Script(replies={"rcpt": "450 4.2.0 Later"}),
        Script(replies={"dot": "452 4.3.1 Full"}),
    ],
    ids=["greeting", "ehlo", "mail", "rcpt", "dot"],
)
def test_the_next_relay_gets_what_the_first_defers(scripted, sender, script: Script) -> None:
    a, b = scripted(script), scripted()
    (told,) = sender().send(f"{via(a)},{via(b)}")
    assert (told.status, told.host) == ("delivered", f"[127.0.0.1]:{b.port}")


def test_what_a_relay_refuses_or_asks_to_wait_for_goes_to_no_other(scripted, sender) -> None:
    a = scripted(Script(recipients={"slow": "450 4.7.1 Greylisted, wait 90 s"}))
    b = scripted()
    told = sender().send(
        f"{via(a)},{via(b)}",
        "reject@example.test",
        "slow@example.test",
        "defer@example.test",
        "good@example.test",
    )
    assert [(r.status, r.code) for r in told] == [
        ("failed", 550), ("deferred", 450), ("deferred", 450), ("delivered", 250),
    ]  # fmt: skip
    assert [r.address for t in b.transactions for r in t.recipients] == ["defer@example.test"]


def test_what_a_relay_said_counts_more_than_that_the_last_is_out_of_reach(scripted, sender) -> None:
    a = scripted()
    (told,) = sender().send(f"{via(a)},smtp://127.0.0.1:{free_port()}", "defer@example.test")
    assert statuses([told]) == [("deferred", 450, "4.2.0")]
    assert not told.unreachable


def test_the_last_relay_may_be_a_maildir(sender, tmp_path) -> None:
    (told,) = sender().send(f"smtp://127.0.0.1:{free_port()},maildir://{tmp_path}/box")
    assert told.status == "delivered"
    assert len(list((tmp_path / "box/new").iterdir())) == 1


def test_a_transport_with_a_bug_forgets_nothing_that_an_earlier_one_delivered(
    scripted, sender, caplog
) -> None:
    class Buggy:
        async def deliver(self, job: object, via: object) -> list[Result]:
            raise ZeroDivisionError

        async def close(self) -> None: ...

    a, out = scripted(), sender()
    out.transports["maildir"] = Buggy()
    told = out.send(f"{via(a)},maildir:///nowhere", "good@example.test", "defer@example.test")
    assert [(r.status, r.code) for r in told] == [("delivered", 250), ("deferred", 450)]
    assert "ZeroDivisionError" in caplog.text


def test_what_the_first_host_has_taken_is_told_before_the_second_is_asked(hosts, sender) -> None:
    told: list[list[str]] = []

    def look(_: object) -> None:
        told.append([r.address for results in out.finals for r in results])

    a, _, _ = hosts(Script(), Script(replies={"mail": look}), None)
    out = sender(THREE, smtp_port=a.port)
    results = out.send("mx:", "good@example.test", "defer@example.test", "reject@example.test")
    assert [r.status for r in results] == ["delivered", "deferred", "failed"]
    assert told == [["good@example.test", "reject@example.test"]]


def test_an_address_literal_of_an_unknown_kind_fails(sender) -> None:
    (told,) = sender().send("mx:", "a@[x400:b]", domain="[x400:b]")
    assert (told.status, told.enhanced) == ("failed", "5.4.4")
    assert told.text == "[x400:b] is no address of the internet"
