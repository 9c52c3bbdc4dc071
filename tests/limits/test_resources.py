"""Descriptors, memory, threads, file sizes that run out: temporary, told, nothing half-done (L5, R8)."""

from __future__ import annotations

import compileall
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.crash.halt import HERE
from tests.crash.user import processor_time
from tests.peers.needs import need
from tests.peers.process import wait_for

from .command import NOBODY, Limited, gave_up, honest, need_another_user

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.scripted import ScriptedServer

MIB = 1 << 20
HEAD = b"From: a@example.org\nTo: b@example.net\n"
TEXT = HEAD + b"\nHello\n"
TAKES = {"submit": 75, "sendmail": 71}  # what takes mail, and its exit code when it cannot just now


@pytest.fixture
def mail(mail: Limited, tmp_path: Path) -> Limited:
    mail.environment["HOME"] = str(tmp_path)
    return mail


def taken(mail: Limited, command: str, **limits: int) -> bool:
    """Whether a message was taken: then it is there, else nothing of it is."""
    words = [command, "-t"] if command == "sendmail" else [command]
    before = len(mail.ids())
    done = mail.under(*words, stdin=TEXT, **limits)
    if not gave_up(done):
        honest(done, 0, TAKES[command])
    assert len(mail.ids()) == before + (done.code == 0)
    assert mail.left() == []
    return done.code == 0


@pytest.mark.parametrize("command", TAKES)
def test_mail_is_taken_or_not_with_few_descriptors(mail: Limited, command: str) -> None:
    """From 20 down to where Python itself cannot start."""
    assert [taken(mail, command, nofile=n) for n in (20, 12, 8, 6)] == [True, True, False, False]


def test_a_pass_with_few_descriptors_delivers_or_leaves_everything(
    mail: Limited, server: ScriptedServer
) -> None:
    mail.environment["MAILSTROM_LIMITS_CONNECTIONS"] = "200"
    codes = []
    for number in (7, 10, 11, 12, 13, 14, 20):
        mail.submit_many(3)
        done = mail.under("flush", nofile=number)
        honest(done, 0, 75)
        codes.append(done.code)
        entries = mail.entries().values()
        assert {entry.state for entry in entries} <= {"queued", "deferred", "delivered"}
        assert done.cpu < 3
        for id in mail.ids("deferred"):
            mail.mail().retry(id)
    assert codes[0] == 75
    assert codes[-1] == 0
    honest(mail.under("flush", "--all"), 0)
    assert len(mail.ids("delivered")) == len(mail.ids()) == 21
    assert server.duplicates() == []


def test_run_serves_at_twenty_descriptors_without_a_busy_loop(mail: Limited, server: ScriptedServer) -> None:
    mail.environment["MAILSTROM_LIMITS_CONNECTIONS"] = "200"
    mail.submit_many(30)
    with open(mail._log, "ab") as log:
        process = subprocess.Popen(
            [*mail.prefix(nofile=20), sys.executable, "-m", "mailstrom_cli", "run"],
            stdin=subprocess.DEVNULL,
            stderr=log,
            env={**os.environ, **mail.environment},
        )
    mail._begun.append(process)
    wait_for(lambda: len(mail.ids("delivered")) == 30, 20, "all of it")
    used = processor_time(process)
    with pytest.raises(TimeoutError):
        wait_for(lambda: process.poll() is not None, 0.5, "nothing")
    assert processor_time(process) - used < 0.2
    assert mail.stop(process) == 0
    assert "Traceback" not in mail.log()
    assert server.peak <= 2


@pytest.mark.parametrize("error", ["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS"])
def test_no_socket_is_no_fault_of_the_next_hop(mail: Limited, server: ScriptedServer, error: str) -> None:
    mail.submit_many(1)
    inject = [need("strace"), "-f", "-qq", "-o", os.devnull, "-e", f"inject=socket:error={error}"]
    done = mail.under("flush", before=inject)
    honest(done, 0, 75)
    (entry,) = mail.entries().values()
    (recipient,) = entry.recipients
    assert recipient.retries == 0
    if done.code == 0:
        assert (recipient.status, recipient.enhanced) == ("deferred", "4.3.0")
    assert list((mail.spool / "hosts").iterdir()) == [], "the next hop is left alone for it"
    honest(mail.under("flush", "--all"), 0)
    assert len(server.delivered()) == 1


@pytest.mark.parametrize("command", [*TAKES, "flush"])
def test_little_memory_is_told_and_leaves_nothing_half_done(mail: Limited, command: str) -> None:
    compileall.compile_dir(HERE / "mailstrom_cli", quiet=2)  # Python's compiler has words of its own for it
    mail.submit_many(1)
    for megabytes in (13, 20, 24, 27, 30, 33, 80):
        if command in TAKES:
            code = 0 if taken(mail, command, **{"as": megabytes * MIB}) else 75
        else:
            mail.submit_many(1)
            done = mail.under("flush", "--all", **{"as": megabytes * MIB})
            if not gave_up(done):
                honest(done, 0, 75)
            code = 75 if done.code else 0
            assert {entry.state for entry in mail.entries().values()} <= {"queued", "deferred", "delivered"}
            assert all(r.retries == 0 for entry in mail.entries().values() for r in entry.recipients)
        if megabytes == 13:
            assert code == 75
    assert code == 0
    assert "queued" not in mail.states() or command in TAKES


def test_without_a_thread_or_another_process_mail_leaves_all_the_same(
    mail: Limited, tmp_path: Path, server: ScriptedServer
) -> None:
    """A relay by name, for which a thread waits; and enough messages for several processes."""
    need_another_user()
    mail.submit_many(1)
    for path in [mail.spool, *mail.spool.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    mail.user = NOBODY
    honest(mail.under("flush", "--all", nproc=0), 0)
    mail.environment["MAILSTROM_VIA"] = f"smtp://{os.uname().nodename}:{server.port}"
    honest(mail.under("submit", stdin=TEXT, nproc=0), 0)
    done = mail.under("flush", nproc=0)
    honest(done, 0)
    told = mail.under("status", "--json", *mail.under("queue").out.split()[:1])
    assert "4.4.4" not in told.out
    assert not any("internal" in line for line in done.err.splitlines())
    listed = mail.under("queue", "--json").out
    assert '"4.3.0"' in listed or listed == ""
    assert len(server.delivered()) >= 1


@pytest.mark.parametrize("command", TAKES)
def test_input_without_end_is_refused_in_bounded_memory(mail: Limited, tmp_path: Path, command: str) -> None:
    mail.environment |= {"MAILSTROM_LIMITS_MESSAGE_SIZE": "32MiB", "TMPDIR": str(tmp_path)}
    before = set(os.listdir(tmp_path))
    with subprocess.Popen(["yes"], stdout=subprocess.PIPE) as endless:
        words = [command, "-t"] if command == "sendmail" else [command]
        done = mail.under(*words, stdin=endless.stdout, data=40 * MIB)
        endless.kill()
    honest(done, 65)
    assert "larger than" in done.err
    assert set(os.listdir(tmp_path)) - before <= {"spool"}
    assert mail.ids() == mail.left() == []


@pytest.mark.parametrize("command", TAKES)
def test_a_file_that_may_not_grow_stores_nothing(mail: Limited, command: str) -> None:
    words = [command, "-t"] if command == "sendmail" else [command]
    for size in (0, 100, 5000):
        done = mail.under(*words, stdin=TEXT + b"x" * 70 * 100, fsize=size)
        honest(done, TAKES[command], 73)
        assert os.strerror(27) in done.err
    assert mail.ids() == mail.left() == []


def test_a_pass_whose_files_may_not_grow_sends_nothing(mail: Limited, server: ScriptedServer) -> None:
    mail.submit_many(1)
    honest(mail.under("flush", fsize=100), 75)
    assert server.delivered() == []
    honest(mail.under("flush"), 0)
    assert len(server.delivered()) == 1


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_harm_nothing(mail: Limited, closed: str) -> None:
    mail.submit_many(1)
    for words, code in (("flush", 0), ("submit", 66 if "<" in closed else 0), ("queue", None)):
        script = ["sh", "-c", f'exec "$@" {closed}', "sh"]
        done = mail.under(words, stdin=TEXT, before=script)
        assert code is None or done.code == code, (words, done)
        assert "Traceback" not in done.err
    assert len(mail.entries()) == (1 if "<" in closed else 2)
    assert mail.left() == []


def test_a_reader_that_leaves_early_ends_a_listing_quietly(mail: Limited) -> None:
    mail.submit_many(300)
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as out:
        listed = mail.under("queue", stdout=out)
        sent = mail.under("submit", stdin=TEXT, stdout=out)
    assert (listed.code, listed.err) == (128 + signal.SIGPIPE, "")
    assert sent.code == 0
    assert "stored as" in sent.err


SHAPES = {
    "20,000 fields": HEAD + b"X-Note: y\n" * 20_000 + b"\n",
    "200,000 nested comments": HEAD + b"Date: " + b"(\n " * 200_000 + b")\n " * 200_000 + b"\n\n",
    "200,000 nested in To": b"From: a@example.org\nTo: b@example.net "
    + b"(\n " * 200_000
    + b")\n " * 200_000
    + b"\n\n",
    "MIME 2,000 deep": HEAD
    + b"MIME-Version: 1.0\n"
    + b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(2000))
    + b"Content-Type: text/plain\n\n\xc3\xbc\n"
    + b"".join(b"--b%d--\n" % n for n in reversed(range(2000))),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_odd_shapes_pass_or_are_refused_in_bounded_memory(
    mail: Limited, server: ScriptedServer, shape: str
) -> None:
    server.script.eight_bit = False  # so that what can be converted is
    done = mail.under("submit", stdin=SHAPES[shape], data=128 * MIB, seconds=30)
    honest(done, 0, 65)
    assert done.cpu < 10
    if done.code == 0:
        honest(mail.under("flush", data=160 * MIB, seconds=30), 0)
        (entry,) = mail.entries().values()
        assert entry.state in ("delivered", "failed")
        assert entry.recipients[0].text
