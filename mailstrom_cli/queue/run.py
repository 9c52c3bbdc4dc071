"""`run`: deliver for ever, woken by submits, the clock and signals."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import time

from mailstrom_cli.errors import TEMPORARY, MailstromError
from mailstrom_cli.net.background import in_thread
from mailstrom_cli.net.notify import notify
from mailstrom_cli.queue.descriptors import check_some, fitting
from mailstrom_cli.queue.flush import SWEEP_SECONDS, sweep, with_room
from mailstrom_cli.queue.scheduler import Scheduler
from mailstrom_cli.queue.stopping import on_signals, stopped_by_signals
from mailstrom_cli.queue.trigger import ALL, FLUSH, FULL, Lines
from mailstrom_cli.queue.trouble import of_the_loop
from mailstrom_cli.transport.registry import Transports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from mailstrom_cli.config.schema import Settings
    from mailstrom_cli.queue.scheduler import OnResult
    from mailstrom_cli.store.base import Store

log = logging.getLogger("mailstrom")

FIRST_SWEEP_SECONDS = 1.0


def run(
    settings: Settings,
    store: Store,
    reload: Callable[[], Settings] | None = None,
    on_result: OnResult | None = None,
) -> None:
    """Deliver until SIGTERM or SIGINT; SIGHUP calls `reload`. Raises MailstromError when another one runs."""
    lock = store.run_lock()
    holder = with_room(settings, store, lock.acquire)
    for _ in range(5):  # a `flush` that only looks whether somebody runs has it for a moment
        if holder is None:
            break
        time.sleep(0.05)
        holder = lock.acquire()
    if holder is not None:
        raise MailstromError(
            f"another `mailstrom run` serves this spool ({holder})",
            "one is enough; `mailstrom flush` wakes it, and --spool names another spool",
            TEMPORARY,
        )
    try:
        check_some()
        asyncio.run(_Runner(fitting(settings), store, reload, on_result).run())
    finally:
        lock.release()


class _Runner:
    """What `run` does besides scheduling: the trigger, reloading, and sweeping once an hour."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        reload: Callable[[], Settings] | None,
        on_result: OnResult | None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._reload = reload
        self._rng = random.Random()  # noqa: S311  (jitter and shuffling)
        self._transports = Transports(settings, self._rng, store)
        self._scheduler = Scheduler(
            store, settings, self._transports, time.time, self._rng, on_result, once=False
        )
        self._lines = Lines()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        with on_signals({signal.SIGHUP: self._on_hangup}):
            await self._serve()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(of_the_loop)
        # Listen first, then look: a submit in between is seen twice rather than never.
        trigger = self._store.listen()
        loop.add_reader(trigger, self._on_trigger, trigger)
        self._look()
        self._begin(self._sweep_now_and_then())
        try:
            with stopped_by_signals(self._scheduler, logging.INFO):
                log.info("running (pid %d)", os.getpid())
                notify("READY=1")
                await self._scheduler.run()
        finally:
            loop.remove_reader(trigger)
            os.close(trigger)
            await self._transports.close()
            for task in self._tasks:
                task.cancel()
            log.info("stopped")

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _look(self) -> None:
        try:
            self._scheduler.load(self._store.scheduled())
        except OSError as error:
            log.error("the spool cannot be listed: %s", error)

    def _on_trigger(self, trigger: int) -> None:
        try:
            told = os.read(trigger, 65536)
        except BlockingIOError:
            return
        if len(told) >= FULL:
            self._look()
        for words in self._lines.feed(told):
            if words[:1] != [FLUSH]:
                # A submit, or a command that changed a message, tells its id.
                for id in words:
                    self._scheduler.announce(id)
            elif words[1:] == [ALL]:
                self._scheduler.force(item.id for item in self._store.scheduled())
            elif words[1:]:
                self._scheduler.force(words[1:])
            else:
                self._look()

    async def _sweep_now_and_then(self) -> None:
        await asyncio.sleep(FIRST_SWEEP_SECONDS)
        while True:
            try:
                await in_thread(sweep, self._settings, self._store)
            except OSError as error:
                log.error("sweeping the spool failed: %s", error.strerror)
            self._look()  # a power cut can leave what it moved back, and the trigger may have lost a line
            await asyncio.sleep(SWEEP_SECONDS)

    def _on_hangup(self) -> None:
        if self._reload is None:
            return
        notify("RELOADING=1")
        try:
            settings = fitting(self._reload())
            transports = Transports(settings, self._rng, self._store)
        except MailstromError as error:
            log.error("configuration not reloaded: %s", error.message)
        else:
            old, self._transports, self._settings = self._transports, transports, settings
            self._scheduler.reconfigure(settings, transports)
            self._begin(old.close())
            log.info("configuration reloaded")
        notify("READY=1")
