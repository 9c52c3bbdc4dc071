"""A spool at work: checked and repaired while it is, and full of what does not belong there."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

from mailstrom_cli.store.check import Check

from ..cli.test_hostile_spool import PLANTED
from ..peers.scripted import Script

if TYPE_CHECKING:
    from pathlib import Path

    from mailstrom_cli.store.verdict import Finding

TOTAL, AT_ONCE = 400, 40


def message(n: int) -> str:
    to = "good" if n % 4 else "defer"
    return (
        f"From: ann@example.org\nTo: {to}@example.org\nSubject: {n}\nMessage-ID: <{n}@example.org>\n\nHello\n"
    )


def test_a_check_with_repair_beside_submit_run_and_flush_finds_nothing_and_disturbs_nobody(
    mailstrom, scripted, tmp_path: Path
) -> None:
    server = scripted(Script(keep_bodies=False))
    mailstrom.configure(
        f'via = "smtp://127.0.0.1:{server.port}"',
        '[retry]\nretries = 1\nbase_delay = "1s"\nfactor = 1\njitter = 0',
    )
    mailstrom.submit("--key", "first", "-t", "good@example.org")
    mailstrom.start()
    found: list[Finding] = []
    looks, over = 0, threading.Event()

    def check() -> None:
        nonlocal looks
        while not over.is_set():
            found.extend(Check(str(mailstrom.spool), time.time(), repair=True))
            looks += 1

    checking = threading.Thread(target=check)
    checking.start()
    try:
        for first in range(0, TOTAL, AT_ONCE):
            files = []
            for n in range(first, first + AT_ONCE):
                files.append(tmp_path / f"{n}.eml")
                files[-1].write_text(message(n))
            mailstrom("submit", *map(str, files))
            mailstrom.submit("--key", f"k{first}", "-t", "good@example.org")
            mailstrom("flush", "--all")
        unfinished = lambda: len(mailstrom.ids("queued")) + len(mailstrom.ids("deferred"))  # noqa: E731
        mailstrom.wait_until(lambda: unfinished() == 0, 30, "all to be final")
    finally:
        over.set()
        checking.join()
    assert found == []
    assert looks > 5
    assert list((mailstrom.spool / "corrupt").iterdir()) == []
    assert server.duplicates() == []
    assert len(mailstrom.ids("failed")) == TOTAL // 4
    assert len(server.delivered()) == len(mailstrom.ids("delivered")) == TOTAL * 3 // 4 + TOTAL // AT_ONCE + 1


def test_run_over_all_that_can_be_planted_delivers_the_rest_and_sets_it_aside(mailstrom, scripted) -> None:
    """Ids with slashes and NUL come by the trigger; all else lies in the spool when `run` begins."""
    server = scripted()
    mailstrom.configure(f'via = "smtp://127.0.0.1:{server.port}"')
    to = ("-f", "ann@example.org", "-t", "b@example.net")
    good = {mailstrom.submit(*to) for _ in range(3)}
    bad = {}
    for kind, damage in PLANTED.items():
        bad[mailstrom.submit(*to)] = kind
        damage(mailstrom.spool / "queued" / list(bad)[-1])
        for name in ("stolen", "second"):
            planted = mailstrom.spool / name
            if os.path.lexists(planted):
                planted.rename(mailstrom.spool.parent / f"{name} {len(bad)}")
    process = mailstrom.start()
    mailstrom.wait_until(lambda: mailstrom.ids("corrupt") == set(bad), 20, "all that is bad to be set aside")
    trigger = os.open(mailstrom.spool / "trigger", os.O_WRONLY | os.O_NONBLOCK)
    for line in (
        b"../../etc/passwd",
        b"a/b",
        b"\0" * 16,
        b"",
        b"\xff" * 16,
        b"x" * 600,
        b"flush ../x",
        b"flush",
    ):
        os.write(trigger, line + b"\n")
    for _ in range(3):
        os.write(trigger, b"y" * 4096)  # more than any line of ours, and no end of it
    os.write(trigger, b"\n")
    os.close(trigger)
    later = mailstrom.submit("--wait=20", *to)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert mailstrom.ids("delivered") == {*good, later}
    assert len(server.delivered()) == 4
    log = mailstrom.log()
    assert "Traceback" not in log
    for id, kind in bad.items():
        assert log.count(f"message {id} is damaged") == 1, kind
    assert all(text.isprintable() for text in log.splitlines())
    assert "internal" not in log
