"""The next hops for which somebody waits, and which of them is served next: they take turns."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial

from mailstrom_cli.queue.destination import Destination
from mailstrom_cli.queue.turns import EVERYWHERE, Turns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailstrom_cli.config.schema import Limits
    from mailstrom_cli.policy.routing import NextHop
    from mailstrom_cli.queue.line import Waiting
    from mailstrom_cli.store.base import Store

log = logging.getLogger("mailstrom")

RUN = 10
"""Messages that may follow one another on a connection while other next hops wait for one."""
PATIENCE = 60.0
"""Seconds of a pass within which a turn under a rate limit must come; what has to wait longer is left to a
later pass, so that those of a cron job do not pile up."""


class Destinations:
    """once: a pass, which has an end.  more: called when a rate limit allows to go on.
    left: told what a pass leaves to a later one."""

    def __init__(
        self,
        limits: Limits,
        store: Store,
        clock: Callable[[], float],
        more: Callable[[], None],
        left: Callable[[Waiting], None],
        *,
        once: bool,
    ) -> None:
        self._limits = limits
        self._store = store
        self._clock = clock
        self._more = more
        self._left = left
        # In seconds of the loop: a clock that is set back would make it wait for as long.
        self._patience = asyncio.get_running_loop().time() + PATIENCE if once else float("inf")
        self._everywhere = Turns(EVERYWHERE, limits.total_rate, store, clock)
        self._known: dict[NextHop, Destination] = {}
        self._ready: deque[Destination] = deque()
        self._first: deque[Destination] = deque()  # those served before them
        self._resting = False  # until the next turn under the rate limit of all together
        self.pauses = 0  # waits for turns

    def get(self, hop: NextHop) -> Destination:
        if hop not in self._known:
            turns = Turns(str(hop), self._limits.rate, self._store, self._clock)
            self._known[hop] = Destination(hop, self._limits.per_destination, self._store, turns)
        return self._known[hop]

    def waiting(self, hop: NextHop) -> int:
        """Messages that wait for one."""
        return len(self._known[hop].waiting) if hop in self._known else 0

    def offer(self, destination: Destination) -> None:
        """Have it served when its turn comes, if it may be."""
        if destination.ready and not destination.offered:
            destination.offered = True
            self._ready.append(destination)

    def freed(self, destination: Destination) -> None:
        """As `offer`, for one to which a connection has just become free: a few more messages follow on that
        before others have their turn."""
        if destination.ready and destination.in_a_row < RUN:
            destination.in_a_row += 1
            self._first.append(destination)
        else:
            self.offer(destination)

    def next(self) -> Destination | None:
        """The one to serve now; it has taken its turns under rate limits."""
        while (self._first or self._ready) and not self._resting:
            if self._first:
                destination = self._first.popleft()
            else:
                destination = self._ready.popleft()
                destination.offered, destination.in_a_row = False, 0
            if destination.ready and self._has_turn(destination):
                return destination
        return None

    def _has_turn(self, destination: Destination) -> bool:
        """Whether the rate limits allow a message now, which counts as sent then."""
        turns = max((destination.turns, self._everywhere), key=Turns.wait)
        seconds = turns.wait()
        if not seconds:
            destination.turns.take()
            self._everywhere.take()
            return True
        if asyncio.get_running_loop().time() + seconds > self._patience:
            self._leave(destination, turns)
        elif turns is destination.turns:
            destination.resting = True
            self._wake_in(seconds, partial(self._rested, destination))
        else:
            self._first.append(destination)
            self._resting = True
            self._wake_in(seconds, self._all_rested)
        return False

    def give_back(self, destination: Destination) -> None:
        """Its turns were not needed."""
        destination.turns.give_back()
        self._everywhere.give_back()

    def _wake_in(self, seconds: float, rested: Callable[[], None]) -> None:
        def wake() -> None:
            self.pauses -= 1
            rested()
            self._more()

        self.pauses += 1
        asyncio.get_running_loop().call_later(seconds, wake)

    def _rested(self, destination: Destination) -> None:
        destination.resting = False
        self.offer(destination)

    def _all_rested(self) -> None:
        self._resting = False

    def _leave(self, destination: Destination, turns: Turns) -> None:
        count = len(destination.waiting)
        for waiting in destination.waiting.drain():
            self._left(waiting)
        log.info("%s: rate limit of %s: %d left to a later pass", destination.next_hop, turns.name, count)
        self.forget(destination)

    def forget(self, destination: Destination) -> None:
        """When nobody waits and nothing is under way: another process may have found out more of it by the
        time that it is needed again."""
        idle = not len(destination.waiting) and not destination.under_way
        if idle and self._known.get(destination.next_hop) is destination:
            del self._known[destination.next_hop]

    def forget_parked(self) -> None:
        for destination in self._known.values():
            destination.waiting.forget_parked()

    def drain(self) -> Iterator[Waiting]:
        """All who wait for any."""
        for destination in self._known.values():
            yield from destination.waiting.drain()
