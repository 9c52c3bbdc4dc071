"""A large message, streamed from a pipe to the server in bounded memory: with BDAT, with DATA, converted."""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from tests.peers.scripted import Script, ScriptedServer

from .command import Limited, honest

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
SIZE = 64 * MIB
MEMORY = 48 * MIB  # of data, beside mapped files
HEAD = (
    b"From: a@example.org\r\nTo: b@example.net\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n"
    b"Message-ID: <1@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\n"
)
LINE = b"." + b"\xc3\xbc" * 30 + b"\r\n"
WRITE = f"import sys; w = sys.stdout.buffer.write; w({HEAD!r}); [w({LINE!r} * 1000) for _ in range({{}})]"


@pytest.mark.parametrize("way", ["BDAT", "DATA", "converted"])
def test_a_large_message_is_streamed(tmp_path: Path, way: str) -> None:
    times = SIZE // len(LINE) // 1000
    script = Script(chunking=way == "BDAT", eight_bit=way != "converted", keep_bodies=False)
    with ScriptedServer(script) as server:
        mail = Limited(tmp_path / "spool", tmp_path / "log", server)
        mail.environment |= {"MAILSTROM_LIMITS_MESSAGE_SIZE": f"{2 * SIZE}", "TMPDIR": str(tmp_path)}
        try:
            program = [sys.executable, "-c", WRITE.format(times)]
            with subprocess.Popen(program, stdout=subprocess.PIPE) as writer:
                honest(mail.under("submit", stdin=writer.stdout, data=MEMORY), 0)
            honest(mail.under("flush", data=MEMORY), 0)
        finally:
            mail.stop_all()
        (sent,) = server.transactions
        assert sent.accepted
        assert server.violations == []
        if way != "converted":
            digest = sha256(HEAD)
            for _ in range(times):
                digest.update(LINE * 1000)
            assert sent.sha256 == digest.hexdigest()
        else:
            assert sent.size > SIZE
