"""mailstrom as it is installed, with a spool and a configuration of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .group import Group, group, program, sh, within
from .sinks import DNS_PORT, HOST, PORT

if TYPE_CHECKING:
    from collections.abc import Sequence

BIN = Path(sys.executable).parent
DAY = 86400
HEAD = (
    "From: a@bench.test\nTo: c@dest.test\nSubject: bench\nDate: Mon, 01 Jan 2024 00:00:00 +0000\n"
    "Message-ID: <bench@bench.test>\nMIME-Version: 1.0\nContent-Type: text/plain\n\n"
)
LINE = "The quick brown fox jumps over the lazy dog, again and again and ag.\n"


def message(size: int = 4096) -> bytes:
    """A mail with LF line ends, as a local program would hand it in."""
    return (HEAD + LINE * (size // len(LINE) + 1)).encode()[: size - 1] + b"\n"


class Mailstrom:
    """keys: further keys of the configuration by their dotted names, as TOML values."""

    def __init__(self, state: Path, relay: str = HOST, netns: str = "", **keys: object) -> None:
        self.folder, self.netns = state / "mailstrom", netns
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700)
        self.spool, self.config = self.folder / "spool", self.folder / "mailstrom.toml"
        via = "mx:" if relay == "mx" else f"smtp://{relay}:{PORT}"
        lines = ['helo_name = "bench.test"', f'via = "{via}"', f'spool = "{self.spool}"']
        if relay == "mx":
            lines += [f'dns.resolver = "{HOST}:{DNS_PORT}"', f"smtp.port = {PORT}", 'smtp.ip = "ipv4"']
        lines += [f"{name.replace('__', '.')} = {value}" for name, value in keys.items()]
        self.config.write_text("\n".join(lines) + "\n")
        self.message = self.folder / "message"
        self.message.write_bytes(message())

    def command(self, *arguments: object) -> list[str]:
        return [str(BIN / "mailstrom"), "--config", str(self.config), *map(str, arguments)]

    def fill(self, count: int, later: float = 0, domains: Sequence[str] = ("dest.test",)) -> float:
        """Queue so many messages; messages per second."""
        began = time.perf_counter()
        text = ",".join(domains)
        sh(program("fill", self.config, self.spool, self.message, count, later, text))
        return count / (time.perf_counter() - began)

    def run(self, *arguments: object, **options: Any) -> str:
        return sh(within(self.netns) + self.command(*arguments), **options)

    def flush(self, seconds: float = 900) -> dict[str, float]:
        return self.watched("flush", seconds=seconds)

    def watched(self, *arguments: object, seconds: float = 900) -> dict[str, float]:
        """One command, of which the whole life counts: seconds, CPU milliseconds, memory in MB."""
        with group("mailstrom") as made:
            began = time.perf_counter()
            child = made.spawn(self.command(*arguments), self.netns, stderr=subprocess.PIPE)
            pss = peak = 0.0
            looked = glanced = began
            while child.poll() is None:
                if time.perf_counter() - began > seconds:
                    raise TimeoutError(f"{arguments[0]} took more than {seconds:g} s")
                time.sleep(0.005)
                if time.perf_counter() - glanced > 0.04:
                    peak, glanced = max(peak, made.peak_mb()), time.perf_counter()
                if time.perf_counter() - looked > 0.2:  # a look stops the process for a moment
                    pss = max(pss, made.pss_mb())
                    looked = time.perf_counter()
            wall = time.perf_counter() - began
            assert child.stderr
            said = child.stderr.read()
            child.stderr.close()
            if child.returncode:
                raise RuntimeError(f"{arguments[0]}: exit code {child.returncode}: {said[-500:]}")
            return {"s": wall, "cpu_ms": made.cpu_ms(), "pss_mb": pss, "peak_mb": peak}

    def start_run(self, made: Group) -> subprocess.Popen[str]:
        return made.spawn(self.command("--quiet", "run"), self.netns)

    def count(self, state: str) -> int:
        return len(os.listdir(self.spool / state))

    def expect(self, state: str, count: int) -> None:
        """Raises RuntimeError unless so many messages are in this state: a figure of lost mail is none."""
        if (found := self.count(state)) != count:
            raise RuntimeError(f"{found} of {count} messages are {state}")

    def __enter__(self) -> Mailstrom:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
