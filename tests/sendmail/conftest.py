"""The front as a program calls it: a process of its own, with a home and a spool of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from mailstrom_cli.api import Mailstrom
from mailstrom_cli.config.load import load
from mailstrom_cli.mail.status import STATES
from mailstrom_cli.store.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailstrom_cli.store.entry import Entry

PROGRAM = [sys.executable, "-m", "mailstrom_cli", "sendmail"]
MESSAGE = b"From: Ann <ann@example.org>\nTo: bob@example.net\nSubject: test\n\nHello\n"


class Done(NamedTuple):
    code: int
    out: str
    err: str


class Front:
    """`front("-t", input=...)` runs a command line; `only()` is what is in the spool then."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.looking: Mailstrom | None = None
        self.home = folder / "home"
        self.home.mkdir()
        self.spool = folder / "spool"
        kept = ("PATH", "PYTHONPATH", "LANG", "XDG_CONFIG_HOME", "XDG_STATE_HOME")
        self.env = {name: os.environ[name] for name in kept if name in os.environ}
        self.env |= {
            "HOME": str(self.home),
            "LOGNAME": "no-such-login",
            "NAME": "Carol Caller",
            "MAILSTROM_SPOOL": str(self.spool),
            "MAILSTROM_ORIGIN": "home.test",
            "MAILSTROM_LIMITS_MIN_FREE": "0",
        }

    def __call__(
        self,
        *words: str,
        input: bytes = MESSAGE,
        expect: int | None = 0,
        program: list[str] = PROGRAM,
        **env: str,
    ) -> Done:
        done = subprocess.run(
            [*program, *words],
            input=input,
            capture_output=True,
            env={**self.env, **env},
            cwd=self.folder,
            timeout=60,
            check=False,
        )
        told = Done(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in told.err, told.err
        if expect is not None:
            assert told.code == expect, told
        return told

    @property
    def mail(self) -> Mailstrom:
        """The spool, to look at what the processes have made of it."""
        if self.looking is None:
            self.looking = Mailstrom(load(None, self.env, {}).settings)
        return self.looking

    def entries(self) -> list[Entry]:
        return list(self.mail.queue(STATES))

    def only(self) -> Entry:
        (entry,) = self.entries()
        return entry

    def message(self, id: str | None = None) -> bytes:
        """The message as it will be sent, with LF."""
        with self.mail.message(id or self.only().id) as file:
            return file.read().replace(b"\r\n", b"\n")

    def field(self, name: str) -> str | None:
        """The value of a header field of the one message, unfolded; None when it is not there."""
        head = self.message().partition(b"\n\n")[0].decode().replace("\n ", " ").replace("\n\t", " ")
        found = [line for line in head.split("\n") if line.lower().startswith(name.lower() + ":")]
        assert len(found) < 2
        return found[0].partition(":")[2].strip() if found else None

    @property
    def body(self) -> bytes:
        return self.message().partition(b"\n\n")[2]

    @property
    def recipients(self) -> list[str]:
        return [r.address for r in self.only().recipients]

    @property
    def dead_letter(self) -> Path:
        return self.home / "dead.letter"


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    front = Front(tmp_path)
    yield front
    if front.looking is not None:
        store = front.looking.store
        assert isinstance(store, Spool)
        store.close()
