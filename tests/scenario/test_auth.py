"""Logging in at real servers by every mechanism they offer, and secrets that nobody sees."""

from __future__ import annotations

import io
import json
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mailstrom_cli.cli import app
from mailstrom_cli.cli.report import guarded

from ..peers.answers import Close, Drop, Stall
from ..peers.process import wait_for
from ..peers.sasl import Scram
from ..peers.scripted import Script
from .conftest import Installation

if TYPE_CHECKING:
    from ..peers.oauth import TokenServer
USER = "robot@example.org"
PASSWORD = "correct horse qz7marker"
MARK = "qz7marker"
SHAPES = (MARK, "cXo3bWFya2Vy", "F6N21hcmtlc", "xejdtYXJrZX")  # at each of the three places in base64
BY_PASSWORD = ("plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256")
BY_TOKEN = ("xoauth2", "oauthbearer")


class Here(Installation):
    """The same without processes of its own, for speed."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        super().__init__(folder)
        self.folder, self._capsys, self._patch = folder, capsys, patch

    def __call__(
        self, *words: str, input: str | bytes = "", expect: int | None = 0, seconds: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        text = input.decode() if isinstance(input, bytes) else input
        self._patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        line = ["--config", str(self.config), *words]
        self._capsys.readouterr()
        code = guarded(lambda: app.run(line), line)
        done = subprocess.CompletedProcess(line, code, *self._capsys.readouterr())
        assert code == expect, done.stderr
        return done

    def submit(self, *words: str, input: str | bytes = "") -> str:
        message = self.folder / "message.eml"
        message.write_text("From: ann@example.org\nSubject: hi\n\nHello\n")
        return super().submit(*words, str(message))


@pytest.fixture
def here(tmp_path, capsys, monkeypatch) -> Here:
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda context: None)  # as in tests/transport
    monkeypatch.setenv("MAILSTROM_LIMITS_MIN_FREE", "0")
    return Here(tmp_path, capsys, monkeypatch)


def secret(path: Path, text: str) -> Path:
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path


def oauth_keys(tokens: TokenServer, folder: Path) -> str:
    return (
        f'oauth = "custom"\nclient_id = "mailstrom-test"\nscope = "mail offline_access"\n'
        f'client_secret_file = "{secret(folder / "client-secret", tokens.client_secret)}"\n'
        f'device_endpoint = "{tokens.url}/device"\ntoken_endpoint = "{tokens.url}/token"\n'
        f'token_file = "{folder / "tokens.json"}"'
    )


@pytest.fixture
def tokens(token_server) -> TokenServer:
    server: TokenServer = token_server(user=USER, prefix=MARK, client_secret=f"{MARK}-secret", pending=1)
    return server


def test_every_mechanism_of_postfix_with_dovecot(
    here, postfix, dovecot, certificates, tokens, tmp_path
) -> None:
    offered = BY_PASSWORD + BY_TOKEN
    login = dovecot(
        {USER: PASSWORD}, mechanisms=" ".join(offered), introspection=f"{tokens.url}/introspect?from=dovecot"
    )
    receiver = postfix(["example.test"])
    relay = postfix([], relay_to=receiver.address, tls=certificates, auth=login.auth_socket)
    password = f'password_file = "{secret(tmp_path / "password", PASSWORD)}"'
    token = oauth_keys(tokens, tmp_path)

    def configure(keys: str, mechanism: str) -> None:
        here.configure(
            f'via = "smtp://localhost:{relay.port}"',
            f'[auth.localhost]\nusername = "{USER}"\n{keys}\nmechanism = "{mechanism}"',
            f'[tls]\nca_file = "{certificates.ca_file}"\n[smtp]\nip = "ipv4"',
        )

    configure(token, "auto")
    done = here("auth", "login", "localhost")
    assert "go to https://login.example.test/device and enter the code WDJB-MJHT" in done.stderr
    assert done.stdout == ""
    for mechanism in (*offered, "auto"):
        configure(token if mechanism in BY_TOKEN else password, mechanism)
        id = here.submit("-f", "ann@example.org", "-t", f"{mechanism}@example.test")
        here("flush")
        (told,) = here.recipients(id).values()
        assert (told["status"], told["tls"]) == ("delivered", "TLSv1.3 verified"), (mechanism, told)
    receiver.mailbox.wait(len(offered) + 1)
    log = relay.log()
    for name in (name.upper() for name in offered):
        assert f"sasl_method={name}, sasl_username={USER}" in log, name
    assert log.count("sasl_method=SCRAM-SHA-256,") == 2  # and "auto" took the strongest

    secret(tmp_path / "password", "wrong " + PASSWORD)
    tokens.void = True
    for mechanism in (*BY_PASSWORD, *BY_TOKEN):
        configure(token if mechanism in BY_TOKEN else password, mechanism)
        id = here.submit("-f", "ann@example.org", "-t", "bob@example.test")
        done = here("-v", "flush", id)
        (told,) = here.recipients(id).values()
        assert (told["status"], told["code"], told["enhanced"]) == ("deferred", 535, "4.7.8"), told
        assert f"login refused ({mechanism.upper()}): " in told["text"]
        assert "error: relay localhost[127.0.0.1]" in done.stderr
        _nothing_shows_in(here, done, id, tmp_path)
        here("cancel", id)


def _nothing_shows_in(here: Here, done: subprocess.CompletedProcess[str], id: str, folder: Path) -> None:
    """Everything a person or another user could see, at the highest verbosity."""
    shown = [done.stdout, done.stderr, here.log()]
    for words in (("-v", "status", id), ("-v", "status", "--json", id), ("-v", "queue", "--json")):
        told = here(*words)
        shown += [told.stdout, told.stderr]
    for words in (("show", "--log", id), ("show", "--sidecar", id), ("config", "show")):
        shown.append(here(*words).stdout)
    for file in here.spool.rglob("*"):
        if file.is_file():
            shown.append(file.read_bytes().decode("utf-8", "replace"))
    for text in shown:
        found = [shape for shape in SHAPES if shape in text]
        assert not found, text


FAILURES: dict[str, dict[str, Any]] = {
    "refused": {"users": {}, "tokens": {}},
    "repeated": {"replies": {"auth": lambda m: f"535 5.7.8 {' '.join(m.session.log)}"}},
    "later": {"replies": {"auth": "454 4.7.0 Later"}},
    "dropped": {"replies": {"auth": Drop()}},
    "closed": {"replies": {"auth": Close("421 4.3.2 Bye")}},
    "asked on": {"replies": {"auth": lambda m: f"334 {m.session.log[-1].split()[-1]}"}},
    "unproved": {"scram": Scram(knows_nothing=True, says=f"v={PASSWORD}")},
}


@pytest.mark.parametrize("way", FAILURES)
def test_no_secret_shows_at_the_highest_verbosity(
    here, scripted, certificates, tokens, tmp_path, way: str
) -> None:
    script = Script(
        **{
            "tls": certificates.context(),
            "mechanisms": ("SCRAM-SHA-256", "OAUTHBEARER") if way == "unproved" else ("PLAIN", "OAUTHBEARER"),
            "users": {USER: PASSWORD},
            "require_auth": True,
            **FAILURES[way],
        }
    )
    server = scripted(script, strict=False)
    password = f'password_file = "{secret(tmp_path / "password", PASSWORD)}"'
    for keys in (password, oauth_keys(tokens, tmp_path)):
        if way == "unproved" and keys != password:
            continue
        here.configure(
            f'via = "smtp://localhost:{server.port}"',
            f'[auth.localhost]\nusername = "{USER}"\n{keys}',
            f'[tls]\nca_file = "{certificates.ca_file}"\n[log]\nlevel = "debug"\n[smtp]\nip = "ipv4"',
        )
        if keys != password:
            here("auth", "login", "--stdin", "localhost", input=tokens.new_refresh())
        id = here.submit("-f", "ann@example.org", "-t", "bob@example.test")
        done = here("-v", "flush", id)
        assert here.status(id)["status"] == "deferred"
        assert any(line.startswith("AUTH") for line in server.commands)
        _nothing_shows_in(here, done, id, tmp_path)
        here("cancel", id)


def test_no_secret_is_in_the_arguments_of_a_process(
    mailstrom, scripted, certificates, tokens, tmp_path
) -> None:
    """While `run` waits for a relay that has been given the token."""
    server = scripted(
        Script(tls=certificates.context(), mechanisms=("XOAUTH2",), replies={"auth": Stall()}), strict=False
    )
    mailstrom.configure(
        f'via = "smtp://localhost:{server.port}"',
        f'[auth.localhost]\nusername = "{USER}"\n{oauth_keys(tokens, tmp_path)}',
        f'[tls]\nca_file = "{certificates.ca_file}"\n[smtp]\nip = "ipv4"',
    )
    mailstrom("auth", "login", "--stdin", "localhost", input=tokens.new_refresh())
    process = mailstrom.start("-v")
    mailstrom.submit("-f", "ann@example.org", "-t", "bob@example.test")
    server.wait(lambda s: s.stalled > 0)
    for what in ("cmdline", "environ"):
        assert MARK.encode() not in Path(f"/proc/{process.pid}/{what}").read_bytes()
    server.release()


def test_a_relay_that_refuses_is_left_alone_by_the_next_flush_and_another_takes_the_mail(
    here, scripted, certificates, tmp_path
) -> None:
    first = scripted(Script(tls=certificates.context(), mechanisms=("PLAIN",)), strict=False)
    second = scripted()
    here.configure(
        f'via = ["smtp://localhost:{first.port}", "smtp://127.0.0.1:{second.port}"]',
        f'[auth.localhost]\nusername = "{USER}"\npassword_file = "{secret(tmp_path / "password", PASSWORD)}"',
        f'[tls]\nca_file = "{certificates.ca_file}"\n[smtp]\nip = "ipv4"\n[retry]\nbase_delay = "1h"',
    )
    for _ in range(3):
        id = here.submit("-f", "ann@example.org", "-t", "bob@example.test")
        here("flush")
        assert here.status(id)["status"] == "delivered"
    assert sum(c.startswith("AUTH") for c in first.commands) == 1
    assert here("check-spool").returncode == 0


def test_a_refused_login_holds_the_queue_and_goes_on_once_it_is_mended(
    mailstrom, scripted, certificates, tmp_path
) -> None:
    server = scripted(
        Script(tls=certificates.context(), mechanisms=("PLAIN",), users={USER: PASSWORD}), strict=False
    )
    file = secret(tmp_path / "password", "wrong")
    mailstrom.configure(
        f'via = "smtp://localhost:{server.port}"',
        f'[auth.localhost]\nusername = "{USER}"\npassword_file = "{file}"',
        f'[tls]\nca_file = "{certificates.ca_file}"\n[smtp]\nip = "ipv4"',
        '[retry]\nretries = 0\nbase_delay = "1h"\nmax_delay = "6h"',
    )
    mailstrom.start()
    ids = [mailstrom.submit("-f", "ann@example.org", "-t", f"b{n}@example.test") for n in range(3)]

    def told() -> list[dict[str, Any]]:
        return json.loads(mailstrom("status", "--json", *ids).stdout)

    def reasons() -> list[str]:
        return [r["text"] or "" for s in told() for r in s["recipients"] if s["status"] != "failed"]

    wait_for(
        lambda: len([r for r in reasons() if "login refused (PLAIN)" in r]) == 3, 20, "all to be deferred"
    )
    assert sum(c.startswith("AUTH") for c in server.commands) == 1
    assert mailstrom.log().count("error: relay localhost") == 1
    server.script.users = {USER: "wrong"}  # the provider has mended it; nothing changes here
    mailstrom("flush", "--all")
    wait_for(lambda: len(server.delivered()) == 3, 20, "all to be delivered")
    wait_for(lambda: {s["status"] for s in told()} == {"delivered"}, 20, "all to be on record")
