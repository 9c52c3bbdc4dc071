"""What is wrong with a spool, as values: pure functions of what was read of it.

error      mail waits, or may be lost, or others may get at it, until somebody puts it right
warning    not as mailstrom made it; no mail suffers from it now
note       what a crash leaves and mailstrom clears up by itself, and what is as well to know
"""

from __future__ import annotations

import stat
import time

from mailstrom_cli.mail.status import FINAL, UNFINISHED
from mailstrom_cli.store import files, layout
from mailstrom_cli.store.schedule import DISTANT, HELD, index_of
from mailstrom_cli.values import fields, replace, value

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from mailstrom_cli.store.entry import Entry

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)

EVENTS = ("results", "postponed", "held", "released", "cancelled", "retried")
OF_RECIPIENTS = ("results", "postponed", "retried")
BODIES, RETS = ("7bit", "8bitmime"), (None, "full", "hdrs")
NOTIFY = {"never", "success", "failure", "delay"}
CLOSE = 2_000_000_000  # nanoseconds by which a file system may round a time

LONGEST = 80  # characters of a value that is shown

ASIDE, REMOVED = "set aside in corrupt/", "removed"  # what a repair does


@value
class Finding:
    """where: the path below the spool, "." for the spool itself.  what: a sentence.

    repair: what --repair does about it, as something done ("removed"), or "".  repaired: it was done.
    hint: what a person can do, or "".
    """

    severity: str
    where: str
    what: str
    repair: str = ""
    hint: str = ""
    repaired: bool = False

    @property
    def left(self) -> bool:
        """Whether something is still wrong."""
        return self.severity != NOTE and not self.repaired

    def done(self) -> Finding:
        """It was put right."""
        return replace(self, repaired=True)

    def failed(self, why: str) -> Finding:
        """It could not be put right."""
        return replace(self, repair="", hint=f"not repaired: {why}")


def kind(mode: int) -> str:
    """What a file is, from its mode."""
    kinds = {
        stat.S_IFREG: "a file",
        stat.S_IFDIR: "a directory",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def wrong_mode(where: str, held: os.stat_result, right: int, severity: str = WARNING) -> Iterator[Finding]:
    """A mode that is not the one that mailstrom gives, whatever the umask."""
    mode = stat.S_IMODE(held.st_mode)
    if mode != right:
        yield Finding(severity, where, f"its mode is {mode:04o}, not {right:04o}", f"mode set to {right:04o}")


def no_regular(where: str, held: os.stat_result) -> Iterator[Finding]:
    """A file that can only be planted, since mailstrom makes no such one."""
    try:
        files.regular("it", held)
    except files.NotRegular as error:
        what = str(error) if stat.S_ISREG(held.st_mode) else f"it is {kind(held.st_mode)}, not a file"
        yield Finding(ERROR, where, what, ASIDE)
    except FileNotFoundError:
        pass


def foreign(where: str, held: os.stat_result, expected: str) -> Finding:
    """A name that mailstrom never gives."""
    what = f"{kind(held.st_mode)} whose name is not {expected}"
    return Finding(WARNING, where, what, hint="it is passed over; move it out of the spool")


def moment(when: float) -> str:
    """A time as 2026-11-24T02:43:00Z, whatever a sidecar or a file system holds."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))
    except (ValueError, OverflowError, OSError):
        return f"@{when:.0f}"


def misplaced(where: str, state: str, mtime: int, entry: Entry, now: float) -> Iterator[Finding]:
    """An index (a directory and its mtime) that is not what the sidecar says.

    What is looked at too early harms nothing, and an attempt may have been postponed until after the time in
    the sidecar (`Lease.postpone`); too late is wrong.
    """
    if entry.state != state:
        severity = NOTE
        if state in FINAL:
            severity = ERROR if entry.state in UNFINISHED else WARNING
        what = f"it is {entry.state} by its sidecar"
        if severity == ERROR:
            what += ", and nobody looks for it here"
        yield Finding(severity, where, what, f"moved to {entry.state}/")
    right = index_of(entry, 0.0)
    if abs(mtime - right) <= CLOSE:
        return
    index, truth = moment(mtime / 1e9), moment(right / 1e9)
    repair = "its directory's time set"
    if entry.finished is not None:
        if state == entry.state:
            yield Finding(WARNING, where, f"it became final at {truth}, not at {index}", repair)
    elif entry.held:
        yield Finding(NOTE, where, "it is on hold by its sidecar, and is looked at nevertheless", repair)
    elif mtime == HELD:
        yield Finding(ERROR, where, "it is marked as on hold, which it is not by its sidecar", repair)
    elif mtime > max(right, (now + DISTANT) * 1e9):
        yield Finding(ERROR, where, f"nobody looks at it before {index}, and it is due at {truth}", repair)
    elif now * 1e9 < right and mtime < right and mtime < (now + DISTANT) * 1e9:
        yield Finding(NOTE, where, f"it is looked at from {index} on, and is due at {truth}", repair)


def torn(where: str, length: int, whole: int) -> Iterator[Finding]:
    """Octets after the last newline of a sidecar."""
    if length > whole:
        what = f"its last line is torn ({length - whole} octets)"
        yield Finding(NOTE, where, what, "cut off, as by the next event")


def unknown(where: str, lines: Sequence[Mapping[str, Any]], entry: Entry) -> Iterator[Finding]:
    """What is in a sidecar that folds, and is nothing that this mailstrom writes."""
    envelope = entry.envelope
    known = {"format", "id", "submitted", *fields(envelope)}
    for key in sorted(lines[0].keys() - known):
        what = f"line 1 has the unknown key {_shown(key)}, which is passed over"
        yield Finding(NOTE, where, what)
    notify = {word for r in envelope.recipients for word in r.notify}
    for key, held, fine in (
        ("body", envelope.body, envelope.body in BODIES),
        ("ret", envelope.ret, envelope.ret in RETS),
        ("notify", sorted(notify - NOTIFY), notify <= NOTIFY),
    ):
        if not fine:
            what = f"{key} is {_shown(held)}, which means nothing to this mailstrom"
            yield Finding(WARNING, where, what)
    addresses = {r.address for r in envelope.recipients}
    for number, event in enumerate(lines[1:], 2):
        yield from _unknown_in_event(where, number, event, addresses)


def _unknown_in_event(
    where: str, number: int, event: Mapping[str, Any], addresses: set[str]
) -> Iterator[Finding]:
    kind = event.get("event")
    if kind not in EVENTS:
        what = f"line {number} is an event of the unknown kind {_shown(kind)}, which is passed over"
        yield Finding(NOTE, where, what)
    elif kind in OF_RECIPIENTS:
        for told in event["recipients"]:
            address = told["address"] if kind == "results" else told
            if address not in addresses:
                what = f"line {number} tells of {_shown(address)}, who is no recipient"
                yield Finding(WARNING, where, what)


def _shown(held: object) -> str:
    try:
        text = repr(held)
    except RecursionError:
        text = type(held).__name__
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def inside(where: str, names: Sequence[str]) -> Iterator[Finding]:
    """What lies in an entry beside its two files."""
    for name in sorted(set(names) - {layout.MESSAGE, layout.SIDECAR}):
        hint = "it is passed over, and removed with the message; move it out of the spool"
        yield Finding(WARNING, f"{where}/{name}", "nothing that belongs to a message", hint=hint)


def stale(here: bytes, there: bytes) -> bool | None:
    """Which of two sidecars of one message is a copy that was taken earlier: True for the first, False for
    the second; of two that are the same, the second; None when each tells what the other does not."""
    if here.startswith(there):
        return False
    return True if there.startswith(here) else None


def of_mark(where: str, when: float | None, now: float, *, of_rate: bool) -> Iterator[Finding]:
    """A named time that cannot be right."""
    if when is None or not abs(when) < 1e15:
        yield Finding(NOTE, where, "it holds no time, which is as good as missing", REMOVED)
    elif when > now + DISTANT and not of_rate:
        yield Finding(WARNING, where, f"its time is yet to come: {moment(when)}", REMOVED)
