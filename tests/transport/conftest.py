"""sender(resolver, tls_level=..., ...): a Sender, closed when the test ends."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from .sending import Names, Sender, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def sender() -> Iterator[Callable[..., Sender]]:
    with contextlib.ExitStack() as open_ones:

        def make(resolver: Names | None = None, **changed: Any) -> Sender:
            made = Sender(settings(**changed), resolver)
            open_ones.callback(made.close)
            return made

        yield make
