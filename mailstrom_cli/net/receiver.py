"""A small SMTP server on the loopback interface, for `mailstrom demo`: it answers by local part.

    good*         250, taken
    greylisted*   450 the first time, then as good
    busy*         450 every time
    unknown*      550

Anybody else is refused. Nothing that it takes is kept.
"""

from __future__ import annotations

import contextlib
import socketserver
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

EXTENSIONS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "SIZE 10485760")
LONGEST_LINE = 2000
TAKEN, BUSY, GREYLISTED = "250 2.1.5 Ok", "450 4.2.2 Mailbox busy", "450 4.7.1 Greylisted, come back later"
UNKNOWN = "550 5.1.1 No such mailbox here"


class Receiver:
    """A context manager; while it is open the server listens at `address` (127.0.0.1 and a free port)."""

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Session)
        host, port = self._server.server_address[:2]
        self.address: tuple[str, int] = (str(host), int(port))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False  # a client that keeps its connection does not keep us
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: type[socketserver.BaseRequestHandler]) -> None:
        super().__init__(address, handler)
        self._lock = threading.Lock()
        self._seen: set[str] = set()

    def judge(self, recipient: str) -> str:
        """The reply to RCPT for this address; remembers whom it has put off."""
        local = recipient.partition("@")[0].lower()
        if local.startswith("greylisted"):
            with self._lock:
                first = recipient not in self._seen
                self._seen.add(recipient)
            return GREYLISTED if first else TAKEN
        if local.startswith("busy"):
            return BUSY
        return TAKEN if local.startswith("good") else UNKNOWN


class _Session(socketserver.StreamRequestHandler):
    server: _Server
    timeout = 60

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self._reply("220 receiver.test ESMTP")
            while self._command(self.rfile.readline(LONGEST_LINE)):
                pass

    def _reply(self, *lines: str) -> bool:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())
        return True

    def _command(self, line: bytes) -> bool:
        """Answer one command; False when the session is over."""
        verb, _, argument = line.decode("utf-8", "replace").strip().partition(" ")
        match verb.upper():
            case "":
                return False
            case "EHLO":
                told = ("receiver.test", *EXTENSIONS)
                marked = [f"250{' ' if i == len(told) - 1 else '-'}{text}" for i, text in enumerate(told)]
                return self._reply(*marked)
            case "MAIL":
                self._accepted = 0
                return self._reply("250 2.1.0 Ok")
            case "RCPT":
                reply = self.server.judge(argument.partition("<")[2].partition(">")[0])
                self._accepted += reply is TAKEN
                return self._reply(reply)
            case "DATA":
                return self._data()
            case "QUIT":
                self._reply("221 2.0.0 Bye")
                return False
            case "RSET" | "NOOP" | "HELO":
                return self._reply("250 2.0.0 Ok")
        return self._reply("502 5.5.1 Not known here")

    _accepted = 0

    def _data(self) -> bool:
        if not self._accepted:
            return self._reply("554 5.5.1 No valid recipients")
        self._reply("354 Go on, end with a dot on a line of its own")
        size = 0
        while (line := self.rfile.readline(LONGEST_LINE)) != b".\r\n":
            if not line:
                return False
            size += len(line)
        return self._reply(f"250 2.0.0 Ok, {size} octets taken")
