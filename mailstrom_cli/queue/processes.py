"""Several processes over one store: a long pass is shared out among the cores.

One event loop does a message in some 0.3 ms of one core, nearly all of it in the interpreter, so that threads
would only pay for its lock; on two cores a second process gets 1.7 times as much mail out. They need nothing
of each other: every message has its lease, and each process gets its share of the limits.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from contextlib import contextmanager

from mailstrom_cli.errors import TEMPORARY, MailstromError
from mailstrom_cli.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from mailstrom_cli.config.schema import Settings

log = logging.getLogger("mailstrom")

SHARE = 500
"""Messages that are worth a process of their own."""


def worthwhile(messages: int, settings: Settings) -> int:
    """In how many processes to deliver so many messages: at most one a core, and each may connect."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = settings.limits
    return max(1, min(cores, messages // SHARE, limits.connections, limits.per_destination))


def share(settings: Settings, processes: int) -> Settings:
    """The settings of each of them: together they keep the limits."""
    limits = settings.limits
    return replace(
        settings,
        limits=replace(
            limits,
            connections=limits.connections // processes,
            per_destination=limits.per_destination // processes,
        ),
    )


def in_processes(work: Sequence[Callable[[], None]]) -> None:
    """Do each piece of work in a process of its own, the first one in this. Whatever ends this one early ends
    the others. Raises MailstromError when one of them failed, which has told why."""
    if len(work) == 1:
        work[0]()
        return
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    children: list[int] = []
    codes: list[int] = []
    with _sigterm_passed_on(children):
        try:
            for piece in work[1:]:
                children.append(_fork(piece))
            work[0]()
            _wait(children, codes)
        except BaseException:
            _stop(children)
            raise
        finally:
            _wait(children, codes)
    if any(codes):
        raise MailstromError(
            "a part of the pass ended early; the log says why", "the next one goes on from here", TEMPORARY
        )


def _fork(piece: Callable[[], None]) -> int:
    """The pid of a process that does it. SIGTERM waits until that has put off our handler."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
    try:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
            _work_and_exit(piece)
        return child
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))


def _work_and_exit(piece: Callable[[], None]) -> None:
    code = 1
    try:
        piece()
        code = 0
    except MailstromError as error:
        log.error("%s", error.message)
    except KeyboardInterrupt:
        pass
    except BaseException as error:
        log.error("internal error", exc_info=error)
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


@contextmanager
def _sigterm_passed_on(children: Sequence[int]) -> Iterator[None]:
    """SIGTERM ends the children, and so what they are waited for."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        _stop(children)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _wait(children: list[int], codes: list[int]) -> None:
    """Until the children have ended."""
    while children:
        _, status = os.waitpid(children[0], 0)
        children.pop(0)
        codes.append(os.waitstatus_to_exitcode(status))


def _stop(children: Sequence[int]) -> None:
    for child in children:
        os.kill(child, signal.SIGTERM)
