"""`mailstrom demo` shows every outcome, in seconds, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from .test_output import on_pty

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from .conftest import Done


def test_the_demo_in_a_pipe(process: Callable[..., Done], tmp_path: Path, spool: Path) -> None:
    done = process("demo", TMPDIR=str(tmp_path), MAILSTROM_VIA="nonsense", HOME="/nonexistent")
    assert (done.code, done.err) == (0, "")
    table = [line.split() for line in done.out.split("\n\n")[1].splitlines()]
    assert table[0] == ["MESSAGE", "RECIPIENT", "STATUS", "ATTEMPTS", "REASON"]
    outcomes = {row[1].partition("@")[0]: row[2:4] for row in table[1:]}
    assert outcomes["good"] == ["delivered", "1"]
    assert outcomes["unknown"] == ["failed", "1"]
    assert outcomes["greylisted"] == ["delivered", "2"]
    assert outcomes["busy"] == ["failed", "3"]
    assert "mailstrom submit" in done.out.split("\n\n", 2)[2]
    assert os.listdir(tmp_path) == []
    assert not spool.exists()


def test_the_demo_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    shown = on_pty("demo").decode()
    assert "greylisted@example.org" in shown
    assert "\x1b[" in shown
    assert os.listdir(tmp_path) == []


def test_a_demo_that_nobody_reads_on_stops_quietly(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "mailstrom_cli", "demo"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    with child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline().startswith(b"Welcome")
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(timeout=60) == 141
    assert os.listdir(tmp_path) == []


def test_a_demo_that_is_stopped_leaves_nothing_behind(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "mailstrom_cli", "demo"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    with child:
        assert child.stdout is not None
        assert child.stdout.readline().startswith(b"Welcome")
        assert os.listdir(tmp_path) != []
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=60)
    assert os.listdir(tmp_path) == []
