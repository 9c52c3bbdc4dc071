"""A fault: a finding, and what puts it right. Looking again tells whether it did."""

from __future__ import annotations

import errno

from mailstrom_cli.store.entry import DamagedEntry
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mailstrom_cli.store.verdict import Finding

ROUNDS = 3  # what one repair uncovers, the next puts right
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # not the spool's fault: nothing can be judged now


@value
class Fault:
    """mend: puts it right, or raises OSError. None: only a person can."""

    finding: Finding
    mend: Callable[[], object] | None = None


def settle(look: Callable[[], Iterable[Fault]], *, repair: bool) -> Iterator[Finding]:
    """What a look finds. With `repair` it is mended, and told as repaired when another look does not find it
    any more."""
    seen: dict[Finding, str] = {}  # and why it could not be mended
    for _ in range(ROUNDS if repair else 1):
        faults = list(look())
        new = [fault for fault in faults if fault.finding not in seen]
        if not new:
            break
        seen.update((fault.finding, _mended(fault) if repair else "") for fault in new)
    left = {fault.finding for fault in look()} if repair and seen else set()
    for finding, why in seen.items():
        if repair and finding not in left:
            yield finding.done()
        elif repair and finding.repair:
            yield finding.failed(why or "it is as it was")
        else:
            yield finding


def _mended(fault: Fault) -> str:
    if fault.mend is not None:
        try:
            fault.mend()
        except OSError as error:
            return error.strerror or str(error)
        except DamagedEntry as error:
            return str(error)
    return ""
