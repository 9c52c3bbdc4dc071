"""Calls that may block for ever (a look-up by the system, a hung file system), away from the event loop."""

from __future__ import annotations

import asyncio
import errno
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar, TypeVarTuple

    T = TypeVar("T")
    Ts = TypeVarTuple("Ts")


async def in_thread(function: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """What the function returns or raises. Its thread is a daemon: unlike that of `asyncio.to_thread`, it
    holds up neither the others nor the end of the process. Raises OSError (EAGAIN) when no thread is to be
    had."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, failed = None, None
        try:
            result = function(*arguments)
        except BaseException as error:
            failed = error
        try:
            loop.call_soon_threadsafe(settle, result, failed)
        except RuntimeError:
            return  # the loop has ended meanwhile

    try:
        threading.Thread(target=work, daemon=True, name=function.__name__).start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from None
    return await future
