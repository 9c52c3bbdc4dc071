"""The Python face of mailstrom, and its composition root: settings in, concrete objects out.

    from mailstrom_cli.api import Mailstrom, Request

    mail = Mailstrom.open()
    done = mail.submit(b"From: a@example.org\\nTo: b@example.net\\n\\nHello\\n", Request())
    (entry,) = mail.wait([done.id], 60)
    print(entry.state, [(r.address, r.status, r.text) for r in entry.recipients])

Whatever a person can put right is raised as MailstromError; anything else is a bug.
"""

from __future__ import annotations

import errno
import os
import time

from mailstrom_cli.errors import DATA, NO_PERMISSION, TEMPORARY, USAGE, MailstromError, NoSuchMessage
from mailstrom_cli.mail.prepare import Prepared, prepare
from mailstrom_cli.mail.request import Context, Request
from mailstrom_cli.mail.status import DELIVERED, FINAL, UNFINISHED
from mailstrom_cli.store.base import DamagedMessage, Submission
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import BinaryIO

    from mailstrom_cli.config.schema import Settings
    from mailstrom_cli.mail.finding import Finding
    from mailstrom_cli.mail.status import Result
    from mailstrom_cli.store.base import Store
    from mailstrom_cli.store.entry import Entry, Event

    OnResult = Callable[[Entry, list[Result]], None]

__all__ = ["Mailstrom", "MailstromError", "Request", "Submitted"]

RECENT = "recent"  # the store's mark of the last `recent()`
LEASE_PATIENCE = 5.0  # seconds to wait for an attempt in progress to end
POLL_FIRST, POLL_LONGEST = 0.05, 1.0  # seconds


@value
class Submitted:
    """A message that is stored. fixes: what was put right in it, one sentence each."""

    id: str
    message_id: str
    fixes: tuple[str, ...]
    recipients: tuple[str, ...]


class Mailstrom:
    """One spool with its settings. Cheap to make: the store is opened when it is first needed."""

    def __init__(self, settings: Settings, reload: Callable[[], Settings] | None = None) -> None:
        self.settings = settings
        self._reload = reload or (lambda: settings)
        self._store: Store | None = None
        self._host: str | None = None

    @classmethod
    def open(cls, config: str | None = None, spool: str | None = None, via: Sequence[str] = ()) -> Mailstrom:
        """With the settings of a configuration file (default: the first of the standard ones), the
        environment, and these on top. Raises MailstromError with exit code 78."""
        from mailstrom_cli.config.load import load

        overrides: dict[str, str] = {}
        if spool is not None:
            overrides["spool"] = spool
        if via:
            overrides["via"] = ",".join(via)

        def settings() -> Settings:
            return load(config, os.environ, overrides).settings

        return cls(settings(), settings)

    @property
    def store(self) -> Store:
        """The store of the settings. Raises MailstromError: 73 cannot be created, 77 not permitted."""
        if self._store is None:
            from mailstrom_cli.store.registry import open_store

            self._store = open_store(self.settings.spool, min_free=self.settings.limits.min_free)
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
        paths = find_paths(fields, Request(reverse_path=""), self._context(time.time()), findings)
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
        self, messages: Iterable[tuple[bytes | mmap.mmap, Request]]
    ) -> list[Submitted | MailstromError]:
        """Store each message that is valid, all in one group commit; for each what became of it, in order.

        Raises MailstromError when none could be stored whatever it is (no spool, disk full).
        """
        now = time.time()
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
            return [outcome for p in prepared for outcome in self._intake([p], now)]
        except OSError as error:
            raise not_stored(error) from error
        return [
            Submitted(
                id,
                p.envelope.message_id,
                tuple(str(fix) for fix in p.fixes),
                tuple(r.address for r in p.envelope.recipients),
            )
            for id, p in zip(ids, prepared, strict=True)
        ]

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

    def queue(self, states: Sequence[str] = UNFINISHED) -> Iterator[Entry]:
        """All messages in these states, oldest first; what is forgotten meanwhile is passed over."""
        return self._read_each(self.store.ids(states))

    def recent(self) -> list[Entry]:
        """All that are unfinished, and those that became final since `recent` was last asked."""
        since = self.store.mark(RECENT, time.time()) or 0.0
        ids = {*self.store.ids(UNFINISHED), *self.store.finished_since(since)}
        return list(self._read_each(sorted(ids)))

    def _read_each(self, ids: Iterable[str]) -> Iterator[Entry]:
        for id in ids:
            try:
                yield self.store.read(id)
            except (NoSuchMessage, DamagedMessage):
                continue

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

    # --- queue work ---

    def hold(self, name: str) -> Entry:
        """Attempt nothing until `release`. Raises MailstromError for a final message, and with exit code
        75 while an attempt is in progress."""
        return self._change(name, "held", self._unfinished)

    def release(self, name: str) -> Entry:
        """Undo `hold`; nothing happens to a message that is not held."""
        return self._change(name, "released", lambda entry: [] if entry.held else None)

    def retry(self, name: str) -> Entry:
        """Every recipient that is not delivered is due now and has all its retries again; a failed or
        cancelled one too. Raises MailstromError when all are delivered."""
        return self._change(name, "retried", _undelivered)

    def cancel(self, name: str) -> Entry:
        """Every recipient that waits is failed with `cancelled`; `retry` undoes it."""
        return self._change(name, "cancelled", lambda e: None if e.state == "failed" else self._unfinished(e))

    @staticmethod
    def _unfinished(entry: Entry) -> list[str]:
        if entry.state in FINAL:
            raise MailstromError(
                f"{entry.id} is already {entry.state}", "`mailstrom status` tells the details"
            )
        return []

    def _change(self, name: str, kind: str, concerns: Callable[[Entry], list[str] | None]) -> Entry:
        """Record an event; `concerns` gives its recipients ([] is all), or None when nothing is to do."""
        id = self.store.find(name)
        end = time.monotonic() + LEASE_PATIENCE
        while (lease := self.store.lease(id)) is None:
            if time.monotonic() >= end:
                raise MailstromError(
                    f"{id}: a delivery is in progress", "try again when it has ended", TEMPORARY
                )
            time.sleep(POLL_FIRST)
        with lease:
            addresses = concerns(lease.entry)
            if addresses is None:
                return lease.entry
            event: dict[str, object] = {"event": kind, "time": round(time.time(), 3)}
            if addresses:
                event["recipients"] = addresses
            try:
                entry = lease.record(event)
            except OSError as error:
                raise not_stored(error) from error
        self.store.wake(id)
        return entry

    # --- delivering ---

    def flush(
        self,
        ids: Iterable[str] = (),
        everything: bool = False,
        on_result: OnResult | None = None,
        seconds: float | None = None,
    ) -> None:
        """One pass over what is due; `everything` ignores the back-off, and so does naming a message.

        Beside a running `run` it wakes that and waits for its pass. on_result: told after each attempt.
        """
        from mailstrom_cli.queue.flush import flush

        found = [self.store.find(name) for name in ids]
        flush(self.settings, self.store, found, everything, on_result, seconds)

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


def _undelivered(entry: Entry) -> list[str]:
    addresses = [r.address for r in entry.recipients if r.status != DELIVERED]
    if not addresses:
        raise MailstromError(f"{entry.id} is delivered to everybody; there is nothing to retry", None, USAGE)
    return addresses


def not_stored(error: OSError) -> MailstromError:
    """Why nothing could be stored, as an error that says whether to try again."""
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.EACCES, errno.EPERM):
        return MailstromError(f"nothing stored: {where}{error.strerror}", None, NO_PERMISSION)
    return MailstromError(f"nothing stored: {where}{error.strerror}", "try again later", TEMPORARY)
