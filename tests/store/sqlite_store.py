"""A store as somebody else may write one: a message is two rows of SQLite. No more than the contract asks
for."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import threading
from typing import TYPE_CHECKING, Any, BinaryIO

from mailstrom_cli.errors import DATA, TEMPORARY, MailstromError, NoSuchMessage
from mailstrom_cli.mail.status import FINAL, STATES, UNFINISHED
from mailstrom_cli.store.base import NOTE_OCTETS, HostState, Note, Scheduled, one_by_one
from mailstrom_cli.store.entry import apply, first_line, fold
from mailstrom_cli.store.find import find
from mailstrom_cli.store.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mailstrom_cli.store.base import DamagedMessage, Submission
    from mailstrom_cli.store.entry import Entry, Event

TABLES = """
create table if not exists message(id text primary key, state text, due real, key text, digest text, data
blob); create table if not exists line(id text, text text);
create table if not exists beside(name text primary key, text text);
create table if not exists note(kind text, name text, text text, until real, primary key (kind, name));
"""


def open_store(url: str) -> Sqlite:
    return Sqlite(url.removeprefix("sqlite://"))


class Sqlite:
    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.executescript(TABLES)
        self._guard = threading.RLock()
        self._leased: set[str] = set()
        self._listener: int | None = None
        self._runner: str | None = None

    def close(self) -> None:
        self._db.close()

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._guard:
            return self._db.execute(query, values).fetchall()

    def _put_line(self, id: str, line: Event) -> None:
        self._db.execute("insert into line values (?, ?)", (id, json.dumps(line, allow_nan=False)))

    def intake(self, submissions: Sequence[Submission], now: float) -> list[str]:
        ids, new = [], []
        with self._guard, self._db:
            for submission in submissions:
                envelope, data = submission.envelope, b"".join(submission.chunks)
                if len(data) != envelope.size:
                    raise ValueError(f"{envelope.size} octets were told, and {len(data)} came")
                known = self._rows("select id, digest from message where key = ?", envelope.key)
                if known:
                    if known[0][1] != envelope.digest:
                        raise MailstromError(f"the key is of {known[0][0]}", None, DATA)
                    ids.append(known[0][0])
                    continue
                while self._rows("select 1 from message where id = ?", id := new_id(now, *new[-1:])):
                    continue
                ids.append(id)
                new.append(id)
                due = now if envelope.at is None else envelope.at
                self._db.execute(
                    "insert into message values (?, 'queued', ?, ?, ?, ?)",
                    (id, due, envelope.key, envelope.digest, data),
                )
                self._put_line(id, first_line(id, now, envelope))
        for id in new:
            self.wake(id)
        return ids

    def scheduled(self) -> Iterator[Scheduled]:
        rows = self._rows(
            "select id, due from message where due is not null and state in (?, ?)", *UNFINISHED
        )
        return (Scheduled(id, due) for id, due in rows)

    def ids(self, states: Sequence[str]) -> Iterator[str]:
        return iter(
            [id for id, state in self._rows("select id, state from message order by id") if state in states]
        )

    def count(self, states: Sequence[str]) -> int:
        return len(list(self.ids(states)))

    def finished_since(self, since: float) -> Iterator[str]:
        rows = self._rows(
            "select id from message where due >= ? and state in (?, ?) order by due", since, *FINAL
        )
        return (id for (id,) in rows)

    def entries(self, ids: Iterable[str]) -> Iterator[Entry | DamagedMessage | OSError]:
        return one_by_one(ids, self.read)

    def damaged(self) -> tuple[int, str]:
        return 0, ""

    def read(self, id: str) -> Entry:
        return fold(self.events(id))

    def events(self, id: str) -> list[Event]:
        lines = self._rows("select text from line where id = ? order by rowid", id)
        if not lines:
            raise NoSuchMessage(id)
        return [json.loads(text) for (text,) in lines]

    def open_message(self, id: str) -> BinaryIO:
        rows = self._rows("select data from message where id = ?", id)
        if not rows:
            raise NoSuchMessage(id)
        return io.BytesIO(rows[0][0])

    def find(self, name: str) -> str:
        known = set(self.ids(STATES))
        return find(name, known.__contains__, lambda: known, self._first_line)

    def _first_line(self, id: str) -> bytes:
        return json.dumps(self.events(id)[0], separators=(",", ":")).encode() + b"\n"

    def lease(self, id: str) -> SqliteLease | None:
        with self._guard:
            entry = self.read(id)
            if id in self._leased:
                return None
            self._leased.add(id)
        return SqliteLease(self, entry)

    def purge(self, id: str) -> None:
        lease = self.lease(id)
        if lease is None:
            raise MailstromError("in use", None, TEMPORARY)
        with lease:
            if lease.entry.state not in FINAL:
                raise MailstromError(f"it is {lease.entry.state}")
            with self._guard, self._db:
                self._db.execute("delete from message where id = ?", (id,))
                self._db.execute("delete from line where id = ?", (id,))

    def sweep(self, now: float, delivered_before: float, failed_before: float) -> int:
        removed = 0
        for state, before in zip(FINAL, (delivered_before, failed_before), strict=True):
            for (id,) in self._rows("select id from message where state = ? and due < ?", state, before):
                if id not in self._leased:
                    self.purge(id)
                    removed += 1
        with self._guard, self._db:
            removed += self._db.execute("delete from note where until < ?", (now,)).rowcount
        return removed

    def host(self, next_hop: str) -> HostState | None:
        rows = self._rows("select text from beside where name = ?", f"host {next_hop}")
        return HostState(*json.loads(rows[0][0])) if rows else None

    def set_host(self, next_hop: str, state: HostState | None) -> None:
        told = None if state is None else json.dumps([state.failures, state.until, state.reason])
        self._beside(f"host {next_hop}", told)

    def _beside(self, name: str, text: str | None) -> None:
        with self._guard, self._db:
            self._db.execute("delete from beside where name = ?", (name,))
            if text is not None:
                self._db.execute("insert into beside values (?, ?)", (name, text))

    def note(self, kind: str, name: str) -> Note | None:
        return dict(self.notes(kind)).get(name)

    def set_note(self, kind: str, name: str, note: Note | None) -> None:
        if note is not None and len(note.text.encode()) > NOTE_OCTETS:
            raise ValueError("too long")
        with self._guard, self._db:
            self._db.execute("delete from note where kind = ? and name = ?", (kind, name))
            if note is not None:
                self._db.execute("insert into note values (?, ?, ?, ?)", (kind, name, note.text, note.until))

    def notes(self, kind: str) -> Iterator[tuple[str, Note]]:
        found = self._rows("select name, text, until from note where kind = ?", kind)
        return iter([(name, Note(text, until)) for name, text, until in found])

    def mark(self, name: str, when: float | None = None) -> float | None:
        with self._guard:
            rows = self._rows("select text from beside where name = ?", f"mark {name}")
            if when is not None:
                self._beside(f"mark {name}", repr(when))
            return float(rows[0][0]) if rows else None

    def wake(self, line: str) -> bool:
        data = line.encode() + b"\n"
        if "\n" in line or len(data) > 512:
            raise ValueError("not one line")
        try:
            return self._listener is not None and os.write(self._listener, data) > 0
        except OSError:
            return False

    def listen(self) -> int:
        reader, self._listener = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(self._listener, False)
        return reader

    def run_lock(self) -> SqliteRunLock:
        return SqliteRunLock(self)


class SqliteLease:
    def __init__(self, store: Sqlite, entry: Entry) -> None:
        self.entry = entry
        self._store = store
        self._not_before = 0.0
        self._held = True

    def open_message(self) -> BinaryIO:
        return self._store.open_message(self.entry.id)

    def postpone(self, due: float) -> None:
        self._not_before = due
        with self._store._guard, self._store._db:
            self._index()

    def record(self, event: Event) -> Entry:
        after = apply(self.entry, event)
        if (after.next_attempt or 0.0) > event["time"]:
            self._not_before = 0.0
        with self._store._guard, self._store._db:
            try:
                self._store._put_line(after.id, event)
            except ValueError:
                raise ValueError("not for a sidecar") from None
            self.entry = after
            self._index()
        return after

    def _index(self) -> None:
        entry, due = self.entry, self.entry.finished
        if due is None and not entry.held:
            due = max(entry.next_attempt or 0.0, self._not_before)
        self._store._db.execute(
            "update message set state = ?, due = ? where id = ?", (entry.state, due, entry.id)
        )

    def release(self) -> None:
        if self._held:
            self._held = False
            self._store._leased.discard(self.entry.id)

    def __enter__(self) -> SqliteLease:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


class SqliteRunLock:
    def __init__(self, store: Sqlite) -> None:
        self._store = store
        self._ours = False

    def acquire(self) -> str | None:
        if self._store._runner is None:
            self._store._runner, self._ours = f"pid {os.getpid()}, since 2026-11-24T02:43:00Z", True
            return None
        return self._store._runner

    def release(self) -> None:
        if self._ours:
            self._store._runner, self._ours = None, False
