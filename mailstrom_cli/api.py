"""The Python face of mailstrom, and its composition root: settings in, concrete objects out.

    from mailstrom_cli.api import Mailstrom, Request

    mail = Mailstrom.open()
    done = mail.submit(b"From: a@example.org\\nTo: b@example.net\\n\\nHello\\n", Request())
    (entry,) = mail.wait([done.id], 60)
    print(entry.state, [(r.address, r.status, r.text) for r in entry.recipients])

Whatever a person can put right is raised as MailstromError; anything else is a bug.
"""

from __future__ import annotations

import os
import time

from mailstrom_cli.errors import DATA, MailstromError
from mailstrom_cli.mail.prepare import Prepared, prepare
from mailstrom_cli.mail.request import Context, Request
from mailstrom_cli.mail.status import FINAL, UNFINISHED
from mailstrom_cli.store.base import DamagedMessage, Submission
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import BinaryIO

    from mailstrom_cli.config.schema import Settings
    from mailstrom_cli.mail.envelope import Envelope
    from mailstrom_cli.mail.finding import Finding
    from mailstrom_cli.mail.status import Result
    from mailstrom_cli.store.base import Store
    from mailstrom_cli.store.check import Check
    from mailstrom_cli.store.entry import Entry, Event

    OnResult = Callable[[Entry, list[Result]], None]
    OnError = Callable[[DamagedMessage | OSError], None]

__all__ = ["Mailstrom", "MailstromError", "Request", "Submitted"]

RECENT = "recent"  # the store's mark of what `seen` was told
POLL_FIRST, POLL_LONGEST = 0.05, 1.0  # seconds


@value
class Submitted:
    """A message that is stored. fixes: what was put right in it, one sentence each; none for one that repeats
    a key, of which the rest is as it was stored the first time."""

    id: str
    message_id: str
    fixes: tuple[str, ...]
    recipients: tuple[str, ...]


class Mailstrom:
    """One spool with its settings. Cheap to make: the store is opened when it is first needed."""

    def __init__(
        self, settings: Settings, reload: Callable[[], Settings] | None = None, create: bool = True
    ) -> None:
        self.settings = settings
        self.create = create
        self._reload = reload or (lambda: settings)
        self._store: Store | None = None
        self._host: str | None = None

    @classmethod
    def open(
        cls,
        config: str | None = None,
        spool: str | None = None,
        via: Sequence[str] = (),
        create: bool = True,
    ) -> Mailstrom:
        """With the settings of a configuration file (default: the first of the standard ones), the
        environment, and these on top. create: make a spool where there is none. Raises MailstromError with
        exit code 78."""
        from mailstrom_cli.config.load import load

        overrides: dict[str, str] = {}
        if spool is not None:
            overrides["spool"] = spool
        if via:
            overrides["via"] = ",".join(via)

        def settings() -> Settings:
            return load(config, os.environ, overrides).settings

        return cls(settings(), settings, create)

    @property
    def store(self) -> Store:
        """The store of the settings. Raises MailstromError: 66 not there and not to be made, 73 cannot be
        created, 77 not permitted."""
        if self._store is None:
            from mailstrom_cli.store.registry import open_store

            self._store = open_store(self.settings.spool, self.settings.limits.min_free, self.create)
        return self._store

    # --- submitting ---

    def addressees(self, message: bytes | mmap.mmap) -> tuple[str, ...]:
        """The recipients that the header of a message names, which may be none. Raises MailstromError with
        exit code 65 when they cannot be read."""
        from mailstrom_cli.mail.finding import REFUSED, Findings
        from mailstrom_cli.mail.header import split_header
        from mailstrom_cli.mail.paths import find_paths
        from mailstrom_cli.mail.structure import Fields

        findings = Findings()
        fields = Fields(split_header(message))
        request = Request(reverse_path="", add_from="")  # so no fault in From matters here
        paths = find_paths(fields, request, self._context(time.time()), findings)
        if any(f.severity == REFUSED and f.line is not None for f in findings.all):
            raise findings.error()
        return paths.addresses

    def check(self, message: bytes | mmap.mmap, request: Request) -> Prepared:
        """What would be stored. Raises MailstromError with exit code 65, and 64 for the request."""
        return prepare(message, request, self._context(time.time()))

    def examine(
        self, message: bytes | mmap.mmap, request: Request
    ) -> tuple[Prepared | None, tuple[Finding, ...]]:
        """What would be stored, or None for a message that is refused; and everything that was found."""
        from mailstrom_cli.mail.prepare import check

        return check(message, request, self._context(time.time()))

    def submit(self, message: bytes | mmap.mmap, request: Request) -> Submitted:
        """Store one message durably. Raises MailstromError; then nothing is stored."""
        (done,) = self.submit_many([(message, request)])
        if isinstance(done, MailstromError):
            raise done
        return done

    def submit_many(
        self, messages: Iterable[tuple[bytes | mmap.mmap, Request]], now: float | None = None
    ) -> list[Submitted | MailstromError]:
        """Store each message that is valid, all in one group commit; for each what became of it, in order.

        now: when they were submitted, in seconds since the epoch; ids sort by it.
        Raises MailstromError when something hinders them all (no spool, disk full); then nothing is stored.
        """
        now = time.time() if now is None else now
        outcomes: list[Submitted | MailstromError | Prepared] = []
        for message, request in messages:
            try:
                outcomes.append(prepare(message, request, self._context(now)))
            except MailstromError as error:
                outcomes.append(error)
        prepared = [p for p in outcomes if isinstance(p, Prepared)]
        stored = iter(self._intake(prepared, now))
        return [next(stored) if isinstance(o, Prepared) else o for o in outcomes]

    def _intake(self, prepared: Sequence[Prepared], now: float) -> list[Submitted | MailstromError]:
        if not prepared:
            return []
        store = self.store
        try:
            ids = store.intake([Submission(p.envelope, p.chunks()) for p in prepared], now)
        except MailstromError as error:
            if error.exit_code != DATA:
                raise
            if len(prepared) == 1:
                return [error]
            # One of them was refused, so none is stored: let each stand alone.
            return [self._alone(p, now) for p in prepared]
        except OSError as error:
            from mailstrom_cli.store.work import not_stored

            raise not_stored(error) from error
        return [self._submitted(id, p) for id, p in zip(ids, prepared, strict=True)]

    def _alone(self, prepared: Prepared, now: float) -> Submitted | MailstromError:
        try:
            return self._intake([prepared], now)[0]
        except MailstromError as error:
            return error  # others are stored by now, and their ids are wanted

    def _submitted(self, id: str, prepared: Prepared) -> Submitted:
        envelope, fixes = prepared.envelope, tuple(str(fix) for fix in prepared.fixes)
        if envelope.key is not None and (earlier := self._earlier(id, prepared.head)) is not None:
            envelope, fixes = earlier, ()
        return Submitted(id, envelope.message_id, fixes, tuple(r.address for r in envelope.recipients))

    def _earlier(self, id: str, head: bytes) -> Envelope | None:
        """The envelope of a message whose key was repeated, if it begins otherwise than the one given now: a
        Message-ID that was added is never the same twice."""
        try:
            with self.store.open_message(id) as message:
                same = message.read(len(head)) == head
            return None if same else self.store.read(id).envelope
        except (OSError, MailstromError):
            return None  # delivered and forgotten by now, or not to be read now; it is stored all the same

    def _host_name(self) -> str:
        if self._host is None:
            from mailstrom_cli.config.places import host_name

            self._host = self.settings.helo_name or host_name()
        return self._host

    def _context(self, now: float) -> Context:
        limits = self.settings.limits
        return Context(
            now=now,
            token=os.urandom(10).hex(),
            host=self._host_name(),
            origin=self.settings.origin,
            timezone=time.localtime(now).tm_gmtoff,
            message_size=limits.message_size,
            recipients=limits.recipients,
            aliases=self.settings.aliases,
        )

    # --- looking ---

    def entry(self, name: str) -> Entry:
        """The message that an id, a part of it of 4 or more characters, or a Message-ID names.
        Raises NoSuchMessage, or MailstromError when several answer to it."""
        return self.store.read(self.store.find(name))

    def events(self, name: str) -> list[Event]:
        """Its sidecar: the envelope's line, then the events. Raises as `entry`."""
        return self.store.events(self.store.find(name))

    def message(self, name: str) -> BinaryIO:
        """The message itself, as it will be sent. Raises as `entry`."""
        return self.store.open_message(self.store.find(name))

    def queue(self, states: Sequence[str] = UNFINISHED, on_error: OnError | None = None) -> Iterator[Entry]:
        """All messages in these states, oldest first; what is forgotten meanwhile is passed over.

        on_error: told of each that cannot be read, now or ever. Without it, OSError is raised.
        """
        return self.entries(self.store.ids(states), on_error)

    def entries(self, ids: Iterable[str], on_error: OnError | None = None) -> Iterator[Entry]:
        """All of these messages that are there, in this order. on_error: as of `queue`."""
        for entry in self.store.entries(ids):
            if not isinstance(entry, (DamagedMessage, OSError)):
                yield entry
            elif on_error is not None:
                on_error(entry)
            elif isinstance(entry, OSError):
                raise entry

    def recent(self, on_error: OnError | None = None) -> list[Entry]:
        """All that are unfinished, and those that became final since the time that `seen` was told last."""
        since, now = self.store.mark(RECENT) or 0.0, time.time()  # it may be of a clock that was ahead
        ids = {*self.store.ids(UNFINISHED), *self.store.finished_since(since if since <= now else 0.0)}
        return list(self.entries(sorted(ids), on_error))

    def seen(self, when: float) -> None:
        """What became final before this time, in seconds since the epoch, is not recent any more."""
        self.store.mark(RECENT, when)

    def wait(self, names: Iterable[str], seconds: float | None = None) -> list[Entry]:
        """The messages once every recipient is final, or as they are after so many seconds."""
        ids = [self.store.find(name) for name in names]
        end = None if seconds is None else time.monotonic() + seconds
        pause = POLL_FIRST
        while True:
            entries = [self.store.read(id) for id in ids]
            left = POLL_LONGEST if end is None else end - time.monotonic()
            if left <= 0 or all(e.state in FINAL for e in entries):
                return entries
            time.sleep(min(pause, left))
            pause = min(pause * 1.3, POLL_LONGEST)

    def check_spool(self, repair: bool = False) -> Check:
        """What is wrong with the spool directory, to iterate over; `repair`: put right what can be."""
        from mailstrom_cli.store.check import Check

        return Check(self.settings.spool, time.time(), repair)

    # --- queue work ---

    def hold(self, name: str) -> Entry:
        """Attempt nothing until `release`; nothing happens to what is held. Raises MailstromError for a final
        message, and with exit code 75 while an attempt is in progress."""
        from mailstrom_cli.store import work

        return work.hold(self.store, name)

    def release(self, name: str) -> Entry:
        """Undo `hold`; nothing happens to a message that is not held."""
        from mailstrom_cli.store import work

        return work.release(self.store, name)

    def retry(self, name: str) -> Entry:
        """Every recipient that is not delivered is due now and has all its retries again; a failed or
        cancelled one too. Raises MailstromError when all are delivered."""
        from mailstrom_cli.store import work

        return work.retry(self.store, name)

    def cancel(self, name: str) -> Entry:
        """Every recipient that waits is failed with `cancelled`; `retry` undoes it. Raises MailstromError for
        a message that became final otherwise."""
        from mailstrom_cli.store import work

        return work.cancel(self.store, name)

    # --- delivering ---

    def flush(
        self,
        ids: Iterable[str] = (),
        everything: bool = False,
        on_result: OnResult | None = None,
        seconds: float | None = None,
        may_fork: bool = False,
    ) -> None:
        """One pass over what is due; `everything` ignores the back-off, and so does naming a message.

        Beside a running `run` it wakes that and waits for its pass. on_result: told after each attempt.
        may_fork: a long pass may be shared among processes; not in a program with threads of its own.
        """
        from mailstrom_cli.queue.flush import flush

        found = [self.store.find(name) for name in ids]
        flush(self.settings, self.store, found, everything, on_result, seconds, may_fork)

    def attempt(self, ids: Sequence[str], seconds: float | None = None) -> list[Entry]:
        """Wait for these messages where `run` is at work (at most so many seconds); else try each once."""
        if self.store.wake(ids[0]):
            return self.wait(ids, seconds)
        self.flush(ids, seconds=seconds)
        return [self.store.read(id) for id in ids]

    def run(self, reloaded: Callable[[Settings], None] | None = None) -> None:
        """Deliver what is due, and sleep in between, until SIGTERM or SIGINT. Raises MailstromError when
        another `run` has this spool. reloaded: told of the settings that SIGHUP has read."""
        from mailstrom_cli.queue.run import run

        def reload() -> Settings:
            settings = self._reload()
            if reloaded is not None:
                reloaded(settings)
            return settings

        run(self.settings, self.store, reload)
