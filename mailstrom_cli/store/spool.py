"""The spool: the store in a directory, format 1. Only this room knows what is below it.

    SPOOL/                 0700; refused when another user owns it or group or others may write it
      format               "mailstrom spool 1"; written last, so its presence says that the rest is there
      tmp/ID/              being written, or being removed; invisible
      queued/ID/           accepted, no attempt has ended
      deferred/ID/         a recipient waits for its next attempt
      delivered/ID/        every recipient was delivered
      failed/ID/           every recipient is final, and at least one failed
          message.eml      the message as it will be sent; never changed
          message.jsonl    the sidecar: line 1 the envelope, then a line an event; only appended to
      corrupt/ID[.N]/      what could not be read, as it was, with a file `reason`; what was no directory lies
                           in it as `planted`
      hosts/NEXT-HOP       back-off state of a next hop, one JSON line; replaced by rename, never synced
      keys/SHA256          an idempotency key: "ID DIGEST"; synced before its message is published
      marks/NAME           a named time, such as that of the last report; never synced
      notes/KIND-NAME      a text of use for a while, such as the MTA-STS policy of a domain, one JSON line;
                           replaced by rename, never synced; spools made before there were any lack it
      trigger              FIFO, read by the listening flusher
      run.lock             flock by the one long-running flusher, its pid and start inside

    Locks, all flock, all freed by the kernel when a process dies:
      message.jsonl        the lease: whoever has it may change, move and remove the message
      tmp/ID/message.eml   a writer is at it
      keys/SHA256          a submit under this key is in progress
      run.lock             a flusher runs

The sidecar is the truth. The directory in which a message lies, and that directory's mtime (`schedule`), are
the index to it, which any lease brings back in line. An event that ends the waiting is written before the
index follows; one that brings an attempt nearer (retry, release) after it. So what a crash leaves in between
is looked at too early, never too late, and all that is unfinished lies in queued/ or deferred/.

The states of a message, what a crash in each leaves, and who cleans up. "Kill" is the end of a process at any
system call; "power" is the loss of what was not synced, on top of that.

    state                        on disk                             after kill           after power
    1  being written             tmp/ID/ incomplete                  swept (a)            swept, or gone
    2  written and synced        tmp/ID/ complete; its key, if it    swept (a); the key   the same
                                 has one, names it                   is free (b)
    3  published                 queued/ID/                          stays (c)            stays, or 2 (d)
    4  accepted                  queued/ID/, queued/ is synced;      stays                stays
                                 only now the caller is told
    5  attempt in progress       as 4 or 6, leased; mtime is set     due at that mtime    due then, or at once
                                 to a later attempt first            (e)                  (e)
    6  result recorded           the event's line in the sidecar     as recorded          as recorded, or as
                                                                                          before (f)
    7  the line is torn          bytes after the last newline        ignored; cut off by  the same
                                                                     the next writer
    8  recorded, not yet moved   final by its sidecar, and lies in   moved when leased    the same
                                 queued/ or deferred/
    9  moved, retry not yet      final by its sidecar, and lies in   as 8: moved back     the same
       recorded                  queued/ or deferred/
       due, release not yet      on hold by its sidecar, and its     leased when due,     the same
       recorded                  mtime is no longer HELD             then held again
    10 final                     delivered/ID/ or failed/ID/         stays until purged   stays, or 8, or (g)
    11 being removed             tmp/ID/                             swept (a)            swept, or 10
    12 damaged                   any state; cannot be read           set aside when next  the same
                                                                     leased: corrupt/ID,
                                                                     nobody removes it

    (a) `sweep` removes from tmp/ what has been there for an hour (ctime, which nobody can set) and is not
        locked by its writer. It renames it first: a writer that was stopped for longer than that fails to
        publish, and says so, but never publishes half a message.
    (b) A key whose id is in none of the four states is free: the next submit takes it, `sweep` removes it.
    (c) A kill between the renames of a batch leaves the first of its messages published and the others in
        tmp/, and no caller was told anything; a batch of one has no such moment.
    (d) Where an intake fails after its first rename (the disk fails, hardly else), it moves what it published
        back to tmp/ before it reports. If that fails too, or power is lost before it reached the disk, or a
        flusher had leased the message already, the message is sent although its submit reported failure.
    (e) An attempt of which nothing was recorded is repeated. Its recipients may get the message again only if
        the server had accepted it: between that reply and the line there is nothing but the write.
    (f) Results are not synced: a power cut may take them back, and an attempt is repeated; no loss.
    (g) The move may have reached the disk, and the line not: unfinished by its sidecar, and in delivered/ or
        failed/, where no scheduler looks. `sweep` leases once what became final since shortly before the
        last sweep, and so moves it back. Call it when a flusher starts.

    hosts/, marks/, notes/       old, new or missing; missing is right  the same          or empty: as missing
    format, directories          whoever opens the spool completes what a crash left out, format last
"""

from __future__ import annotations

import fcntl
import os

from mailstrom_cli.errors import TEMPORARY, USAGE, MailstromError, NoSuchMessage
from mailstrom_cli.mail.status import FINAL, QUEUED, STATES, UNFINISHED
from mailstrom_cli.store import files, layout, trigger
from mailstrom_cli.store.base import DamagedMessage, Scheduled, one_by_one
from mailstrom_cli.store.corrupt import reason_for, set_aside
from mailstrom_cli.store.entry import DamagedEntry, fold
from mailstrom_cli.store.intake import Batch, check_space, refusal
from mailstrom_cli.store.lease import (
    SpoolLease,
    first_line,
    judge,
    open_message,
    open_sidecar,
    read_lines,
    read_sidecar,
)
from mailstrom_cli.store.schedule import HELD
from mailstrom_cli.store.tree import ROUNDS, Tree, below

# What a plain submit does not need is imported where it is used: keys, find, notes, sweep, runlock.

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO

    from mailstrom_cli.store.base import HostState, Note, Submission
    from mailstrom_cli.store.entry import Entry, Event
    from mailstrom_cli.store.runlock import SpoolRunLock


def open_store(url: str, min_free: int = 0, create: bool = True) -> Spool:
    """The spool at a path or `spool:///path`.

    min_free: octets that intake leaves free on its file system.  create: make one where there is none.
    Raises MailstromError as `layout.open_root`.
    """
    return Spool(url.removeprefix("spool://"), min_free, create)


class Spool(Tree):
    """The Store in a directory; `close` gives its descriptors back."""

    def __init__(self, path: str, min_free: int = 0, create: bool = True) -> None:
        super().__init__(path, create)
        self.min_free = min_free

    # --- intake ---

    def intake(self, submissions: Sequence[Submission], now: float) -> list[str]:
        keys = None
        try:
            if self.min_free:
                check_space(self.path, self._root, sum(s.envelope.size for s in submissions), self.min_free)
            if any(s.envelope.key is not None for s in submissions):
                from mailstrom_cli.store.keys import Keys

                keys = Keys(self.directory(layout.KEYS), self.exists)
            tmp, queued = self.directory(layout.TMP), self.directory(QUEUED)
            batch = Batch(self.path, self._root, tmp, queued, keys)
            ids, new = batch.store(submissions, now)
        except OSError as error:
            raise refusal(self.path, error) from None
        finally:
            if keys:
                keys.release()
        if new:
            trigger.pull(self._root, new)
        return ids

    # --- the index: names and times, no sidecar is opened ---

    def scheduled(self) -> Iterator[Scheduled]:
        for state in STATES:
            self.directory(state)  # whoever delivers needs them all: what is wrong with one is told first
        for state in UNFINISHED:
            for id, held in self.scan(state):
                if held.st_mtime_ns != HELD:
                    yield Scheduled(id, held.st_mtime)

    def ids(self, states: Sequence[str]) -> Iterator[str]:
        return iter(sorted(self.names(states)))

    def count(self, states: Sequence[str]) -> int:
        return len(self.names(states))

    def finished_since(self, since: float) -> Iterator[str]:
        found = [
            (held.st_mtime, id) for state in FINAL for id, held in self.scan(state) if held.st_mtime >= since
        ]
        return iter([id for _, id in sorted(found)])

    # --- messages ---

    def read(self, id: str) -> Entry:
        return self.visit(id, lambda directory: judge(id, directory, fold(read_lines(directory))))

    def entries(self, ids: Iterable[str]) -> Iterator[Entry | DamagedMessage | OSError]:
        from mailstrom_cli.store.commonest import entry_of

        state = QUEUED

        def read(id: str) -> Entry:
            nonlocal state
            entry = self.visit(id, lambda found: judge(id, found, entry_of(read_sidecar(found))), state)
            state = entry.state  # the next one may well lie there, too
            return entry

        return one_by_one(ids, read)

    def events(self, id: str) -> list[Event]:
        def checked(directory: int) -> list[Event]:
            lines = read_lines(directory)
            fold(lines)
            return list(lines)

        return self.visit(id, checked)

    def open_message(self, id: str) -> BinaryIO:
        return self.visit(id, open_message)

    def find(self, name: str) -> str:
        from mailstrom_cli.store.find import find

        kept = (*STATES, layout.CORRUPT)  # that one is damaged is told by who reads it
        return find(name, self._known, lambda: self.names(kept), self._first_line)

    def _known(self, id: str) -> bool:
        return self.exists(id) or reason_for(id, self.directory(layout.CORRUPT)) is not None

    def damaged(self) -> tuple[int, str]:
        with below(self.path):
            count = sum(1 for _ in files.scan(".", self.directory(layout.CORRUPT)))
        return count, os.path.join(self.path, layout.CORRUPT)

    def _first_line(self, id: str) -> bytes:
        try:
            return self.visit(id, first_line)
        except (NoSuchMessage, DamagedMessage, PermissionError):
            return b""

    # --- leases ---

    def lease(self, id: str) -> SpoolLease | None:
        for _ in range(ROUNDS):
            state, directory = self.locate(id)
            sidecar, lease = -1, None
            try:
                if directory is None:
                    raise DamagedEntry("it is not a directory")
                with below(self.path, state, id):
                    sidecar = open_sidecar(directory, os.O_RDWR | os.O_APPEND)
                    fcntl.flock(sidecar, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if self.still_there(state, id, directory):
                        lease = SpoolLease(id, state, directory, sidecar, self.directory)
                        return lease
            except BlockingIOError:
                return None
            except DamagedEntry as error:
                if self.still_there(state, id, directory):
                    set_aside(id, str(error), self.directory(state), self.directory(layout.CORRUPT))
                    raise self.damage(layout.CORRUPT, id, str(error)) from None
            finally:
                if lease is None:
                    for fd in (directory, sidecar):
                        if fd is not None and fd >= 0:
                            os.close(fd)
        raise NoSuchMessage(id)

    def purge(self, id: str) -> None:
        lease = self.lease(id)
        if lease is None:
            raise MailstromError(f"message {id} is in use", "try again when its attempt is over", TEMPORARY)
        with lease:
            if lease.entry.state not in FINAL:
                raise MailstromError(
                    f"message {id} is {lease.entry.state}, not final", "cancel it first", USAGE
                )
            lease.remove()

    def sweep(self, now: float, delivered_before: float, failed_before: float) -> int:
        from mailstrom_cli.store.sweep import sweep

        return sweep(self, now, delivered_before, failed_before)

    # --- beside messages ---

    def host(self, next_hop: str) -> HostState | None:
        from mailstrom_cli.store.notes import read_host

        return read_host(self.directory(layout.HOSTS), next_hop)

    def set_host(self, next_hop: str, state: HostState | None) -> None:
        from mailstrom_cli.store.notes import write_host

        write_host(self.directory(layout.HOSTS), self.directory(layout.TMP), next_hop, state)

    def note(self, kind: str, name: str) -> Note | None:
        from mailstrom_cli.store.notes import read_note

        return read_note(self.directory(layout.NOTES), kind, name)

    def set_note(self, kind: str, name: str, note: Note | None) -> None:
        from mailstrom_cli.store.notes import write_note

        write_note(self.directory(layout.NOTES), self.directory(layout.TMP), kind, name, note)

    def notes(self, kind: str) -> Iterator[tuple[str, Note]]:
        from mailstrom_cli.store.notes import list_notes

        return list_notes(self.directory(layout.NOTES), kind)

    def mark(self, name: str, when: float | None = None) -> float | None:
        from mailstrom_cli.store.notes import exchange_mark

        with below(self.path, layout.MARKS):
            return exchange_mark(self.directory(layout.MARKS), name, when)

    def wake(self, line: str) -> bool:
        return trigger.pull(self._root, [line])

    def listen(self) -> int:
        return trigger.listen(self._root)

    def run_lock(self) -> SpoolRunLock:
        from mailstrom_cli.store.runlock import SpoolRunLock

        return SpoolRunLock(os.path.join(self.path, layout.RUN_LOCK))
