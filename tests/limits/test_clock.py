"""Clocks that are wrong, jump or stand still: nothing is lost, stuck or expired for it (L3, L4, L6)."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.crash.halt import HERE
from tests.peers.process import wait_for

from .clock import DAY, TEN_YEARS, Clock
from .command import Limited, honest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.scripted import ScriptedServer

AT_ONCE = """if True:
    import os, sys
    from mailstrom_cli.api import Mailstrom, Request
    mail = Mailstrom.open()
    mail.store.close()
    come, go = os.pipe()
    told, tell = os.pipe()
    for n in range(int(sys.argv[1])):
        if not os.fork():
            os.close(go)
            os.read(come, 1)
            message = b"From: a@example.org\\nTo: b@example.net\\n\\n%d\\n" % n
            os.write(tell, b"%s\\n" % Mailstrom.open().submit(message, Request()).id.encode())
            os._exit(0)
    os.close(go)
    os.close(tell)
    with open(told) as ids:
        sys.stdout.write(ids.read())
"""


@pytest.fixture
def clock(mail: Limited, tmp_path: Path) -> Clock:
    return Clock(mail, tmp_path / "clock")


def submitted(mail: Limited) -> str:
    done = mail.submit()
    assert done.code == 0, done
    return done.out.strip()


def test_two_hundred_submits_at_one_frozen_moment_have_two_hundred_ids(mail: Limited, clock: Clock) -> None:
    clock.set("2038-01-19 03:14:07")
    submitted(mail)
    done = subprocess.run(
        [sys.executable, "-c", AT_ONCE, "200"],
        env={**os.environ, **mail.environment},
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    ids = done.stdout.split()
    assert len(set(ids)) == len(ids) == 200
    assert len({id[:9] for id in ids}) == 1, "the clock did not stand still"
    assert set(ids) < set(mail.ids())
    assert len(mail.ids()) == 201


@pytest.mark.parametrize(
    ("to", "date"),
    [
        ("2016-12-31 23:59:60", "Sun, 1 Jan 2017 01:00:00 "),  # a leap second
        ("2026-10-25 01:00:00", "Sun, 25 Oct 2026 02:00:00 "),  # summer time ends in Berlin
        ("2038-01-19 03:14:08", "Tue, 19 Jan 2038 04:14:08 "),  # past 2 to the 31st
        ("1971-01-01 00:00:00", "Fri, 1 Jan 1971 01:00:00 "),  # a machine without a battery
    ],
)
def test_mail_leaves_at_odd_times_with_their_date(
    mail: Limited, clock: Clock, server: ScriptedServer, to: str, date: str
) -> None:
    clock.set(to)
    mail.environment["TZ"] = ":Europe/Berlin"
    # libfaketime reads what is set as local time
    at = subprocess.run(["date", "-ud", to.replace(":60", ":59"), "+%s"], capture_output=True, text=True)
    clock.set(f"{int(at.stdout) + to.endswith(':60') - int(time.time()):+d}")
    done = mail.under("submit", "--wait", stdin=b"From: a@example.org\nTo: b@example.net\n\nHello\n")
    honest(done, 0)
    head = server.message().decode()
    found = re.search(r"^Date: (.*)\r$", head, re.MULTILINE)
    assert found is not None
    assert found[1][:20] == date[:20]
    assert re.search(r"^Message-ID: <[^ <>@]+@client\.example\.test>\r$", head, re.MULTILINE)


@pytest.mark.parametrize("ahead", [-DAY, TEN_YEARS])
def test_what_was_deferred_under_another_clock_is_tried_and_nothing_expires_untried(
    mail: Limited, clock: Clock, server: ScriptedServer, ahead: int
) -> None:
    """Submitted and deferred before the jump and after it; what is 5 minutes off is not tried early."""
    server.script.recipients = {"b": "450 4.2.0 later"}
    ids = [submitted(mail)]
    honest(mail.under("flush"), 0)
    clock.ahead(ahead)
    ids.append(submitted(mail))
    honest(mail.under("flush"), 0)
    assert {mail.entries()[id].state for id in ids} == {"deferred"} if ahead < 0 else True
    assert all(r.attempts for entry in mail.entries().values() for r in entry.recipients), "none untried"
    server.script.recipients = {}
    clock.ahead(0)
    honest(mail.under("flush", "--all"), 0)
    states = [mail.entries()[id].state for id in ids]
    assert states[1] == "delivered"
    assert states[0] == ("delivered" if ahead < 0 else "failed")  # at its second attempt, ten years old


def test_run_lives_through_a_jump_and_tries_what_the_wrong_clock_put_off(
    mail: Limited, clock: Clock, server: ScriptedServer
) -> None:
    clock.ahead(TEN_YEARS)
    server.script.recipients = {"b": "450 4.2.0 later"}
    process = mail.start()
    id = submitted(mail)
    wait_for(lambda: mail.ids("deferred") == [id], 10, "an attempt")
    server.script.recipients = {}
    clock.ahead(0)
    other = submitted(mail)
    wait_for(lambda: mail.ids("delivered") == [other], 10, "what comes after the jump")
    honest(mail.under("flush", seconds=20), 0)
    assert sorted(mail.ids("delivered")) == sorted([id, other])
    assert mail.stop(process) == 0


def test_time_outs_do_not_look_at_the_clock(mail: Limited, clock: Clock, server: ScriptedServer) -> None:
    """A server stalls while the clock jumps: neither does it time out at once, nor ever so late."""
    from tests.peers.answers import Stall

    mail.environment["MAILSTROM_SMTP_TIMEOUT_RCPT"] = "2s"
    server.script.replies["rcpt"] = Stall()
    for ahead in (TEN_YEARS, -DAY):
        clock.ahead(0)
        id = submitted(mail)
        sessions = len(server.sessions)
        with ThreadPoolExecutor(1) as aside:
            flush = aside.submit(mail.under, "flush", id)
            server.wait(lambda s: len(s.sessions) > sessions and s.stalled > 0, 10, "a stall")  # noqa: B023
            began = time.monotonic()
            clock.ahead(ahead)
            honest(flush.result(), 0)
        assert 1 < time.monotonic() - began < 4
        server.cut()
    server.release()


def test_a_clock_that_is_far_ahead_for_a_while_makes_nothing_old(
    mail: Limited, clock: Clock, server: ScriptedServer
) -> None:
    """Each sweep, an hour or more after the last, ages mail by a day at the most; and does so."""
    server.script.recipients = {"b": "550 no"}
    id = submitted(mail)
    honest(mail.under("flush"), 0)
    for day in range(4):
        clock.ahead(TEN_YEARS + day * 7200)
        honest(mail.under("flush"), 0)
        assert mail.ids() == [id]
    clock.ahead(0)
    honest(mail.under("flush"), 0)
    assert mail.ids() == [id]
    mail.environment["MAILSTROM_RETENTION_FAILED"] = "1d"
    for hour in range(2, 6):
        clock.ahead(2 * DAY + hour * 7200)
        honest(mail.under("flush"), 0)
    assert mail.ids() == []


def test_twenty_restarts_and_a_clock_that_jumps_about_make_no_storm(
    mail: Limited, clock: Clock, server: ScriptedServer
) -> None:
    server.script.replies["greeting"] = "421 4.3.2 not now"
    id = submitted(mail)
    submitted(mail)
    for n in range(20):
        process = mail.start()
        if n == 0:
            wait_for(lambda: id in mail.ids("deferred"), 10, "the first attempt")
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 1 <= len(server.sessions) <= 3, "the back-off is on disk"
    server.script.replies.clear()
    for ahead in (TEN_YEARS, 0):
        clock.ahead(ahead)
        honest(mail.under("flush"), 0)
    assert mail.ids("delivered", "failed") == mail.ids()


def test_a_rate_limit_outlives_a_jump(mail: Limited, clock: Clock, server: ScriptedServer) -> None:
    """Two a day, one at once: not a burst after each jump, and not silence for ten years."""
    mail.environment["MAILSTROM_LIMITS_RATE"] = "2/d"
    for _ in range(4):
        submitted(mail)
    for ahead, left in ((0, 1), (60, 1), (TEN_YEARS, 2), (0, 3), (60, 3)):
        clock.ahead(ahead)
        honest(mail.under("flush", seconds=10), 0)
        assert len(mail.ids("delivered")) == left, f"{ahead} seconds ahead"


def test_mail_with_times_in_the_future_is_tried(mail: Limited, server: ScriptedServer) -> None:
    id = submitted(mail)
    later = time.time() + TEN_YEARS
    os.utime(mail.spool / "queued" / id, (later, later))
    honest(mail.under("flush"), 0)
    assert mail.ids("delivered") == [id]
    (told,) = [json.loads(line) for line in mail.under("status", id, "--json").out.splitlines()]
    assert told["status"] == "delivered"
