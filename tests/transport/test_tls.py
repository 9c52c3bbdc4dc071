"""How much TLS there has to be, against servers with good certificates, bad ones and none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.config.schema import TlsPolicy
from mailstrom_cli.errors import MailstromError
from mailstrom_cli.policy.dane import Tlsa

from ..peers.answers import Drop, Raw, Stall
from ..peers.scripted import Script
from .sending import Names, statuses

if TYPE_CHECKING:
    from ..peers.scripted import ScriptedServer

BAD = ("self-signed", "wrong-name", "expired")
REASON = {
    "no TLS": "TLS is required",
    "self-signed": "issuer",
    "wrong-name": "it is for another.invalid, and not for mx.example.test",
    "expired": "expired",
}
PINNED = TlsPolicy(fingerprints=("ab" * 32,))
SIGNED = ("example.test", "mx.example.test")
EE = Tlsa(3, 1, 1, b"x" * 32)
REQUIRED = {
    "encrypt": {"tls_level": "encrypt"},
    "verify": {"tls_level": "verify"},
    "pinned": {"tls_policy": {"mx.example.test": PINNED}},
    "dane": {"tls_level": "dane", "resolver": Names(signed=SIGNED, tlsa={"mx.example.test": [EE]})},
    "dane, unusable": {
        "tls_level": "dane",
        "resolver": Names(signed=SIGNED, tlsa={"mx.example.test": [Tlsa(1, 1, 1, b"x" * 32)]}),
    },
    "require_tls": {"tls_require_tls": True},
    "require_tls, none": {"tls_level": "none", "tls_require_tls": True},
    "policy": {"tls_policy": {"*.example.test": TlsPolicy(level="encrypt")}},
}
"""Settings with which nothing may ever be sent in plain text."""
OPTIONAL = {"may": {"tls_level": "may"}, "dane, no records": {"tls_level": "dane"}}


def via(server: ScriptedServer, scheme: str = "smtp") -> str:
    return f"{scheme}://mx.example.test:{server.port}"


@pytest.fixture
def offering(scripted, certificates):
    """offering(kind of certificate or "no TLS", **script) -> a server."""

    def start(kind: str, **script) -> ScriptedServer:
        context = None if kind == "no TLS" else certificates.context(kind)
        return scripted(Script(tls=context, **script))

    return start


@pytest.mark.parametrize("kind", ["no TLS", "good", *BAD])
@pytest.mark.parametrize("level", ["none", "may", "encrypt", "verify"])
def test_every_level_with_every_server(offering, sender, certificates, level: str, kind: str) -> None:
    server = offering(kind)
    (told,) = sender(tls_level=level, tls_ca_file=certificates.ca_file).send(via(server))
    if level == "none" or (level == "may" and kind == "no TLS"):
        assert (told.status, told.tls) == ("delivered", None)
        assert server.sessions[0].tls is None
    elif level == "verify" and kind == "good":
        assert (told.status, told.tls) == ("delivered", "TLSv1.3 verified")
    elif kind != "no TLS" and level in ("may", "encrypt"):
        assert (told.status, told.tls) == ("delivered", "TLSv1.3 encrypted")
    else:
        enhanced = "4.7.4" if kind == "no TLS" else "4.7.5"
        assert statuses([told]) == [("deferred", None, enhanced)]
        assert told.unreachable, "a wrong setting or certificate must not use up retries"
        assert REASON[kind] in told.text
        assert server.transactions == []


@pytest.mark.parametrize("level", ["may", "encrypt", "verify"])
def test_the_server_is_told_which_name_is_meant_and_asked_again_what_it_offers(
    offering, sender, certificates, level: str
) -> None:
    server = offering("good")
    sender(tls_level=level, tls_ca_file=certificates.ca_file).send(via(server))
    (session,) = server.sessions
    assert session.server_name == "mx.example.test"
    assert [c for c in session.commands if c.startswith("EHLO")] == ["EHLO client.example.org"] * 2


def test_a_relay_by_address_is_verified_by_its_address(offering, sender, certificates) -> None:
    server = offering("good")
    out = sender(tls_level="verify", tls_ca_file=certificates.ca_file)
    assert out.send(f"smtp://127.0.0.1:{server.port}")[0].tls == "TLSv1.3 verified"


def test_what_was_offered_before_tls_is_forgotten(offering, sender) -> None:
    """The server takes back what it offered; the scripted server counts the use of it as a violation."""
    offers = ["250-mx\n250-STARTTLS\n250-PIPELINING\n250-SIZE\n250 8BITMIME", "250 mx"]
    server = offering("good", replies={"ehlo": offers}, pipelining=False)
    assert sender().send(via(server), body="7bit")[0].status == "delivered"
    assert "MAIL FROM:<ann@example.org>" in server.commands


FAILING = {
    "refused": {"starttls": "454 4.7.0 Not now"},
    "no handshake": {"tls": Drop()},
    "no TLS": {"tls": Raw(b"220 what?\r\n" * 3)},
}


@pytest.mark.parametrize("how", OPTIONAL)
@pytest.mark.parametrize("way", FAILING)
def test_level_may_waits_at_first_and_goes_in_plain_text_from_the_second_attempt_on(
    scripted, certificates, sender, how: str, way: str
) -> None:
    server = scripted(Script(tls=certificates.context(), replies=FAILING[way]), strict=False)
    out = sender(**OPTIONAL[how])
    (first,) = out.send(via(server), attempts=0)
    assert (first.status, first.enhanced, first.unreachable) == (
        "deferred",
        "4.7.4" if way == "refused" else "4.7.5",
        False,
    )
    assert server.transactions == []
    (second,) = out.send(via(server), attempts=1)
    assert (second.status, second.tls) == ("delivered", None)


@pytest.mark.parametrize("how", REQUIRED)
@pytest.mark.parametrize("way", [*FAILING, "stripped"])
def test_what_is_required_is_never_left_out(scripted, certificates, sender, how: str, way: str) -> None:
    """stripped: somebody on the way has taken STARTTLS out of what the server offers."""
    context, replies = (None, {}) if way == "stripped" else (certificates.context(), FAILING[way])
    server = scripted(Script(tls=context, replies=replies), strict=False)
    out = sender(**REQUIRED[how])
    for attempts in (0, 1, 9):
        (told,) = out.send(via(server), attempts=attempts)
        assert (told.status, told.unreachable, told.tls) == ("deferred", True, None)
        assert told.enhanced == ("4.7.4" if way in ("refused", "stripped") else "4.7.5")
    assert server.transactions == []
    assert not [c for c in server.commands if c.startswith("MAIL")]


def test_a_handshake_that_stalls_times_out(scripted, certificates, sender) -> None:
    server = scripted(Script(tls=certificates.context(), replies={"tls": Stall()}))
    (told,) = sender(tls_level="encrypt", smtp_timeout_starttls=0.1).send(via(server))
    assert (told.status, told.enhanced) == ("deferred", "4.7.5")
    server.release()


@pytest.mark.parametrize("how", {**OPTIONAL, **REQUIRED})
def test_plain_text_behind_the_reply_to_starttls_ends_the_session(
    scripted, certificates, sender, how: str
) -> None:
    injected = Raw(b"220 2.0.0 Ready\r\n250-injected\r\n250 AUTH PLAIN\r\n", reply="220 2.0.0 Ready")
    server = scripted(Script(tls=certificates.context(), replies={"starttls": injected}), strict=False)
    (told,) = sender(tls_ca_file=certificates.ca_file, **{**OPTIONAL, **REQUIRED}[how]).send(via(server))
    assert (told.status, told.enhanced) == ("deferred", "4.7.5")
    assert told.text == "the server sent plain text after its STARTTLS reply"
    assert server.sessions[0].tls is None


# --- TLS from the first octet ---


@pytest.mark.parametrize(
    ("level", "kind", "tls"),
    [
        ("none", "self-signed", "TLSv1.3 encrypted"),
        ("may", "expired", "TLSv1.3 encrypted"),
        ("encrypt", "wrong-name", "TLSv1.3 encrypted"),
        ("verify", "good", "TLSv1.3 verified"),
        *(("verify", kind, None) for kind in BAD),
    ],
)
def test_smtps(offering, sender, certificates, level: str, kind: str, tls: str | None) -> None:
    server = offering(kind, implicit_tls=True)
    (told,) = sender(tls_level=level, tls_ca_file=certificates.ca_file).send(via(server, "smtps"))
    if tls is not None:
        assert (told.status, told.tls) == ("delivered", tls)
        assert "STARTTLS" not in server.commands
    else:
        assert (told.status, told.enhanced, told.unreachable) == ("deferred", "4.7.5", True)
        assert server.transactions == []


@pytest.mark.parametrize("attempts", [0, 5])
def test_smtps_is_never_plain_text(scripted, sender, attempts: int) -> None:
    server = scripted(strict=False)
    (told,) = sender(tls_level="none").send(via(server, "smtps"), attempts=attempts)
    assert (told.status, told.enhanced) == ("deferred", "4.7.5")
    assert server.transactions == []


def test_a_big_message_goes_through_tls_whole(offering, sender, certificates) -> None:
    server = offering("good")
    message = (b"." * 70 + b"\r\n" + b"x" * 76 + b"\r\n") * 35_000
    out = sender(tls_level="verify", tls_ca_file=certificates.ca_file)
    assert out.send(via(server), message=message)[0].status == "delivered"
    assert server.message() == message


def test_a_session_with_tls_is_used_again(offering, sender) -> None:
    server, out = offering("good"), sender(tls_level="encrypt")
    assert [out.send(via(server))[0].tls for _ in range(3)] == ["TLSv1.3 encrypted"] * 3
    assert len(server.sessions) == 1


@pytest.mark.parametrize("content", [None, "no certificate\n"])
def test_a_ca_file_that_cannot_be_used_is_named(sender, tmp_path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(MailstromError) as raised:
        sender(tls_ca_file=str(file))
    assert str(file) in raised.value.message
    assert raised.value.exit_code == 78
    with pytest.raises(MailstromError):
        sender(tls_policy={"example.net": TlsPolicy(ca_file=str(file))})
