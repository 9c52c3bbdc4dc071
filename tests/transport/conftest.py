"""sender(resolver, tls_level=..., ...): a Sender, closed when the test ends."""

from __future__ import annotations

import _ssl
import contextlib
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from mailstrom_cli.net.tls import ANCHORS

from .sending import Names, Sender, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailstrom_cli.transport.tally import Tally


@pytest.fixture(autouse=True)
def _no_authorities_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """To load them takes longer than most of these tests, and no server here has a certificate of theirs."""
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda context: None)


@pytest.fixture
def sender() -> Iterator[Callable[..., Sender]]:
    with contextlib.ExitStack() as open_ones:

        def make(
            resolver: Names | None = None,
            hosts: Any = None,
            tally: Tally | None = None,
            sts_port: int = 1,
            **changed: Any,
        ) -> Sender:
            made = Sender(settings(**changed), resolver, None, sts_port, tally, hosts)
            open_ones.callback(made.close)
            return made

        yield make


@pytest.fixture
def chains(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter tells what chain a server has shown; before Python 3.13 it keeps that to itself."""
    if not ANCHORS:

        def chain(wrapped: Any) -> list[bytes]:
            return [c.public_bytes(_ssl.ENCODING_DER) for c in wrapped._sslobj.get_unverified_chain()]

        monkeypatch.setattr(ssl.SSLObject, "get_unverified_chain", chain, raising=False)
        monkeypatch.setattr("mailstrom_cli.net.tls.ANCHORS", True)
        monkeypatch.setattr("mailstrom_cli.transport.ways.ANCHORS", True)
