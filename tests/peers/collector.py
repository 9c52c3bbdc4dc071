"""A real HTTPS server that takes what is sent to it by POST, such as reports on TLS."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from typing import Self


@dataclass
class Collector:
    """`with Collector(context) as server`. answers: statuses in place of 201, used up one by one; a redirect
    leads to another path of the same server.  taken: (path, media type, octets) of each request."""

    tls: ssl.SSLContext
    answers: list[int] = field(default_factory=list)
    taken: list[tuple[str, str, bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/v1/tlsrpt"

    def __enter__(self) -> Self:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                octets = self.rfile.read(int(self.headers["Content-Length"]))
                collector.taken.append((self.path, self.headers["Content-Type"], octets))
                status = collector.answers.pop(0) if collector.answers else 201
                self.send_response(status)
                if status // 100 == 3:
                    self.send_header("Location", f"{collector.url}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing is logged."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = self.tls.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
