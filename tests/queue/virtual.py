"""An event loop whose clock jumps to its next timer instead of sleeping: days in milliseconds."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

EPOCH = 1_800_000_000.0


class _Jumping(selectors.DefaultSelector):
    """Waits for no time at all: what it would have waited is added to `now`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise AssertionError("everything waits, and nothing will ever happen")
            self.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def clock(self) -> float:
        """Seconds since the epoch, as the code under test sees them."""
        return EPOCH + self.time()


def run(make: Any) -> Any:
    """Run `make(loop)`, a coroutine, to its end on a loop of its own."""
    loop = VirtualLoop()
    try:
        main: Coroutine[Any, Any, Any] = make(loop)
        return loop.run_until_complete(main)
    finally:
        loop.close()
