"""Logging in: where the password comes from, to whom it is given, and that nobody else ever sees it."""

from __future__ import annotations

import base64
import logging
import os
import sys
import traceback
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.config.schema import Auth

from ..peers.answers import Close, Drop, Moment, Raw, Stall
from ..peers.scripted import Script
from .sending import statuses

if TYPE_CHECKING:
    from ..peers.scripted import ScriptedServer

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

    def start(strict: bool = True, kind: str = "good", **script) -> ScriptedServer:
        wanted = {"mechanisms": ("PLAIN", "LOGIN"), "users": {USER: SECRET}, "require_auth": True}
        context = certificates.context(kind)
        return scripted(Script(**{"tls": context, **wanted, **script}), strict=strict)

    return start


@pytest.fixture
def client(sender, certificates, auth):
    """client(**settings) -> a sender that has credentials for mx.example.test."""
    return lambda **changed: sender(
        **{"tls_ca_file": certificates.ca_file, "auth": {"mx.example.test": auth}, **changed}
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


# --- nobody sees it ---


def echo(code: str):
    """A server that repeats the password, and how it came."""

    def answer(moment: Moment) -> str:
        sent = [c for c in moment.session.commands if any(shape in c for shape in SHAPES)]
        assert sent
        return f"{code} 5.7.8 wrong: {SECRET} in {' '.join(sent)}\nagain {sent[-1]}"

    return answer


FAILURES = {
    "refused": {"users": {USER: "another"}},
    "later": {"replies": {"auth": "454 4.7.0 Temporary authentication failure"}},
    "dropped": {"replies": {"auth": Drop()}},
    "closed": {"replies": {"auth": Close("421 4.3.2 Bye")}},
    "stalled": {"replies": {"auth": Stall()}},
    "garbled": {"replies": {"auth": Raw(f"{SHAPES[0]} is no reply\r\n".encode())}},
    "repeated": {"replies": {"auth": echo("535")}},
    "repeated later": {"replies": {"rcpt": echo("550")}},
    "repeated at the end": {"replies": {"dot": echo("250")}},
    "no mechanism": {"mechanisms": ("CRAM-MD5",)},
    "not known": {"replies": {"auth": "502 5.5.1 What?"}},
    "more": {"replies": {"auth": "334 more?"}},
}


@pytest.mark.parametrize("mechanism", ["plain", "login"])
@pytest.mark.parametrize("way", FAILURES)
def test_the_password_is_seen_nowhere_whatever_fails(
    relay, client, password_file, caplog, capfd, way: str, mechanism: str
) -> None:
    caplog.set_level(logging.DEBUG)
    server = relay(**FAILURES[way], strict=False)
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
    ]
    for shape in SHAPES:
        assert not any(shape in text for text in shown)


def test_a_bug_while_a_password_is_known_does_not_show_it(relay, client, caplog, monkeypatch) -> None:
    caplog.set_level(logging.DEBUG)

    def broken(*_: object) -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr("mailstrom_cli.transport.smtp.open_session", broken)
    (told,) = client().send(via(relay()))
    assert statuses([told]) == [("deferred", None, "4.3.0")]
    assert "RuntimeError: a bug of ours" in caplog.text
    trace = "".join(traceback.format_exception(caplog.records[-1].exc_info[1]))
    assert not any(shape in caplog.text + trace for shape in SHAPES)
