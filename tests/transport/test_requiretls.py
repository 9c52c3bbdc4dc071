"""REQUIRETLS and `TLS-Required: No` (RFC 8689), against servers that do their part and others."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.config.schema import Auth, TlsPolicy
from mailstrom_cli.policy.dane import Tlsa
from mailstrom_cli.policy.mx import Lookup

from ..peers.answers import Drop, Stall
from ..peers.policy_host import PolicyHost, policy
from ..peers.scripted import Script
from .sending import MESSAGE, Names, statuses
from .test_conversion import EIGHT
from .test_conversion import SIGNED as SIGNED_PART
from .test_tls_policy import der

if TYPE_CHECKING:
    from ..peers.certs import Certificates
    from ..peers.scripted import ScriptedServer

RELAY = "mx.example.test"
MAIL = f"MAIL FROM:<ann@example.org> SIZE={len(MESSAGE)}"
BAD = ("self-signed", "wrong-name", "expired")
SIGNED = ("example.test", RELAY)
WRONG = [Tlsa(3, 1, 1, b"x" * 32)]
NEEDED = {"requiretls": True}
OPTIONAL = {"tls_optional": True}


@pytest.fixture
def offering(scripted, certificates):
    """offering(kind of certificate or "no TLS", **script) -> a server that offers REQUIRETLS under TLS."""

    def start(kind: str = "good", *, host: str = "127.0.0.1", port: int = 0, **script) -> ScriptedServer:
        context = None if kind == "no TLS" else certificates.context(kind)
        return scripted(Script(tls=context, **{"requiretls": True, **script}), host=host, port=port)

    return start


@pytest.fixture
def out(sender, certificates):
    """out(resolver, **settings) -> a sender that trusts the authority of the good certificates."""
    return lambda *a, **changed: sender(*a, tls_ca_file=certificates.ca_file, **changed)


def via(server: ScriptedServer) -> str:
    return f"smtp://{RELAY}:{server.port}"


def mails(server: ScriptedServer) -> list[str]:
    return [c for c in server.commands if c.startswith("MAIL")]


@pytest.mark.parametrize("chunking", [False, True])
@pytest.mark.parametrize("pipelining", [False, True])
@pytest.mark.parametrize("level", ["none", "may", "encrypt", "verify", "dane"])
def test_it_is_passed_on_to_a_server_that_has_proved_itself(
    offering, out, level: str, pipelining: bool, chunking: bool
) -> None:
    server = offering(pipelining=pipelining, chunking=chunking)
    (told,) = out(tls_level=level).send(via(server), **NEEDED)
    assert (told.status, told.tls, told.tls_by) == ("delivered", "TLSv1.3 verified", "certificate")
    assert mails(server) == [f"{MAIL} REQUIRETLS"]


@pytest.mark.parametrize("level", ["may", "verify"])
def test_nobody_is_asked_for_it_without_need(offering, out, level: str) -> None:
    server = offering()
    assert out(tls_level=level).send(via(server))[0].status == "delivered"
    assert mails(server) == [MAIL]


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("level", ["none", "may", "encrypt", "verify"])
def test_a_server_that_cannot_prove_itself_gets_nothing_for_good(
    offering, out, kind: str, level: str
) -> None:
    server = offering(kind)
    (told,) = out(tls_level=level).send(via(server), attempts=5, **NEEDED)
    assert statuses([told]) == [("failed", None, "5.7.30")]
    assert told.text.startswith("REQUIRETLS: TLS failed: certificate not verified")
    assert mails(server) == []


def test_a_server_that_does_not_offer_it(offering, out) -> None:
    server = offering(requiretls=False)
    (told,) = out().send(via(server), **NEEDED)
    assert statuses([told]) == [("failed", None, "5.7.30")]
    assert told.text == "the message needs REQUIRETLS, and the server does not offer it"
    assert mails(server) == []


def test_what_is_offered_before_tls_does_not_count(offering, out) -> None:
    offers = ["250 mx\nSTARTTLS\nREQUIRETLS", "250 mx"]
    server = offering(replies={"ehlo": offers})
    assert statuses(out().send(via(server), **NEEDED)) == [("failed", None, "5.7.30")]
    assert mails(server) == []


def test_it_is_not_converted_for_a_server_without_8bitmime(offering, out) -> None:
    server = offering(requiretls=False, eight_bit=False)
    (told,) = out().send(via(server), **NEEDED, message=SIGNED_PART, body="8bitmime")
    assert (told.enhanced, "converted" in told.text) == ("5.7.30", False)
    server = offering(eight_bit=False)
    (told,) = out().send(via(server), **NEEDED, **EIGHT)
    assert told.text.endswith(" (converted to 7-bit content)")
    assert mails(server)[0].endswith(" REQUIRETLS")


REFUSED = {
    "not offered": ("no TLS", {}, ("failed", None, "5.7.10")),
    "refused": ("good", {"starttls": "554 5.7.0 No"}, ("failed", 554, "5.7.10")),
    "refused now": ("good", {"starttls": "454 4.7.0 Not now"}, ("deferred", 454, "4.7.4")),
    "broken off": ("good", {"tls": Drop()}, ("deferred", None, "4.7.5")),
}


@pytest.mark.parametrize("how", REFUSED)
def test_without_tls_it_fails_unless_that_may_pass(offering, out, how: str) -> None:
    kind, replies, result = REFUSED[how]
    server = offering(kind, replies=replies)
    for attempts in (0, 1, 9):
        assert statuses(out().send(via(server), attempts=attempts, **NEEDED)) == [result]
    assert mails(server) == []


def test_a_stalled_handshake_is_no_reason_to_fail(offering, out) -> None:
    server = offering(replies={"tls": Stall()})
    (told,) = out(smtp_timeout_starttls=0.1).send(via(server), **NEEDED)
    assert statuses([told]) == [("deferred", None, "4.7.5")]
    server.release()


# --- several hosts ---


def two(offering, first: dict, second: dict) -> tuple[ScriptedServer, ScriptedServer, Names]:
    """Two MX hosts of example.test, the first preferred, by signed records."""
    one = offering(**first)
    other = offering(host="127.0.0.2", port=one.port, **second)
    names = Names(
        {"example.test": [(10, RELAY), (20, "mx2.example.test")]},
        {RELAY: ["127.0.0.1"], "mx2.example.test": ["127.0.0.2"]},
        signed=("example.test",),
    )
    return one, other, names


@pytest.mark.parametrize("first", [{"kind": "expired"}, {"kind": "no TLS"}, {"requiretls": False}])
def test_the_next_host_that_does_its_part_gets_it(offering, out, first: dict) -> None:
    one, other, names = two(offering, first, {})
    (told,) = out(names, smtp_port=one.port).send("mx:", **NEEDED)
    assert (told.status, told.host) == ("delivered", f"mx2.example.test[127.0.0.2]:{one.port}")
    assert (mails(one), mails(other)) == ([], [f"{MAIL} REQUIRETLS"])


def test_it_fails_when_no_host_does_and_waits_while_one_may(offering, out) -> None:
    one, other, names = two(offering, {"requiretls": False}, {"kind": "no TLS"})
    sending = out(names, smtp_port=one.port)
    assert statuses(sending.send("mx:", **NEEDED)) == [("failed", None, "5.7.10")]
    other.stop()
    assert statuses(sending.send("mx:", **NEEDED)) == [("deferred", None, "4.4.1")]


# --- who it is that has proved himself ---


@pytest.mark.parametrize("signed", [False, True])
def test_an_mx_host_has_to_be_named_by_signed_records_or_be_of_the_domain(
    offering, out, signed: bool
) -> None:
    """Whoever forges MX records has a certificate for the host that they name."""
    server = offering()
    names = Names({"example.com": [(10, RELAY)]}, signed=("example.com",) if signed else ())
    (told,) = out(names, smtp_port=server.port).send("mx:", "a@example.com", domain="example.com", **NEEDED)
    assert (told.status, told.enhanced) == (("delivered", "2.0.0") if signed else ("failed", "5.7.30"))


@pytest.mark.parametrize("level", ["none", "may", "dane"])
def test_tlsa_records_prove_it_whatever_level_is_set(
    offering, out, certificates: Certificates, level: str
) -> None:
    server = offering("self-signed")
    right = [Tlsa(3, 0, 0, der(certificates, "self-signed"))]
    (told,) = out(Names(signed=SIGNED, tlsa={RELAY: right}), tls_level=level).send(via(server), **NEEDED)
    assert (told.status, told.tls_by) == ("delivered", "dane-ee")
    (told,) = out(Names(signed=SIGNED, tlsa={RELAY: WRONG}), tls_level=level).send(via(server), **NEEDED)
    assert statuses([told]) == [("failed", None, "5.7.30")]


def test_no_answer_about_tlsa_records_is_no_reason_to_fail(offering, out) -> None:
    names = Names(signed=SIGNED, tlsa={RELAY: Lookup("failed", "no answer")})
    assert statuses(out(names).send(via(offering()), **NEEDED)) == [("deferred", None, "4.7.5")]


POLICIES = {
    "enforced": (policy(RELAY), True),
    "in testing": (policy(RELAY, mode="testing"), True),
    "of others": (policy("other.test"), False),
    "of others, in testing": (policy("other.test", mode="testing"), False),
    "withdrawn": (policy(mode="none"), False),
}


@pytest.mark.parametrize("how", POLICIES)
def test_an_mx_host_may_be_named_by_a_policy_of_mta_sts(offering, out, certificates, how: str) -> None:
    """Its certificate is not for the domain, and the MX records are not signed (RFC 8689, 4.2.1)."""
    octets, named = POLICIES[how]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates.authority.issue_cert("mta-sts.example.com").configure_cert(context)
    server = offering()
    names = Names(
        {"example.com": [(10, RELAY)]},
        {RELAY: ["127.0.0.1"], "mta-sts.example.com": ["127.0.0.1"]},
        txt={"_mta-sts.example.com": ["v=STSv1; id=1"]},
    )
    with PolicyHost(context) as host:
        host.serve("example.com", octets)
        sending = out(names, sts_port=host.port, smtp_port=server.port)
        (told,) = sending.send("mx:", "a@example.com", domain="example.com", **NEEDED)
    if named:
        assert (told.status, told.tls_by) == ("delivered", "mta-sts")
    else:
        assert statuses([told]) == [("failed", None, "5.7.30")]
        assert mails(server) == []


def test_a_policy_in_testing_takes_no_proof_away(offering, out, certificates) -> None:
    """It does not list the host, whose certificate is for the domain itself."""
    server = offering()
    names = Names(
        {"example.org": [(10, RELAY)]},
        {RELAY: ["127.0.0.1"], "mta-sts.example.org": ["127.0.0.1"]},
        txt={"_mta-sts.example.org": ["v=STSv1; id=1"]},
    )
    with PolicyHost(certificates.context()) as host:
        host.serve("example.org", policy("other.test", mode="testing"))
        sending = out(names, sts_port=host.port, smtp_port=server.port)
        (told,) = sending.send("mx:", "a@example.org", domain="example.org", **NEEDED)
    assert (told.status, told.tls_by) == ("delivered", "certificate")


def test_a_policy_of_mta_sts_does_not_count_for_who_says_so(offering, out, certificates) -> None:
    server = offering("self-signed")
    names = Names(
        {"example.org": [(10, RELAY)]},
        {RELAY: ["127.0.0.1"], "mta-sts.example.org": ["127.0.0.1"]},
        txt={"_mta-sts.example.org": ["v=STSv1; id=1"]},
    )
    with PolicyHost(certificates.context()) as host:
        host.serve("example.org", policy(RELAY))
        sending = out(names, sts_port=host.port, smtp_port=server.port)
        to = {"domain": "example.org"}
        (told,) = sending.send("mx:", "a@example.org", **to, **OPTIONAL)
        assert host.asked == [], "what it says does not matter"
        assert (told.status, told.tls) == ("delivered", "TLSv1.3 encrypted")
        assert sending.send("mx:", "a@example.org", **to)[0].status == "deferred"
        (told,) = sending.send("mx:", "a@example.org", **to, **OPTIONAL)
        assert (told.status, told.tls) == ("delivered", "TLSv1.3 encrypted")
        assert sending.send("mx:", "a@example.org", **to)[0].status == "deferred"


# --- sessions ---


def test_a_session_without_proof_is_not_used_for_it(offering, out) -> None:
    """Nor is what such a server offers: it may be anybody's."""
    server = offering()
    sending = out()
    for more in ({}, NEEDED, {}, NEEDED):
        assert sending.send(via(server), **more)[0].status == "delivered"
    assert len(server.sessions) == 2
    assert [len(s.transactions) for s in server.sessions] == [2, 2]


def test_one_session_serves_all_where_the_configuration_wants_as_much(offering, out) -> None:
    server = offering()
    sending = out(tls_level="verify")
    for more in ({}, NEEDED):
        sending.send(via(server), **more)
    assert (len(server.sessions), mails(server)) == (1, [MAIL, f"{MAIL} REQUIRETLS"])


# --- who is exempt ---


@pytest.mark.parametrize(
    ("kind", "level", "asked"), [("good", "verify", True), ("good", "may", False), ("no TLS", "may", False)]
)
def test_a_bounce_is_not_lost_for_it(offering, out, kind: str, level: str, asked: bool) -> None:
    """RFC 8689, 5; with a server that has proved itself it is kept."""
    server = offering(kind)
    (told,) = out(tls_level=level).send(via(server), reverse_path="", **NEEDED)
    assert told.status == "delivered"
    assert mails(server)[0].endswith(" REQUIRETLS") is asked


def test_what_stays_on_this_machine_needs_no_tls(scripted, sender, tmp_path) -> None:
    server = scripted(Script(lmtp=True), path=str(tmp_path / "lmtp"))
    assert sender().send(f"lmtp://{server.path}", **NEEDED)[0].status == "delivered"
    assert sender().send(f"maildir://{tmp_path}/mail", **NEEDED)[0].status == "delivered"


def test_lmtp_over_a_network_is_no_exception(scripted, sender) -> None:
    server = scripted(Script(lmtp=True))
    assert statuses(sender().send(f"lmtp://127.0.0.1:{server.port}", **NEEDED)) == [
        ("failed", None, "5.7.10")
    ]


# --- TLS-Required: No ---


@pytest.mark.parametrize("kind", ["good", *BAD, "no TLS"])
def test_the_recipients_policies_do_not_count_for_who_says_so(offering, out, kind: str) -> None:
    server = offering(kind)
    names = Names(signed=SIGNED, tlsa={RELAY: WRONG})
    sending = out(names, tls_level="dane")
    assert sending.send(via(server))[0].status == "deferred"
    (told,) = sending.send(via(server), **OPTIONAL)
    assert (told.status, told.tls) == ("delivered", None if kind == "no TLS" else "TLSv1.3 encrypted")
    assert names.asked == [RELAY]
    assert sending.send(via(server), requiretls=True, tls_optional=True)[0].status == "failed"


@pytest.mark.parametrize("how", ["encrypt", "verify", "require_tls", "policy", "login"])
def test_what_is_configured_here_counts_all_the_same(offering, out, how: str) -> None:
    changed = {
        "require_tls": {"tls_require_tls": True},
        "policy": {"tls_policy": {RELAY: TlsPolicy(level="encrypt")}},
        "login": {"auth": {RELAY: Auth(username="u", password_command=("echo", "p"))}},
    }.get(how, {"tls_level": how})
    server = offering("no TLS")
    (told,) = out(**changed).send(via(server), attempts=5, **OPTIONAL)
    assert statuses([told]) == [("deferred", None, "4.7.4")]
    assert mails(server) == []
