"""What keeps a message from being tried and is no fault of the mail: logged, and tried again ever later."""

from __future__ import annotations

import logging

from mailstrom_cli.errors import TEMPORARY, MailstromError, exhausted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from typing import Any

log = logging.getLogger("mailstrom")

BUSY_SECONDS = 5.0
"""When to look again at a message that another process has in hand."""
TROUBLE_SECONDS = 3600.0
"""The longest that a message waits which an error of this machine, or of ours, keeps from being tried."""


def of_the_loop(loop: AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what the event loop met with outside of any attempt, such as a connection that it could not watch:
    whoever waits there times out. For `loop.set_exception_handler`."""
    error = context.get("exception")
    if isinstance(error, OSError):
        log.error("%s: %s", context["message"], error)
    elif error is not None and (lacking := exhausted(error)) is not None:
        log.error("%s: %s", context["message"], lacking)
    else:
        log.error("internal error, %s", context["message"], exc_info=error)


class Trouble:
    """How often in a row each message met with it."""

    def __init__(self) -> None:
        self._count: dict[str, int] = {}

    @property
    def messages(self) -> int:
        """How many are in it."""
        return len(self._count)

    def met(self, id: str, error: Exception) -> float:
        """Log it; in how many seconds to look again."""
        if isinstance(error, MailstromError | OSError):
            log.error("%s: %s", id, error)
        elif (lacking := exhausted(error)) is not None:
            log.error("%s: %s", id, lacking)
        else:
            log.error("%s: internal error", id, exc_info=error)
        self._count[id] = count = self._count.get(id, 0) + 1
        return min(BUSY_SECONDS * 2.0 ** min(count - 1, 16), TROUBLE_SECONDS)

    def over(self, id: str) -> None:
        self._count.pop(id, None)


def not_recorded(error: OSError) -> MailstromError:
    return MailstromError(
        f"the outcome of an attempt could not be recorded: {error.strerror}",
        "make room for the spool; until then mail may be delivered twice",
        TEMPORARY,
    )


def not_tried(messages: int) -> MailstromError:
    """How a pass ends that met trouble with so many."""
    return MailstromError(
        f"{messages} of the messages could not be tried; the log says why",
        "the next pass tries them again",
        TEMPORARY,
    )
