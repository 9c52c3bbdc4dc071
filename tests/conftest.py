"""Fixtures for all tests: servers to talk to, each a factory whose servers end with the test.

scripted(script, ...)   a ScriptedServer; a client's violations fail the test (`strict=False`: they do not)
dns_server(zones, ...)  unbound on loopback                        (tests/peers/dns.py)
signed_dns(zones, ...)  the same, signed and validating            (tests/peers/signed_dns.py)
postfix(...)            a receiving MX, or a relay                 (tests/peers/postfix.py)
dovecot(users)          LMTP over TCP and Unix socket, and SASL    (tests/peers/dovecot.py)
exim(...)               another receiving MX                       (tests/peers/exim.py)
token_server(...)       OAuth tokens over HTTP                     (tests/peers/oauth.py)
certificates            an authority, good and bad certificates    (tests/peers/certs.py)

Where a program is missing its tests are skipped with the reason; with CI in the environment they fail.
"""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from .peers.certs import Certificates
from .peers.dns import Dns
from .peers.dovecot import Dovecot
from .peers.exim import Exim
from .peers.needs import need, need_root
from .peers.oauth import TokenServer
from .peers.postfix import Postfix
from .peers.scripted import Script, ScriptedServer
from .peers.signed_dns import SignedDns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REAL = {"dns_server", "signed_dns", "postfix", "dovecot", "exim"}


class StartScripted(Protocol):
    def __call__(
        self, script: Script | None = None, *, strict: bool = True, **place: Any
    ) -> ScriptedServer: ...


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "peer: talks to a real server program (set by itself, from the fixtures)"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if REAL.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("peer")


@pytest.fixture(scope="session", autouse=True)
def _nothing_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads the configuration or the spool of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith("MAILSTROM_")]:
            patch.delenv(name)
        for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        yield


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """What a command or a library does to the log in this process ends with its test."""
    log = logging.getLogger("mailstrom")
    handlers, level = log.handlers[:], log.level
    yield
    log.handlers[:] = handlers
    log.setLevel(level)
    log.disabled = False


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def scripted() -> Iterator[StartScripted]:
    """scripted(Script(...), host=, port=, path=, strict=) -> a running ScriptedServer."""
    strict_ones: list[ScriptedServer] = []
    with contextlib.ExitStack() as running:

        def start(script: Script | None = None, *, strict: bool = True, **place: Any) -> ScriptedServer:
            server = running.enter_context(ScriptedServer(script, **place))
            if strict:
                strict_ones.append(server)
            return server

        yield start
    violations = [v for server in strict_ones for v in server.violations]
    assert violations == [], "what a client did that the RFCs forbid"


@pytest.fixture
def dns_server() -> Iterator[Callable[..., Dns]]:
    """dns_server({"example.test": "@ MX 10 mx1\\nmx1 A 127.0.0.2"}, servfail=[...]) -> a running Dns."""
    need("unbound")
    with contextlib.ExitStack() as running:
        yield lambda *zones, **answers: running.enter_context(Dns(*zones, **answers))


@pytest.fixture
def signed_dns() -> Iterator[Callable[..., SignedDns]]:
    """signed_dns({"good.test": "@ MX 10 mx"}, bogus=[...], insecure={...}) -> a running SignedDns."""
    need("unbound")
    need("kzonesign")
    with contextlib.ExitStack() as running:
        yield lambda *zones, **answers: running.enter_context(SignedDns(*zones, **answers))


@pytest.fixture
def postfix() -> Iterator[Callable[..., Postfix]]:
    """postfix(domains, relay_to=, tls=, auth=, ...) -> a running Postfix."""
    need("postfix")
    need_root()
    with contextlib.ExitStack() as running:
        yield lambda *domains, **options: running.enter_context(Postfix(*domains, **options))


@pytest.fixture
def dovecot() -> Iterator[Callable[..., Dovecot]]:
    """dovecot({"user@example.org": "password"}) -> a running Dovecot."""
    need("dovecot")
    need_root()
    with contextlib.ExitStack() as running:
        yield lambda *users, **options: running.enter_context(Dovecot(*users, **options))


@pytest.fixture
def token_server() -> Iterator[Callable[..., TokenServer]]:
    """token_server(rotates=True, ...) -> a running TokenServer."""
    with contextlib.ExitStack() as running:
        yield lambda **options: running.enter_context(TokenServer(**options))


@pytest.fixture
def exim() -> Iterator[Callable[..., Exim]]:
    """exim(domains, tls=, ...) -> a running Exim."""
    need("exim4")
    need_root()
    with contextlib.ExitStack() as running:
        yield lambda *domains, **options: running.enter_context(Exim(*domains, **options))
