"""When each message is next to be looked at: a million of them in some 40 octets each.

What a listing of the store tells is packed and sorted once; what changes afterwards goes to a small heap, and
goes before. A message may so be named twice, which costs a look and harms nothing.
"""

from __future__ import annotations

import heapq
import struct
from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from mailstrom_cli.store.base import Scheduled

_TIME = struct.Struct(">d")  # of times since the epoch, bytes sort as numbers do


class Calendar:
    """Ids by due time, in seconds since the epoch."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._due: dict[str, float] = {}  # what counts of the heap: an id moved forward leaves a stale item
        self._times = array("d")
        self._ids = b""
        self._ends = array("Q")
        self._next = 0  # of what is packed

    def add(self, id: str, due: float) -> bool:
        """Unless the message is to be looked at sooner anyway; whether it was added."""
        if due >= self._due.get(id, float("inf")):
            return False
        self._due[id] = due
        heapq.heappush(self._heap, (due, id))
        return True

    def load(self, items: Iterable[Scheduled], known: Container[str], latest: float) -> None:
        """All that a listing of the store tells, instead of what an earlier one told. known: to be passed
        over.  latest: what is due later is looked at now, since the clock may have been wrong; what turns out
        to be right is added again, and left alone until then."""
        records = sorted(
            _TIME.pack(max(0.0, item.due if item.due <= latest else 0.0)) + item.id.encode()
            for item in items
            if item.id not in known and min(item.due, latest) < self._due.get(item.id, float("inf"))
        )
        for record in records:
            self._due.pop(record[_TIME.size :].decode(), None)
        self._times = array("d", [0.0]) * len(records)
        self._ends = array("Q", [0]) * len(records)
        ids = bytearray()
        for i, record in enumerate(records):
            (self._times[i],) = _TIME.unpack_from(record)
            ids += record[_TIME.size :]
            self._ends[i] = len(ids)
            records[i] = b""  # a million of them are worth giving back one by one
        self._ids, self._next = bytes(ids), 0

    def next_due(self) -> float | None:
        """When something is due next; None when nothing is known of."""
        packed = self._times[self._next] if self._next < len(self._times) else None
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        if not self._heap or (packed is not None and packed < self._heap[0][0]):
            return packed
        return self._heap[0][0]

    def pop(self, now: float) -> str | None:
        """The message that has been due longest; None when none is."""
        while (due := self.next_due()) is not None and due <= now:
            if self._heap and self._heap[0][0] == due:
                _, id = heapq.heappop(self._heap)
                del self._due[id]
                return id
            id = self._unpack()
            if id not in self._due:  # else something newer is known of it
                return id
        return None

    def _unpack(self) -> str:
        begin = self._ends[self._next - 1] if self._next else 0
        id = self._ids[begin : self._ends[self._next]].decode()
        self._next += 1
        if self._next == len(self._times):
            self._times, self._ids, self._ends, self._next = array("d"), b"", array("Q"), 0
        return id
