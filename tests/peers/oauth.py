"""A real HTTP server that gives OAuth tokens (RFC 6749, 8628), and tells whose they are (RFC 7662)."""

from __future__ import annotations

import json
import secrets
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from typing import Self

    Answer = Callable[[dict[str, str]], tuple[int, dict[str, Any] | bytes]]

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass
class TokenServer:
    """`with TokenServer(...) as server`. A refresh token is good for one use when `rotates`.

    answers: instead of the usual answer to "device", "token" or "introspect" (a list is used up).
    pending: how often the device flow is answered with authorization_pending before it succeeds.
    """

    client_id: str = "mailstrom-test"
    client_secret: str = ""
    user: str = "robot@example.org"
    scope: str = "mail offline_access"
    life: float = 3600
    rotates: bool = False
    pending: int = 1
    void: bool = False
    """No access token is good for anything."""
    tls: ssl.SSLContext | None = None
    answers: dict[str, list[tuple[int, dict[str, Any] | bytes]]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    refresh: set[str] = field(default_factory=set)
    access: set[str] = field(default_factory=set)
    prefix: str = "token"
    """What every token begins with, for those who look where it turns up."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._device = ""

    @property
    def url(self) -> str:
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://{'127.0.0.1' if self.tls is None else 'localhost'}:{self.port}"

    @property
    def grants(self) -> list[str]:
        """What the token endpoint was asked for, in order."""
        return [form.get("grant_type", "") for where, form in self.asked if where == "token"]

    def new_refresh(self) -> str:
        self.refresh.add(token := f"{self.prefix}-r-{secrets.token_hex(16)}")
        return token

    def answer(self, where: str, form: dict[str, str]) -> tuple[int, dict[str, Any] | bytes]:
        with self._lock:
            self.asked.append((where, form))
            if self.answers.get(where):
                return self.answers[where].pop(0)
            usual: Answer | None = {
                "device": self._begin, "token": self._token, "introspect": self._introspect,
            }.get(where)  # fmt: skip
            return usual(form) if usual is not None else (404, {"error": "not_found"})

    def _begin(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if form.get("client_id") != self.client_id:
            return 401, {"error": "invalid_client"}
        if form.get("scope", "") != self.scope:
            return 400, {"error": "invalid_scope"}
        self._device = f"{self.prefix}-d-{secrets.token_hex(8)}"
        told = {"device_code": self._device, "user_code": "WDJB-MJHT", "expires_in": 600, "interval": 1}
        return 200, {**told, "verification_uri": "https://login.example.test/device"}

    def _token(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if form.get("client_id") != self.client_id or form.get("client_secret", "") != self.client_secret:
            return 401, {"error": "invalid_client", "error_description": f"not {form.get('client_secret')}"}
        kind = form.get("grant_type")
        if kind == DEVICE and form.get("device_code") == self._device:
            if self.pending:
                self.pending -= 1
                return 400, {"error": "authorization_pending"}
            return 200, {**self._access(), "refresh_token": self.new_refresh()}
        held = form.get("refresh_token", "")
        if kind != "refresh_token" or held not in self.refresh:
            return 400, {"error": "invalid_grant", "error_description": f"{held} has been revoked"}
        if self.rotates:
            self.refresh.discard(held)
            return 200, {**self._access(), "refresh_token": self.new_refresh()}
        return 200, self._access()

    def _access(self) -> dict[str, Any]:
        self.access.add(token := f"{self.prefix}-a-{secrets.token_hex(16)}")
        return {"access_token": token, "expires_in": self.life, "token_type": "Bearer"}

    def _introspect(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        active = form.get("token") in self.access and not self.void
        return 200, {"active": active, **({"username": self.user, "email": self.user} if active else {})}

    def __enter__(self) -> Self:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                octets = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.reply(octets.decode())

            def do_GET(self) -> None:
                self.reply("")

            def reply(self, body: str) -> None:
                parts = urlsplit(self.path)
                form = {k: v[0] for k, v in parse_qs(f"{parts.query}&{body}").items()}
                status, told = server.answer(parts.path.strip("/"), form)
                octets = told if isinstance(told, bytes) else json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(octets)))
                self.end_headers()
                self.wfile.write(octets)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.port = self._server.server_port
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="tokens")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
