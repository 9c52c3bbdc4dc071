"""What the event loop meets with is one line of the log, and a traceback only where it is a bug."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING

from mailstrom_cli.queue.trouble import of_the_loop

if TYPE_CHECKING:
    import logging

    import pytest


def log_of(error: Exception, caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    def fail() -> None:
        raise error

    async def work() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(of_the_loop)
        loop.call_soon(fail)
        await asyncio.sleep(0)

    asyncio.run(work())
    (record,) = caplog.records
    assert record.name == "mailstrom"
    return record


def test_an_error_of_the_system_is_told_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    record = log_of(OSError(errno.ENOSPC, "No space left on device"), caplog)
    assert "No space left on device" in record.getMessage()
    assert record.exc_info is None


def test_a_bug_is_told_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    record = log_of(KeyError("x"), caplog)
    assert "internal error" in record.getMessage()
    assert record.exc_info is not None
