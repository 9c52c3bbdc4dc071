"""How TLS went is counted for reports: what counts as what, for whom, and that nothing is lost or counted
twice."""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING, Any

import pytest

from mailstrom_cli.config.schema import TlsPolicy
from mailstrom_cli.policy import sts
from mailstrom_cli.policy.dane import Tlsa
from mailstrom_cli.policy.mx import Lookup
from mailstrom_cli.policy.tlsrpt import KIND, Policy, Seen, from_text, sts_policy, tlsa_policy
from mailstrom_cli.store.memory import Memory
from mailstrom_cli.transport import tally
from mailstrom_cli.transport.tally import Tally

from ..peers.answers import Drop
from ..peers.policy_host import PolicyHost, Reply, policy
from ..peers.scripted import Script
from .sending import Names
from .test_tls_policy import der

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..peers.scripted import ScriptedServer
    from .sending import Sender

HOST, DOMAIN = "mx.example.test", "example.test"
ASKS = {f"_smtp._tls.{d}": ["v=TLSRPTv1;rua=mailto:r@example.test"] for d in (DOMAIN, "two.test")}
PLACE = HOST, "127.0.0.1", "127.0.0.1"
NOW = 1_795_500_000.0  # 2026-11-24
WRONG = [Tlsa(3, 1, 1, b"x" * 32)]


class Place:
    """A store, and senders that count into it."""

    def __init__(self, sender: Callable[..., Sender], ca_file: str) -> None:
        self.store = Memory()
        self.now = NOW
        self.names = Names()
        self._sender, self._ca_file = sender, ca_file

    def sender(self, server: ScriptedServer, **given: Any) -> Sender:
        zones = {"txt": ASKS, **{k: given.pop(k) for k in ("txt", "tlsa", "signed", "mx") if k in given}}
        zones.setdefault("mx", {DOMAIN: [(10, HOST)], "two.test": [(10, HOST)]})
        self.names = Names(hosts={HOST: ["127.0.0.1"], f"mta-sts.{DOMAIN}": ["127.0.0.1"]}, **zones)
        counting = Tally(self.store, self.names, lambda: self.now)  # type: ignore[arg-type]
        return self._sender(
            self.names, tally=counting, **{"smtp_port": server.port, "tls_ca_file": self._ca_file, **given}
        )

    def counts(self, day: str = "2026-11-24") -> dict[Seen, int]:
        found: dict[Seen, int] = {}
        for name, note in self.store.notes(KIND):
            assert note.until > self.now + 86_400
            if name.startswith(f"{day} "):
                for seen, count in from_text(note.text):
                    found[seen] = found.get(seen, 0) + count
        return found


@pytest.fixture
def place(sender, certificates) -> Place:
    return Place(sender, certificates.ca_file)


@pytest.fixture
def offering(scripted, certificates):
    def start(kind: str = "good", **script) -> ScriptedServer:
        context = None if kind == "no TLS" else certificates.context(kind)
        return scripted(Script(tls=context, **script), strict=False)

    return start


def send(out: Sender, *, domain: str = DOMAIN, via: str = "mx:", **given: Any) -> str:
    (told,) = out.send(via, f"a@{domain}", domain=domain, **given)
    return told.status


def end(out: Sender) -> None:
    """As at the end of a process; the fixture closes the loop."""
    out.run(out.smtp.close())


def test_a_session_is_counted_once_however_many_messages_it_carries(place, offering) -> None:
    out = place.sender(offering())
    for _ in range(3):
        assert send(out) == "delivered"
    end(out)
    assert place.counts() == {Seen(DOMAIN, Policy()): 1}


@pytest.mark.parametrize("kind", ["self-signed", "wrong-name", "expired"])
def test_nobody_has_promised_a_good_certificate(place, offering, kind: str) -> None:
    out = place.sender(offering(kind))
    assert send(out) == "delivered"
    end(out)
    assert place.counts() == {Seen(DOMAIN, Policy()): 1}


FAILING: dict[str, tuple[dict[str, Any], str, str]] = {
    "not offered": ({"kind": "no TLS"}, "starttls-not-supported", ""),
    "refused": ({"replies": {"starttls": "454 4.7.0 No, 1234"}}, "starttls-not-supported", "454"),
    "broken off": (
        {"replies": {"tls": Drop()}},
        "validation-failure",
        "TLS failed: the server closed the connection",
    ),
}


@pytest.mark.parametrize("how", FAILING)
def test_what_failed_is_counted_with_its_place(place, offering, how: str) -> None:
    script, fault, reason = FAILING[how]
    out = place.sender(offering(**script))
    send(out)
    end(out)
    ((seen, count),) = place.counts().items()
    assert count == 1
    if how != "broken off":
        assert seen == Seen(DOMAIN, Policy(), fault, *PLACE, reason)
    else:
        assert seen.fault == fault and seen.reason.startswith("TLS failed: ")


def test_plain_text_after_a_failure_is_that_failure_and_nothing_more(place, offering) -> None:
    out = place.sender(offering(replies={"starttls": "454 4.7.0 Not now"}))
    assert (send(out), send(out, attempts=1)) == ("deferred", "delivered")
    end(out)
    assert place.counts() == {Seen(DOMAIN, Policy(), "starttls-not-supported", *PLACE, "454"): 2}


def test_the_policy_is_that_of_the_tlsa_records(place, offering, certificates) -> None:
    right = [Tlsa(3, 0, 0, der(certificates, "good"))]
    unusable = [Tlsa(1, 1, 1, b"x" * 32)]
    for records, status in ((right, "delivered"), (WRONG, "deferred"), (unusable, "delivered")):
        out = place.sender(offering(), tls_level="dane", signed=(DOMAIN, HOST), tlsa={HOST: records})
        assert send(out) == status
        end(out)
    found = place.counts()
    assert found.pop(Seen(DOMAIN, tlsa_policy(HOST, right))) == 1
    assert found.pop(Seen(DOMAIN, tlsa_policy(HOST, unusable))) == 1
    ((seen, count),) = found.items()
    assert (seen.policy, seen.fault, seen.host, count) == (tlsa_policy(HOST, WRONG), "tlsa-invalid", HOST, 1)


def test_no_starttls_under_dane(place, offering) -> None:
    out = place.sender(offering("no TLS"), tls_level="dane", signed=(DOMAIN, HOST), tlsa={HOST: WRONG})
    assert send(out) == "deferred"
    end(out)
    assert place.counts() == {Seen(DOMAIN, tlsa_policy(HOST, WRONG), "starttls-not-supported", *PLACE): 1}


def test_tlsa_records_without_an_answer_that_counts(place, offering) -> None:
    none = Lookup("failed", "looking up failed: SERVFAIL of 127.0.0.1")
    out = place.sender(offering(), tls_level="dane", signed=(DOMAIN, HOST), tlsa={HOST: none})
    assert send(out) == "deferred"
    end(out)
    assert place.counts() == {Seen(DOMAIN, Policy("tlsa", HOST), "dnssec-invalid", HOST, "127.0.0.1"): 1}


# --- MTA-STS ---


@pytest.fixture
def policy_host(certificates) -> Iterator[PolicyHost]:
    with PolicyHost(certificates.context()) as host:
        yield host


ENFORCED, TESTED = policy(HOST), policy(HOST, mode="testing")
ELSEWHERE = policy("other.test"), policy("other.test", mode="testing")


def of_sts(octets: bytes) -> Policy:
    return sts_policy(DOMAIN, sts.parse(octets))


STS_CASES: dict[str, tuple[str, Reply | bytes, str, str, Policy]] = {
    "hit": ("good", ENFORCED, "delivered", "", of_sts(ENFORCED)),
    "miss": ("wrong-name", ENFORCED, "deferred", "certificate-host-mismatch", of_sts(ENFORCED)),
    "expired": ("expired", ENFORCED, "deferred", "certificate-expired", of_sts(ENFORCED)),
    "self-signed": ("self-signed", ENFORCED, "deferred", "certificate-not-trusted", of_sts(ENFORCED)),
    "bare": ("no TLS", ENFORCED, "deferred", "starttls-not-supported", of_sts(ENFORCED)),
    "unlisted": ("good", ELSEWHERE[0], "deferred", "validation-failure", of_sts(ELSEWHERE[0])),
    "testing": ("good", TESTED, "delivered", "", of_sts(TESTED)),
    "testing, miss": ("wrong-name", TESTED, "delivered", "certificate-host-mismatch", of_sts(TESTED)),
    "testing, bare": ("no TLS", TESTED, "delivered", "starttls-not-supported", of_sts(TESTED)),
    "testing, unlisted": ("good", ELSEWHERE[1], "delivered", "validation-failure", of_sts(ELSEWHERE[1])),
    "none": ("good", policy(mode="none"), "delivered", "", Policy()),
    "no policy there": (
        "good",
        Reply(status=404),
        "delivered",
        "sts-policy-fetch-error",
        Policy("sts", DOMAIN),
    ),
    "no policy": ("good", b"hello", "delivered", "sts-policy-invalid", Policy("sts", DOMAIN)),
}


@pytest.mark.parametrize("how", STS_CASES)
def test_a_policy_of_mta_sts_is_reported_on(place, offering, policy_host, how: str) -> None:
    """In testing, too, which it is for; and each session once, with one try for it and one without."""
    kind, reply, status, fault, wanted = STS_CASES[how]
    policy_host.serve(DOMAIN, reply)
    out = place.sender(
        offering(kind), txt={**ASKS, f"_mta-sts.{DOMAIN}": ["v=STSv1; id=1"]}, sts_port=policy_host.port
    )
    assert send(out) == status
    end(out)
    ((seen, count),) = place.counts().items()
    assert (seen.policy, seen.fault, count) == (wanted, fault, 1)
    if fault and not fault.startswith("sts-"):
        assert (seen.host, seen.ip) == PLACE[:2]


def test_a_policy_host_that_nobody_vouches_for(place, offering, certificates) -> None:
    with PolicyHost(certificates.context("wrong-name")) as host:
        out = place.sender(
            offering(), txt={**ASKS, f"_mta-sts.{DOMAIN}": ["v=STSv1; id=1"]}, sts_port=host.port
        )
        assert send(out) == "delivered"
        end(out)
    ((seen, count),) = place.counts().items()
    assert (seen.fault, seen.policy, count) == ("sts-webpki-invalid", Policy("sts", DOMAIN), 1)


# --- what is no matter of the recipient's domain ---


def test_what_only_our_configuration_wants_is_no_fault(place, offering) -> None:
    out = place.sender(offering("expired"), tls_policy={DOMAIN: TlsPolicy(level="verify")})
    assert send(out) == "deferred"
    end(out)
    assert place.counts() == {}


@pytest.mark.parametrize("own", [{"requiretls": True}, {"tls_optional": True}])
def test_messages_with_wishes_of_their_own_are_not_counted(place, offering, own: dict[str, bool]) -> None:
    """A report is such a message (RFC 8460, 5.3)."""
    out = place.sender(offering("self-signed"))
    send(out, **own)
    end(out)
    assert place.counts() == {}


def test_relays_and_levels_without_tls_are_not_counted(place, offering) -> None:
    server = offering()
    out = place.sender(server)
    assert send(out, via=f"smtp://{HOST}:{server.port}") == "delivered"
    end(out)
    out = place.sender(server, tls_level="none")
    assert send(out) == "delivered"
    end(out)
    server.stop()
    out = place.sender(server)
    assert send(out) == "deferred"  # cannot be reached
    end(out)
    assert place.counts() == {}


def test_domains_that_want_no_report_are_forgotten(place, offering) -> None:
    some = {"_smtp._tls.two.test": ASKS["_smtp._tls.two.test"]}
    out = place.sender(offering(), txt=some, limits_messages_per_connection=1)
    for domain in (DOMAIN, "two.test", DOMAIN):
        send(out, domain=domain)
    end(out)
    assert place.counts() == {Seen("two.test", Policy()): 1}


def test_who_cannot_be_asked_may_want_one(place, offering) -> None:
    out = place.sender(offering(), txt={"_smtp._tls.example.test": Lookup("failed", "no answer")})
    send(out)
    end(out)
    assert place.counts() == {Seen(DOMAIN, Policy()): 1}


# --- what is kept ---


def test_processes_and_restarts_add_up(place, offering) -> None:
    server = offering()
    outs = [place.sender(server) for _ in range(3)]
    for out in outs:
        send(out)
    for out in outs:
        end(out)
    again = place.sender(server)
    send(again)
    end(again)
    assert place.counts() == {Seen(DOMAIN, Policy()): 4}


def test_it_is_written_now_and_then_and_not_twice(place, offering, monkeypatch) -> None:
    monkeypatch.setattr(tally, "WRITE_SECONDS", 0.0)
    out = place.sender(offering("no TLS", replies={"dot": "250 2.0.0 Ok"}), limits_messages_per_connection=1)

    async def written() -> None:  # begun by the timer while the message was sent
        await out.smtp._tally._writing

    for total in (1, 2):
        send(out)
        out.run(written())
        assert sum(place.counts().values()) == total
    end(out)
    assert sum(place.counts().values()) == 2


def test_days_are_apart(place, offering) -> None:
    out = place.sender(offering(), limits_messages_per_connection=1)
    send(out)
    place.now += 86_400
    send(out)
    end(out)
    assert place.counts() == place.counts("2026-11-25") == {Seen(DOMAIN, Policy()): 1}


def test_a_full_disk_costs_nothing_but_the_counts(place, offering, monkeypatch, caplog) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    out = place.sender(offering())
    monkeypatch.setattr(place.store, "set_note", full)
    assert send(out) == "delivered"
    with caplog.at_level(logging.ERROR, "mailstrom"):
        end(out)
    assert "counts for reports on TLS cannot be written: No space left on device" in caplog.text


def test_rows_are_bounded(place, offering, monkeypatch) -> None:
    monkeypatch.setattr(tally, "MOST", 1)
    out = place.sender(offering("no TLS"), limits_messages_per_connection=1)
    for domain in (DOMAIN, "two.test", DOMAIN):
        send(out, domain=domain)
    end(out)
    assert place.counts() == {Seen(DOMAIN, Policy(), "starttls-not-supported", *PLACE): 2}
