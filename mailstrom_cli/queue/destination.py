"""What this process knows of one next hop: who waits for it, how many connect, whether it is out of reach."""

from __future__ import annotations

import logging

from mailstrom_cli.policy import concurrency, retry
from mailstrom_cli.queue.line import Line
from mailstrom_cli.store.base import HostState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from random import Random

    from mailstrom_cli.config.schema import Retry
    from mailstrom_cli.policy.routing import NextHop
    from mailstrom_cli.queue.turns import Turns
    from mailstrom_cli.store.base import Store

log = logging.getLogger("mailstrom")


class Destination:
    """One next hop. Its back-off is kept in the store, so that a restart or another process knows of it.

    under_way: attempts.  active: those that occupy a connection.  long: those of them that have for long.
    """

    def __init__(self, next_hop: NextHop, limit: int, store: Store, turns: Turns) -> None:
        self.next_hop = next_hop
        self.turns = turns
        self.waiting = Line()
        self.under_way = self.active = self.long = 0
        self.offered = False  # it stands in the line of those that may connect
        self.in_a_row = 0  # messages for which it did not have to wait for its turn
        self.resting = False  # until its next turn under a rate limit
        self._limit = limit
        self._width = 1  # connections that stood at once
        self._window = concurrency.initial(limit)
        self._store = store
        self._host = self._on_record()
        # What DNS names has to answer once before more than one waits for it.
        self._proved = self._host is None and all(via.scheme != "mx" for via in next_hop.vias)

    @property
    def ready(self) -> bool:
        """Somebody waits and the window is open for one more."""
        window = self._window if self._proved else 1
        return not self.resting and concurrency.another(
            len(self.waiting), self.active, self.long, self._width, window
        )

    def backing_off(self, now: float) -> HostState | None:
        """The back-off, while it lasts; one that a wrong clock made does not."""
        host = self._host
        return host if host is not None and now < host.until <= now + 2 * retry.HOST_LONGEST else None

    def forgive(self) -> None:
        """Dial again whatever was seen before: somebody has just mended it, or says so."""
        if self._host is not None:
            self._host = HostState(self._host.failures, 0.0, self._host.reason)

    def opened(self) -> bool:
        """A session has begun; whether more may begin for it."""
        self._width = max(self._width, self.active)
        before, self._proved = self._proved, True
        return not before

    def reached(self) -> None:
        self._proved = True
        self._window = concurrency.after_success(self._window, self._limit)
        if self._host is not None:
            self._keep(None)

    def not_reached(self, reason: str, now: float, settings: Retry, rng: Random) -> HostState:
        """Out of reach: left alone for a while that grows. Attempts that were under way when the first one
        failed count as one with it."""
        self._proved, self._width = False, 1
        self._window = concurrency.after_failure(self._window)
        current = self.backing_off(now)
        if current is not None:
            return current
        failures = self._host.failures + 1 if self._host is not None else 1
        until = round(now + retry.host_delay(settings, failures, rng), 3)
        host = HostState(failures, until, reason)
        self._keep(host)
        return host

    # Back-off is advice: that it cannot be read or written must not cost the outcome of an attempt.

    def _on_record(self) -> HostState | None:
        try:
            return self._store.host(str(self.next_hop))
        except OSError as error:
            log.warning("%s: the back-off cannot be read: %s", self.next_hop, error.strerror)
            return None

    def _keep(self, host: HostState | None) -> None:
        self._host = host
        try:
            self._store.set_host(str(self.next_hop), host)
        except OSError as error:
            log.warning("%s: the back-off cannot be written: %s", self.next_hop, error.strerror)
