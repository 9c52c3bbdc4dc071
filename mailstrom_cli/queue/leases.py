"""Leases shared by the jobs of one message that run at the same time in this process."""

from __future__ import annotations

import logging
from contextlib import contextmanager

from mailstrom_cli.errors import MailstromError, NoSuchMessage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailstrom_cli.store.base import Lease, Store

log = logging.getLogger("mailstrom")


class Leases:
    """The lease of a message is taken by the first job that needs it and released by the last."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: dict[str, tuple[Lease, int]] = {}

    @contextmanager
    def take(self, id: str) -> Iterator[Lease | None]:
        """None while another process has it. Raises NoSuchMessage."""
        lease, users = self._held.get(id) or (self._store.lease(id), 0)
        if lease is None:
            yield None
            return
        self._held[id] = lease, users + 1
        try:
            yield lease
        finally:
            lease, users = self._held.pop(id)
            if users > 1:
                self._held[id] = lease, users - 1
            else:
                lease.release()

    def put_right(self, id: str) -> None:
        """A lease sets aside what is damaged, and moves what is final or held to where it belongs."""
        try:
            with self.take(id):
                pass
        except NoSuchMessage:
            pass
        except (MailstromError, OSError) as error:
            log.error("%s", error)
