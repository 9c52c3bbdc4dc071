"""Checking a spool: all that is wrong with it, and put right where that can be.

Safe beside `submit`, `flush` and `run`. Everything is looked at once without a lock. A message with which
something then seems wrong is looked at again under its lease: what others lease is in their hands, and what
has moved meanwhile is as it should be. It is mended under that lease, and a third look says whether it was.
No mail is removed: what is damaged goes to corrupt/ with its reason, and what lies there stays.

Held in memory are the names that seem wrong, and one message at a time.
"""

from __future__ import annotations

from mailstrom_cli.mail.status import STATES
from mailstrom_cli.store import files, layout
from mailstrom_cli.store.check_beside import Beside
from mailstrom_cli.store.check_entry import Entries
from mailstrom_cli.store.check_root import Root
from mailstrom_cli.store.registry import spool_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailstrom_cli.store.verdict import Finding


class Check:
    """A look at the spool at `url`, which begins when it is iterated over. messages: how many were looked at.

    now: seconds since the epoch.  repair: put right what can be; else nothing is changed.
    """

    def __init__(self, url: str, now: float, repair: bool = False) -> None:
        self.path = spool_path(url)
        self.messages = 0
        self._now = now
        self._repair = repair

    def __iter__(self) -> Iterator[Finding]:
        """Raises MailstromError where no spool can be checked (66, 77, 78), and OSError for what is not the
        spool's fault."""
        fd = layout.open_damaged(self.path)
        root = Root(fd)
        try:
            beside = Beside(root.directories, self._now, self._repair)
            yield from root.itself(self._repair)
            yield from beside.corrupt()  # before more is added to it
            yield from root.parts(self._repair)
            yield from beside.tmp()
            entries = Entries(root.directories, self._now, self._repair)
            for state in STATES:
                if state in root.directories:
                    yield from entries.check(state)
                self.messages = entries.messages
            yield from beside.small_files()
        finally:
            root.close()
            files.close(fd)
