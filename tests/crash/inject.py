"""One run of a scenario's command under strace, with one fault or none."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import trace
from .halt import HERE
from .scenario import SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .scenario import World
    from .trace import Call

KILL, ONCE, ON = "kill", "once", "on"

SILENCE = 4.0
"""Seconds that a `run` may take for a message without a word: it looks for what it missed after one."""

LASTING = 1.5
"""The most patience with what fails for ever: enough to see a busy loop."""

_DISK = ("EIO", "ENOSPC", "EDQUOT")
_NOTHING: tuple[str, ...] = ()
GIVES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("mkdir", "mkdirat", "mknodat", "rename", "renameat", "chmod", "fchmod"), _DISK),
    **dict.fromkeys(("fchmodat", "utimensat", "write", "pwrite64", "ftruncate", "fsync", "syncfs"), _DISK),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir", "close"), _DISK),
    **dict.fromkeys(("open", "openat"), ("EIO", "EMFILE")),
    **dict.fromkeys(("read", "pread64", "getdents64", "newfstatat", "fstat", "flock"), ("EIO",)),
    **dict.fromkeys(("statfs", "fstatfs", "statx", "faccessat2", "access"), ("EIO",)),
    **dict.fromkeys(("lseek", "fadvise64", "ioctl", "fcntl"), _NOTHING),
    "fcntl F_DUPFD": ("EMFILE",),
    **dict.fromkeys(("close server", "read /trigger"), _NOTHING),
    "openat O_CREAT": ("EIO", "ENOSPC", "EDQUOT", "EMFILE"),
    "epoll_ctl": ("ENOSPC",),
    "socket": ("EMFILE",),
    "connect": ("ECONNREFUSED",),
    **dict.fromkeys(("sendto", "sendmsg", "recvfrom"), ("ECONNRESET",)),
    **dict.fromkeys(("getsockopt", "setsockopt", "getsockname", "getpeername", "shutdown"), ("ENOBUFS",)),
}
"""The errors that a call can give, of those that are tried: a disk that fails or is full, a quota used up, no
descriptor left; and on a socket, which gives none of the first three, what stands for them there.

`close` is imperfect: the kernel closes a descriptor even when it tells an error, and strace, which does not
let the call happen, leaves it open."""
ALONE = ("close", "fcntl")
"""Of these names some calls can give an error that others (on sockets and pipes; with other commands) never
give: they do not fail from somewhere on."""


@dataclass(frozen=True)
class Fault:
    """kind: KILL, or the call fails ONCE, or from there ON."""

    call: Call
    kind: str
    error: str = ""

    @property
    def option(self) -> str:
        """As strace's -e takes it."""
        what = "signal=KILL" if self.kind == KILL else f"error={self.error}"
        return f"inject={self.call.name}:{what}:when={self.call.number}{'+' * (self.kind == ON)}"

    @property
    def spins(self) -> bool:
        """Whether asyncio turns round and round: what wakes it is a socket of its own, which can be read as
        long as every such call fails."""
        return self.kind == ON and self.call.name == "recvfrom"

    def __str__(self) -> str:
        return f"{self.kind} {self.error}".strip() + f" at {self.call} ({self.call.name} {self.call.number})"


def faults(
    points: list[Call],
    kinds: tuple[str, ...],
    errors: frozenset[str] | None = None,
    failing: frozenset[Call] | None = None,
) -> Iterator[Fault]:
    """All faults of these kinds at these points.  errors: only these.  failing: only these calls fail."""
    for call in points:
        for kind in kinds:
            if kind == KILL:
                yield Fault(call, KILL)
                continue
            for error in gives(call) if failing is None or call in failing else ():
                if (errors is None or error in errors) and (kind == ONCE or call.name not in ALONE):
                    yield Fault(call, kind, error)


def short(points: list[Call]) -> Iterator[Fault]:
    """A form of the errors that is soon done: of calls that look alike one fails, with one error, in turn
    once and from there on."""
    alike = list({str(call): call for call in points if gives(call)}.values())
    for number, call in enumerate(alike):
        errors = gives(call)
        kind = ON if number % 2 and call.name not in ALONE else ONCE
        yield Fault(call, kind, errors[number // 2 % len(errors)])


def outermost(points: list[Call]) -> frozenset[Call]:
    """Of calls that look alike the first and the last."""
    last = {str(call): call for call in points}
    first = {str(call): call for call in reversed(points)}
    return frozenset((*first.values(), *last.values()))


def gives(call: Call) -> tuple[str, ...]:
    """The errors to try at a call. Raises KeyError for one that nobody has thought of."""
    flag = call.place.rpartition(" ")[2]
    return GIVES.get(f"{call.name} {flag}", GIVES[call.name])


@dataclass(frozen=True)
class Outcome:
    """How a run ended. late: it had to be ended by us."""

    code: int
    out: str
    err: str
    calls: list[Call]
    late: bool

    def hit(self, fault: Fault) -> list[Call]:
        """The calls that the fault hit; empty when it did not hit first the call that it was meant for."""
        struck = [call for call in self.calls if (call.begun if fault.kind == KILL else call.injected)]
        if fault.kind == KILL:
            return [call for call in struck if call.same(fault.call) and call.number == fault.call.number]
        return struck if struck and struck[0].same(fault.call) else []


def run(world: World, strace: str, fault: Fault | None = None, patience: float = 0.0) -> Outcome:
    """The command of a world's scenario, to its end. With a fault only those calls are traced of which
    something is to be known.  patience: seconds that `run` has for putting right what it complains of."""
    log = world.folder / "strace.log"
    line = [strace, "-D", "-f", "-yy", "-s", "2048", "-o", str(log), "-e", "signal=none", "-e"]
    if fault is None:
        line += [f"trace={trace.GROUPS}"]
    else:
        line += [f"trace={','.join({fault.call.name, *trace.TELLING})}", "-e", fault.option]
    given = world.scenario.given
    one = len(given) == 1
    lasts = fault is not None and fault.kind == ON
    late = threading.Event()
    errors: list[str] = []
    with (
        (world.file(given[0]) if one else Path(os.devnull)).open("rb") as message,
        subprocess.Popen(
            [*line, *world.words(world.scenario.words, () if one else given)],
            cwd=HERE,
            env=world.environment,
            stdin=message,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as child,
    ):
        # With -D the tracer is no parent: the child is the command itself, and both hold stderr open.
        listener = threading.Thread(target=lambda: errors.extend(iter(child.stderr.readline, "")))
        end = threading.Timer(SECONDS, lambda: (late.set(), os.killpg(child.pid, signal.SIGKILL)))
        listener.start()
        end.start()
        try:
            if world.scenario.command == "run":
                _attend(world, child, errors, min(patience, LASTING) if lasts else patience)
                child.send_signal(signal.SIGTERM)
            out = child.stdout.read()
            listener.join()
            child.wait()
        finally:
            end.cancel()
            child.kill()
    world.sink.quiet()
    calls = trace.read(log.read_text(errors="replace"), world.spool)
    return Outcome(child.returncode, out, "".join(errors), calls, late.is_set())


def _attend(world: World, child: subprocess.Popen[str], errors: list[str], patience: float) -> None:
    """Beside a `run`: submit what is to be submitted when what was there is delivered or deferred, and wait
    until that is too, or will not be. When it complains, it has so many seconds of patience for it."""
    while child.poll() is None and not any("running" in line for line in errors):
        time.sleep(0.002)
    for letters in (world.scenario.during, ()):
        _wait(world, child, errors, patience)
        world.submit(letters)


def _wait(world: World, child: subprocess.Popen[str], errors: list[str], patience: float) -> None:
    until = time.monotonic() + SILENCE
    troubled = False
    while child.poll() is None and not world.settled() and time.monotonic() < until:
        if not troubled and any(" error: " in line for line in errors):
            troubled, until = True, time.monotonic() + patience
        time.sleep(0.005)
