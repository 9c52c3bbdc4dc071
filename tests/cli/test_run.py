"""`mailstrom run` as a process, with `submit --wait`, `status --wait` and `flush` beside it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.api import Mailstrom

from .conftest import MESSAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailstrom_cli.net.receiver import Receiver

    from .conftest import Done

    Run = Callable[..., Done]


@pytest.fixture
def running(receiver: Receiver) -> Iterator[subprocess.Popen[bytes]]:
    """A `run` that listens."""
    child = subprocess.Popen([sys.executable, "-m", "mailstrom_cli", "run"], stderr=subprocess.PIPE)
    with child:
        store, end = Mailstrom.open().store, time.monotonic() + 30
        while not store.wake("") and child.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        yield child
        if child.poll() is None:
            child.kill()
        child.communicate()


@pytest.mark.parametrize(
    ("to", "line", "code"),
    [
        ("good@example.net", "--wait", 0),
        ("unknown@example.net", "--wait=60", 69),
        ("busy@example.net", "--wait=0.5", 75),
    ],
)
@pytest.mark.usefixtures("running")
def test_submit_waits_for_run(process: Run, to: str, line: str, code: int) -> None:
    done = process("submit", line, "-t", to, input=MESSAGE)
    assert done.code == code
    assert process("status", line, done.out.strip()).code == code


@pytest.mark.usefixtures("running")
def test_flush_beside_run_waits_for_its_pass_and_is_silent(process: Run) -> None:
    id = process("submit", "-t", "greylisted@example.net", input=MESSAGE).out.strip()
    assert process("flush", "-q", id) == (0, "", "")
    assert process("flush", "-q", id) == (0, "", "")
    assert process("status", "--wait=30", id).code == 0
    assert process("flush", id).err == f"note: {id} is already delivered\n"


@pytest.mark.usefixtures("running")
def test_flush_beside_run_tells_with_v_what_that_recorded(process: Run) -> None:
    id = process("submit", "-t", "busy@example.net", input=MESSAGE).out.strip()
    assert process("status", "--wait=0.5", id).code == 75
    done = process("flush", "-v", id)
    assert done == (0, "", f"deferred: {id} busy@example.net 450 4.2.2 Mailbox busy\n")


def test_one_run_a_spool_and_a_signal_ends_it(running: subprocess.Popen[bytes], process: Run) -> None:
    second = process("run")
    assert second.code != 0
    assert f"pid {running.pid}" in second.err
    running.send_signal(signal.SIGTERM)
    assert running.wait(timeout=30) == 0
