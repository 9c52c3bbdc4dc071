"""As many connections as this process has file descriptors for: a low limit makes it slower, not fail."""

from __future__ import annotations

import logging
import os
import resource

from mailstrom_cli.queue.slots import STALLED
from mailstrom_cli.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailstrom_cli.config.schema import Settings

log = logging.getLogger("mailstrom")

OURS = 20  # the spool's directories, the trigger, standard streams, the event loop, a resolver's socket
LOOP = 3  # what the event loop itself opens
EACH = 11 + 3 * STALLED
"""A connection, and an idle one that waits for more; a message, and the leases of those in flight; and those
that a server keeps waiting, each with its lease."""


def fitting(settings: Settings) -> Settings:
    """The settings with `limits.connections` cut to what the limit on open files allows; its soft part is
    raised first, as far as it may be."""
    wanted = settings.limits.connections
    allowed = _raised(OURS + EACH * wanted)
    fit = wanted if allowed == resource.RLIM_INFINITY else max(1, (allowed - OURS) // EACH)
    if fit >= wanted:
        return settings
    log.warning("%d open files are allowed, so at most %d connections are made at once", allowed, fit)
    return replace(settings, limits=replace(settings.limits, connections=fit))


def _raised(needed: int) -> int:
    """The soft limit on open files, after an attempt to have it at least as `needed`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return soft
    most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError):
        return soft
    return most


def check_some() -> None:
    """Raise OSError where not even an event loop could begin, which would not fail without a traceback."""
    held: list[int] = []
    try:
        for _ in range(LOOP):
            held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    finally:
        for fd in held:
            os.close(fd)
