"""strace's log is read as it is meant."""

from __future__ import annotations

from pathlib import Path

from . import inject, trace
from .inject import KILL, ON, ONCE
from .scenario import Letter

SPOOL = Path("/s/spool")
ID = "06h0vt2pv9f0xces"
LOG = f"""\
7  openat(AT_FDCWD</w>, "/etc/x", O_RDONLY) = 3</etc/x>
7  openat(AT_FDCWD</w>, "/s/spool", O_RDONLY|O_DIRECTORY) = 3</s/spool>
7  openat(3</s/spool>, "keys/{"a" * 64}", O_RDWR|O_CREAT, 0600) = 4</s/spool/keys/{"a" * 64}>
8  openat(3</s/spool>, "tmp", O_RDONLY <unfinished ...>
7  renameat(4</s/spool/tmp>, "{ID}", 5</s/spool/queued>, "{ID}") = -1 EIO (Input/output error) (INJECTED)
8  <... openat resumed>) = 6</s/spool/tmp>
7  socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP) = 13<TCP:[1]>
7  write(2</dev/null>, "/s/spool\\n", 9) = 9
7  fsync(6</s/spool/tmp>)           = ?
7  +++ killed by SIGKILL +++
"""


def test_calls_are_counted_by_name_and_thread_and_say_what_they_touch() -> None:
    calls = trace.read(LOG, SPOOL)
    assert [(call.thread, call.name, call.number, call.place) for call in calls] == [
        (7, "openat", 1, ""),
        (7, "openat", 2, "/"),
        (7, "openat", 3, "/keys/* O_CREAT"),
        (8, "openat", 1, "/tmp"),
        (7, "renameat", 1, "/tmp/ID -> /queued/ID"),
        (7, "socket", 1, "server"),
        (7, "write", 1, ""),
        (7, "fsync", 1, "/tmp"),
    ]
    assert [call.result for call in calls] == [3, 3, 4, 6, -1, 13, 9, -1]
    assert [call.name for call in calls if call.injected] == ["renameat"]
    assert [call.name for call in calls if call.begun] == ["fsync"]
    assert len(trace.points(calls)) == 6


def test_a_fault_for_each_error_that_a_call_can_give() -> None:
    points = trace.points(trace.read(LOG, SPOOL))
    faults = list(inject.faults(points, (KILL, ONCE, ON), frozenset({"EIO", "EMFILE"})))
    assert [fault.option.removeprefix("inject=") for fault in faults if fault.call.name == "openat"][:5] == [
        "openat:signal=KILL:when=2",
        "openat:error=EIO:when=2",
        "openat:error=EMFILE:when=2",
        "openat:error=EIO:when=2+",
        "openat:error=EMFILE:when=2+",
    ]
    assert [fault.error for fault in faults if fault.call.name == "socket"] == ["", "EMFILE", "EMFILE"]


def test_a_letter_is_in_doubt_from_its_last_dot_until_that_is_on_record() -> None:
    sidecar = f"12</s/spool/queued/{ID}/message.jsonl>"
    server = "13<TCP:[127.0.0.1:1->127.0.0.1:2]>"
    calls = trace.read(
        f"""\
7  sendto({server}, "DATA\\r\\n", 6, 0, NULL, 0) = 6
7  sendto({server}, "Message-ID: <bob@example.org>\\r\\n\\r\\nx\\r\\n", 36, 0, NULL, 0) = 36
7  sendto({server}, ".\\r\\nMAIL", 7, 0, NULL, 0) = 7
7  recvfrom({server}, "250 Ok\\r\\n", 262144, 0, NULL, NULL) = 8
7  write({sidecar}, "{{\\"status\\":\\"delivered\\"}}\\n", 24) = -1 EIO (Input/output error) (INJECTED)
7  write({sidecar}, "{{\\"status\\":\\"delivered\\"}}\\n", 24) = 24
7  close({sidecar}) = 0
""",
        SPOOL,
    )
    letters = {ID: Letter("bob", ()), "06h0vt2pv9f0xcet": Letter("eve", ())}
    assert trace.in_doubt(calls, letters) == {ID: calls[3:6]}
    assert trace.in_doubt(calls[:5], letters) == {ID: calls[3:5]}
    assert trace.in_doubt(calls[:2], letters) == {}
