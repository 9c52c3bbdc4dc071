"""Several processes over one store: a long pass is shared out among the cores.

One event loop does a message in some 0.3 ms of one core, nearly all of it in the interpreter, so that threads
would only pay for its lock; on two cores a second process gets 1.7 times as much mail out. They need nothing
of each other: every message has its lease, and each process gets its share of the limits.
"""

from __future__ import annotations

import logging
import os
import signal
import struct
import threading
from contextlib import contextmanager

from mailstrom_cli.errors import TEMPORARY, MailstromError
from mailstrom_cli.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from io import RawIOBase
    from types import FrameType

    from mailstrom_cli.config.schema import Settings

log = logging.getLogger("mailstrom")

SHARE = 500
"""Messages that are worth a process of their own."""
PORTION = 25
"""Messages that a process takes at a time: with few, they end at about the same time."""
PORTIONS = 1024
"""At most so many: their numbers, of four octets, have to fit into the smallest pipe."""

_NUMBER = struct.Struct("@I")


def worthwhile(messages: int, settings: Settings) -> int:
    """In how many processes to deliver so many messages: at most one a core, and each may connect; in one
    under a rate limit, of which two would know less than one."""
    if settings.limits.rate.count or settings.limits.total_rate.count:
        return 1
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


def portions(ids: Sequence[str], processes: int) -> Iterator[Sequence[str]]:
    """The ids in portions, each of which goes to one of the processes that are forked from here and draw from
    this: whoever is done first draws the next, and none is left with a long rest of slow ones."""
    size = max(PORTION, -(-len(ids) // PORTIONS))
    begins: Iterable[int] = range(0, len(ids), size)
    if processes > 1:
        begins = _drawn(begins)
    return (ids[begin : begin + size] for begin in begins)


def _drawn(numbers: Iterable[int]) -> Iterator[int]:
    """Numbers out of a pipe that was filled with them: a read takes one whole, whoever else reads."""
    source, end = os.pipe()
    with open(end, "wb") as writing:
        writing.write(b"".join(map(_NUMBER.pack, numbers)))
    return _read(open(source, "rb", buffering=0))


def _read(source: RawIOBase) -> Iterator[int]:
    with source:
        while number := source.read(_NUMBER.size):
            yield _NUMBER.unpack(number)[0]


def in_processes(work: Sequence[Callable[[], None]]) -> None:
    """Do each piece of work in a process of its own, the first one in this. Whatever ends this one early ends
    the others. Raises MailstromError when one of them failed, which has told why."""
    if len(work) == 1:
        work[0]()
        return
    with _sigterm_passed_on(_Children()) as children:
        try:
            here = [work[0]]
            for piece in work[1:]:
                try:
                    children.fork(piece)
                except OSError as error:
                    log.warning("no other process is to be had: %s", error.strerror)
                    here.append(piece)
            for piece in here:
                if not children.stopped:
                    piece()
            children.wait()
        except BaseException:
            children.stop()
            raise
        finally:
            children.wait()
    if any(children.codes) or children.stopped:
        raise MailstromError(
            "a part of the pass ended early; the log says why", "the next one goes on from here", TEMPORARY
        )


class _Children:
    """Processes of ours. codes: those with which they ended."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.stopped = False
        self._running: list[int] = []

    def fork(self, piece: Callable[[], None]) -> None:
        """One more, unless they were stopped. SIGTERM waits until it is known of here, and hears it there."""
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
        try:
            if self.stopped:
                return
            child = os.fork()
            if child == 0:
                _work_and_exit(piece)
            self._running.append(child)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))

    def stop(self) -> None:
        self.stopped = True
        for child in self._running:
            os.kill(child, signal.SIGTERM)

    def wait(self) -> None:
        """Until all have ended."""
        while self._running:
            _, status = os.waitpid(self._running[0], 0)
            self._running.pop(0)
            self.codes.append(os.waitstatus_to_exitcode(status))


def _work_and_exit(piece: Callable[[], None]) -> None:
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
        piece()
        code = 0
    except MailstromError as error:
        log.error("%s", error.message)
    except KeyboardInterrupt:
        pass
    except BaseException as error:
        log.error("internal error", exc_info=error)
    finally:
        os._exit(code)  # what the streams of this process still held is the parent's to write


@contextmanager
def _sigterm_passed_on(children: _Children) -> Iterator[_Children]:
    """SIGTERM ends the children, and with them what they are waited for."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        children.stop()

    if threading.current_thread() is not threading.main_thread():
        yield children
        return
    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        yield children
    finally:
        signal.signal(signal.SIGTERM, before)
