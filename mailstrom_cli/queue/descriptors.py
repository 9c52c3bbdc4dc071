"""As many connections as this process has file descriptors for: a low limit makes it slower, not fail."""

from __future__ import annotations

import logging
import resource

from mailstrom_cli.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailstrom_cli.config.schema import Settings

log = logging.getLogger("mailstrom")

OURS = 20  # the spool's directories, the trigger, standard streams, the event loop, a resolver's socket
EACH = 5  # a lease, the message, the connection, and an idle one that waits for more


def fitting(settings: Settings) -> Settings:
    """The settings with `limits.connections` cut to what the soft limit on open files allows."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.limits.connections
    fit = wanted if soft == resource.RLIM_INFINITY else max(1, (soft - OURS) // EACH)
    if fit >= wanted:
        return settings
    log.warning("%d open files are allowed, so at most %d connections are made at once", soft, fit)
    return replace(settings, limits=replace(settings.limits, connections=fit))
