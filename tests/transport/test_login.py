"""Logging in: where the password comes from, to whom it is given, and that nobody else ever sees it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import logging
import os
import ssl
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import keyring
import pytest
from keyring.backend import KeyringBackend

from mailstrom_cli.config.schema import Auth
from mailstrom_cli.store.base import HostState

from ..peers.answers import Close, Drop, Moment, Raw, Stall
from ..peers.sasl import Scram
from ..peers.scripted import Script
from .sending import Names, statuses

if TYPE_CHECKING:
    from ..peers.record import Session
    from ..peers.scripted import ScriptedServer

MECHANISMS = (
    "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN",
    "OAUTHBEARER", "XOAUTH2",
)  # fmt: skip
SECRET = "correct-Horse-7battery"
USER = "robot@example.org"
SHAPES = [
    SECRET,
    base64.b64encode(SECRET.encode()).decode().rstrip("="),
    base64.b64encode(f"\0{USER}\0{SECRET}".encode()).decode().rstrip("="),
]


@pytest.fixture
def password_file(tmp_path):
    file = tmp_path / "password"
    file.write_text(SECRET + "\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def auth(password_file) -> Auth:
    return Auth(USER, password_file=str(password_file))


@pytest.fixture
def relay(scripted, certificates):
    """relay(**script) -> a server that wants a login."""
    pem = Path(certificates.files("good")[0]).read_text()
    first = pem[: pem.index("-----END") + len("-----END CERTIFICATE-----")]
    certificate = hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).digest()

    def start(strict: bool = True, kind: str = "good", **script) -> ScriptedServer:
        wanted = {"mechanisms": ("PLAIN", "LOGIN"), "users": {USER: SECRET}, "tokens": {USER: SECRET}}
        wanted |= {"require_auth": True, "scram": Scram(bindings={"tls-server-end-point": certificate})}
        context = certificates.context(kind)
        return scripted(Script(**{"tls": context, **wanted, **script}), strict=strict)

    return start


@pytest.fixture
def client(sender, certificates, auth):
    """client(resolver, **settings) -> a sender that has credentials for mx.example.test."""
    return lambda resolver=None, hosts=None, **changed: sender(
        resolver, hosts, **{"tls_ca_file": certificates.ca_file, "auth": {"mx.example.test": auth}, **changed}
    )


def via(server: ScriptedServer, scheme: str = "smtp") -> str:
    return f"{scheme}://mx.example.test:{server.port}"


@pytest.mark.parametrize("mechanism", ["auto", "plain", "login"])
@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_login_with_a_password_from_a_file(
    relay, client, password_file, mechanism: str, scheme: str
) -> None:
    server = relay(implicit_tls=scheme == "smtps")
    known = {"mx.example.test": Auth(USER, password_file=str(password_file), mechanism=mechanism)}
    (told,) = client(auth=known).send(via(server, scheme))
    assert (told.status, told.tls) == ("delivered", "TLSv1.3 verified")
    assert server.sessions[0].auth == USER
    verbs = [c for c in server.commands if c.startswith("AUTH")]
    assert [v.split()[1] for v in verbs] == ["LOGIN" if mechanism == "login" else "PLAIN"]


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_every_mechanism_with_a_strict_server(relay, client, password_file, mechanism: str) -> None:
    server = relay(mechanisms=MECHANISMS)
    known = Auth(USER, password_file=str(password_file), mechanism=mechanism.lower())
    (told,) = client(auth={"mx.example.test": known}).send(via(server))
    assert (told.status, server.sessions[0].auth) == ("delivered", USER)
    assert [c.split()[1] for c in server.commands if c.startswith("AUTH")] == [mechanism]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_strongest_is_taken_and_bound_to_the_connection(relay, client, certificates, version) -> None:
    server = relay(mechanisms=MECHANISMS[::-1], tls=certificates.context(maximum_version=version))
    assert client().send(via(server))[0].status == "delivered"
    assert [c.split()[1] for c in server.commands if c.startswith("AUTH")] == ["SCRAM-SHA-256-PLUS"]


def test_a_server_at_the_other_end_of_another_connection_is_found_out(relay, client) -> None:
    """Somebody in between has a certificate of their own."""
    server = relay(
        mechanisms=("SCRAM-SHA-256-PLUS",), scram=Scram(bindings={"tls-server-end-point": b"another"})
    )
    (told,) = client().send(via(server))
    assert (told.status, told.enhanced) == ("deferred", "4.7.8")
    assert "channel-bindings-dont-match: somebody may be in between" in told.text


LIARS = {
    "knows nothing": Scram(knows_nothing=True, says="v=" + base64.b64encode(b"x" * 32).decode()),
    "says nothing": Scram(knows_nothing=True, silent=True),
    "plays back": Scram(replaces_nonce=True),
    "hangs us": Scram(iterations=10**9),
    "cheapens": Scram(iterations=1),
}


@pytest.mark.parametrize("mechanism", ["scram-sha-256", "scram-sha-1"])
@pytest.mark.parametrize("lie", LIARS)
def test_a_server_that_does_not_know_the_password_gets_no_mail(
    relay, client, password_file, lie: str, mechanism: str
) -> None:
    server = relay(mechanisms=(mechanism.upper(),), scram=LIARS[lie], strict=False)
    known = Auth(USER, password_file=str(password_file), mechanism=mechanism)
    begun = time.process_time()
    (told,) = client(auth={"mx.example.test": known}).send(via(server))
    assert time.process_time() - begun < 5
    assert (told.status, told.enhanced, told.unreachable) == ("deferred", "4.7.8", True)
    assert told.text.startswith(f"no login with {mechanism.upper()}: the server")
    assert server.transactions == []


def test_the_event_loop_goes_on_while_a_password_is_stretched(relay, client) -> None:
    server, out = relay(mechanisms=("SCRAM-SHA-256",), scram=Scram(iterations=1_000_000)), client()
    turns = 0

    async def attempt() -> None:
        nonlocal turns
        work = asyncio.ensure_future(out.attempt(via(server)))
        while not work.done():
            await asyncio.sleep(0.01)
            turns += 1

    # The strict server stretches as far as it believes anybody does, and so refuses.
    out.run(attempt())
    assert turns > 10


def test_a_login_with_a_password_from_a_command(relay, client) -> None:
    server = relay()
    command = (sys.executable, "-c", f"print({SECRET!r})")
    (told,) = client(auth={"mx.example.test": Auth(USER, password_command=command)}).send(via(server))
    assert told.status == "delivered"


def test_a_command_runs_once_for_many_sessions(relay, client, tmp_path) -> None:
    server = relay()
    command = ("sh", "-c", f"echo x >> {tmp_path}/runs; echo {SECRET}")
    out = client(
        auth={"mx.example.test": Auth(USER, password_command=command)}, limits_messages_per_connection=1
    )
    assert [out.send(via(server))[0].status for _ in range(3)] == ["delivered"] * 3
    assert len(server.sessions) == 3
    assert (tmp_path / "runs").read_text() == "x\n"


def test_a_password_that_was_changed_is_asked_for_again_after_a_refusal(relay, client, password_file) -> None:
    server, out = relay(), client()
    password_file.write_text("old\n")
    assert out.send(via(server))[0].enhanced == "4.7.8"
    password_file.write_text(SECRET)
    assert out.send(via(server))[0].status == "delivered"


def test_credentials_are_for_the_host_they_are_set_for(relay, client) -> None:
    server = relay()
    (told,) = client().send(f"smtp://127.0.0.1:{server.port}")
    assert not any(c.startswith("AUTH") for c in server.commands)
    assert (told.status, told.code) == ("deferred", 530)


@pytest.mark.parametrize("level", ["none", "may", "encrypt"])
@pytest.mark.parametrize("kind", ["self-signed", "wrong-name", "expired"])
def test_no_password_for_a_server_that_is_not_verified(relay, client, level: str, kind: str) -> None:
    server = relay(kind=kind)
    (told,) = client(tls_level=level).send(via(server), attempts=5)
    assert (told.status, told.enhanced, told.unreachable) == ("deferred", "4.7.5", True)
    assert not any(c.startswith("AUTH") for c in server.commands)


@pytest.mark.parametrize("attempts", [0, 5])
@pytest.mark.parametrize("script", [{"tls": None}, {"replies": {"starttls": "454 4.7.0 Not now"}}])
def test_no_password_in_the_clear_whatever_is_offered(relay, client, script, attempts: int) -> None:
    server = relay(plaintext_auth=True, **script)
    (told,) = client(tls_level="none").send(via(server), attempts=attempts)
    assert (told.status, told.enhanced, told.unreachable) == ("deferred", "4.7.4", True)
    assert not any(c.startswith(("AUTH", "MAIL")) for c in server.commands)


@pytest.mark.parametrize("mechanism", ["plain", "cram-md5", "scram-sha-256"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "127.0.0.2"])
@pytest.mark.parametrize("allowed", [True, False])
def test_only_loopback_may_be_exempted_from_tls(
    scripted, sender, auth, password_file, host: str, allowed: bool, mechanism: str
) -> None:
    script = Script(
        mechanisms=(mechanism.upper(),), users={USER: SECRET}, require_auth=True, plaintext_auth=True
    )
    server = scripted(script, host=host)
    known = {"mx.example.test": Auth(USER, password_file=str(password_file), mechanism=mechanism)}
    out = sender(Names(hosts={"mx.example.test": [host]}), auth=known, tls_auth_loopback=allowed)
    (told,) = out.send(via(server))
    if allowed and host != "127.0.0.2":
        assert (told.status, told.tls, server.sessions[0].auth) == ("delivered", None, USER)
    else:
        assert (told.status, told.enhanced) == ("deferred", "4.7.4")
        assert not any(c.startswith("AUTH") for c in server.commands)


@pytest.mark.parametrize("kind", ["self-signed", "expired", "good"])
def test_at_an_exempted_address_tls_is_as_elsewhere(relay, client, kind: str) -> None:
    server = relay(kind=kind)
    (told,) = client(tls_auth_loopback=True).send(via(server))
    assert (told.status, told.tls, server.sessions[0].auth) == ("delivered", "TLSv1.3 encrypted", USER)
    assert client(tls_auth_loopback=True, tls_level="verify").send(via(server))[0].enhanced == (
        "2.0.0" if kind == "good" else "4.7.5"
    )


# --- a login that is refused ---


def logins(server: ScriptedServer) -> int:
    return sum(c.startswith("AUTH") for c in server.commands)


WRONG = {"users": {USER: "another"}}


def test_a_refused_login_says_so_loudly_and_names_what_to_do(relay, client, caplog) -> None:
    server = relay(**WRONG)
    (told,) = client().send(via(server))
    assert (told.status, told.code, told.enhanced, told.unreachable) == ("deferred", 535, "4.7.8", True)
    assert told.text == "login refused (PLAIN): Authentication credentials invalid"
    (line,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert line.levelname == "ERROR"
    assert line.getMessage() == (
        f"relay mx.example.test[127.0.0.1]:{server.port}: {told.text}; its mail waits. "
        'When [auth."mx.example.test"] is right, `mailstrom flush --all` tries at once'
    )


def test_a_wrong_password_is_tried_once_however_many_messages_wait(relay, client) -> None:
    server, out = relay(**WRONG), client()

    async def many() -> list[str]:
        told = await asyncio.gather(*(out.attempt(via(server)) for _ in range(20)))
        return [r.enhanced for results in told for r in results]

    assert out.run(many()) == ["4.7.8"] * 20
    assert out.send(via(server))[0].enhanced == "4.7.8"
    assert logins(server) == 1


def test_many_that_are_refused_together_count_once(relay, client) -> None:
    """The password was changed while many were at work."""
    server = relay()
    out = client(limits_messages_per_connection=1, retry_base_delay=1000.0, retry_max_delay=1e6)

    async def many() -> None:
        await asyncio.gather(*(out.attempt(via(server)) for _ in range(10)))

    out.send(via(server))
    server.script.users = {USER: "another"}
    out.run(many())
    assert logins(server) == 11
    (refusal,) = out.smtp._sessions._logins._refusals.values()
    assert refusal.count == 1


def test_many_at_once_log_in_where_the_password_is_right(relay, client) -> None:
    server, out = relay(), client()

    async def many() -> list[str]:
        told = await asyncio.gather(*(out.attempt(via(server)) for _ in range(10)))
        return [r.status for results in told for r in results]

    assert out.run(many()) == ["delivered"] * 10


def test_a_wrong_password_is_tried_again_after_a_while_that_grows(relay, client) -> None:
    server, out = relay(**WRONG), client(retry_base_delay=1.0, retry_jitter=0)
    clock = 1000.0

    async def attempt() -> None:
        asyncio.get_running_loop().time = lambda: clock
        await out.attempt(via(server))

    gaps = []
    for _ in range(4):
        before, last = logins(server), clock
        while logins(server) == before:
            clock += 0.1
            out.run(attempt())
        gaps.append(round(clock - last, 1))
    assert gaps[1:] == pytest.approx([0.2, 0.4, 0.8], abs=0.11)


def test_whoever_wants_it_now_gets_it(relay, client) -> None:
    server, out = relay(**WRONG), client()
    for forced in (False, False, True):
        out.send(via(server), forced=forced)
    assert logins(server) == 2


def test_a_command_is_not_asked_again_before_the_login_may_be(relay, client, tmp_path) -> None:
    server = relay(**WRONG)
    command = ("sh", "-c", f"echo x >> {tmp_path}/runs; echo {SECRET}")
    out = client(auth={"mx.example.test": Auth(USER, password_command=command)})
    assert [out.send(via(server))[0].enhanced for _ in range(3)] == ["4.7.8"] * 3
    assert (tmp_path / "runs").read_text() == "x\n"


def test_a_login_that_fails_for_now_is_not_held_against_the_password(relay, client) -> None:
    server, out = relay(replies={"auth": ["454 4.7.0 Temporary authentication failure"]}), client()
    (told,) = out.send(via(server))
    assert (told.status, told.code, told.enhanced, told.unreachable) == ("deferred", 454, "4.7.8", True)
    assert out.send(via(server))[0].status == "delivered"


def test_the_next_relay_takes_the_mail_and_the_first_is_left_alone(relay, client, scripted, auth) -> None:
    first = relay(**WRONG)
    second = scripted()
    out = client(Names(hosts={"second.example.test": ["127.0.0.1"]}))
    both = f"{via(first)},smtp://second.example.test:{second.port}"
    assert [out.send(both)[0].status for _ in range(3)] == ["delivered"] * 3
    assert logins(first) == 1


class Kept(dict[str, HostState]):
    """What outlives a process."""

    def host(self, next_hop: str) -> HostState | None:
        return self.get(next_hop)

    def set_host(self, next_hop: str, state: HostState | None) -> None:
        self.pop(next_hop, None)
        if state is not None:
            self[next_hop] = state


def test_later_processes_leave_it_alone_too_and_ever_longer(relay, client) -> None:
    server, kept = relay(**WRONG), Kept()
    waits = []
    for _ in range(3):
        begun = time.time()
        told = [client(hosts=kept, retry_jitter=0).send(via(server))[0] for _ in range(2)]
        assert {(r.enhanced, r.text, r.unreachable) for r in told} == {
            ("4.7.8", "login refused (PLAIN): Authentication credentials invalid", True)
        }
        (name,) = kept
        assert SECRET not in repr(kept)
        waits.append(round((kept[name].until - begun) / 60))
        kept[name] = HostState(kept[name].failures, begun - 1, kept[name].reason)  # as time goes by
    assert (logins(server), waits) == (3, [1, 2, 4])
    assert client(hosts=kept).send(via(server), forced=True)[0].code == 535
    server.script.users = {USER: SECRET}
    assert client(hosts=kept).send(via(server), forced=True)[0].status == "delivered"
    assert kept == {}


def test_a_record_that_a_wrong_clock_made_or_that_cannot_be_read_hinders_nobody(relay, client) -> None:
    server, kept = relay(), Kept()
    kept["login at mx.example.test"] = HostState(1, time.time() + 1e6, "?")
    assert client(hosts=kept).send(via(server))[0].status == "delivered"

    class Broken(Kept):
        def host(self, next_hop: str) -> HostState | None:
            raise OSError(5, "Input/output error")

        def set_host(self, next_hop: str, state: HostState | None) -> None:
            raise OSError(5, "Input/output error")

    server.script.users = {USER: "another"}
    assert client(hosts=Broken()).send(via(server))[0].code == 535


def test_other_addresses_of_a_relay_are_not_asked_with_a_password_that_it_refused(
    relay, client, certificates, scripted
) -> None:
    first = relay(**WRONG)
    script = Script(tls=certificates.context(), mechanisms=("PLAIN",), users={USER: "another"})
    second = scripted(script, host="127.0.0.2", port=first.port)
    out = client(Names(hosts={"mx.example.test": ["127.0.0.1", "127.0.0.2"]}))
    assert out.send(via(first))[0].enhanced == "4.7.8"
    assert logins(first) + logins(second) == 1


# --- passwords that cannot be had ---


def test_a_file_that_others_can_read_is_refused(relay, client, password_file) -> None:
    password_file.chmod(0o640)
    server = relay()
    (told,) = client().send(via(server))
    assert (told.status, told.enhanced, told.unreachable) == ("deferred", "4.3.0", True)
    assert told.text == f"password_file {password_file} has mode 0640: it is not private"
    assert server.sessions == []


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (("sh", "-c", f"echo {SECRET}; echo {SECRET} >&2; exit 3"), "ended with exit code 3"),
        (("/nonexistent/pass",), "No such file or directory"),
        (("true",), "the password is empty"),
        (("sh", "-c", f"echo {SECRET}; echo {SECRET}"), "more than one line"),
        (("sh", "-c", "kill -9 $$"), "exit code -9"),
    ],
)
def test_a_command_that_gives_none_defers_and_shows_nothing(
    relay, client, command: tuple[str, ...], why: str, capfd
) -> None:
    server = relay()
    (told,) = client(auth={"mx.example.test": Auth(USER, password_command=command)}).send(via(server))
    assert (told.status, told.enhanced, told.unreachable) == ("deferred", "4.3.0", True)
    assert why in told.text
    assert SECRET not in repr(told) + "".join(capfd.readouterr())


def test_a_command_that_does_not_end_is_ended(relay, client, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("mailstrom_cli.net.secret.COMMAND_SECONDS", 0.1)
    command = ("sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 60")
    (told,) = client(auth={"mx.example.test": Auth(USER, password_command=command)}).send(via(relay()))
    assert (told.status, told.enhanced) == ("deferred", "4.3.0")
    assert "took more than" in told.text
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_systemd_credential(relay, client, password_file, monkeypatch) -> None:
    known = {"mx.example.test": Auth(USER, password_credential="password")}
    server, out = relay(), client(auth=known)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    (told,) = out.send(via(server))
    assert (told.enhanced, told.text) == (
        "4.3.0",
        "there is no credential 'password': CREDENTIALS_DIRECTORY is not set",
    )
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(password_file.parent))
    password_file.chmod(0o440)  # as systemd's access list shows
    assert out.send(via(server))[0].status == "delivered"
    password_file.unlink()
    assert "cannot be read: No such file" in client(auth=known).send(via(server))[0].text


class Keyring(KeyringBackend):
    """One that holds a password, or is locked."""

    priority = 1
    locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise RuntimeError(f"locked: {SECRET}")
        return {("mailstrom", USER): SECRET}.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError


def test_the_keyring(relay, client, monkeypatch) -> None:
    monkeypatch.setattr(keyring.core, "_keyring_backend", Keyring())
    server = relay()
    for service, told in (
        ("mailstrom", None),
        ("other", f"the keyring has no password of {USER!r} for 'other'"),
    ):
        out = client(auth={"mx.example.test": Auth(USER, password_keyring=service)})
        (result,) = out.send(via(server))
        assert (result.status == "delivered") if told is None else (result.text == told)
    monkeypatch.setattr(Keyring, "locked", True)
    out = client(auth={"mx.example.test": Auth(USER, password_keyring="mailstrom")})
    assert out.send(via(server))[0].text == "the keyring gives no password: RuntimeError"
    monkeypatch.setitem(sys.modules, "keyring", None)
    text = "password_keyring needs the package keyring: pip install 'mailstrom[keyring]'"
    assert out.send(via(server))[0].text == text


# --- nobody sees it ---


def spoken(session: Session) -> list[str]:
    """What the client said in AUTH beyond the names of mechanism and user, as it came."""
    said = [line.removeprefix("C: ") for line in session.log if line.startswith("C: ")]
    since = itertools.dropwhile(lambda line: not line.startswith("AUTH"), said)
    lines = list(itertools.takewhile(lambda line: not line.startswith(("MAIL", "QUIT")), since))
    if lines and lines[0].startswith("AUTH SCRAM"):
        del lines[0]
    return [shape for line in lines if len(shape := line.split(" ")[-1].rstrip("=")) > 12]


def echo(code: str):
    """A server that repeats the password, and how it came."""

    def answer(moment: Moment) -> str:
        sent = spoken(moment.session)
        assert sent
        return f"{code} 5.7.8 wrong: {SECRET} in {' '.join(sent)}\nagain {sent[-1]}"

    return answer


FAILURES = {
    "refused": {"users": {USER: "another"}, "tokens": {USER: "another"}},
    "later": {"replies": {"auth": "454 4.7.0 Temporary authentication failure"}},
    "dropped": {"replies": {"auth": Drop()}},
    "closed": {"replies": {"auth": Close("421 4.3.2 Bye")}},
    "stalled": {"replies": {"auth": Stall()}},
    "garbled": {"replies": {"auth": Raw(f"{SHAPES[0]} is no reply\r\n".encode())}},
    "repeated": {"replies": {"auth": echo("535")}},
    "repeated later": {"replies": {"rcpt": echo("550")}},
    "repeated at the end": {"replies": {"dot": echo("250")}},
    "asked for more": {"replies": {"auth": echo("334")}},
    "no mechanism": {"mechanisms": ("GSSAPI",)},
    "not known": {"replies": {"auth": "502 5.5.1 What?"}},
    "more": {"replies": {"auth": "334 more?"}},
    "proves nothing": {"scram": Scram(knows_nothing=True, says="v=eA==")},
    "proves nothing and repeats": {"scram": Scram(knows_nothing=True, says=f"e={SECRET}")},
}
ONLY_SCRAM = ("proves nothing", "proves nothing and repeats")
CELLS = [
    (way, mechanism)
    for way in FAILURES
    for mechanism in ("plain", "login", "cram-md5", "scram-sha-256", "xoauth2", "oauthbearer")
    if way not in ONLY_SCRAM or mechanism.startswith("scram")
]


@pytest.mark.parametrize(("way", "mechanism"), CELLS)
def test_the_password_is_seen_nowhere_whatever_fails(
    relay, client, password_file, caplog, capfd, way: str, mechanism: str
) -> None:
    caplog.set_level(logging.DEBUG)
    server = relay(**{"mechanisms": MECHANISMS, **FAILURES[way]}, strict=False)
    known = Auth(USER, password_file=str(password_file), mechanism=mechanism)
    out = client(auth={"mx.example.test": known}, smtp_timeout_auth=0.1)
    told = out.send(via(server), "good@example.test", "reject@example.test")
    server.release()
    if "repeated " not in way:
        assert {r.status for r in told} == {"deferred"}
        assert all(r.unreachable for r in told)
        assert server.transactions == []
    shown = [
        repr(told),
        *(r.transcript or "" for r in told),
        caplog.text,
        *capfd.readouterr(),
        repr(out.smtp.__dict__),
        repr(out.smtp._sessions._logins.__dict__),
    ]
    for shape in (*SHAPES, *(shape for session in server.sessions for shape in spoken(session))):
        assert not any(shape in text for text in shown)
    assert way == "no mechanism" or any(map(spoken, server.sessions))


def test_a_challenge_that_has_the_password_in_it_is_not_shown(relay, client, password_file) -> None:
    server = relay(mechanisms=("LOGIN",), password_prompt=SECRET)
    told = client().send(via(server), "good@example.test", "reject@example.test")
    assert statuses(told) == [("delivered", 250, "2.0.0"), ("failed", 550, "5.1.1")]
    assert "S: 334 (hidden)" in told[0].transcript
    assert SECRET not in repr(told)


def test_a_challenge_that_looks_like_the_password_is_understood(relay, client, password_file) -> None:
    """What SCRAM ends with begins with `v=`, in base64 `dj`."""
    password_file.write_text("dj")
    server = relay(mechanisms=("SCRAM-SHA-256",), users={USER: "dj"})
    assert client().send(via(server))[0].status == "delivered"


def test_a_bug_while_a_password_is_known_does_not_show_it(relay, client, caplog, monkeypatch) -> None:
    caplog.set_level(logging.DEBUG)

    def broken(*_: object) -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr("mailstrom_cli.transport.sessions.open_session", broken)
    (told,) = client().send(via(relay()))
    assert statuses([told]) == [("deferred", None, "4.3.0")]
    assert "RuntimeError: a bug of ours" in caplog.text
    trace = "".join(traceback.format_exception(caplog.records[-1].exc_info[1]))
    assert not any(shape in caplog.text + trace for shape in SHAPES)
