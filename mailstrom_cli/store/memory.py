"""A store in memory, for tests and for programs that keep their queue elsewhere: the spool's semantics
without its durability. `memory:` is a new store, `memory://name` the one of that name in this process."""

from __future__ import annotations

import io
import os
import threading
import time

from mailstrom_cli.errors import TEMPORARY, USAGE, MailstromError, NoSuchMessage
from mailstrom_cli.mail.status import FINAL, STATES, UNFINISHED
from mailstrom_cli.store.base import Scheduled, one_by_one
from mailstrom_cli.store.entry import apply, first_line, fold
from mailstrom_cli.store.find import find
from mailstrom_cli.store.ids import new_id
from mailstrom_cli.store.keys import other_message
from mailstrom_cli.store.notes import check_note
from mailstrom_cli.store.schedule import HELD, index_of
from mailstrom_cli.store.sidecar import encode, parse
from mailstrom_cli.store.trigger import pieces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import BinaryIO

    from mailstrom_cli.store.base import DamagedMessage, HostState, Note, Submission
    from mailstrom_cli.store.entry import Entry, Event

_named: dict[str, Memory] = {}
_naming = threading.Lock()


def open_store(url: str) -> Memory:
    """`memory:` gives a new store, `memory://name` the same one each time."""
    name = url.removeprefix("memory:").strip("/")
    if not name:
        return Memory()
    with _naming:
        return _named.setdefault(name, Memory())


class _Message:
    """A message: its octets, its sidecar, its entry and its index."""

    def __init__(self, data: bytes, sidecar: bytes) -> None:
        self.data = data
        self.sidecar = sidecar
        self.entry = fold(parse(sidecar)[0])
        self.index = index_of(self.entry, 0.0)
        self.leased = False


class Memory:
    """The Store in memory. One lock guards it all, and is never held while a caller's code runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._messages: dict[str, _Message] = {}
        self._keys: dict[str, tuple[str, str | None]] = {}
        self._hosts: dict[str, HostState] = {}
        self._marks: dict[str, float] = {}
        self._notes: dict[tuple[str, str], Note] = {}
        self._listener: int | None = None  # the end that is written to
        self._runner: str | None = None

    def intake(self, submissions: Sequence[Submission], now: float) -> list[str]:
        given = [(s.envelope, b"".join(s.chunks)) for s in submissions]
        ids: list[str] = []
        new: dict[str, _Message] = {}
        keys: dict[str, tuple[str, str | None]] = {}
        last = ""
        with self._lock:
            for envelope, data in given:
                if len(data) != envelope.size:
                    raise ValueError(f"the envelope tells of {envelope.size} octets, not of {len(data)}")
                known = keys.get(envelope.key or "") or self._key(envelope.key)
                if known and envelope.key is not None:
                    if known[1] != envelope.digest:
                        raise other_message(envelope.key, known[0])
                    ids.append(known[0])
                    continue
                id = new_id(now, last)
                while id in self._messages:
                    id = new_id(now, last)
                last = id
                new[id] = _Message(data, encode(first_line(id, round(now, 3), envelope)))
                ids.append(id)
                if envelope.key is not None:
                    keys[envelope.key] = (id, envelope.digest)
            self._messages.update(new)
            self._keys.update(keys)
        for id in new:
            self.wake(id)
        return ids

    def _key(self, key: str | None) -> tuple[str, str | None] | None:
        known = self._keys.get(key) if key is not None else None
        return known if known and known[0] in self._messages else None

    def _all(self) -> list[tuple[str, _Message]]:
        with self._lock:
            return list(self._messages.items())

    def scheduled(self) -> Iterator[Scheduled]:
        return (
            Scheduled(id, held.index / 1e9)
            for id, held in self._all()
            if held.entry.state in UNFINISHED and held.index != HELD
        )

    def ids(self, states: Sequence[str]) -> Iterator[str]:
        return iter(sorted(id for id, held in self._all() if held.entry.state in states))

    def count(self, states: Sequence[str]) -> int:
        return sum(1 for _ in self.ids(states))

    def finished_since(self, since: float) -> Iterator[str]:
        found = [(held.entry.finished, id) for id, held in self._all() if held.entry.finished is not None]
        return iter([id for finished, id in sorted(found) if finished >= since])

    def _message(self, id: str) -> _Message:
        held = self._messages.get(id)
        if held is None:
            raise NoSuchMessage(id)
        return held

    def read(self, id: str) -> Entry:
        return self._message(id).entry

    def entries(self, ids: Iterable[str]) -> Iterator[Entry | DamagedMessage | OSError]:
        return one_by_one(ids, self.read)

    def events(self, id: str) -> list[Event]:
        return list(parse(self._message(id).sidecar)[0])

    def open_message(self, id: str) -> BinaryIO:
        return io.BytesIO(self._message(id).data)

    def find(self, name: str) -> str:
        return find(name, self._messages.__contains__, lambda: self.ids(STATES), self._first_line)

    def _first_line(self, id: str) -> bytes:
        held = self._messages.get(id)
        return held.sidecar.partition(b"\n")[0] + b"\n" if held else b""

    def damaged(self) -> tuple[int, str]:
        return 0, ""

    def lease(self, id: str) -> MemoryLease | None:
        with self._lock:
            held = self._message(id)
            if held.leased:
                return None
            held.leased = True
        return MemoryLease(held, self._lock)

    def purge(self, id: str) -> None:
        with self._lock:
            held = self._message(id)
            if held.leased:
                raise MailstromError(
                    f"message {id} is in use", "try again when its attempt is over", TEMPORARY
                )
            if held.entry.state not in FINAL:
                raise MailstromError(
                    f"message {id} is {held.entry.state}, not final", "cancel it first", USAGE
                )
            del self._messages[id]

    def sweep(self, now: float, delivered_before: float, failed_before: float) -> int:
        before = dict(zip(FINAL, (delivered_before, failed_before), strict=True))
        removed = 0
        with self._lock:
            for id, held in list(self._messages.items()):
                finished = held.entry.finished
                if finished is not None and finished < before[held.entry.state] and not held.leased:
                    del self._messages[id]
                    removed += 1
            for key in [key for key in self._keys if not self._key(key)]:
                del self._keys[key]
                removed += 1
            for known in [known for known, note in self._notes.items() if note.until < now]:
                del self._notes[known]
                removed += 1
        return removed

    def host(self, next_hop: str) -> HostState | None:
        return self._hosts.get(next_hop)

    def set_host(self, next_hop: str, state: HostState | None) -> None:
        with self._lock:
            if state is None:
                self._hosts.pop(next_hop, None)
            else:
                self._hosts[next_hop] = state

    def note(self, kind: str, name: str) -> Note | None:
        return self._notes.get((kind, name))

    def set_note(self, kind: str, name: str, note: Note | None) -> None:
        with self._lock:
            if note is None:
                self._notes.pop((kind, name), None)
            else:
                check_note(note)
                self._notes[kind, name] = note

    def notes(self, kind: str) -> Iterator[tuple[str, Note]]:
        with self._lock:
            return iter([(name, note) for (held, name), note in self._notes.items() if held == kind])

    def mark(self, name: str, when: float | None = None) -> float | None:
        with self._lock:
            before = self._marks.get(name)
            if when is not None:
                self._marks[name] = when
            return before

    def wake(self, line: str) -> bool:
        (piece,) = pieces([line])
        with self._lock:
            if self._listener is None:
                return False
            try:
                os.write(self._listener, piece)
            except OSError:  # full, or the listener closed its end
                return False
            return True

    def listen(self) -> int:
        with self._lock:
            if self._listener is not None:
                os.close(self._listener)
            reader, self._listener = os.pipe()
            os.set_blocking(reader, False)
            os.set_blocking(self._listener, False)
            return reader

    def run_lock(self) -> MemoryRunLock:
        return MemoryRunLock(self)


class MemoryLease:
    """The Lease of the store in memory."""

    def __init__(self, held: _Message, lock: threading.Lock) -> None:
        self.entry = held.entry
        self._held = held
        self._lock = lock
        self._not_before = 0.0
        self._released = False

    def open_message(self) -> BinaryIO:
        return io.BytesIO(self._held.data)

    def postpone(self, due: float) -> None:
        self._not_before = due
        self._held.index = index_of(self.entry, due)

    def record(self, event: Event) -> Entry:
        after, line, time = apply(self.entry, event), encode(event), event["time"]
        if (after.next_attempt or 0.0) > time:
            self._not_before = 0.0
        with self._lock:
            self._held.sidecar += line
            self._held.entry = self.entry = after
            self._held.index = index_of(after, self._not_before)
        return after

    def release(self) -> None:
        with self._lock:
            if not self._released:
                self._released = True
                self._held.index = index_of(self.entry, self._not_before)
                self._held.leased = False

    def __enter__(self) -> MemoryLease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class MemoryRunLock:
    """The RunLock of the store in memory."""

    def __init__(self, store: Memory) -> None:
        self._store = store
        self._ours = False

    def acquire(self) -> str | None:
        with self._store._lock:
            if self._store._runner is not None:
                return self._store._runner
            since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            self._store._runner = f"pid {os.getpid()}, since {since}"
            self._ours = True
            return None

    def release(self) -> None:
        with self._store._lock:
            if self._ours:
                self._ours, self._store._runner = False, None
