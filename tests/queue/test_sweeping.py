"""`run` sweeps soon after its begin and once an hour, and lives on when it cannot."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING

from mailstrom_cli.api import Mailstrom
from mailstrom_cli.config.schema import build
from mailstrom_cli.queue import run
from mailstrom_cli.store.base import SWEPT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest


async def until_swept(mail: Mailstrom) -> None:
    sweeping = asyncio.ensure_future(run._Runner(mail.settings, mail.store, None, None)._sweep_now_and_then())
    async with asyncio.timeout(10):
        while mail.store.mark(SWEPT) is None and not sweeping.done():
            await asyncio.sleep(0.001)
    assert not sweeping.done()
    sweeping.cancel()


def test_without_a_thread_it_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    threads = iter((False, True))

    async def in_thread(work: Callable[..., object], *arguments: object) -> object:
        if not next(threads, True):
            raise OSError(errno.EAGAIN, "can't start new thread")
        return work(*arguments)

    monkeypatch.setattr(run, "in_thread", in_thread)
    monkeypatch.setattr(run, "FIRST_SWEEP_SECONDS", 0.0)
    monkeypatch.setattr(run, "SWEEP_SECONDS", 0.0)
    mail = Mailstrom(build({"spool": str(tmp_path / "spool")}))
    asyncio.run(until_swept(mail))
    mail.store.close()  # type: ignore[attr-defined]
    assert caplog.messages == ["sweeping the spool failed: can't start new thread"]
