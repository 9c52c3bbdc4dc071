"""Forms sent to a web service: verified TLS, no redirects, bounded in time and size. To be called in a
thread."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
from urllib.parse import urlencode, urlsplit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

SECONDS = 30.0
LARGEST = 65_536


class NoAnswer(Exception):
    """There is no answer that could be used; the text says why, and begins with the host."""


def post(url: str, form: Mapping[str, str], ca_file: str) -> tuple[int, dict[str, Any]]:
    """The status and the JSON object that a service answers with. ca_file: authorities to trust beside the
    system's, or "". Raises NoAnswer."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        connection = _connection(parts.scheme, host, parts.port, ca_file)
        with contextlib.closing(connection), _watched(connection):
            target = parts.path or "/"
            connection.request(
                "POST",
                f"{target}?{parts.query}" if parts.query else target,
                urlencode(form),
                {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            )
            with connection.getresponse() as response:
                octets = response.read(LARGEST + 1)
    except ssl.SSLCertVerificationError as error:
        raise NoAnswer(f"{host}: certificate not verified: {error.verify_message}") from None
    except TimeoutError:
        raise NoAnswer(f"{host}: timed out") from None
    except OSError as error:
        raise NoAnswer(f"{host}: {error.strerror or type(error).__name__}") from None
    except http.client.HTTPException as error:
        raise NoAnswer(f"{host}: no HTTP ({type(error).__name__})") from None
    if len(octets) > LARGEST:
        raise NoAnswer(f"{host}: an answer of more than {LARGEST} octets")
    try:
        told = json.loads(octets)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise NoAnswer(f"{host}: HTTP status {response.status}, and no JSON")
    return response.status, told


def deliver(url: str, octets: bytes, kind: str, ca_file: str) -> int:
    """The status with which a service takes octets of a media type, by POST. Raises NoAnswer."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    target = parts.path or "/"
    try:
        connection = _connection(parts.scheme, host, parts.port, ca_file)
        with contextlib.closing(connection), _watched(connection):
            target = f"{target}?{parts.query}" if parts.query else target
            connection.request("POST", target, octets, {"Content-Type": kind})
            with connection.getresponse() as response:
                return response.status
    except ssl.SSLCertVerificationError as error:
        raise NoAnswer(f"{host}: certificate not verified: {error.verify_message}") from None
    except TimeoutError:
        raise NoAnswer(f"{host}: timed out") from None
    except (OSError, ValueError) as error:
        raise NoAnswer(f"{host}: {getattr(error, 'strerror', None) or type(error).__name__}") from None
    except http.client.HTTPException as error:
        raise NoAnswer(f"{host}: no HTTP ({type(error).__name__})") from None


def _connection(scheme: str, host: str, port: int | None, ca_file: str) -> http.client.HTTPConnection:
    if scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=SECONDS)
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file:
        context.load_verify_locations(ca_file)
    return http.client.HTTPSConnection(host, port, timeout=SECONDS, context=context)


@contextlib.contextmanager
def _watched(connection: http.client.HTTPConnection) -> Any:
    """Have it end after so many seconds in all: the time-out of a socket is for each piece."""
    late = threading.Event()

    def cut() -> None:
        late.set()
        if connection.sock is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket's, which would take the TLS state from under the thread that reads.
                socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

    timer = threading.Timer(SECONDS, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if late.is_set():  # whatever came of it, at worst a piece of an answer
            raise TimeoutError
