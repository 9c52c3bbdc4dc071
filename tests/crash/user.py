"""One user's mailstrom on a disk that fails: commands, a `run`, and what is in the spool."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING

from mailstrom_cli.api import Mailstrom, Request, Submitted
from mailstrom_cli.config.schema import build
from mailstrom_cli.errors import CANT_CREATE, TEMPORARY, NoSpool
from mailstrom_cli.mail.status import STATES
from tests.peers.process import wait_for

from .halt import DIES_WITH_US, HERE, MAILSTROM, Done

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import IO

    from mailstrom_cli.store.entry import Entry
    from tests.peers.scripted import ScriptedServer

TICKS = os.sysconf("SC_CLK_TCK")


class User:
    def __init__(self, spool: Path, log: Path, server: ScriptedServer | None = None) -> None:
        """log: of `run`.  server: where mail goes."""
        self.spool = spool
        self.environment = {
            "MAILSTROM_SPOOL": str(spool),
            "MAILSTROM_LIMITS_MIN_FREE": "0",
            "MAILSTROM_HELO_NAME": "client.example.test",
            "MAILSTROM_VIA": f"smtp://127.0.0.1:{server.port if server else 9}",
        }
        self._log = log
        self._number = 0
        self._begun: list[subprocess.Popen[bytes]] = []

    # --- commands ---

    def message(self, size: int = 0, to: str = "b@example.net") -> bytes:
        """Another one, complete, of at least so many octets."""
        self._number += 1
        head = (
            f"From: a@example.org\r\nTo: {to}\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n"
            f"Message-ID: <{self._number}@example.org>\r\n\r\n"
        )
        return head.encode() + b"0123456789\r\n" * (size // 12)

    def __call__(self, *words: str, stdin: bytes = b"") -> Done:
        return self.end(self.begin(*words), stdin)

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        return self._begin(words, subprocess.PIPE, subprocess.PIPE)

    def end(self, process: subprocess.Popen[bytes], stdin: bytes = b"") -> Done:
        out, err = process.communicate(stdin, 60)
        assert b"Traceback" not in err, err.decode()
        return Done(process.returncode, out.decode(), err.decode())

    def _begin(self, words: Sequence[str], stdin: int, stderr: IO[bytes] | int) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [*DIES_WITH_US, *MAILSTROM, *words],
            stdin=stdin,
            stdout=subprocess.PIPE if stdin == subprocess.PIPE else None,
            stderr=stderr,
            env={**os.environ, **self.environment},
            cwd=HERE,
        )
        self._begun.append(process)
        return process

    def submit(self, *words: str, size: int = 0) -> Done:
        return self("submit", *words, stdin=self.message(size))

    def submit_many(self, count: int) -> None:
        """So many, without a command for each."""
        mail = self.mail(create=True)
        for outcome in mail.submit_many([(self.message(), Request()) for _ in range(count)]):
            assert isinstance(outcome, Submitted)
        mail.store.close()  # type: ignore[attr-defined]

    def start(self) -> subprocess.Popen[bytes]:
        """`run`, until it is at work."""
        begun = self.log().count(" running (")
        with self._log.open("ab") as log:
            process = self._begin(("run",), subprocess.DEVNULL, log)
        wait_for(lambda: self.log().count(" running (") > begun or process.poll() is not None, 20, "`run`")
        assert process.poll() is None, self.log()
        return process

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        """Its exit code after SIGTERM, which does not take long."""
        process.send_signal(signal.SIGTERM)
        return process.wait(20)

    def stop_all(self) -> None:
        for process in self._begun:
            if process.poll() is None:
                process.kill()
            process.wait()

    # --- the spool ---

    def mail(self, *, create: bool = False) -> Mailstrom:
        return Mailstrom(build({"spool": str(self.spool), "limits.min_free": 0}), create=create)

    def entries(self) -> dict[str, Entry]:
        """Every message, by id; none is damaged, and each is whole."""
        mail = self.mail()
        try:
            store = mail.store
        except NoSpool:
            return {}
        try:
            corrupt = self.spool / "corrupt"
            assert list(corrupt.iterdir()) == []
            found = {entry.id: entry for entry in mail.queue(STATES)}
            for id, entry in found.items():
                with store.open_message(id) as message:
                    octets = sum(map(len, iter(lambda: message.read(1 << 20), b"")))
                    assert octets == entry.envelope.size
            return found
        finally:
            store.close()  # type: ignore[attr-defined]

    def states(self) -> list[str]:
        return sorted(entry.state for entry in self.entries().values())

    def left(self) -> list[str]:
        """What is in tmp/."""
        tmp = self.spool / "tmp"
        return os.listdir(tmp) if tmp.exists() else []


def refused(done: Done, why: str, code: int = TEMPORARY) -> None:
    """Nothing on stdout; on stderr one error a message, each in one line and for this reason, and a hint."""
    errors = [line for line in done.err.splitlines() if not line.startswith("hint: ")]
    assert done.code == code, done
    assert done.out == ""
    assert errors, "no error is told"
    assert all(re.match(rf"error: .*{why}", line) for line in errors), done.err
    assert len(done.err.splitlines()) <= 2 * len(errors)


def not_created(done: Done, why: str) -> None:
    refused(done, why, CANT_CREATE)


def processor_time(process: subprocess.Popen[bytes]) -> float:
    """Seconds that it has used so far."""
    with open(f"/proc/{process.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
