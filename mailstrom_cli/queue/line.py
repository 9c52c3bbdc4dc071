"""Who waits for a next hop: senders take turns, so that one message need not wait behind a mailing."""

from __future__ import annotations

import re
from collections import deque

from mailstrom_cli.values import value

UNKNOWN = ""
"""The sender of what was waiting before anybody looked at it."""


@value
class Waiting:
    """A message with recipients whose turn at a next hop will come; who they are is looked up then.

    forced: whatever the schedule says of them.
    """

    id: str
    forced: bool


def stream_of(reverse_path: str) -> str:
    """A sender as far as turns are concerned: the tag that a mailing gives each recipient (`news+17@`,
    `list-bounce-bob=example.org@`) makes no sender of its own."""
    local, at, domain = reverse_path.rpartition("@")
    return re.split(r"(?<=.)[-+=]", local, maxsplit=1)[0].lower() + at + domain.lower()


class Line:
    """Messages in the order in which they came, of each sender; the senders in turn."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Waiting]] = {}  # of who is in turns
        self._turns: deque[str] = deque()
        self._length = 0

    def __len__(self) -> int:
        return self._length

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
        if queue:
            self._turns.append(stream)
        else:
            del self._queues[stream]
        return waiting
