"""How the tests run the command line: as a process of its own, or in this one for speed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from mailstrom_cli.cli import app
from mailstrom_cli.cli.report import guarded
from mailstrom_cli.net.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GOLDEN = Path(__file__).parent / "golden"
MESSAGE = b"From: a@example.org\nTo: b@example.net\nSubject: test\n\nHello\n"


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


@pytest.fixture(autouse=True)
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spool of its own for every test."""
    path = tmp_path / "spool"
    monkeypatch.setenv("MAILSTROM_SPOOL", str(path))
    monkeypatch.setenv("MAILSTROM_LIMITS_MIN_FREE", "0")
    return path


@pytest.fixture
def process() -> Callable[..., Done]:
    """process("submit", ..., input=b"", env={}) -> Done; a real process, its stdout and stderr pipes."""

    def run(*arguments: str, input: bytes | None = b"", **env: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "mailstrom_cli", *arguments],
            input=input,
            capture_output=True,
            env={**os.environ, **env},
            timeout=60,
            check=False,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """here("queue", "--json") -> Done; through click, in this process."""

    def run(*arguments: str) -> Done:
        capsys.readouterr()
        code = guarded(lambda: app.run(arguments), arguments)
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return run


@pytest.fixture
def eml(tmp_path: Path) -> Callable[..., str]:
    """eml(name, octets) -> the path of a file with a message."""

    def write(name: str = "message.eml", octets: bytes = MESSAGE) -> str:
        path = tmp_path / name
        path.write_bytes(octets)
        return str(path)

    return write


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """The demo's server, and all mail goes there."""
    with Receiver() as server:
        host, port = server.address
        monkeypatch.setenv("MAILSTROM_VIA", f"smtp://{host}:{port}")
        yield server


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """golden(name, text): the text is what the file holds; UPDATE_GOLDEN=1 writes it."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get("UPDATE_GOLDEN"):
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return compare
