"""The MTA-STS policies of domains (RFC 8461): asked of DNS and of the policy host, kept in memory and beside
the messages.

    TXT record        kept policy, good      what counts
    --------------    -------------------    ----------------------------------------------------------
    has its id        yes                    it; one that is getting old is fetched again meanwhile
    has another id    yes                    the new one, or, where that cannot be had, this one
    has an id         no                     the new one, or none where that cannot be had
    none, no answer   yes                    it
    none, no answer   no                     none
"""

from __future__ import annotations

import asyncio
import logging
import time

from mailstrom_cli.net.background import in_thread
from mailstrom_cli.policy import sts
from mailstrom_cli.policy.sts import Found, NoPolicy, Policy
from mailstrom_cli.store.base import Note
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence
    from typing import TypeVar

    from mailstrom_cli.net.https import Answer
    from mailstrom_cli.net.resolver import Resolver
    from mailstrom_cli.store.base import Store

    T = TypeVar("T")

log = logging.getLogger("mailstrom")

KIND = "mta-sts"  # of the notes
PORT = 443
FETCH_SECONDS = 60.0  # RFC 8461, 3.3
TXT_SECONDS = 5.0
"""How long mail waits for the TXT record, counted from when the MX records are looked up."""
PATIENCE = 10.0
"""Seconds that mail waits for a new policy where the old one is still good."""
AGAIN_SECONDS, SILENT_SECONDS = 300.0, 60.0
"""After a failure, until the policy is asked for again, and the record."""
FRESH_SECONDS = 86_400.0
"""Age from which a policy is fetched again while it is used, or three quarters of its life where that is
shorter."""
AHEAD_SECONDS = 86_400.0
SHORTEST = 300.0  # seconds that a policy is kept at least
CLOSE_SECONDS = 2.0
KEPT = 10_000  # domains
MOST_ADDRESSES = 4


@value
class Kept:
    """A policy as it was fetched, at a time in seconds since the epoch. text: as the host has it."""

    id: str
    fetched: float
    text: str
    policy: Policy

    @property
    def until(self) -> float:
        return self.fetched + max(self.policy.max_age, SHORTEST)

    def good(self, now: float) -> bool:
        """Not at its end yet, nor from a future so far that the clock must have been wrong."""
        return self.fetched - AHEAD_SECONDS < now < self.until

    def old(self, now: float) -> bool:
        """It is time to fetch it again; also when it is from the future, since a clock was ahead."""
        return not 0 <= now - self.fetched < min(FRESH_SECONDS, (self.until - self.fetched) * 3 / 4)


class Policies:
    """Ask for one with `of`. ca_file: authorities to trust beside the system's, or "".  port: of policy
    hosts; it is always this one but in tests."""

    def __init__(self, resolver: Resolver, store: Store, ca_file: str, port: int = PORT) -> None:
        self._resolver = resolver
        self._store = store
        self._ca_file = ca_file
        self._port = port
        self._known: dict[str, Kept | None] = {}  # None: nothing was stored when it was looked for
        self._failed: dict[str, tuple[float, str, Found]] = {}  # until when (monotonic), which id, and how
        self._silent: dict[str, float] = {}  # until when (monotonic) no TXT record is asked for
        self._fetching: dict[str, asyncio.Task[Found]] = {}
        self._trusted: ssl.SSLContext | None = None

    async def close(self) -> None:
        """Let what is being fetched come in, for a moment."""
        if self._fetching:
            await asyncio.wait(self._fetching.values(), timeout=CLOSE_SECONDS)

    def at_hand(self, domain: str) -> Found | None:
        """What `of` says, where it has nothing to wait for; else None."""
        domain = domain.lower()
        if self._not_asked(domain):
            return self._decided(domain, None)
        answer = self._resolver.txt_at_hand(sts.record_name(domain))
        return self._decided(domain, sts.identifier(answer[1])) if answer else None

    async def of(self, domain: str) -> Found:
        """What a domain, in A-labels, asks for. What fails is told and never raised."""
        domain = domain.lower()
        id = await self._identifier(domain)
        found = self._decided(domain, id)
        if found is not None:
            return found
        assert id is not None
        kept = self._kept(domain)
        fetching = asyncio.shield(self._fetch(domain, id))
        try:
            async with asyncio.timeout(PATIENCE if kept else None):
                return _instead(await fetching, kept)
        except TimeoutError:
            return _instead(sts.NOTHING, kept)

    def _decided(self, domain: str, id: str | None) -> Found | None:
        """What counts by what is kept; None where a policy has to be fetched first."""
        kept = self._kept(domain)
        if id is None:
            return Found(kept.policy) if kept else sts.NOTHING
        if kept is None or kept.id != id:  # another process may have it
            kept = self._stored(domain) or kept
        failed = self._failure(domain, id)
        if kept is not None and kept.id == id:
            if failed is None and kept.old(time.time()):
                self._fetch(domain, id)
            return _instead(failed or sts.NOTHING, kept)
        return None if failed is None else _instead(failed, kept)

    def _not_asked(self, domain: str) -> bool:
        return bool(self._silent) and self._silent.get(domain, 0.0) > time.monotonic()

    async def _identifier(self, domain: str) -> str | None:
        """The one in its record; None for no record, and for no answer."""
        if self._not_asked(domain):
            return None
        try:
            async with asyncio.timeout(TXT_SECONDS):
                told, texts = await self._resolver.txt(sts.record_name(domain))
        except TimeoutError:
            kind = "failed"
        else:
            kind = told.kind
        if kind == "failed":
            _limit(self._silent)
            self._silent[domain] = time.monotonic() + SILENT_SECONDS
        return sts.identifier(texts) if kind == "found" else None

    # --- what is kept ---

    def _kept(self, domain: str) -> Kept | None:
        """The policy of a domain, unless it is too old."""
        if domain not in self._known:
            return self._stored(domain)
        kept = self._known[domain]
        return kept if kept is not None and kept.good(time.time()) else None

    def _stored(self, domain: str) -> Kept | None:
        """The same as it was stored last, by whichever process; or as this one has it, which may have been
        unable to store it."""
        kept, known = None, self._known.get(domain)
        try:
            note = self._store.note(KIND, domain)
            kept = _read(note) if note is not None else None
        except OSError as error:
            log.warning("the MTA-STS policy of %s cannot be read: %s", domain, error)
        if kept is None or (known is not None and known.fetched > kept.fetched):
            kept = known
        _limit(self._known)
        self._known[domain] = kept
        return kept if kept is not None and kept.good(time.time()) else None

    def _keep(self, domain: str, kept: Kept) -> None:
        _limit(self._known)
        self._known[domain] = kept
        try:
            self._store.set_note(KIND, domain, Note(f"{kept.id} {kept.fetched!r}\n{kept.text}", kept.until))
        except OSError as error:
            log.warning("the MTA-STS policy of %s cannot be kept: %s", domain, error)

    # --- fetching ---

    def _failure(self, domain: str, id: str) -> Found | None:
        """What became of the last fetch, while it is not to be repeated. A new policy is always worth it."""
        until, which, found = self._failed.get(domain, (0.0, "", sts.NOTHING))
        return found if which == id and until > time.monotonic() else None

    def _fetch(self, domain: str, id: str) -> asyncio.Task[Found]:
        """Once at a time for each domain."""
        task = self._fetching.get(domain)
        if task is None:
            task = self._fetching[domain] = asyncio.ensure_future(self._fetched(domain, id))
            task.add_done_callback(lambda _: self._fetching.pop(domain, None))
        return task

    async def _fetched(self, domain: str, id: str) -> Found:
        from mailstrom_cli.net.https import NoAnswer, Untrusted

        try:
            async with asyncio.timeout(FETCH_SECONDS):
                octets = await self._octets(domain)
            policy = sts.parse(octets)
        except NoPolicy as error:
            found = Found(None, sts.INVALID, str(error))
        except NoAnswer as error:
            found = Found(
                None, sts.UNTRUSTED if isinstance(error, Untrusted) else sts.FETCH_ERROR, str(error)
            )
        except OSError as error:
            text = "timed out" if isinstance(error, TimeoutError) else error.strerror or type(error).__name__
            found = Found(None, sts.FETCH_ERROR, f"{sts.policy_host(domain)}: {text}")
        else:
            self._failed.pop(domain, None)
            self._keep(domain, Kept(id, time.time(), octets.decode(), policy))
            return Found(policy)
        log.info("no MTA-STS policy of %s: %s", domain, found.text)
        _limit(self._failed)
        self._failed[domain] = time.monotonic() + AGAIN_SECONDS, id, found
        return found

    async def _octets(self, domain: str) -> bytes:
        """Raises NoAnswer, OSError."""
        from mailstrom_cli.net.https import NoAnswer

        host = sts.policy_host(domain)
        told, addresses = await self._resolver.addresses(host)
        if not addresses:
            raise NoAnswer(told.text)
        answer = await in_thread(self._get, host, addresses[:MOST_ADDRESSES])
        if answer.status != 200:
            raise NoAnswer(f"{host}: HTTP status {answer.status}")
        if answer.kind != sts.MEDIA_TYPE:
            raise NoAnswer(f"{host}: its policy is not {sts.MEDIA_TYPE}")
        return answer.octets

    def _get(self, host: str, addresses: Sequence[str]) -> Answer:
        """In a thread. To load the authorities takes longer than all the rest."""
        from mailstrom_cli.net.https import context, get

        if self._trusted is None:
            self._trusted = context(self._ca_file)
        return get(host, sts.PATH, addresses, self._trusted, FETCH_SECONDS, self._port)


def _instead(found: Found, kept: Kept | None) -> Found:
    """What was found, or what is kept where nothing was."""
    if found.policy is not None or kept is None:
        return found
    return Found(kept.policy, found.failure, found.text)


def _read(note: Note) -> Kept | None:
    """A policy that was stored; None for what nobody can have stored."""
    first, _, text = note.text.partition("\n")
    id, _, fetched = first.partition(" ")
    try:
        return Kept(id, float(fetched), text, sts.parse(text.encode()))
    except (NoPolicy, ValueError):
        return None


def _limit(held: dict[str, T]) -> None:
    if len(held) >= KEPT:
        held.clear()
