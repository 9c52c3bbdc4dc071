"""The real command, as a user runs it: processes, a spool in a temporary folder, and a configuration file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ..peers.process import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROGRAM = [sys.executable, "-m", "mailstrom_cli"]


class Installation:
    """One user's mailstrom: `spool`, `config`, and a way to call it."""

    def __init__(self, folder: Path) -> None:
        self.spool = folder / "spool"
        self.config = folder / "config.toml"
        self.log_file = folder / "run.log"
        self.running: list[subprocess.Popen[bytes]] = []
        self.configure('via = "mx:"')

    def configure(self, *lines: str) -> None:
        """Write the configuration; delays are short unless a line says otherwise."""
        text = "\n".join(lines)
        basics = ['helo_name = "client.example.test"', f'spool = "{self.spool}"']
        if "[retry]" not in text:
            text += '\n[retry]\nbase_delay = "1s"\nfactor = 1\njitter = 0\n'
        self.config.write_text("\n".join(basics) + "\n" + text)
        self.config.chmod(0o600)

    @property
    def command(self) -> list[str]:
        return [*PROGRAM, "--config", str(self.config)]

    def __call__(
        self, *words: str, input: str | bytes = "", expect: int | None = 0, seconds: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; its exit code is checked, and nothing may look like a traceback."""
        done = subprocess.run(
            [*self.command, *words],
            input=input if isinstance(input, bytes) else input.encode(),
            capture_output=True,
            timeout=seconds,
            check=False,
        )
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        assert "Traceback" not in err, err
        if expect is not None:
            assert done.returncode == expect, f"exit {done.returncode}, stdout {out!r}, stderr {err!r}"
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def submit(
        self, *words: str, input: str | bytes = "From: ann@example.org\nSubject: hi\n\nHello\n"
    ) -> str:
        """Submit one message and give its id."""
        return self("submit", *words, input=input).stdout.strip()

    def status(self, id: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self("status", "--json", id).stdout)
        return told

    def recipients(self, id: str) -> dict[str, dict[str, Any]]:
        return {r["address"]: r for r in self.status(id)["recipients"]}

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """`mailstrom run` in the background, ended with the test."""
        begun = len(self.log())
        with self.log_file.open("ab") as log:
            process = subprocess.Popen([*self.command, *words, "run"], stderr=log, stdin=subprocess.DEVNULL)
        self.running.append(process)
        wait_for(lambda: "running" in self.log()[begun:] or process.poll() is not None, 20, "`run` to start")
        assert process.poll() is None, self.log()[begun:]
        return process

    def log(self) -> str:
        """What all `run` have logged."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    def ids(self, state: str) -> set[str]:
        return {entry.name for entry in os.scandir(self.spool / state)}

    def wait_until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        wait_for(condition, seconds, what)

    def stop_all(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()


@pytest.fixture
def mailstrom(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path)
    yield installation
    installation.stop_all()
