"""A real HTTPS server that has MTA-STS policies (RFC 8461)."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Mapping
    from typing import Self

PATH = "/.well-known/mta-sts.txt"


def policy(*mx: str, mode: str = "enforce", max_age: int = 604_800) -> bytes:
    lines = ["version: STSv1", f"mode: {mode}", *[f"mx: {host}" for host in mx], f"max_age: {max_age}"]
    return "\r\n".join([*lines, ""]).encode()


@dataclass
class Reply:
    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "text/plain"})


class PolicyHost:
    """`with PolicyHost(context) as host`. replies: by host name; of others there is a 404.

    hold: while it is clear, nobody gets an answer.  asked: the host names, in order.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self.replies: dict[str, Reply] = {}
        self.asked: list[str] = []
        self.hold = threading.Event()
        self.hold.set()
        self._context = context

    def count(self, domain: str) -> int:
        """How often the policy of a domain was asked for."""
        return self.asked.count(f"mta-sts.{domain}")

    def serve(self, domain: str, reply: Reply | bytes) -> None:
        self.replies[f"mta-sts.{domain}"] = reply if isinstance(reply, Reply) else Reply(reply)

    def __enter__(self) -> Self:
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.headers.get("Host", "").partition(":")[0]
                host.asked.append(name)
                host.hold.wait(10)
                reply = host.replies.get(name) if self.path == PATH else None
                reply = reply or Reply(status=404)
                self.send_response(reply.status)
                for key, held in reply.headers.items():
                    self.send_header(key, held)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def finish_request(self, request: socket.socket, address: object) -> None:  # type: ignore[override]
                try:
                    with host._context.wrap_socket(request, server_side=True) as secured:
                        secured.settimeout(10)
                        Handler(secured, address, self)
                except OSError:
                    pass  # the client was not content with the certificate, or has gone

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="policies")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hold.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
