"""A small client for web services: verified TLS, no redirects, bounded in time and size. To be called in a
thread."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from functools import partial
from urllib.parse import urlencode, urlsplit

from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

SECONDS = 30.0
LARGEST = 65_536


class NoAnswer(Exception):
    """There is no answer that could be used; the text says why, and begins with the host."""


class Untrusted(NoAnswer):
    """The certificate of the host is not valid for it."""


@value
class Answer:
    """What a host has said. kind: the media type, without parameters, in lower case."""

    status: int
    kind: str
    octets: bytes


def post(url: str, form: Mapping[str, str], ca_file: str) -> tuple[int, dict[str, Any]]:
    """The status and the JSON object that a service answers with. ca_file: authorities to trust beside the
    system's, or "". Raises NoAnswer."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    target = parts.path or "/"
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    request = "POST", f"{target}?{parts.query}" if parts.query else target, urlencode(form), headers

    def connection() -> http.client.HTTPConnection:
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, parts.port, timeout=SECONDS)
        return _Verified(host, parts.port, SECONDS, context(ca_file), ())

    answer = _ask(host, connection, request, SECONDS)
    try:
        told = json.loads(answer.octets)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise NoAnswer(f"{host}: HTTP status {answer.status}, and no JSON")
    return answer.status, told


def deliver(url: str, octets: bytes, kind: str, ca_file: str) -> int:
    """The status with which a service takes octets of a media type, by POST. Raises NoAnswer."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise NoAnswer(f"{url}: no URL") from None
    target = parts.path or "/"
    request = "POST", f"{target}?{parts.query}" if parts.query else target, octets, {"Content-Type": kind}

    def connection() -> http.client.HTTPConnection:
        return _Verified(host, port, SECONDS, context(ca_file), ())

    return _ask(host, connection, request, SECONDS).status


def get(
    host: str, path: str, addresses: Sequence[str], trusted: ssl.SSLContext, seconds: float, port: int
) -> Answer:
    """What a host has at a path, asked at the first of its addresses that answers. Raises NoAnswer."""
    connection = partial(_Verified, host, port, seconds, trusted, addresses)
    return _ask(host, connection, ("GET", path, None, {}), seconds)


def _ask(
    host: str, connect: Callable[[], http.client.HTTPConnection], request: tuple[Any, ...], seconds: float
) -> Answer:
    try:
        connection = connect()
        with contextlib.closing(connection), _watched(connection, seconds):
            connection.request(*request)
            with connection.getresponse() as response:
                octets = response.read(LARGEST + 1)
    except ssl.SSLCertVerificationError as error:
        raise Untrusted(f"{host}: certificate not verified: {error.verify_message}") from None
    except TimeoutError:
        raise NoAnswer(f"{host}: timed out") from None
    except OSError as error:
        raise NoAnswer(f"{host}: {error.strerror or type(error).__name__}") from None
    except http.client.HTTPException as error:
        raise NoAnswer(f"{host}: no HTTP ({type(error).__name__})") from None
    if len(octets) > LARGEST:
        raise NoAnswer(f"{host}: an answer of more than {LARGEST} octets")
    kind = response.headers.get("Content-Type", "").partition(";")[0]
    return Answer(response.status, kind.strip().lower(), octets)


def context(ca_file: str) -> ssl.SSLContext:
    """One that verifies a host. ca_file: authorities to trust beside the system's, or "". Raises OSError."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_default_certs()
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.hostname_checks_common_name = False
    if ca_file:
        made.load_verify_locations(ca_file)
    return made


class _Verified(http.client.HTTPSConnection):
    """One whose host is looked up by the caller, at these addresses, or, with none, by the system."""

    def __init__(
        self, host: str, port: int | None, seconds: float, trusted: ssl.SSLContext, addresses: Sequence[str]
    ) -> None:
        super().__init__(host, port, timeout=seconds, context=trusted)
        self._trusted = trusted
        self._addresses = tuple(addresses) or (host,)

    def connect(self) -> None:
        self.sock = self._trusted.wrap_socket(self._dialled(), server_hostname=self.host)

    def _dialled(self) -> socket.socket:
        assert self.timeout is not None
        end = time.monotonic() + self.timeout
        for left, address in zip(range(len(self._addresses), 0, -1), self._addresses, strict=True):
            share = max(end - time.monotonic(), 0.001) / left
            try:
                dialled = socket.create_connection((address, self.port), share)
            except OSError:
                if left == 1:
                    raise
            else:
                dialled.settimeout(self.timeout)
                return dialled
        raise AssertionError


@contextlib.contextmanager
def _watched(connection: http.client.HTTPConnection, seconds: float) -> Any:
    """Have it end after so many seconds in all: the time-out of a socket is for each piece."""
    late = threading.Event()

    def cut() -> None:
        late.set()
        if connection.sock is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket's, which would take the TLS state from under the thread that reads.
                socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if late.is_set():  # whatever came of it, at worst a piece of an answer
            raise TimeoutError
