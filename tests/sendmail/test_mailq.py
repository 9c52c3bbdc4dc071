"""The queue as Postfix prints it, character by character."""

from __future__ import annotations

import os
import re
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.cli.sendmail.mailq import about, whole
from mailstrom_cli.store.entry import fold

from ..cli.samples import SIDECARS
from ..peers.plain import client
from ..peers.process import find, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from ..peers.postfix import Postfix
    from .conftest import Front

WAITING = ("06h0rpy7wnbbjrkv", "06h0rpy828cw2neh", "06h0rq09x7a60em5", "06h0rq0hstyyebad")

GOLDEN = """\
----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------
06h0rpy7wnbbjrkv      1234 Tue Nov 24 02:43:00 a@example.org
                                               b@example.net

06h0rpy828cw2neh   3456789 Tue Nov 24 02:43:00 news@example.org
   (host mx1.example.net[192.0.2.1]:25 said: 450 4.2.2 Mailbox full)
                                               busy@example.net
(host mx1.example.net[192.0.2.1]:25 said: 451 4.7.1 Greylisted, please come back in five minutes)
                                               a.rather.long.address@a.rather.long.subdomain.example.com
                                                          (connection refused)
                                               c@example.net

06h0rq09x7a60em5!      812 Tue Nov 24 02:43:00 MAILER-DAEMON
                                               held@example.net

06h0rq0hstyyebad      2048 Sun Nov 22 22:56:20 a@example.org
         (host mx1.example.net[192.0.2.1]:25 said: 450 4.0.0 Try)
                                               b@example.net

-- 3379 Kbytes in 4 Requests.
"""


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def printed(*ids: str, change: dict[str, Any] | None = None) -> str:
    return told([[{**SIDECARS[id][0], **(change or {})}, *SIDECARS[id][1:]] for id in ids])


def told(sidecars: Iterable[list[dict[str, Any]]]) -> str:
    parts = ((about(entry), 1, entry.envelope.size) for entry in map(fold, sidecars))
    return "".join(line + "\n" for line in whole(parts))


def test_the_listing() -> None:
    golden = [line.strip() if line.strip().startswith("(") else line for line in GOLDEN.split("\n")]
    made = printed(*WAITING).split("\n")
    assert [line.strip() if line.strip().startswith("(") else line for line in made] == golden
    reasons = [line for line in made if line.strip().startswith("(")]
    assert reasons and all(len(line) == 78 or line.startswith("(") for line in reasons)


def test_one_request_is_no_plural_and_kilobytes_are_whole() -> None:
    assert printed(WAITING[0]).endswith("\n-- 1 Kbytes in 1 Request.\n")
    assert printed(WAITING[0], change={"size": 1023}).endswith("\n-- 0 Kbytes in 1 Request.\n")


def test_an_empty_queue() -> None:
    assert printed() == "Mail queue is empty\n"


def test_a_reason_that_recipients_share_is_told_once() -> None:
    line, event = SIDECARS["06h0rq0hstyyebad"][:2]
    two = {**line, "recipients": [{"address": "b@example.net"}, {"address": "c@example.net"}]}
    row = event["recipients"][0]
    both = {**event, "recipients": [row, {**row, "address": "c@example.net"}]}
    text = told([[two, both]])
    assert text.count("said: 450") == 1
    assert "b@example.net\n" in text and "c@example.net\n" in text


def test_what_a_server_said_forges_no_line() -> None:
    line, event = SIDECARS["06h0rq0hstyyebad"][:2]
    row = {**event["recipients"][0], "text": "a\x1b[2Jb\u202e"}
    made = told([[line, {**event, "recipients": [row]}]])
    assert r"a\x1b[2Jb\u202e" in made
    assert all(c.isprintable() for c in made if c != "\n")


# --- beside the real one ---


def shape(text: str) -> list[str]:
    """The listing with ids, sizes, times, and the words of reasons made alike."""
    text = re.sub(
        r"^(\w{15,16} {1,2}) *\d+ ", lambda m: "I" * 17 + "9".rjust(26 - 17) + " ", text, flags=re.M
    )
    text = re.sub(
        r"^\w{15,16}([ *!]{1,2}) ", lambda m: "I" * 16 + m[1].strip().ljust(1) + " ", text, flags=re.M
    )
    text = re.sub(r"[bc]@example\.(net|com)", "x@example.net", text)  # Postfix has them in any order
    text = re.sub(r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d", "T" * 19, text)
    return re.sub(r"^ *\((.*)\)$", "(reason)", text, flags=re.M).split("\n")


def test_the_listing_is_that_of_postfix(front: Front, postfix: Callable[..., Postfix]) -> None:
    message = b"From: ann@example.org\r\nSubject: x\r\n\r\nHello\r\n"
    server = postfix(relay_to=("127.0.0.1", 1), settings="enable_long_queue_ids = yes\n")
    with client(server) as smtp:
        smtp.sendmail("ann@example.org", ["b@example.net", "c@example.com"], message)
    theirs = ""

    def tried() -> bool:
        nonlocal theirs
        theirs = postqueue(server)
        return "refused" in theirs and "*" not in theirs  # nor at it again

    wait_for(tried, 30, "Postfix to try")

    front("-odi", "-f", "ann@example.org", "b@example.net", "c@example.com", input=message,
          MAILSTROM_VIA="smtp://127.0.0.1:1")  # fmt: skip
    ours = front("-bp", input=b"", TZ=os.environ.get("TZ", "UTC")).out
    for mine, real in zip(shape(ours), shape(theirs), strict=True):
        assert mine == real


def postqueue(server: Postfix) -> str:
    program = find("postqueue")
    assert program is not None
    command = [program, "-c", str(server.folder / "etc"), "-p"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
