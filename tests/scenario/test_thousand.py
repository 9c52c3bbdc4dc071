"""A thousand messages of mixed sizes and mixed answers: every final state right, each delivered once.

And the same with `run` killed ten times in the middle: nothing lost, nothing in two states.
"""

from __future__ import annotations

import json
import os
import random
import signal
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from ..peers.scripted import Script

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 1000
FOLD = ",\n "
SIZES = [1_000] * 700 + [20_000] * 250 + [500_000] * 45 + [5_000_000] * 5
CONNECTIONS = 20  # to one next hop, by default
GOOD, DEFER, REJECT = "good", "defer", "reject"
MIXTURES = [
    (GOOD,),
    (DEFER,),
    (REJECT,),
    (GOOD, DEFER),
    (GOOD, REJECT),
    (DEFER, REJECT),
    (GOOD, DEFER, REJECT),
]


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """COUNT files; the recipients of number n are those of `recipients(n)`."""
    folder = tmp_path_factory.mktemp("messages")
    sizes = list(SIZES)
    random.Random(7).shuffle(sizes)
    files = []
    for n, size in enumerate(sizes):
        head = (
            f"From: ann@example.org\nTo: {FOLD.join(recipients(n))}\nSubject: number {n}\n"
            f"Message-ID: <{n}@example.org>\nDate: Tue, 24 Nov 2026 10:00:00 +0000\n\n"
        )
        line = f".line {n} of some length, to be repeated over and over again\n"
        file = folder / f"{n}.eml"
        file.write_text(head + (line * (size // len(line) + 1))[: size - len(head) - 1] + "\n")
        files.append(file)
    return files


def recipients(n: int) -> list[str]:
    """Of message n: 1 to 30 of each kind that its mixture has."""
    kinds = MIXTURES[n % len(MIXTURES)]
    each = 1 + (n * 7) % 5 if n % 50 else 30
    return [f"{kind}{i}@example.net" for kind in kinds for i in range(each)]


def expected(n: int) -> str:
    kinds = MIXTURES[n % len(MIXTURES)]
    return "deferred" if DEFER in kinds else "failed" if REJECT in kinds else "delivered"


def check(mailstrom, server) -> None:
    """Every recipient's state is what the server was told to make of it, and it was delivered once."""
    wanted_delivered, wanted_states = Counter(), {}
    for n in range(COUNT):
        wanted_states[f"<{n}@example.org>"] = expected(n)
        for address in recipients(n):
            if address.startswith(GOOD):
                wanted_delivered[address, f"<{n}@example.org>"] = 1
    states = {}
    for line in mailstrom("queue", "--state", "all", "--json").stdout.splitlines():
        told = json.loads(line)
        states[told["message_id"]] = told["status"]
        kinds = {GOOD: "delivered", DEFER: "deferred", REJECT: "failed"}
        for r in told["recipients"]:
            assert r["status"] == kinds[r["address"].partition("@")[0].rstrip("0123456789")], r
    assert states == wanted_states
    assert set(server.delivered()) == set(wanted_delivered)


def every_id_is_in_one_state(spool: Path) -> Counter[str]:
    where = Counter(
        entry.name
        for state in ("queued", "deferred", "delivered", "failed")
        for entry in os.scandir(spool / state)
    )
    assert not list((spool / "corrupt").iterdir())
    assert set(where.values()) <= {1}, "a message in two states"
    return where


def test_each_ends_in_its_state_and_is_delivered_once(mailstrom, scripted, messages) -> None:
    server = scripted(Script(keep_bodies=False))
    mailstrom.configure(
        f'via = "smtp://127.0.0.1:{server.port}"', '[retry]\nbase_delay = "1h"\nretries = 3\njitter = 0'
    )
    ids = mailstrom("submit", *map(str, messages)).stdout.split()
    assert len(set(ids)) == COUNT
    mailstrom("flush", seconds=120)
    check(mailstrom, server)
    assert server.duplicates() == []
    assert len(server.sessions) < 40, "connections are used again"
    assert set(every_id_is_in_one_state(mailstrom.spool)) == set(ids)


def test_killed_ten_times_in_the_middle_nothing_is_lost(mailstrom, scripted, messages) -> None:
    server = scripted(Script(keep_bodies=False))
    mailstrom.configure(
        f'via = "smtp://127.0.0.1:{server.port}"', '[retry]\nbase_delay = "1h"\nretries = 3\njitter = 0'
    )
    ids = mailstrom("submit", *map(str, messages)).stdout.split()
    for round in range(1, 11):
        process = mailstrom.start()
        goal = COUNT * 3 * round // 50  # transactions
        server.wait(lambda s, goal=goal: len(s.transactions) >= goal, 60, f"{goal} transactions")
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert set(every_id_is_in_one_state(mailstrom.spool)) == set(ids)
    assert mailstrom.ids("queued"), "the last kill came in the middle"
    mailstrom.start()
    # What was in hand when the process died is put off for a moment, so that a crash is not repeated at once.
    mailstrom("flush", "--all", seconds=120)
    mailstrom.wait_until(lambda: not mailstrom.ids("queued"), 90, "every message to be tried")
    check(mailstrom, server)
    assert set(every_id_is_in_one_state(mailstrom.spool)) == set(ids)
    # The only window for a second copy is between the server's 250 and the record of it: what was in flight.
    twice = {message_id for _, message_id in server.duplicates()}
    assert len(twice) <= 10 * CONNECTIONS
