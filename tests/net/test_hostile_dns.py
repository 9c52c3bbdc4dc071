"""Resolvers over TLS and HTTPS that answer wrongly: the look-up fails with what they did, bounded in all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.events
import pytest

from mailstrom_cli.net.resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..peers.certs import Certificates

    Hear = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def ask(certificates: Certificates, protocol: str, way: str, hear: Hear) -> tuple[str, str, int]:
    """The kind and text of the look-up of an MX, and how many connections it took."""
    context = certificates.context()
    context.set_alpn_protocols([protocol])
    connections = 0

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            await hear(reader, writer)
        except (OSError, EOFError):
            pass
        finally:
            writer.transport.abort()

    async def run() -> tuple[str, str, int]:
        async with await asyncio.start_server(one, "127.0.0.1", 0, ssl=context) as server:
            place = way.format(server.sockets[0].getsockname()[1])
            resolver = Resolver((place,), "both", ca_file=certificates.ca_file)
            told, found = await resolver.mx("example.test")
            await resolver.close()
            assert found == []
            return told.kind, told.text.partition(place)[2].strip(), connections

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (lambda wire: b"", "closed the connection"),
        (lambda wire: b"\x00", "closed the connection"),
        (lambda wire: b"\xff\xff" + wire, "closed the connection"),
        (lambda wire: b"\x00\x00", "failed: "),
        (lambda wire: b"\x00\x05hello", "failed: "),
        (lambda wire: len(wire).to_bytes(2, "big") + wire, "answered another question"),
        (
            lambda wire: (
                len(wire).to_bytes(2, "big") + bytes([wire[0] ^ 1, wire[1]]) + b"\x81\x80" + wire[4:]
            ),
            "answered another question",
        ),
    ],
)
def test_over_tls(certificates: Certificates, answer: Callable[[bytes], bytes], text: str) -> None:
    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        writer.write(answer(wire))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    kind, told, connections = ask(certificates, "dot", "tls://127.0.0.1:{}#localhost", hear)
    assert (kind, connections) == ("failed", 1)
    assert told.startswith(text)


def full(http: h2.connection.H2Connection, stream: int) -> None:
    """As much as the windows of the client allow; it never ends."""
    http.send_headers(stream, [(":status", "200")])
    more(http, stream)


def more(http: h2.connection.H2Connection, stream: int) -> None:
    while room := min(http.local_flow_control_window(stream), http.max_outbound_frame_size):
        http.send_data(stream, bytes(room))


def whole(status: str, body: bytes) -> Callable[..., None]:
    def answer(http: h2.connection.H2Connection, stream: int) -> None:
        http.send_headers(stream, [(":status", status), ("content-type", "text/html")])
        http.send_data(stream, body, end_stream=True)

    return answer


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (full, "answered with more than a DNS message holds"),
        (whole("500", b"oops"), "answered with HTTP status 500"),
        (whole("302", b""), "answered with HTTP status 302"),
        (whole("200", b""), "failed: "),
        (whole("200", b"<html>hello</html>"), "failed: "),
        (lambda http, stream: http.reset_stream(stream), "closed the connection"),
        (lambda http, stream: http.close_connection(), "closed the connection"),
    ],
)
def test_over_https(certificates: Certificates, answer: Callable[..., None], text: str) -> None:
    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        http.initiate_connection()
        writer.write(http.data_to_send())
        asked = 0
        while octets := await reader.read(65536):
            for event in http.receive_data(octets):
                if isinstance(event, h2.events.StreamEnded):
                    asked = event.stream_id
                    answer(http, asked)
                elif isinstance(event, h2.events.WindowUpdated) and asked and answer is full:
                    more(http, asked)
            writer.write(http.data_to_send())

    kind, told, connections = ask(certificates, "h2", "https://localhost:{}/dns-query", hear)
    assert (kind, connections) == ("failed", 1)
    assert told.startswith(text)


@pytest.mark.parametrize(
    ("garbage", "text"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "closed the connection"),
        (b"\0" * 100, "does not speak HTTP/2 as we do: "),
        (b"\xff" * 1_000_000, "answered with more than a DNS message holds"),
    ],
    ids=["http1", "zeros", "ones"],
)
def test_https_that_is_no_http2(certificates: Certificates, garbage: bytes, text: str) -> None:
    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(garbage)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    kind, told, connections = ask(certificates, "h2", "https://localhost:{}/dns-query", hear)
    assert (kind, connections) == ("failed", 1)
    assert told.startswith(text)
