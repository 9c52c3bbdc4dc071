"""OAuth tokens: how they are got, kept, renewed and given to relays, and that nobody else sees them."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import time
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.config.schema import Auth
from mailstrom_cli.errors import MailstromError
from mailstrom_cli.net import https, oauth
from mailstrom_cli.store.tokens import TokenFile, Tokens

from ..peers.scripted import Script
from ..peers.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ..peers.oauth import TokenServer
    from ..peers.scripted import ScriptedServer
    from .sending import Sender

USER = "robot@example.org"
RELAY = "mx.example.test"
LOG_IN = f"run `mailstrom auth login {RELAY}`"


@pytest.fixture
def tokens(token_server) -> TokenServer:
    server: TokenServer = token_server(user=USER)
    return server


@pytest.fixture
def known(tokens, tmp_path) -> Auth:
    return Auth(
        USER,
        oauth="custom",
        client_id="mailstrom-test",
        scope="mail offline_access",
        device_endpoint=f"{tokens.url}/device",
        token_endpoint=f"{tokens.url}/token",
        token_file=str(tmp_path / "tokens" / "relay.json"),
    )


class Taken(dict[str, str]):
    """The tokens that a relay takes: those that a token server has given and that are not void."""

    def __init__(self, server: TokenServer) -> None:
        super().__init__()
        self.server = server

    def get(self, user: str, default: object = None) -> object:  # type: ignore[override]
        return _Any(self.server.access) if user == self.server.user else default


class _Any:
    def __init__(self, tokens: set[str]) -> None:
        self.tokens = tokens

    def __eq__(self, other: object) -> bool:
        return other in self.tokens

    __hash__ = None  # type: ignore[assignment]


@pytest.fixture
def relay(scripted, certificates, tokens) -> Callable[..., ScriptedServer]:
    def start(*mechanisms: str, **script: object) -> ScriptedServer:
        offered = mechanisms or ("XOAUTH2", "OAUTHBEARER", "PLAIN")
        wanted = {"mechanisms": offered, "tokens": Taken(tokens), "require_auth": True, **script}
        server: ScriptedServer = scripted(Script(tls=certificates.context(), **wanted))
        return server

    return start


@pytest.fixture
def client(sender, certificates, known) -> Callable[..., Sender]:
    return lambda auth=known, **changed: sender(
        **{"tls_ca_file": certificates.ca_file, "auth": {RELAY: auth}, **changed}
    )


def via(server: ScriptedServer) -> str:
    return f"smtp://{RELAY}:{server.port}"


def asking(known: Auth, ca_file: str = "") -> oauth.Client:
    return oauth.client(known, RELAY, ca_file)


def keep(known: Auth, refresh: str, access: str = "", until: float = 0.0) -> None:
    oauth.keep(asking(known), Tokens(refresh, access, until))


# --- the first time: the device flow ---


class Clock:
    """Sleeps without sleeping."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def now(self) -> float:
        return sum(self.slept)


def log_in(known: Auth) -> tuple[list[oauth.Prompt], list[float]]:
    shown: list[oauth.Prompt] = []
    clock = Clock()
    oauth.log_in(asking(known), shown.append, clock.sleep, clock.now)
    return shown, clock.slept


def test_the_device_flow(tokens, known) -> None:
    tokens.pending = 2
    shown, slept = log_in(known)
    assert shown == [oauth.Prompt("https://login.example.test/device", "WDJB-MJHT")]
    assert slept == [1.0] * 3
    held = TokenFile(known.token_file).read()
    assert held.refresh in tokens.refresh and held.access in tokens.access
    assert os.stat(known.token_file).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(known.token_file)).st_mode & 0o777 == 0o700
    assert tokens.asked[0] == ("device", {"client_id": "mailstrom-test", "scope": "mail offline_access"})


def test_slower_where_the_server_wants_it_or_is_not_there(tokens, known) -> None:
    slow, garbage = (400, {"error": "slow_down"}), (502, b"<html>Bad gateway</html>")
    tokens.answers["token"] = [slow, garbage, (400, {"error": "authorization_pending"})]
    tokens.pending = 0
    _, slept = log_in(known)
    assert slept == [1.0, 6.0, 11.0, 11.0]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((400, {"error": "access_denied"}), "access was denied"),
        ((400, {"error": "expired_token"}), "nobody has come in time"),
        ((401, {"error": "invalid_client", "error_description": "who?"}), "invalid_client: who\\?"),
        ((200, {"access_token": "a", "expires_in": 5}), "no refresh token; `scope`"),
        ((200, {"access_token": "a b", "refresh_token": "r"}), "no access token that can be used"),
        ((200, {"access_token": "a\r\nb", "refresh_token": "r"}), "no access token that can be used"),
        ((200, {"access_token": ["a"], "refresh_token": "r"}), "no access token that can be used"),
    ],
)
def test_a_device_flow_that_fails_keeps_nothing(tokens, known, answer, why: str) -> None:
    tokens.answers["token"] = [answer]
    with pytest.raises(oauth.NoToken, match=why):
        log_in(known)
    assert not os.path.exists(known.token_file)


def test_nobody_is_waited_for_longer_than_the_code_is_good(tokens, known) -> None:
    tokens.pending = 10**6
    with pytest.raises(oauth.NoToken, match="nobody has come in time"):
        log_in(known)
    assert len(tokens.grants) < 600


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((400, {"error": "invalid_scope"}), "invalid_scope"),
        ((200, {"device_code": "d"}), "HTTP status 200"),
        ((200, b"[]"), "no JSON"),
        ((200, b"[" * 50_000), "no JSON"),
        ((200, b'{"a": "' + b"x" * 70_000 + b'"}'), "more than 65536 octets"),
        ((302, b""), "HTTP status 302, and no JSON"),
    ],
)
def test_a_device_flow_that_does_not_begin(tokens, known, answer, why: str) -> None:
    tokens.answers["device"] = [answer]
    with pytest.raises(oauth.NoToken, match=why):
        log_in(known)


def test_what_is_shown_cannot_move_the_cursor(tokens, known) -> None:
    told = {"device_code": "d", "user_code": "A\x1b[2J", "verification_url": "https://x/", "interval": "1"}
    tokens.answers["device"] = [(200, told)]
    tokens.answers["token"] = [(400, {"error": "access_denied"})]
    shown: list[oauth.Prompt] = []
    with pytest.raises(oauth.NoToken):
        oauth.log_in(asking(known), shown.append, lambda _: None)
    assert shown == [oauth.Prompt("https://x/", "A\\x1b[2J")]


# --- when it is needed ---


@pytest.mark.parametrize("mechanism", ["auto", "xoauth2", "oauthbearer"])
def test_a_login_with_a_token(tokens, relay, client, known, mechanism: str) -> None:
    from mailstrom_cli.values import replace

    keep(known, tokens.new_refresh())
    server = relay()
    (told,) = client(replace(known, mechanism=mechanism)).send(via(server))
    assert (told.status, server.sessions[0].auth) == ("delivered", USER)
    (line,) = [c for c in server.commands if c.startswith("AUTH")]
    assert line.split()[1] == ("XOAUTH2" if mechanism == "xoauth2" else "OAUTHBEARER")


def test_a_token_is_never_given_as_a_password(tokens, relay, client, known) -> None:
    keep(known, tokens.new_refresh())
    server = relay("PLAIN", "SCRAM-SHA-256")
    (told,) = client().send(via(server))
    assert (told.status, told.enhanced) == ("deferred", "4.7.8")
    assert not any(c.startswith("AUTH") for c in server.commands)


def test_an_access_token_is_kept_while_it_is_good_by_other_processes_too(
    tokens, relay, client, known
) -> None:
    keep(known, tokens.new_refresh())
    server = relay()
    for _ in range(3):
        out = client(limits_messages_per_connection=1)
        assert [out.send(via(server))[0].status for _ in range(2)] == ["delivered"] * 2
    assert tokens.grants == ["refresh_token"]


def test_an_access_token_is_renewed_before_its_end(tokens, known) -> None:
    tokens.life = 3600
    keep(known, tokens.new_refresh())
    first = oauth.access_token(known, RELAY, "")
    held = TokenFile(known.token_file).read()
    assert 3200 < held.until - time.time() <= 3300  # five minutes early
    keep(known, held.refresh, held.access, time.time() - 1)
    assert oauth.access_token(known, RELAY, "") != first
    tokens.life = 100  # a quarter of a short life
    keep(known, held.refresh)
    oauth.access_token(known, RELAY, "")
    assert 70 < TokenFile(known.token_file).read().until - time.time() <= 75


def test_no_session_begins_with_a_token_that_has_ended(tokens, relay, client, known) -> None:
    keep(known, tokens.new_refresh())
    server, out = relay(), client(limits_messages_per_connection=1)
    assert out.send(via(server))[0].status == "delivered"
    held = TokenFile(known.token_file).read()
    tokens.access.clear()
    keep(known, held.refresh, held.access, time.time() - 1)
    assert out.send(via(server))[0].status == "delivered"
    assert tokens.grants == ["refresh_token"] * 2


def test_a_command_that_prints_tokens_is_asked_for_each_session(tokens, relay, client, tmp_path) -> None:
    tokens.access.add("the-token")
    command = ("sh", "-c", f"echo x >> {tmp_path}/runs; echo the-token")
    known = Auth(USER, password_command=command, mechanism="xoauth2")
    server, out = relay(), client(known, limits_messages_per_connection=1)
    assert [out.send(via(server))[0].status for _ in range(2)] == ["delivered"] * 2
    assert (tmp_path / "runs").read_text() == "x\n" * 2


@pytest.mark.parametrize("until", [10.0**12, float("inf"), float("nan")])
def test_a_time_that_a_wrong_clock_wrote_is_not_believed(tokens, known, until: float) -> None:
    keep(known, tokens.new_refresh(), "old", until)
    assert oauth.access_token(known, RELAY, "") in tokens.access


def test_a_refresh_token_that_is_good_once_is_replaced_and_asked_for_once(
    token_server, relay, client, known, tokens
) -> None:
    tokens.rotates = True
    keep(known, tokens.new_refresh())
    server, out = relay(), client(limits_messages_per_connection=1)

    async def many() -> list[str]:
        told = await asyncio.gather(*(out.attempt(via(server)) for _ in range(10)))
        return [r.status for results in told for r in results]

    assert out.run(many()) == ["delivered"] * 10
    assert tokens.grants == ["refresh_token"]
    held = TokenFile(known.token_file).read()
    assert {held.refresh} == tokens.refresh
    keep(known, held.refresh)
    assert client().send(via(server))[0].status == "delivered"


def test_processes_wait_for_each_other(tokens, known) -> None:
    from concurrent.futures import ThreadPoolExecutor

    tokens.rotates = True
    keep(known, tokens.new_refresh())
    with ThreadPoolExecutor(8) as pool:
        got = {f.result() for f in [pool.submit(oauth.access_token, known, RELAY, "") for _ in range(8)]}
    assert len(got) == 1 and tokens.grants == ["refresh_token"]


def test_a_token_that_the_relay_does_not_take_is_not_used_again(tokens, relay, client, known) -> None:
    keep(known, tokens.new_refresh(), "void", time.time() + 1000)
    server = relay()
    (told,) = client().send(via(server))
    assert (told.status, told.enhanced, told.unreachable) == ("deferred", "4.7.8", True)
    assert tokens.grants == []
    assert client().send(via(server))[0].status == "delivered"  # another process, later
    assert tokens.grants == ["refresh_token"]


def test_a_client_secret_from_a_file(tokens, known, tmp_path) -> None:
    from mailstrom_cli.values import replace

    tokens.client_secret = "s3cret-of-the-client"
    file = tmp_path / "secret"
    file.write_text("s3cret-of-the-client\n")
    file.chmod(0o600)
    keep(known, tokens.new_refresh())
    assert oauth.access_token(replace(known, client_secret_file=str(file)), RELAY, "")
    file.chmod(0o644)
    with pytest.raises(oauth.NoToken, match="it is not private"):
        oauth.access_token(replace(known, client_secret_file=str(file)), RELAY, "")


# --- what hinders ---


def test_a_login_that_was_withdrawn_holds_the_mail_and_says_what_to_do(
    tokens, relay, client, known, caplog
) -> None:
    keep(known, refresh := tokens.new_refresh())
    tokens.refresh.clear()
    server = relay()
    (told,) = client().send(via(server))
    assert (told.status, told.enhanced, told.unreachable) == ("deferred", "4.7.8", True)
    assert told.text == (
        f"the login has ended or was withdrawn (invalid_grant: (hidden) has been revoked): {LOG_IN}"
    )
    assert [r.levelname for r in caplog.records if r.name == "mailstrom"] == ["ERROR"]
    assert LOG_IN in caplog.text and refresh not in caplog.text
    assert server.sessions == []


def test_before_the_first_login(relay, client, known) -> None:
    (told,) = client().send(via(relay()))
    assert (told.enhanced, told.text) == ("4.7.8", f"nobody has logged in yet: {LOG_IN}")


ANSWERS = {
    "unauthorized": ((401, {"error": "invalid_client"}), "invalid_client"),
    "busy": ((503, b"busy"), "HTTP status 503, and no JSON"),
    "error": ((500, {}), "HTTP status 500"),
    "empty": ((200, {}), "no access token that can be used"),
    "too long": ((200, b" " * 70_000), "more than 65536 octets"),
    "a line": ((200, {"access_token": "a\r\nMAIL FROM:<>"}), "no access token that can be used"),
}


@pytest.mark.parametrize("way", ANSWERS)
def test_a_token_server_in_trouble_defers_and_is_named(tokens, relay, client, known, way: str) -> None:
    answer, why = ANSWERS[way]
    keep(known, tokens.new_refresh())
    tokens.answers["token"] = [answer]
    server, out = relay(), client()
    (told,) = out.send(via(server))
    assert (told.status, told.enhanced, told.unreachable) == ("deferred", "4.3.0", True)
    assert why in told.text
    assert out.send(via(server))[0].status == "delivered"


def test_a_token_server_that_is_not_there(tokens, relay, client, known) -> None:
    from mailstrom_cli.values import replace

    keep(known, tokens.new_refresh())
    away = replace(known, token_endpoint="http://127.0.0.1:1/token")
    (told,) = client(away).send(via(relay()))
    assert (told.enhanced, told.text) == ("4.3.0", "no access token: 127.0.0.1: Connection refused")


class Dripping(Wire):
    """An HTTP server that never comes to an end."""

    def serve(self) -> None:
        try:
            self.send(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
            while not self.server.released.wait(0.02):
                self.send(b"x")
        except OSError:
            pass
        finally:
            self.socket.close()


def test_a_token_server_that_takes_too_long(monkeypatch, scripted, known) -> None:
    from ..peers.scripted import ScriptedServer

    monkeypatch.setattr(https, "SECONDS", 0.2)
    monkeypatch.setattr(ScriptedServer, "connection", Dripping)
    server = scripted()
    begun = time.monotonic()
    with pytest.raises(https.NoAnswer, match=r"127\.0\.0\.1: timed out"):
        https.post(f"http://127.0.0.1:{server.port}/token", {}, "")
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("kind", ["good", "wrong-name", "expired", "self-signed"])
def test_only_a_verified_server_gets_a_refresh_token(
    token_server, certificates, known, kind: str, monkeypatch
) -> None:
    from mailstrom_cli.values import replace

    monkeypatch.setattr("ssl.create_default_context", certificates.bare)
    server = token_server(tls=certificates.context(kind))
    there = replace(known, token_endpoint=f"{server.url}/token")
    keep(there, server.new_refresh())
    if kind == "good":
        assert oauth.access_token(there, RELAY, certificates.ca_file) in server.access
    else:
        with pytest.raises(oauth.NoToken, match="localhost: certificate not verified"):
            oauth.access_token(there, RELAY, certificates.ca_file)
        assert server.asked == []


# --- the file ---


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"refresh_token": "r"}', "[" * 10_000, "\0"])
def test_a_file_that_holds_no_tokens(known, tmp_path, content: str) -> None:
    file = TokenFile(known.token_file)
    file.write(Tokens("r"))
    with open(known.token_file, "w") as opened:
        opened.write(content)
    with pytest.raises(oauth.NoToken, match="holds no tokens"):
        oauth.access_token(known, RELAY, "")


def test_a_file_that_others_can_read_is_refused(known) -> None:
    keep(known, "r")
    os.chmod(known.token_file, 0o644)
    with pytest.raises(oauth.NoToken, match="mode 0644: it is not private"):
        oauth.access_token(known, RELAY, "")


def test_new_tokens_that_cannot_be_kept_are_used_all_the_same(tokens, known, monkeypatch, caplog) -> None:
    keep(known, tokens.new_refresh())

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mailstrom_cli.store.tokens.write_new", full)
    assert oauth.access_token(known, RELAY, "") in tokens.access
    assert "new tokens cannot be kept: No space left on device" in caplog.text


def test_nothing_of_a_token_is_in_a_repr(known) -> None:
    shown = repr((Tokens("r-marker", "a-marker"), asking(known)))
    assert "marker" not in shown


# --- nobody sees it ---


MARK = "qz7marker"


def repeats(tokens: TokenServer, where: str, status: int, error: str) -> None:
    """The token server repeats all that it was sent."""
    usual = tokens.answer

    def answer(asked: str, form: dict[str, str]):  # type: ignore[no-untyped-def]
        told = usual(asked, form)
        return (
            (status, {"error": error, "error_description": " ".join(form.values())})
            if asked == where
            else told
        )

    tokens.answer = answer  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("way", "mechanism"),
    [(way, "auto") for way in ("invalid_grant", "other", "garbage", "empty")]
    + [
        (way, m)
        for way in ("relay refuses", "relay repeats", "relay drops")
        for m in ("xoauth2", "oauthbearer")
    ],
)
def test_tokens_and_the_client_secret_are_seen_nowhere_whatever_fails(
    tokens, relay, client, known, caplog, capfd, tmp_path, way: str, mechanism: str
) -> None:
    from mailstrom_cli.values import replace

    from ..peers.answers import Drop, Moment

    caplog.set_level(logging.DEBUG)
    tokens.prefix, tokens.client_secret = MARK, f"{MARK}-secret"
    file = tmp_path / "secret"
    file.write_text(tokens.client_secret)
    file.chmod(0o600)
    auth = replace(known, client_secret_file=str(file), mechanism=mechanism)
    keep(auth, tokens.new_refresh())
    script: dict[str, object] = {}
    if way in ("invalid_grant", "other"):
        repeats(tokens, "token", 400, way)
    elif way == "garbage":
        tokens.answers["token"] = [(200, f"{MARK} is no JSON".encode())]
    elif way == "empty":
        tokens.answers["token"] = [(200, {"access_token": f"{MARK} {MARK}", "refresh_token": f"{MARK}-r"})]
    elif way == "relay refuses":
        script["tokens"] = {}
    elif way == "relay drops":
        script["replies"] = {"auth": Drop()}
    else:

        def echo(moment: Moment) -> str:
            said = [line for line in moment.session.log if line.startswith("C: ")]
            return f"535 5.7.8 {' '.join(said)} {' '.join(tokens.access)}"

        script["replies"] = {"auth": echo}
    server = relay(**script)
    out = client(auth)
    (told,) = out.send(via(server))
    assert (told.status, told.unreachable) == ("deferred", True)
    assert server.transactions == []
    shown = [
        repr(told),
        told.transcript or "",
        caplog.text,
        *capfd.readouterr(),
        repr(out.smtp._sessions._logins.__dict__),
    ]
    said = re.findall(
        r"\S{40,}", "\n".join(line for s in server.sessions for line in s.log if line[0] == "C")
    )
    for shape in (MARK, *(token.rstrip("=") for token in said)):
        assert not any(shape in text for text in shown), shape
    assert way not in ("relay refuses", "relay repeats") or said


def test_the_command_keeps_a_token_from_stdin(tmp_path: Path, known) -> None:
    import subprocess
    import sys

    config = tmp_path / "c.toml"
    config.write_text(
        f'[auth."{RELAY}"]\nusername = "{USER}"\noauth = "custom"\nclient_id = "x"\n'
        f'device_endpoint = "{known.device_endpoint}"\ntoken_endpoint = "{known.token_endpoint}"\n'
        f'token_file = "{known.token_file}"\n'
    )

    def run(*words: str, input: str = "") -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "mailstrom_cli", "--config", str(config), "auth", "login", *words]
        return subprocess.run(line, input=input, capture_output=True, text=True, check=False)

    done = run(RELAY.upper(), "--stdin", input=f"{MARK}-r\n")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"auth: logged in at {RELAY.upper()}: the tokens are in {known.token_file}\n"
    with open(known.token_file) as file:
        assert json.load(file)["refresh_token"] == f"{MARK}-r"
    done = run(RELAY, "--stdin", input="two words\n")
    assert (done.returncode, done.stdout) == (65, "")
    assert "there is no refresh token on stdin" in done.stderr and "two" not in done.stderr
    done = run(RELAY)
    assert done.returncode == 75
    assert "error: no login at mx.example.test: invalid_client" in done.stderr
    config.write_text(config.read_text().replace('client_id = "x"', 'client_id = "mailstrom-test"'))
    done = run(RELAY)
    assert done.returncode == 75
    assert "invalid_scope" in done.stderr and "use --stdin" in done.stderr
    with config.open("a") as file:
        file.write('[auth."password.example.org"]\nusername = "me"\npassword_file = "/none"\n')
    for host in ("other.example.org", "password.example.org"):
        done = run(host)
        assert done.returncode == 78
    assert f"hint: those that have: {RELAY}" in done.stderr


def test_the_error_of_the_file_is_ours(tmp_path: Path) -> None:
    with pytest.raises(MailstromError, match="is not a regular file"):
        TokenFile(str(tmp_path)).read()
