"""Sweeping a spool: what crashed writers left in tmp/, what is past its retention, and indexes that went
wrong."""

from __future__ import annotations

import fcntl
import os
import stat

from mailstrom_cli.errors import NoSuchMessage
from mailstrom_cli.mail.status import DELIVERED, FAILED, UNFINISHED
from mailstrom_cli.store import files, keys, layout, notes
from mailstrom_cli.store.base import SWEPT, DamagedMessage
from mailstrom_cli.store.schedule import DISTANT, HELD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailstrom_cli.store.spool import Spool

ABANDONED = 3600.0  # seconds after which an unlocked entry in tmp/ is nobody's

UNSYNCED = 120.0  # seconds after which a system has written out what was not synced


def sweep(spool: Spool, now: float, delivered_before: float, failed_before: float) -> int:
    """All of `Store.sweep`: how many files, entries and messages were removed."""
    swept_until = spool.mark(SWEPT) or 0.0
    removed = sweep_tmp(spool.directory(layout.TMP), now)
    removed += sweep_messages(spool, now, swept_until, delivered_before, failed_before)
    removed += keys.sweep(spool.directory(layout.KEYS), spool.exists)
    removed += notes.sweep_hosts(spool.directory(layout.HOSTS), now)
    removed += notes.sweep_notes(spool.directory(layout.NOTES), now)
    removed += notes.sweep_rates(spool.directory(layout.MARKS), now)
    spool.mark(SWEPT, now)  # last: a sweep that was cut short, or had no room for it, is made again
    return removed


def sweep_tmp(tmp: int, now: float) -> int:
    """Remove what is in tmp/ and nobody's any more: how many entries."""
    removed = 0
    for name in os.listdir(tmp):
        try:
            held = os.stat(name, dir_fd=tmp, follow_symlinks=False)
            if held.st_ctime >= now - ABANDONED:
                continue
            if stat.S_ISDIR(held.st_mode) and being_written(name, tmp):
                continue
            doomed = name if name.endswith("~") else name + "~"
            os.rename(name, doomed, src_dir_fd=tmp, dst_dir_fd=tmp)
            files.discard(doomed, tmp)
            removed += 1
        except OSError:
            continue  # its writer or another sweep was faster, or the next sweep will be luckier
    return removed


def being_written(name: str, tmp: int) -> bool:
    """Whether the writer of an entry in tmp/ holds its lock."""
    try:
        entry = files.open_directory(name, tmp)
    except OSError:
        return False
    try:
        fd = files.open_regular(layout.MESSAGE, os.O_RDONLY, entry)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(fd)
    except BlockingIOError:
        return True
    except (OSError, files.NotRegular):
        return False
    finally:
        os.close(entry)
    return False


def sweep_messages(
    spool: Spool, now: float, swept_until: float, delivered_before: float, failed_before: float
) -> int:
    """Remove the messages that became final before these times: how many.

    Leasing them, and those whose index may be wrong (final since the last sweep, held, far from due), puts
    their indexes right, and sets aside what is damaged. What is due is leased by whoever delivers it; and
    while this process has had the spool open, no power cut can have come between a message and its index.
    """
    removed = 0
    for state, before in ((DELIVERED, delivered_before), (FAILED, failed_before)):
        for id, held in list(spool.scan(state)):
            if held.st_mtime < before or swept_until - UNSYNCED <= held.st_mtime < spool.opened:
                removed += _look(spool, id, before)
    for state in UNFINISHED:
        for id, held in list(spool.scan(state)):
            if held.st_mtime == HELD or held.st_mtime > now + DISTANT:
                _look(spool, id, 0.0)
    return removed


def _look(spool: Spool, id: str, before: float) -> bool:
    """Lease a message, and remove it if it became final before this time."""
    try:
        lease = spool.lease(id)
        if lease is None:
            return False
        with lease:
            if lease.entry.finished is None or lease.entry.finished >= before:
                return False
            lease.remove()
            return True
    except (NoSuchMessage, DamagedMessage, OSError):
        return False  # the next sweep may be luckier
