"""What `status`, `queue` and `show` print: in a pipe, on a terminal of 80 columns, as JSON; golden files."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
import time
import unicodedata
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from mailstrom_cli.api import Mailstrom, Request
from mailstrom_cli.cli import output
from mailstrom_cli.cli import queue as queue_module
from mailstrom_cli.cli import status as status_module
from mailstrom_cli.cli.output import plain_row, plain_table
from mailstrom_cli.cli.report import one_line
from mailstrom_cli.store.base import DamagedMessage

from . import samples
from .conftest import MESSAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Literal

    from .conftest import Done

    Run = Callable[..., Done]
    Golden = Callable[[str, str], None]

MANY = "06h0rpy828cw2neh"
# fmt: off
STATUS_KEYS = [
    "id", "message_id", "status", "sender", "size", "held", "submitted", "next_attempt", "attempts",
    "recipients",
]
RECIPIENT_KEYS = [
    "address", "status", "attempts", "last_attempt", "next_attempt", "host", "tls", "tls_cipher",
    "tls_by", "code", "enhanced", "text", "remote_id",
]
POSTFIX_KEYS = [
    "queue_name", "queue_id", "arrival_time", "message_size", "forced_expire", "sender", "recipients",
]
# fmt: on


@pytest.fixture
def _samples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The messages of `samples`, looked at at a fixed time in UTC."""
    monkeypatch.setattr(Mailstrom, "open", lambda *options, **more: samples.mailstrom())
    clock = SimpleNamespace(time=lambda: samples.NOW)
    monkeypatch.setattr(status_module, "time", clock)
    monkeypatch.setattr(queue_module, "time", clock)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal of 80 columns shows, without its colours."""
    screen = io.StringIO()
    monkeypatch.setattr(output, "on_terminal", lambda: True)
    monkeypatch.setattr(
        output,
        "console",
        lambda: Console(file=screen, width=80, force_terminal=True, color_system=None, highlight=False),
    )
    return screen


ON_PIPE = {
    "status": ["status", MANY, "06h0rpy7"],
    "status-verbose": ["status", "-v", MANY],
    "status-hostile": ["status", "06h0rq0h"],
    "queue": ["queue"],
    "queue-all": ["queue", "--state", "all"],
    "show-log": ["show", "--log", MANY],
}


@pytest.mark.usefixtures("_samples")
@pytest.mark.parametrize("name", ON_PIPE)
def test_in_a_pipe(name: str, here: Run, golden: Golden) -> None:
    done = here(*ON_PIPE[name])
    assert (done.code, done.err) == (0, "")
    assert all(c.isprintable() or c == "\n" for c in done.out)
    assert not re.search("[\u2500-\u257f]", done.out)  # box characters
    golden(f"{name}.pipe", done.out)


@pytest.mark.usefixtures("_samples")
@pytest.mark.parametrize("name", ["status", "status-hostile", "queue", "queue-all"])
def test_on_a_terminal(name: str, here: Run, terminal: io.StringIO, golden: Golden) -> None:
    done = here(*ON_PIPE[name])
    assert (done.code, done.err) == (0, "")
    shown = "".join(line.rstrip() + "\n" for line in (terminal.getvalue() + done.out).splitlines())
    assert max(len(line) for line in shown.splitlines()) <= 80
    golden(f"{name}.tty", shown)


@pytest.mark.usefixtures("_samples")
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("status", ["status", "--json", MANY]),
        ("status-list", ["status", "--json", "06h0rpy7", "06h0rq0h"]),
        ("queue", ["queue", "--json", "--state", "all"]),
        ("show-sidecar", ["show", "--sidecar", MANY]),
    ],
)
def test_json(name: str, line: list[str], here: Run, golden: Golden) -> None:
    done = here(*line)
    assert (done.code, done.err) == (0, "")
    objects = [json.loads(text) for text in done.lines]
    golden(f"{name}.json", "".join(json.dumps(o, indent=1) + "\n" for o in objects))


@pytest.mark.usefixtures("_samples")
def test_the_keys_of_status_are_those_of_the_contract(here: Run) -> None:
    told = json.loads(here("status", "--json", MANY).out)
    assert list(told) == STATUS_KEYS
    assert all(list(recipient) == RECIPIENT_KEYS for recipient in told["recipients"])


@pytest.mark.usefixtures("_samples")
def test_verbose_json_is_still_json(here: Run) -> None:
    told = json.loads(here("status", "-v", "--json", MANY).out)
    assert list(told) == [*STATUS_KEYS, "transcripts"]
    assert told["transcripts"][0]["time"] == "2026-11-24T02:43:01Z"
    assert "C: EHLO" in told["transcripts"][0]["text"]


@pytest.mark.usefixtures("_samples")
def test_the_keys_of_queue_are_those_of_postfix_beside_ours(here: Run) -> None:
    for line in here("queue", "--json").lines:
        told = json.loads(line)
        assert set(told) == {*STATUS_KEYS, *POSTFIX_KEYS}
        for recipient in told["recipients"]:
            deferred = recipient["status"] == "deferred"
            assert set(recipient) == {*RECIPIENT_KEYS, *(["delay_reason"] if deferred else [])}


@pytest.mark.usefixtures("_samples")
def test_count_and_states(here: Run) -> None:
    assert here("queue", "--count").out == "4\n"
    assert here("queue", "--count", "--state", "failed", "--state", "delivered").out == "2\n"
    assert here("queue", "--count", "--state", "FAILED").out == "1\n"
    assert here("queue", "--count", "--json").out == '{"count": 4}\n'
    assert here("queue", "--state", "lost").code == 64


def test_an_empty_queue_prints_nothing_in_a_pipe(here: Run) -> None:
    Mailstrom.open().store  # noqa: B018  (makes it)
    assert here("queue") == (0, "", "")
    assert here("queue", "--count") == (0, "0\n", "")


def test_an_empty_queue_is_told_on_a_terminal(here: Run, terminal: io.StringIO) -> None:
    Mailstrom.open().store  # noqa: B018  (makes it)
    assert here("queue") == (0, "", "note: the queue is empty\n")
    assert here("queue", "--state", "failed") == (0, "", "note: there is no message in these states\n")


def test_a_recipient_that_waits_is_shown_before_one_that_failed(here: Run) -> None:
    """The reply and the next attempt in one line are of one recipient."""
    store = Mailstrom.open().store
    (id,) = [Mailstrom.open().submit(MESSAGE, Request(recipients=("bad@example.net", "busy@example.net"))).id]
    failed = {"address": "bad@example.net", "status": "failed", "code": 550, "text": "No such user"}
    waits = {
        "address": "busy@example.net",
        "status": "deferred",
        "code": 450,
        "text": "Busy",
        "next": samples.NOW,
    }
    lease = store.lease(id)
    assert lease is not None
    with lease:
        lease.record({"event": "results", "time": samples.T0, "recipients": [failed, waits]})
    _, line = here("queue").lines
    assert "busy@example.net+1" in line
    assert line.endswith("450 Busy")


def test_what_is_set_aside_and_what_cannot_be_read_is_told(
    here: Run, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail = Mailstrom.open()
    bad, torn, good = (mail.submit(MESSAGE, Request()).id for _ in range(3))
    (spool / "queued" / bad / "message.jsonl").write_bytes(b"\xff\n")
    with pytest.raises(DamagedMessage):
        mail.store.lease(bad)
    (spool / "queued" / torn / "message.jsonl").write_bytes(b"")
    done = here("queue")
    assert [line.split()[0] for line in done.lines[1:]] == [good]
    assert done.err.splitlines() == [
        f"warning: message {torn} is damaged: the sidecar is empty",
        f"warning: 1 message could not be read and is set aside in {spool}/corrupt",
    ]
    assert here("queue", "-q", "--count").err == ""
    found = here("status", bad[-8:])
    assert found.code == 66
    assert f"error: message {bad} is damaged: " in found.err
    assert f"hint: what is left of it is in {spool}/corrupt/{bad}" in found.err


def test_plain_columns_are_aligned_and_a_long_list_is_not_held() -> None:
    taken = 0

    def rows() -> Iterator[tuple[str, str]]:
        nonlocal taken
        for i in range(100_000):
            taken = i
            yield f"{i}", ""

    lines = plain_table(("N", "EMPTY"), rows())
    assert [next(lines) for _ in range(2)] == ["N    EMPTY", "0    -"]
    assert taken < 1000


@pytest.mark.parametrize("text", ["x", "\x1b[2J", "\u202e", "\xa0", "\xe9" * 200, "x" * 201, ""])
def test_a_cell_of_a_row_is_one_harmless_piece(text: str) -> None:
    for cells in (("a", text), (text, "a"), ("b" * 150, text)):
        shown = plain_row("%-3s  %s", cells)
        assert shown == "{:3}  {}".format(*(one_line(cell, 200) for cell in cells))


@settings(deadline=None)
@given(
    st.sampled_from(["ab-:", "a-\xe9\u4e2d"]).flatmap(
        lambda letters: st.lists(st.text(letters, min_size=1, max_size=10), min_size=1, max_size=30)
    ),
    st.sampled_from(["", "bold", "yellow"]),
    st.sampled_from([0, 4]),
    st.sampled_from(["standard", None]),
)
def test_a_screen_shows_lines_as_rich_does(
    words: list[str], style: str, indent: int, colours: Literal["standard"] | None
) -> None:
    terminal = Console(file=io.StringIO(), width=40, force_terminal=True, color_system=colours)
    text = " ".join(words)[: output.LONGEST_CELL].rstrip()
    with terminal.capture() as shown:
        terminal.print(Padding(Text(text, style), (0, 0, 0, indent), expand=False), highlight=False)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(output, "console", lambda: terminal)
        ours = output.Screen().lines(text, style, indent)
    assert blanks_gone(ours) == blanks_gone(shown.get())


def blanks_gone(shown: str) -> list[str]:
    """Lines without the blanks at their ends, in front of a change of style, too."""
    return [re.sub(r" +((\x1b\[\d*m)?) *$", r"\1", line) for line in shown.splitlines()]


def test_a_word_that_is_longer_than_the_screen_is_not_lost(terminal: io.StringIO) -> None:
    lines = output.Screen().lines("x " + "y" * 100, indent=4).split("\n")
    assert max(map(len, lines)) <= 80
    assert "".join(lines).replace(" ", "") == "x" + "y" * 100


def test_a_real_terminal_of_80_columns(process: Run, tmp_path: Path) -> None:
    process("submit", "-t", f"{'x' * 60}@{'y' * 60}.example.org", input=MESSAGE)
    shown = on_pty("queue") + on_pty("status", json.loads(process("queue", "--json").out)["id"])
    assert b"\x1b[" in shown
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode()).replace("\r\n", "\n")
    assert "STATUS     NEXT     SENDER" in text
    assert max(map(len, text.split("\n"))) <= 80
    assert {unicodedata.category(c) for c in text if c != "\n"}.isdisjoint({"Cc", "Cf"})


def on_pty(*arguments: str) -> bytes:
    """What a process writes to a terminal of 80 columns."""
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
    child = subprocess.Popen(
        [sys.executable, "-m", "mailstrom_cli", *arguments],
        stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL, env={**env, "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # EIO: the other side is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert child.wait(timeout=60) == 0
    return shown


def test_a_terminal_that_is_not_utf8_is_no_error(process: Run) -> None:
    id = process("submit", "-t", "grüße@example.net", input=MESSAGE).out.strip()
    done = process("status", id, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (done.code, done.err) == (0, "")
    assert r"gr\xfc\xdfe@example.net" in done.out
