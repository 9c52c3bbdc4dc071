"""Signals: the first lets transactions in hand end, for a bounded time; the second drops them."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from contextlib import contextmanager
from functools import partial

from mailstrom_cli.net.notify import notify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

    from mailstrom_cli.queue.scheduler import Scheduler

log = logging.getLogger("mailstrom")

STOP_SECONDS = 30.0
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopping:
    """What has been asked of a scheduler: signal is the number of the first, or None."""

    def __init__(self, scheduler: Scheduler, level: int) -> None:
        self._scheduler = scheduler
        self._level = level
        self.signal: int | None = None

    def __call__(self, number: int) -> None:
        if self.signal is not None:
            self._scheduler.cancel()
            return
        self.signal = number
        log.log(self._level, "stopping within %d seconds; a second signal stops at once", STOP_SECONDS)
        notify("STOPPING=1")
        self._scheduler.stop()
        asyncio.get_running_loop().call_later(STOP_SECONDS, self._scheduler.cancel)


@contextmanager
def stopped_by_signals(scheduler: Scheduler, level: int) -> Iterator[Stopping]:
    """SIGTERM and SIGINT stop the scheduler while this lasts. Only the main thread hears signals; in another
    one, and afterwards, they mean to the caller what they meant before. level: of the log line."""
    stopping = Stopping(scheduler, level)
    with on_signals({number: partial(stopping, number) for number in SIGNALS}):
        yield stopping


@contextmanager
def on_signals(do: Mapping[int, Callable[[], object]]) -> Iterator[None]:
    """While this lasts, have the running loop do this when a signal comes. Unlike what
    `loop.add_signal_handler` does, it needs no descriptor that can be read and written: that only wakes the
    loop."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    def heard(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(do[number])

    before = {number: signal.signal(number, heard) for number in do}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
