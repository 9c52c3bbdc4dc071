"""Who occupies a connection. So many may at once; a server that lets us wait for its greeting does not count
for long, or a few hundred of them would hold up all mail for the five minutes that each is given."""

from __future__ import annotations

import asyncio
from itertools import takewhile

from mailstrom_cli.transport.base import OPEN, OPENING, SENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mailstrom_cli.queue.destination import Destination

OPENING_SECONDS, OPEN_SECONDS = 0.5, 5.0
"""What takes longer in opening does not count until it is open; what takes longer then may be gone round."""
STALLED = 4
"""Times the limit: so many connections may be slow in opening at once and not count."""


class Slot:
    """The claim of one attempt. dialled: it got so far as to need a connection."""

    def __init__(self, slots: Slots, destination: Destination) -> None:
        self.destination = destination
        self.phase = SENT
        self.dialled = False
        self._slots = slots

    def tell(self, phase: str) -> None:
        """What the attempt does now: OPENING, OPEN or SENT."""
        self.dialled = True
        self._slots.change(self, phase)

    def end(self) -> None:
        self._slots.change(self, SENT)


class Slots:
    """All of them. freed: called when another attempt may begin, to this next hop in particular."""

    def __init__(self, limit: int, freed: Callable[[Destination], None]) -> None:
        self.limit = limit
        self._freed = freed
        # Since when, in seconds of the loop; the oldest first.
        self._opening: dict[Slot, float] = {}
        self._open: dict[Slot, float] = {}
        self._long: set[Slot] = set()
        self._stalled: set[Slot] = set()  # those that do not count
        self._timer: asyncio.TimerHandle | None = None

    @property
    def free(self) -> bool:
        return len(self._opening) + len(self._open) + len(self._long) < self.limit

    def take(self, destination: Destination) -> Slot:
        slot = Slot(self, destination)
        self.change(slot, OPENING)
        return slot

    def change(self, slot: Slot, phase: str) -> None:
        before, slot.phase = slot.phase, phase
        if phase == before != OPEN:  # another message on the same connection begins anew
            return
        destination = slot.destination
        if slot in self._long:
            self._long.remove(slot)
            destination.long -= before == OPEN
        self._opening.pop(slot, None)
        self._open.pop(slot, None)
        self._stalled.discard(slot)
        if phase == SENT:
            destination.active -= before != SENT
            self._freed(destination)
            return
        destination.active += before == SENT
        loop = asyncio.get_running_loop()
        (self._opening if phase == OPENING else self._open)[slot] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(OPENING_SECONDS, self._ring)
        if phase == OPEN and destination.opened():
            self._freed(destination)

    def _ring(self) -> None:
        """Judge those that have taken long."""
        now = asyncio.get_running_loop().time()
        for slot in _since(self._opening, now - OPENING_SECONDS):
            del self._opening[slot]
            (self._stalled if len(self._stalled) < STALLED * self.limit else self._long).add(slot)
            self._freed(slot.destination)
        for slot in _since(self._open, now - OPEN_SECONDS):
            del self._open[slot]
            self._long.add(slot)
            slot.destination.long += 1
            self._freed(slot.destination)
        if self._opening or self._open:
            self._timer = asyncio.get_running_loop().call_later(OPENING_SECONDS, self._ring)
        else:
            self._timer = None


def _since(slots: dict[Slot, float], when: float) -> list[Slot]:
    return list(takewhile(lambda slot: slots[slot] <= when, slots))
