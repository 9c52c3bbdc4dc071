"""Decides who is tried when: a calendar of due times, messages waiting by next hop, a window for each.

One event loop in one thread: what the work per message costs is a few system calls and one round trip, an
idle connection costs no thread, and nothing here needs a lock. Other processes may work on the same store;
the lease of each message keeps them apart.

    calendar --due--> plan: who has to go where --> destination.waiting --slots--> attempt --> record
        ^                                                                                          |
        +------------------------------------- next attempt ---------------------------------------+
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from mailstrom_cli.errors import MailstromError, NoSuchMessage
from mailstrom_cli.mail.status import UNFINISHED
from mailstrom_cli.policy import retry
from mailstrom_cli.policy.routing import Router
from mailstrom_cli.queue.attempt import Tools, attempt, log_results, record
from mailstrom_cli.queue.calendar import Calendar
from mailstrom_cli.queue.destinations import Destinations
from mailstrom_cli.queue.leases import Leases
from mailstrom_cli.queue.line import ENOUGH, UNKNOWN, Waiting, stream_of
from mailstrom_cli.queue.slots import Slots
from mailstrom_cli.queue.trouble import BUSY_SECONDS, Trouble, not_recorded, not_tried
from mailstrom_cli.store.base import DamagedMessage
from mailstrom_cli.transport.base import NotRecorded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from random import Random

    from mailstrom_cli.config.schema import Settings
    from mailstrom_cli.mail.status import Result
    from mailstrom_cli.policy.routing import NextHop
    from mailstrom_cli.queue.destination import Destination
    from mailstrom_cli.queue.slots import Slot
    from mailstrom_cli.store.base import Lease, Scheduled, Store
    from mailstrom_cli.store.entry import Entry, Event
    from mailstrom_cli.transport.registry import Transports

    OnResult = Callable[[Entry, list[Result]], None]

log = logging.getLogger("mailstrom")

PLANNED_AT_ONCE, PLANNED_AHEAD = 100, 500
"""Messages planned before attempts get their turn: few while somebody may connect, so that the first one
leaves at once from a long queue; else more than leave meanwhile, so that those for one next hop meet."""
ONE_HOP_AHEAD, MANY_HOPS_AHEAD = 50, 1000
"""Messages beyond which no more are drawn of what other processes draw from too."""
LONGEST_SLEEP = 900.0
"""Seconds: the timer stands still while a machine is suspended, and time goes on."""


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
        self._store = store
        self._clock = clock
        self._tools = Tools(settings, Router(settings), transports, clock, rng, self._record)
        self._on_result = on_result
        self._once = once
        self._calendar = Calendar()
        self._supply: tuple[Iterator[Sequence[str]], bool] = (iter(()), False)  # and whether forced
        self._new: deque[str] = deque()  # just submitted: looked at before the backlog
        self._planned: dict[str, int] = {}  # in how many places a message waits or is attempted
        self._forced: set[str] = set()
        self._trouble = Trouble()
        self._changed = asyncio.Event()
        self._slots = Slots(settings.limits.connections, self._freed)
        self._destinations = self._no_destinations()
        self._tasks: set[asyncio.Task[None]] = set()
        self._leases, self._stopping = Leases(store), False
        self._disk_failed: OSError | None = None

    # --- what to do ---

    def add(self, id: str, due: float) -> None:
        """Have a message looked at when it is due, or sooner if it already was to be."""
        if id not in self._planned and self._calendar.add(id, min(due, self._latest())):
            self._changed.set()

    def load(self, items: Iterable[Scheduled]) -> None:
        """Have all that the store lists looked at when it is due."""
        self._destinations.forget_parked()
        self._calendar.load(items, self._planned, self._latest())
        self._changed.set()

    def draw(self, supply: Iterator[Sequence[str]], *, forced: bool) -> None:
        """Try these now, drawing more when few are left: others may draw from the same supply."""
        self._supply = supply, forced

    def announce(self, id: str) -> None:
        """Have a message looked at now that somebody has just submitted or changed."""
        if len(self._new) < ENOUGH:
            self._new.append(id)
            self._changed.set()
        else:
            self.add(id, self._clock())

    def _latest(self) -> float:
        """What seems to wait for longer is looked at then: the clock may have been wrong."""
        return self._clock() + retry.longest(self._tools.settings.retry)

    def force(self, ids: Iterable[str]) -> None:
        """Try these now, whatever back-off says of them or their next hops; what is under way, once more."""
        for id in ids:
            self._forced.add(id)
            self.add(id, 0.0)

    def reconfigure(self, settings: Settings, transports: Transports) -> None:
        """Go on with other settings: who waits is planned anew, what is under way ends with the old ones."""
        self._tools = Tools(
            settings, Router(settings), transports, self._clock, self._tools.rng, self._record
        )
        self._slots.limit = settings.limits.connections
        before, self._destinations = self._destinations, self._no_destinations()
        for waiting in before.drain():
            if waiting.forced:
                self._forced.add(waiting.id)
            if waiting.parked:
                self.add(waiting.id, 0.0)
            else:
                self._leave(waiting.id, 0.0)

    def stop(self) -> None:
        """Begin nothing more; `run` ends when what is under way has ended."""
        self._stopping = True
        self._changed.set()

    def cancel(self) -> None:
        """Drop what is under way: it stays as it is on record."""
        for task in self._tasks:
            task.cancel()

    async def run(self) -> None:
        """Until `stop`, or with `once` until all was tried. Raises MailstromError when an outcome could not
        be recorded, and with `once` when a message could not be tried."""
        try:
            while True:
                self._changed.clear()
                more = not self._stopping and self._plan_due()
                self._start()
                if more:
                    await asyncio.sleep(0)
                elif self._tasks or not (self._stopping or (self._once and not self._destinations.pauses)):
                    await self._wait()
                else:
                    break
        finally:
            self._stopping = True
        if self._disk_failed is not None:
            raise not_recorded(self._disk_failed)
        if self._once and self._trouble.messages:
            raise not_tried(self._trouble.messages)

    async def _wait(self) -> None:
        """Until something changes or the next message is due."""
        timer = None
        due = self._calendar.next_due()
        if due is not None and not self._once and not self._stopping:
            seconds = min(max(0.0, due - self._clock()), LONGEST_SLEEP)
            timer = asyncio.get_running_loop().call_later(seconds, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            if timer is not None:
                timer.cancel()

    # --- from due messages to places in a queue ---

    def _plan_due(self) -> bool:
        """Plan some of what is due; whether there is more."""
        now = self._clock() + retry.SLACK
        for _ in range(min(PLANNED_AT_ONCE, len(self._new))):
            self._plan(self._new.popleft(), now, new=True)
        if (only := self._tools.router.only) and self._destinations.waiting(only) >= ENOUGH:
            return bool(self._new)  # each attempt that ends has this looked at again
        for _ in range(PLANNED_AT_ONCE if self._slots.free else PLANNED_AHEAD):
            id = self._calendar.pop(now)
            if id is None:
                return self._draw() or bool(self._new)
            self._plan(id, now)
        return True

    def _draw(self) -> bool:
        """Have more of the supply looked at, unless there is enough to do; whether there was more."""
        if self._tools.router.only:
            enough = len(self._planned) >= ONE_HOP_AHEAD
        else:
            enough = len(self._planned) >= MANY_HOPS_AHEAD and not self._slots.free
        supply, forced = self._supply
        ids = () if enough else next(supply, ())
        if forced:
            self._forced.update(ids)
        for id in ids:
            self.add(id, 0.0)
        return bool(ids)

    def _plan(self, id: str, now: float, *, new: bool = False) -> None:
        """Find a place to wait for each next hop of a message."""
        if id in self._planned:
            return
        forced = id in self._forced
        self._forced.discard(id)
        if self._tools.router.only is not None and not new:
            # Whether it is due at all is seen when it is leased.
            self._place(id, {self._tools.router.only}, UNKNOWN, forced=forced)
            return
        try:
            entry = self._store.read(id)
        except NoSuchMessage:
            return
        except MailstromError:
            self._leases.put_right(id)
            return
        except OSError as error:
            self._troubled(id, error)
            return
        if entry.held or entry.state not in UNFINISHED:
            self._leases.put_right(id)
            return
        settings = self._tools.settings
        hops = {
            self._tools.router.next_hop(entry.envelope.reverse_path, r.address)
            for r in entry.recipients
            if r.next_attempt is not None
            and retry.is_due(r.next_attempt, now, settings.retry, entry.envelope.at, forced=forced)
        }
        if not hops:
            if entry.next_attempt is not None and not self._once:
                self.add(id, entry.next_attempt)
            return
        self._place(id, hops, stream_of(entry.envelope.reverse_path), forced=forced)

    def _place(self, id: str, hops: set[NextHop], stream: str, *, forced: bool) -> None:
        for hop in hops:
            destination = self._destinations.get(hop)
            if forced:
                destination.forgive()
            elif len(hops) == 1 and destination.waiting.full(stream):
                destination.waiting.park(id, stream)
                return
            self._planned[id] = self._planned.get(id, 0) + 1
            destination.waiting.append(Waiting(id, forced), stream)
            self._destinations.offer(destination)

    def _no_destinations(self) -> Destinations:
        limits = self._tools.settings.limits
        return Destinations(limits, self._store, self._clock, self._changed.set, self._left, once=self._once)

    def _left(self, waiting: Waiting) -> None:
        """To a later pass: it stays as it is."""
        if not waiting.parked:
            self._leave(waiting.id, None)

    # --- from a place in a queue to an attempt ---

    def _freed(self, destination: Destination) -> None:
        """Another attempt may begin, to this next hop in particular."""
        self._destinations.freed(destination)
        self._start()

    def _start(self) -> None:
        """Begin what may begin."""
        while self._slots.free and not self._stopping and self._disk_failed is None:
            destination = self._destinations.next()
            if destination is None:
                return
            waiting = destination.waiting.popleft()
            if waiting.parked:
                self._planned[waiting.id] = self._planned.get(waiting.id, 0) + 1
            destination.under_way += 1
            slot = self._slots.take(destination)
            task = asyncio.ensure_future(self._attempt(waiting, destination, slot))
            self._tasks.add(task)
            task.add_done_callback(self._ended)
            self._destinations.offer(destination)

    async def _attempt(self, waiting: Waiting, destination: Destination, slot: Slot) -> None:
        id, again = waiting.id, None
        try:
            with self._leases.take(id) as lease:
                if lease is None:
                    again = self._clock() + BUSY_SECONDS
                else:
                    await attempt(lease, destination, self._tools, slot.tell, forced=waiting.forced)
                    again = None if lease.entry.held else lease.entry.next_attempt
                    self._trouble.over(id)
        except (NoSuchMessage, NotRecorded):
            pass
        except DamagedMessage as error:  # it was set aside
            log.error("%s", error)
        except Exception as error:
            again = self._troubled(id, error)
        finally:
            if not slot.dialled:
                self._destinations.give_back(destination)
            destination.under_way -= 1
            slot.end()
            self._destinations.forget(destination)
            self._leave(id, again)

    async def _record(self, lease: Lease, event: Event, results: Sequence[Result]) -> None:
        entry = await record(lease, event, lambda: self._once or self._stopping, self._disk_trouble)
        self._disk_failed = None
        if results:
            log_results(entry, results)
            if self._on_result is not None:
                self._on_result(entry, list(results))

    def _disk_trouble(self, error: OSError) -> None:
        self._disk_failed = error

    def _troubled(self, id: str, error: Exception) -> float:
        again = self._clock() + self._trouble.met(id, error)
        if not self._once:
            self.add(id, again)
        return again

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._start()
        self._changed.set()

    def _leave(self, id: str, again: float | None) -> None:
        """A message has left one of its places; from the last one it goes back to the calendar."""
        self._planned[id] -= 1
        if self._planned[id]:
            return
        del self._planned[id]
        if id in self._forced:
            self.add(id, 0.0)
        elif again is not None and not self._once:
            self.add(id, again)
