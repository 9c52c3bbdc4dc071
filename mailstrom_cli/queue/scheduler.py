"""Decides who is tried when: due times on a heap, jobs waiting by next hop, a window for each.

One event loop in one thread: what the work per message costs is a few system calls and one round trip, an
idle connection costs no thread, and nothing here needs a lock. Other processes may work on the same store;
the lease of each message keeps them apart.

    heap --due--> plan: one job per next hop --> destination.waiting --window--> attempt --> record --> heap
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import deque

from mailstrom_cli.errors import MailstromError, NoSuchMessage
from mailstrom_cli.mail.status import UNFINISHED
from mailstrom_cli.policy.routing import next_hop
from mailstrom_cli.queue.attempt import attempt, log_results, record
from mailstrom_cli.queue.destination import Destination, Waiting
from mailstrom_cli.queue.leases import Leases

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random

    from mailstrom_cli.config.schema import Settings
    from mailstrom_cli.mail.status import Result
    from mailstrom_cli.policy.routing import NextHop
    from mailstrom_cli.store.base import Store
    from mailstrom_cli.store.entry import Entry
    from mailstrom_cli.transport.registry import Transports

    OnResult = Callable[[Entry, list[Result]], None]

log = logging.getLogger("mailstrom")

PLANNED = 5000
"""Messages read ahead of their turn; the others wait as a time and an id each."""
SLACK = 0.001
"""Seconds: times on record are rounded, and nobody is to wait again for the rest of a millisecond."""
BUSY_SECONDS = 5.0
"""When to look again at a message that another process has in hand."""


class Scheduler:
    """Delivers what is due. once: a message is tried once and then left alone."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        transports: Transports,
        clock: Callable[[], float],
        rng: Random,
        on_result: OnResult | None = None,
        *,
        once: bool,
    ) -> None:
        self.settings = settings
        self.transports = transports
        self._store = store
        self._clock = clock
        self._rng = rng
        self._on_result = on_result
        self._once = once
        self._heap: list[tuple[float, str]] = []
        self._due: dict[
            str, float
        ] = {}  # what counts of the heap: an id moved to another time leaves a stale item
        self._planned: dict[str, int] = {}  # jobs of a message that wait or run
        self._forced: set[str] = set()
        self._destinations: dict[NextHop, Destination] = {}
        self._ready: deque[Destination] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._leases = Leases(store)
        self._changed = asyncio.Event()
        self._stopping = False
        self._disk_failed: OSError | None = None

    # --- what to do ---

    def add(self, id: str, due: float) -> None:
        """Have a message tried at `due`, or sooner if it already was to be."""
        if id not in self._planned and due < self._due.get(id, float("inf")):
            self._due[id] = due
            heapq.heappush(self._heap, (due, id))
            self._changed.set()

    def force(self, ids: Iterable[str]) -> None:
        """Try these now, whatever back-off says of them or of their next hops."""
        for destination in self._destinations.values():
            destination.forgive()
        for id in ids:
            self._forced.add(id)
            self.add(id, 0.0)

    def reconfigure(self, settings: Settings, transports: Transports) -> None:
        """Go on with other settings; what is under way ends with the old ones."""
        self.settings, self.transports = settings, transports

    def stop(self) -> None:
        """Begin nothing more; `run` ends when what is under way has ended."""
        self._stopping = True
        self._changed.set()

    def cancel(self) -> None:
        """Drop what is under way: it stays as it is on record."""
        for task in self._tasks:
            task.cancel()

    async def run(self) -> None:
        """Until `stop`, or with `once` until everything due was tried. Raises MailstromError when the outcome
        of an attempt could not be recorded."""
        while True:
            self._changed.clear()
            if not self._stopping:
                self._plan_due()
                self._start()
            if not self._tasks and (self._stopping or (self._once and not self._next_is_due())):
                break
            await self._wait()
        if self._disk_failed is not None:
            raise MailstromError(
                f"the outcome of an attempt could not be recorded: {self._disk_failed.strerror}",
                "make room for the spool; until then mail may be delivered twice",
                75,
            )

    def _next_is_due(self) -> bool:
        return bool(self._heap) and self._heap[0][0] <= self._clock() + SLACK

    async def _wait(self) -> None:
        """Until something changes or the next message is due."""
        timer = None
        if self._heap and not self._once and not self._stopping and len(self._planned) < PLANNED:
            seconds = max(0.0, self._heap[0][0] - self._clock())
            timer = asyncio.get_running_loop().call_later(seconds, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            if timer is not None:
                timer.cancel()

    # --- from due messages to waiting jobs ---

    def _plan_due(self) -> None:
        now = self._clock() + SLACK
        while self._heap and self._heap[0][0] <= now and len(self._planned) < PLANNED:
            due, id = heapq.heappop(self._heap)
            if self._due.get(id) == due:
                del self._due[id]
                self._plan(id, now)

    def _plan(self, id: str, now: float) -> None:
        forced = id in self._forced
        self._forced.discard(id)
        try:
            entry = self._store.read(id)
        except NoSuchMessage:
            return
        except MailstromError:
            self._put_right(id)
            return
        if entry.held or entry.state not in UNFINISHED:
            self._put_right(id)
            return
        jobs: dict[NextHop, set[str]] = {}
        for r in entry.recipients:
            if r.next_attempt is not None and (forced or r.next_attempt <= now):
                hop = next_hop(self.settings, entry.envelope.reverse_path, r.address)
                jobs.setdefault(hop, set()).add(r.address)
        if not jobs:
            self._again(id, entry)
            return
        self._planned[id] = len(jobs)
        for hop, addresses in jobs.items():
            destination = self._destination(hop)
            if forced:
                destination.forgive()
            destination.waiting.append(Waiting(id, frozenset(addresses)))
            self._offer(destination)

    def _put_right(self, id: str) -> None:
        """A lease sets aside what is damaged, and moves what is final or held to where it belongs."""
        try:
            with self._leases.take(id):
                pass
        except NoSuchMessage:
            pass
        except (MailstromError, OSError) as error:
            log.error("%s", error)

    def _destination(self, hop: NextHop) -> Destination:
        if hop not in self._destinations:
            limit = self.settings.limits.per_destination
            self._destinations[hop] = Destination(hop, limit, self._store)
        return self._destinations[hop]

    # --- from waiting jobs to attempts ---

    def _offer(self, destination: Destination) -> None:
        if destination.ready and destination not in self._ready:
            self._ready.append(destination)

    def _start(self) -> None:
        """Take turns among the next hops that may dial, as long as connections are left."""
        while self._ready and len(self._tasks) < self.settings.limits.connections:
            if self._stopping or self._disk_failed is not None:
                return
            destination = self._ready.popleft()
            if destination.ready:
                waiting = destination.waiting.popleft()
                destination.active += 1
                task = asyncio.ensure_future(self._attempt(waiting, destination))
                self._tasks.add(task)
                task.add_done_callback(self._ended)
                self._offer(destination)

    async def _attempt(self, waiting: Waiting, destination: Destination) -> None:
        entry: Entry | None = None
        busy = False
        try:
            with self._leases.take(waiting.id) as lease:
                busy = lease is None
                if lease is not None:
                    entry = lease.entry
                    told = await attempt(
                        lease,
                        waiting.addresses,
                        destination,
                        self.transports,
                        self.settings,
                        self._clock,
                        self._rng,
                    )
                    if told is not None:
                        event, results = told
                        entry = await record(lease, event, self._give_up, self._disk_trouble)
                        self._disk_failed = None
                        self._report(entry, results)
        except NoSuchMessage:
            pass
        except MailstromError as error:
            log.error("%s", error.message)
        except OSError as error:
            log.error("%s: %s", waiting.id, error)
            busy = True
        finally:
            destination.active -= 1
            self._offer(destination)
            self._job_ended(waiting.id, entry, busy)

    def _report(self, entry: Entry, results: list[Result]) -> None:
        log_results(entry, results)
        if self._on_result is not None:
            self._on_result(entry, results)

    def _give_up(self) -> bool:
        return self._once or self._stopping

    def _disk_trouble(self, error: OSError) -> None:
        self._disk_failed = error

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._start()
        self._changed.set()
        if not task.cancelled() and task.exception() is not None:
            log.error("internal error", exc_info=task.exception())

    def _job_ended(self, id: str, entry: Entry | None, busy: bool) -> None:
        self._planned[id] -= 1
        if self._planned[id]:
            return
        del self._planned[id]
        if busy and not self._once:
            self.add(id, self._clock() + BUSY_SECONDS)
        elif entry is not None:
            self._again(id, entry)

    def _again(self, id: str, entry: Entry) -> None:
        if entry.next_attempt is not None and not entry.held and not self._once:
            self.add(id, entry.next_attempt)
