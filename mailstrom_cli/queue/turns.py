"""Turns under a rate limit. They are on record in the store, so that what an earlier pass sent counts."""

from __future__ import annotations

import logging

from mailstrom_cli.policy import rate as policy
from mailstrom_cli.store.base import RATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mailstrom_cli.config.schema import Rate
    from mailstrom_cli.store.base import Store

log = logging.getLogger("mailstrom")

EVERYWHERE = "all next hops"


class Turns:
    """Of one next hop, or of all together. Two processes at once may each be one ahead of the limit."""

    def __init__(self, name: str, rate: Rate, store: Store, clock: Callable[[], float]) -> None:
        self.name = name
        self.rate = rate
        self._store = store
        self._clock = clock
        self._spread = 0.0

    def wait(self) -> float:
        """Seconds until the next message may leave; 0.0 for now."""
        if not self.rate.count:
            return 0.0
        self._spread = self._mark(None)
        return policy.wait(self._spread, self._clock(), self.rate)

    def take(self) -> None:
        """A message leaves now."""
        if self.rate.count:
            self._spread = policy.taken(self._spread, self._clock(), self.rate)
            self._mark(self._spread)

    def give_back(self) -> None:
        """It did not: nobody was dialled."""
        if self.rate.count:
            self._spread = self._mark(None) - policy.interval(self.rate)
            self._mark(self._spread)

    def _mark(self, when: float | None) -> float:
        """What is on record, unless it is less than what this process knows. That it cannot be read or
        written must not stop the mail."""
        try:
            return max(self._spread, self._store.mark(RATE + self.name, when) or 0.0)
        except OSError as error:
            log.warning("%s: the rate cannot be kept on record: %s", self.name, error.strerror)
            return self._spread
