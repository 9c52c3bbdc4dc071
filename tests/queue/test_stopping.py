"""Signals reach the loop whatever fails on the way, and afterwards mean what they meant before."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

from mailstrom_cli.queue.stopping import on_signals

if TYPE_CHECKING:
    import pytest


def _fails(*_: object) -> int:
    raise OSError(5, "Input/output error")


def test_a_signal_is_heard_where_nothing_can_be_told_through_a_descriptor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signal, "set_wakeup_fd", _fails)

    async def wait() -> None:
        heard = asyncio.Event()
        with on_signals({signal.SIGUSR1: heard.set}):
            os.kill(os.getpid(), signal.SIGUSR1)
            await asyncio.wait_for(heard.wait(), 10)

    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        asyncio.run(wait())
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR1, before)
