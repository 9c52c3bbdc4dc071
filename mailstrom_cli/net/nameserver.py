"""The servers that dnspython asks for us: plain, over TLS and over HTTPS, each with a name for people.

Raises to dnspython: Timeout for no answer in time, Truncated, and for all else an OSError whose strerror
follows the name of the server in a sentence.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
import ssl
import time

import dns.exception
import dns.flags
import dns.message
import dns.nameserver

from mailstrom_cli.net.background import in_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from dns.message import Message, QueryMessage

    from mailstrom_cli.config.resolvers import Server

TRY_SECONDS = 5.0
_OURS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN)
REST_SECONDS = 60.0
"""How long a server that did not answer is asked after the others."""
LINES, IDLE_SECONDS = 10, 10.0
"""TLS connections to one server at once, and how long one is kept that nobody uses."""
MOST_OCTETS = 65535


class Nameserver(dns.nameserver.Nameserver):
    """One server that is asked. trusted: whether it is believed when it says that it has validated an answer;
    of others the AD bit is taken away."""

    def __init__(self, server: Server, trusted: bool, way: dns.nameserver.Nameserver) -> None:
        self.server = server
        self.trusted = trusted
        self.rests_until = 0.0
        self._way = way

    def __str__(self) -> str:
        return str(self.server)

    def kind(self) -> str:
        return self._way.kind()

    def is_always_max_size(self) -> bool:
        return self._way.is_always_max_size()

    def answer_nameserver(self) -> str:
        return str(self.server)

    def answer_port(self) -> int:
        return self.server.port

    async def async_query(self, request: QueryMessage, timeout: float, *place: Any, **more: Any) -> Message:
        try:
            async with asyncio.timeout(timeout):
                response = await self._way.async_query(request, timeout, *place, **more)
        except dns.message.Truncated:
            raise
        except (TimeoutError, dns.exception.Timeout):
            self.rest()
            raise dns.exception.Timeout(timeout=timeout) from None  # type: ignore[no-untyped-call]
        except (OSError, EOFError, dns.exception.DNSException) as error:
            self.rest()
            raise _told(error) from error
        self.rests_until = 0.0
        if not self.trusted:
            response.flags &= ~dns.flags.AD
        return response

    def rest(self) -> None:
        """Be asked after the others for a while."""
        self.rests_until = time.monotonic() + REST_SECONDS

    def close(self) -> None:
        if isinstance(self._way, Encrypted):
            self._way.close()


def nameserver(server: Server, *, trust_ad: bool, ca_file: str) -> Nameserver:
    """Raises OSError (ssl.SSLError) for a ca_file that cannot be read."""
    if server.scheme:
        return Nameserver(server, True, Encrypted(server, ca_file))
    trusted = trust_ad or ipaddress.ip_address(server.host.partition("%")[0]).is_loopback
    return Nameserver(server, trusted, dns.nameserver.Do53Nameserver(server.host, server.port))


def in_order(servers: Sequence[Nameserver]) -> list[Nameserver]:
    """As configured, but those last that did not answer a moment ago. When one of them has rested it is first
    again; others who ask meanwhile do not wait for it."""
    now = time.monotonic()
    chosen = sorted(servers, key=lambda server: server.rests_until > now)
    if 0 < chosen[0].rests_until <= now:
        chosen[0].rests_until = now + TRY_SECONDS
    return chosen


class Encrypted(dns.nameserver.Nameserver):
    """DNS over TLS or HTTPS. A connection serves one question after the other, and is kept for the next."""

    def __init__(self, server: Server, ca_file: str) -> None:
        self._server = server
        self._line = HttpsLine if server.scheme == "https" else TlsLine
        self._context = _verifying(ca_file, self._line.protocol)
        self._idle: list[tuple[float, TlsLine]] = []  # since when
        self._places = asyncio.Semaphore(LINES)

    def kind(self) -> str:
        return "DoH" if self._server.scheme == "https" else "DoT"

    def is_always_max_size(self) -> bool:
        return True

    async def async_query(self, request: QueryMessage, timeout: float, *place: Any, **more: Any) -> Message:
        wire = request.to_wire()
        async with self._places:
            while self._idle:
                since, line = self._idle.pop()
                if time.monotonic() - since > IDLE_SECONDS:
                    line.abort()
                    continue
                try:
                    return await self._ask(line, request, wire)
                except (OSError, EOFError):
                    continue  # the server has closed it meanwhile
            return await self._ask(await self._connect(), request, wire)

    async def _connect(self) -> TlsLine:
        host, port, name = self._server.host, self._server.port, self._server.name
        kind = socket.SOCK_STREAM
        # Not by the loop's own threads, which hold up its end for as long as the system does not answer.
        infos = await in_thread(socket.getaddrinfo, host, port, socket.AF_UNSPEC, kind)
        failed: OSError | None = None
        for address in dict.fromkeys(str(info[4][0]) for info in infos):
            try:
                line = await asyncio.open_connection(address, port, ssl=self._context, server_hostname=name)
            except ssl.SSLError:
                raise
            except OSError as error:
                failed = error
            else:
                return self._line(self._server, *line)
        raise failed or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))

    async def _ask(self, line: TlsLine, request: QueryMessage, wire: bytes) -> Message:
        try:
            response = dns.message.from_wire(await line.ask(wire))
            if not request.is_response(response):
                raise OSError(0, "answered another question")
        except BaseException:
            line.abort()
            raise
        self._idle.append((time.monotonic(), line))
        return response

    def close(self) -> None:
        for _, line in self._idle:
            line.abort()
        self._idle.clear()


class TlsLine:
    """A connection of DNS over TLS (RFC 7858)."""

    protocol = "dot"

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, wire: bytes) -> bytes:
        self._writer.write(len(wire).to_bytes(2, "big") + wire)
        length = int.from_bytes(await self._reader.readexactly(2), "big")
        return await self._reader.readexactly(length)

    def abort(self) -> None:
        self._writer.transport.abort()


class HttpsLine(TlsLine):
    """A connection of DNS over HTTPS (RFC 8484), always HTTP/2: much of what is public takes nothing else."""

    protocol = "h2"

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import h2.connection

        super().__init__(server, reader, writer)
        wrapped = writer.get_extra_info("ssl_object")
        if wrapped.selected_alpn_protocol() != self.protocol:
            self.abort()
            raise OSError(0, "does not speak HTTP/2")
        kind, place = "application/dns-message", str(server).removeprefix("https://")
        self._headers = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", place.removesuffix(server.path)),
            (":path", server.path),
            ("accept", kind),
            ("content-type", kind),
        ]
        self._http = h2.connection.H2Connection()
        self._http.initiate_connection()

    async def ask(self, wire: bytes) -> bytes:
        import h2.exceptions

        try:
            return await self._post(wire)
        except h2.exceptions.H2Error as error:
            raise OSError(0, f"does not speak HTTP/2 as we do: {error}") from error

    async def _post(self, wire: bytes) -> bytes:
        import h2.events

        stream = self._http.get_next_available_stream_id()
        self._http.send_headers(stream, [*self._headers, ("content-length", str(len(wire)))])
        self._http.send_data(stream, wire, end_stream=True)
        body, ended, read = b"", False, 0
        while not ended:
            self._writer.write(self._http.data_to_send())
            octets = await self._reader.read(MOST_OCTETS)
            if not octets:
                raise EOFError
            read += len(octets)
            if read > 2 * MOST_OCTETS:  # with all that HTTP puts around it
                raise OSError(0, "answered with more than a DNS message holds")
            for event in self._http.receive_data(octets):
                if isinstance(event, h2.events.ResponseReceived):
                    status = dict(event.headers or ())[b":status"].decode("ascii", "replace")
                    if status != "200":
                        raise OSError(0, f"answered with HTTP status {status}")
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data or b""
                    self._http.acknowledge_received_data(event.flow_controlled_length or 0, stream)
                elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                    raise EOFError
                ended = ended or isinstance(event, h2.events.StreamEnded)
        self._writer.write(self._http.data_to_send())
        return body


def _verifying(ca_file: str, protocol: str) -> ssl.SSLContext:
    """Trusts the authorities of the system, and those of the file."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([protocol])
    if ca_file:
        context.load_verify_locations(ca_file)
    return context


def _told(error: BaseException) -> OSError:
    """What went wrong, as an OSError with the number of the first one that led to it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return OSError(0, f"has no valid certificate: {cause.verify_message.rstrip('.')}")
        if isinstance(cause, ssl.SSLError):
            return OSError(0, f"does not speak TLS with us: {cause.reason or cause}")
        if isinstance(cause, socket.gaierror):
            return OSError(0, f"has no address: {cause.strerror}")
        if isinstance(cause, OSError) and cause.errno == 0:
            return cause
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
            return OSError(cause.errno, f"cannot be reached: {os.strerror(cause.errno)}")
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, EOFError):
        return OSError(0, "closed the connection")
    return OSError(0, f"failed: {str(error) or type(error).__name__}")


def local(error: Exception) -> bool:
    """Whether a look-up failed since this machine is out of something: no server was asked at all."""
    tried = getattr(error, "kwargs", {}).get("errors") or [(None, None, None, error)]
    return all(isinstance(one[3], OSError) and one[3].errno in _OURS for one in tried)


def why(error: Exception) -> str:
    """The servers that were asked, and what became of each: "192.0.2.1 and 192.0.2.2 did not answer within
    5 s"."""
    tried = getattr(error, "kwargs", {}).get("errors")
    if not tried:
        return str(error) or type(error).__name__
    waited: dict[str, float] = {}
    became: dict[str, str] = {}
    for name, _, _, cause, _ in tried:
        if isinstance(cause, str):
            became[name] = f"answered {cause}"
        elif isinstance(cause, OSError):
            became[name] = cause.strerror or str(cause)
        elif "timeout" in getattr(cause, "kwargs", {}):
            waited[name] = waited.get(name, 0.0) + cause.kwargs["timeout"]
            seconds = round(waited[name], 0 if waited[name] >= 1 else 1)
            became[name] = f"did not answer within {seconds:g} s"
        else:
            became[name] = f"answered what cannot be used: {cause}"
    names: dict[str, list[str]] = {}
    for name, what in became.items():
        names.setdefault(what, []).append(name)
    return "; ".join(f"{' and '.join(alike)} {what}" for what, alike in names.items())
