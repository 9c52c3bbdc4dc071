"""Who waits for a next hop: senders take turns, so that one message need not wait behind a mailing."""

from __future__ import annotations

import re
from collections import deque

from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

UNKNOWN = ""
"""The sender of what was waiting before anybody looked at it."""
ENOUGH = 1000
"""Messages of one sender that wait for one next hop as they are; more are parked, packed close together."""


@value
class Waiting:
    """A message with recipients whose turn at a next hop will come; who they are is looked up then.

    forced: whatever the schedule says of them.  parked: it was, and so nobody else counts it as planned.
    """

    id: str
    forced: bool
    parked: bool = False


def stream_of(reverse_path: str) -> str:
    """A sender as far as turns are concerned: the tag that a mailing gives each recipient (`news+17@`,
    `list-bounce-bob=example.org@`) makes no sender of its own."""
    local, at, domain = reverse_path.rpartition("@")
    return re.split(r"(?<=.)[-+=]", local, maxsplit=1)[0].lower() + at + domain.lower()


class _Parked:
    """Ids in the order in which they came, in some 17 octets each."""

    def __init__(self) -> None:
        self._pages: deque[bytes] = deque()
        self._last: list[str] = []
        self.length = 0

    def append(self, id: str) -> None:
        self._last.append(id)
        self.length += 1
        if len(self._last) == ENOUGH:
            self._pages.append("\n".join(self._last).encode())
            self._last = []

    def page(self) -> list[str]:
        """The first up to ENOUGH of them, which are here no longer."""
        if self._pages:
            ids = self._pages.popleft().decode().split("\n")
        else:
            ids, self._last = self._last, []
        self.length -= len(ids)
        return ids


class Line:
    """Messages in the order in which they came, of each sender; the senders in turn."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Waiting]] = {}  # of who is in turns
        self._parked: dict[str, _Parked] = {}
        self._turns: deque[str] = deque()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def full(self, stream: str) -> bool:
        """Whether so many of this sender wait that a further one is better parked."""
        return stream in self._parked or len(self._queues.get(stream, ())) >= ENOUGH

    def park(self, id: str, stream: str) -> None:
        """Behind those who wait. Only where it is full: nobody is parked without them."""
        if stream not in self._parked:
            self._parked[stream] = _Parked()
        self._parked[stream].append(id)
        self._length += 1

    def append(self, waiting: Waiting, stream: str = UNKNOWN) -> None:
        queue = self._queues.get(stream)
        if queue is None:
            queue = self._queues[stream] = deque()
            self._turns.append(stream)
        queue.append(waiting)
        self._length += 1

    def popleft(self) -> Waiting:
        """The next one. Raises IndexError when nobody waits."""
        stream = self._turns.popleft()
        queue = self._queues[stream]
        waiting = queue.popleft()
        self._length -= 1
        if not queue and stream in self._parked:
            parked = self._parked[stream]
            queue.extend(Waiting(id, forced=False, parked=True) for id in parked.page())
            if not parked.length:
                del self._parked[stream]
        if queue:
            self._turns.append(stream)
        else:
            del self._queues[stream]
        return waiting

    def drain(self) -> Iterator[Waiting]:
        """All of them, one by one; afterwards nobody waits."""
        while self._length:
            yield self.popleft()

    def forget_parked(self) -> None:
        """Whoever parked them knows of them from elsewhere now."""
        self._length -= sum(parked.length for parked in self._parked.values())
        self._parked.clear()
