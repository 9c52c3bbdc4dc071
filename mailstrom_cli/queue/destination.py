"""What this process knows of one next hop: who waits for it, how many dial, whether it is out of reach."""

from __future__ import annotations

from collections import deque

from mailstrom_cli.policy import concurrency, retry
from mailstrom_cli.store.base import HostState
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from random import Random

    from mailstrom_cli.config.schema import Retry
    from mailstrom_cli.policy.routing import NextHop
    from mailstrom_cli.store.base import Store


@value
class Waiting:
    """Some recipients of one message that wait for their turn at a next hop."""

    id: str
    addresses: frozenset[str]


class Destination:
    """One next hop. Its back-off is kept in the store, so that a restart or another process knows of it."""

    def __init__(self, next_hop: NextHop, limit: int, store: Store) -> None:
        self.next_hop = next_hop
        self.waiting: deque[Waiting] = deque()
        self.active = 0
        self._limit = limit
        self._window = concurrency.initial(limit)
        self._store = store
        self._host = store.host(str(next_hop))

    @property
    def ready(self) -> bool:
        """Somebody waits and the window is open."""
        return bool(self.waiting) and self.active < self._window

    def backing_off(self, now: float) -> HostState | None:
        """The back-off, while it lasts."""
        return self._host if self._host is not None and self._host.until > now else None

    def forgive(self) -> None:
        """Dial again whatever was seen before: somebody has just mended it, or says so."""
        if self._host is not None:
            self._host = HostState(self._host.failures, 0.0, self._host.reason)

    def reached(self) -> None:
        self._window = concurrency.after_success(self._window, self._limit)
        if self._host is not None:
            self._host = None
            self._store.set_host(str(self.next_hop), None)

    def not_reached(self, reason: str, now: float, settings: Retry, rng: Random) -> HostState:
        """Out of reach: left alone for a while that grows. Attempts that were under way when the first one
        failed count as one with it."""
        self._window = concurrency.after_failure(self._window)
        current = self.backing_off(now)
        if current is not None:
            return current
        failures = self._host.failures + 1 if self._host is not None else 1
        until = round(now + retry.host_delay(settings, failures, rng), 3)
        self._host = HostState(failures, until, reason)
        self._store.set_host(str(self.next_hop), self._host)
        return self._host
