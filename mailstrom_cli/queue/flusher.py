"""`flush`: one pass over what is due. `run`: the same for ever, woken by submits, the clock and signals."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import time

from mailstrom_cli.errors import TEMPORARY, MailstromError, NoSuchMessage
from mailstrom_cli.mail.status import UNFINISHED
from mailstrom_cli.net.notify import notify
from mailstrom_cli.queue.scheduler import Scheduler
from mailstrom_cli.store.base import SWEPT
from mailstrom_cli.transport.registry import Transports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mailstrom_cli.config.schema import Settings
    from mailstrom_cli.queue.scheduler import OnResult
    from mailstrom_cli.store.base import Store

log = logging.getLogger("mailstrom")

STOP_SECONDS = 30.0
"""How long transactions in hand may go on after SIGTERM."""
FIRST_SWEEP_SECONDS = 1.0
SWEEP_SECONDS = 3600.0
FLUSH = "flush"  # the line by which `flush` wakes `run`; behind it ids, ALL, or nothing for what is due
ALL = "all"
FULL = 32_768
"""Octets at once from the trigger that mean it may have been full, and lines lost."""
LINE_IDS = 20
"""Ids in one line of a trigger, within the 512 octets that POSIX lets every pipe take at once."""


def flush(
    settings: Settings,
    store: Store,
    ids: Sequence[str] = (),
    everything: bool = False,
    on_result: OnResult | None = None,
) -> None:
    """One pass over what is due; ids or everything are tried whatever back-off says. While a `run` serves the
    store, it is woken and its pass waited for. Raises MailstromError."""
    now = time.time()
    insist = everything or bool(ids)
    todo = ids or [item.id for item in store.scheduled() if everything or item.due <= now]
    if _someone_runs(store) and _wake(store, [ALL] if everything else ids):
        _wait_for_run(store, todo, now, insist=insist)
        if _someone_runs(store):
            return
    asyncio.run(_flush(settings, store, todo, insist, on_result))


def _wake(store: Store, words: Sequence[str]) -> bool:
    """Have `run` look for what is due, or try these ids, or ALL, in any case."""
    lines = [" ".join([FLUSH, *words[i : i + LINE_IDS]]) for i in range(0, max(1, len(words)), LINE_IDS)]
    return all(store.wake(line) for line in lines)


def _someone_runs(store: Store) -> bool:
    lock = store.run_lock()
    if lock.acquire() is not None:
        return True
    lock.release()
    return False


def _wait_for_run(store: Store, ids: Iterable[str], since: float, *, insist: bool) -> None:
    """Until each of `ids` was tried, or is not due any more, or nobody runs."""
    for id in ids:
        pause = 0.01
        while not _was_tried(store, id, since, insist=insist):
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)
            if pause >= 0.5 and not _someone_runs(store):
                return


def _was_tried(store: Store, id: str, since: float, *, insist: bool) -> bool:
    try:
        entry = store.read(id)
    except MailstromError:
        return True
    if entry.held or entry.state not in UNFINISHED:
        return True
    return not any(
        r.next_attempt is not None
        and (insist or r.next_attempt <= since)
        and (r.last_attempt is None or r.last_attempt < since)
        for r in entry.recipients
    )


async def _flush(
    settings: Settings, store: Store, ids: Sequence[str], force: bool, on_result: OnResult | None
) -> None:
    rng = random.Random()  # noqa: S311  (jitter and shuffling)
    transports = Transports(settings, rng)
    scheduler = Scheduler(store, settings, transports, time.time, rng, on_result, once=True)
    if force:
        scheduler.force(ids)
    else:
        for id in ids:
            scheduler.add(id, 0.0)
    loop = asyncio.get_running_loop()
    stopping = _Stopping(scheduler)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping)
    try:
        await scheduler.run()
    finally:
        await transports.close()
    if time.time() - (store.mark(SWEPT) or 0.0) >= SWEEP_SECONDS:
        _sweep(settings, store)


def run(
    settings: Settings,
    store: Store,
    reload: Callable[[], Settings] | None = None,
    on_result: OnResult | None = None,
) -> None:
    """Deliver until SIGTERM or SIGINT; SIGHUP calls `reload`. Raises MailstromError when another one runs."""
    lock = store.run_lock()
    holder = lock.acquire()
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
        asyncio.run(_Runner(settings, store, reload, on_result).run())
    finally:
        lock.release()


class _Stopping:
    """On the first signal let transactions in hand end, for a bounded time; on the second, drop them."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.asked = False

    def __call__(self) -> None:
        if self.asked:
            self._scheduler.cancel()
            return
        self.asked = True
        log.info("stopping")
        notify("STOPPING=1")
        self._scheduler.stop()
        asyncio.get_running_loop().call_later(STOP_SECONDS, self._scheduler.cancel)


class _Runner:
    """What `run` does besides scheduling: signals, the trigger, reloading, and sweeping once an hour."""

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
        self._transports = Transports(settings, self._rng)
        self._scheduler = Scheduler(
            store, settings, self._transports, time.time, self._rng, on_result, once=False
        )
        self._told = b""
        self._closing: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        stopping = _Stopping(self._scheduler)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        # Listen first, then look: a submit in between is seen twice rather than never.
        trigger = self._store.listen()
        loop.add_reader(trigger, self._on_trigger, trigger)
        self._look()
        loop.call_later(FIRST_SWEEP_SECONDS, self._sweep_and_again)
        log.info("running (pid %d)", os.getpid())
        notify("READY=1")
        try:
            await self._scheduler.run()
        finally:
            loop.remove_reader(trigger)
            os.close(trigger)
            await self._transports.close()
            log.info("stopped")

    def _look(self) -> None:
        for item in self._store.scheduled():
            self._scheduler.add(item.id, item.due)

    def _on_trigger(self, trigger: int) -> None:
        try:
            told = os.read(trigger, 65536)
        except BlockingIOError:
            return
        *lines, self._told = (self._told + told).split(b"\n")
        if len(told) > FULL:
            self._look()
        for line in lines:
            words = line.decode("ascii", "replace").split()
            if words[:1] != [FLUSH]:
                self._due_now(words)
            elif words[1:] == [ALL]:
                self._scheduler.force(item.id for item in self._store.scheduled())
            elif words[1:]:
                self._scheduler.force(words[1:])
            else:
                self._look()

    def _due_now(self, ids: Sequence[str]) -> None:
        """A submit, or a command that changed a message, tells its id."""
        for id in ids:
            try:
                entry = self._store.read(id)
            except NoSuchMessage:
                continue
            except MailstromError as error:
                log.error("%s", error.message)
                continue
            if entry.next_attempt is not None and not entry.held:
                self._scheduler.add(id, entry.next_attempt)

    def _sweep_and_again(self) -> None:
        _sweep(self._settings, self._store)
        self._look()  # a power cut can leave what it moved back
        asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep_and_again)

    def _on_hangup(self) -> None:
        if self._reload is None:
            return
        notify("RELOADING=1")
        try:
            settings = self._reload()
            transports = Transports(settings, self._rng)
        except MailstromError as error:
            log.error("configuration not reloaded: %s", error.message)
        else:
            old, self._transports, self._settings = self._transports, transports, settings
            self._scheduler.reconfigure(settings, transports)
            task = asyncio.ensure_future(old.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            log.info("configuration reloaded")
        notify("READY=1")


def _sweep(settings: Settings, store: Store) -> None:
    now = time.time()
    try:
        store.sweep(now, now - settings.retention.delivered, now - settings.retention.failed)
    except (OSError, MailstromError) as error:
        log.error("sweeping the spool failed: %s", error)
