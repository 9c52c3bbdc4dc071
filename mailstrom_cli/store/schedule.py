"""The index of a message: when the scheduler is to look at it, as the mtime of its directory.

unfinished   the next attempt
on hold      HELD, the epoch itself: no clock that is right says so, and every file system can hold it
final        when it became final
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailstrom_cli.store.entry import Entry

HELD = 0
DISTANT = 86400.0  # seconds ahead from which an index is worth a check now and then: clocks go wrong


def mtime(when: float) -> int:
    """A time as nanoseconds: never HELD, and rounded up to a microsecond, so that what is due is not so
    early."""
    return max(1, -int(-when * 1_000_000 // 1)) * 1000


def index_of(entry: Entry, not_before: float) -> int:
    """The mtime that a message's directory should have. not_before: as asked of `Lease.postpone`."""
    if entry.finished is not None:
        return mtime(entry.finished)
    if entry.held:
        return HELD
    return mtime(max(entry.next_attempt or 0.0, not_before))


def sooner(index: int, other: int) -> bool:
    """Whether one mtime makes the scheduler look at a message sooner than another."""
    return index != HELD and (other == HELD or index < other)
