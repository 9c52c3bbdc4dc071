"""How TLS went, counted for the daily reports (RFC 8460): one number a session, kept with the store.

Each process has notes of its own, which it writes anew now and then and at its end, so that none waits for
another; `mailstrom tlsrpt` adds them up. A process that is killed loses a minute of them. What is counted for
domains that want no report is forgotten when it would be written.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time

from mailstrom_cli.net.background import in_thread
from mailstrom_cli.net.tlsreport import record
from mailstrom_cli.policy.sts import NONE as NO_MODE
from mailstrom_cli.policy.sts import NOTHING
from mailstrom_cli.policy.tls import NO_POLICY, NONE, STS, TLSA, needed
from mailstrom_cli.policy.tlsrpt import (
    KIND,
    LONGEST,
    NO_STARTTLS,
    OTHER,
    Policy,
    Seen,
    addresses,
    day_of,
    sts_policy,
    tlsa_policy,
    to_text,
)
from mailstrom_cli.smtp import stages
from mailstrom_cli.smtp.dialog import DNSSEC_INVALID, VALIDATION_FAILURE, SessionFailed
from mailstrom_cli.store.base import NOTE_OCTETS, Note
from mailstrom_cli.transport.ways import WAYS_KEPT, a_labels
from mailstrom_cli.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mailstrom_cli.net.pool import Session
    from mailstrom_cli.net.resolver import Resolver
    from mailstrom_cli.policy.mx import Target
    from mailstrom_cli.policy.sts import Found
    from mailstrom_cli.smtp.dialog import Failure
    from mailstrom_cli.store.base import Store
    from mailstrom_cli.transport.base import Job
    from mailstrom_cli.transport.ways import Way, Ways

log = logging.getLogger("mailstrom")

WRITE_SECONDS = 60.0
KEPT_SECONDS = 7 * 86_400.0
"""After the day: as long as somebody may still ask for its report."""
MOST = 50_000  # rows of a process in a day; what differs from them all is not counted
ASKED_AT_ONCE = 10
CLOSE_SECONDS = 5.0
"""As long as DNS may keep a process from ending; what is not known by then is kept."""
NOT_LISTED = "the policy does not list this host"


class Tally:
    """clock: seconds since the epoch."""

    def __init__(self, store: Store, resolver: Resolver, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._resolver = resolver
        self._clock = clock
        self._token = os.urandom(6).hex()
        self._days: dict[str, dict[Seen, int]] = {}
        self._wanted: dict[str, bool] = {}  # by domain; both are of the days that are held
        self._notes: dict[str, int] = {}  # how many there are of a day
        self._found: dict[str, Found] = {}
        self._changed = False
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None

    # --- counting ---

    def asks(self, domain: str, found: Found) -> None:
        """What a domain asks for by MTA-STS, or why that is not known."""
        if len(self._found) >= WAYS_KEPT:
            self._found.clear()
        self._found[domain] = found

    def count(self, job: Job, way: Way, ways: Ways, told: Session | SessionFailed) -> None:
        """A session of `mx:` that was opened, or that failed, unless the message had needs of its own."""
        if needed(job.envelope) or job.domain.startswith("["):
            return
        if isinstance(told, SessionFailed):
            failure = told.failure
            if failure.stage != stages.STARTTLS or failure.kind not in ("tls", "no-tls"):
                return  # it says nothing of TLS
        seen = self._by_policy(job.domain, way, ways)
        if not seen.fault and isinstance(told, SessionFailed):
            if failure.kind == "no-tls":
                fault, reason = NO_STARTTLS, str(failure.reply.code) if failure.reply is not None else ""
            elif failure.fault and seen.policy.kind == NO_POLICY:
                return  # only our configuration wants what it lacks
            else:
                fault, reason = failure.fault or OTHER, failure.text[:LONGEST]
            seen = replace(_at(seen, way.target, fault, reason), sender=told.sender)
        elif not seen.fault and not isinstance(told, SessionFailed) and told.tls is None:
            if way.protection.level == NONE:
                return
            seen = replace(_at(seen, way.target, NO_STARTTLS), sender=told.conversation.stream.local)
        self._add(seen)

    def _by_policy(self, given: str, way: Way, ways: Ways) -> Seen:
        """What a session is held to, and what is wrong with that alone."""
        domain, found = a_labels(given), self._found.get(given, NOTHING)
        if way.protection.policy == TLSA:
            return Seen(domain, tlsa_policy(*ways.tlsa.get(way, (way.target.name, ()))))
        if found.policy is not None and found.policy.mode != NO_MODE:
            seen = Seen(domain, sts_policy(domain, found.policy))
            return seen if found.policy.allows(way.target.name) else _at(seen, way.target, OTHER, NOT_LISTED)
        if found.failure:
            return Seen(domain, Policy(STS, domain), found.failure, reason=found.text[:LONGEST])
        return Seen(domain, Policy())

    def barred(self, job: Job, target: Target, failure: Failure) -> None:
        """A host that was not dialled where the failure says that no answer about its TLSA records counts, or
        that its domain's policy does not list it."""
        if failure.fault not in (DNSSEC_INVALID, VALIDATION_FAILURE) or needed(job.envelope):
            return
        found, domain = self._found.get(job.domain, NOTHING), a_labels(job.domain)
        if failure.fault == VALIDATION_FAILURE and found.policy is not None:
            self._add(_at(Seen(domain, sts_policy(domain, found.policy)), target, OTHER, NOT_LISTED))
        else:
            policy = Policy(TLSA, target.bases[0] if target.bases else target.name)
            self._add(_at(Seen(domain, policy), target, failure.fault))

    def _add(self, seen: Seen) -> None:
        if self._wanted.get(seen.domain) is False:
            return
        counts = self._days.setdefault(day_of(self._clock()), {})
        before = counts.get(seen, 0)
        if not before and len(counts) >= MOST:
            return
        counts[seen] = before + 1
        self._changed = True
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WRITE_SECONDS, self._due)

    # --- writing ---

    def _due(self) -> None:
        self._timer = None
        if self._writing is None or self._writing.done():
            self._writing = asyncio.ensure_future(self.write())

    async def close(self) -> None:
        """Write what is counted, which nothing more is."""
        if self._timer is not None:
            self._timer.cancel()
        if self._writing is not None:
            await self._writing
        await self.write(CLOSE_SECONDS)

    async def write(self, patience: float | None = None) -> None:
        """Put on record what is counted. patience: seconds that DNS is waited for."""
        if not self._changed:
            return
        self._changed = False
        await self._ask(patience)
        today = day_of(self._clock())
        for day, counts in list(self._days.items()):
            for seen in [seen for seen in counts if self._wanted.get(seen.domain) is False]:
                del counts[seen]
            try:
                await in_thread(self._keep, day, dict(counts))
            except OSError as error:
                log.error("counts for reports on TLS cannot be written: %s", error.strerror)
                self._changed = True
            else:
                if day != today:
                    del self._days[day]
                    self._wanted.clear()

    async def _ask(self, patience: float | None) -> None:
        """Whether the domains that were not asked yet want reports; who does not answer may."""
        limit = asyncio.Semaphore(ASKED_AT_ONCE)

        async def ask(domain: str) -> None:
            async with limit:
                told, records = await record(self._resolver, domain)
            if told.kind not in ("failed", "local"):
                self._wanted[domain] = bool(addresses(records))

        new = {s.domain for counts in self._days.values() for s in counts if s.domain not in self._wanted}
        if new:
            tasks = [asyncio.ensure_future(ask(domain)) for domain in new]
            _, late = await asyncio.wait(tasks, timeout=patience)
            for task in late:
                task.cancel()

    def _keep(self, day: str, counts: dict[Seen, int]) -> None:
        texts = to_text(counts, NOTE_OCTETS)
        until = self._clock() + KEPT_SECONDS
        for number in range(max(len(texts), self._notes.get(day, 0))):
            note = Note(texts[number], until) if number < len(texts) else None
            self._store.set_note(KIND, f"{day} {self._token} {number}", note)
        self._notes[day] = len(texts)


def _at(seen: Seen, target: Target, fault: str, reason: str = "") -> Seen:
    """The same, with what went wrong and with which host."""
    return replace(seen, fault=fault, host=target.name, ip=target.address, reason=reason)
