"""What a spool keeps beside messages: the back-off of next hops and named times.

Both are advice. What is lost in a power cut costs an attempt or a repeated report, so nothing is synced; what
cannot be read is as good as not there.
"""

from __future__ import annotations

import fcntl
import os

from mailstrom_cli.store import files
from mailstrom_cli.store.base import RATE, HostState
from mailstrom_cli.store.sidecar import encode, parse

KEPT = 86400.0  # seconds that a host's state is of use after its back-off ended, and a rate's mark


def read_host(hosts: int, next_hop: str) -> HostState | None:
    """The back-off state of a next hop; hosts: the directory."""
    return host_in(hosts, files.file_name(next_hop))


def host_in(hosts: int, name: str) -> HostState | None:
    """The back-off state in a file of this name."""
    try:
        fd = files.open_regular(name, os.O_RDONLY, hosts)
        try:
            (held,), _ = parse(files.read_all(fd))
        finally:
            os.close(fd)
        return HostState(int(held["failures"]), float(held["until"]), str(held["reason"]))
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


def write_host(hosts: int, tmp: int, next_hop: str, state: HostState | None) -> None:
    """Replace the back-off state of a next hop, or forget it."""
    name = files.file_name(next_hop)
    if state is None:
        files.discard(name, hosts)
        return
    line = {
        "next_hop": next_hop,
        "failures": state.failures,
        "until": state.until,
        "reason": state.reason,
    }
    passing = f"host-{os.urandom(8).hex()}"
    fd = files.create(passing, tmp)
    try:
        try:
            files.write_all(fd, encode(line))
        finally:
            os.close(fd)
        try:
            os.rename(passing, name, src_dir_fd=tmp, dst_dir_fd=hosts)
        except IsADirectoryError:  # nor is that one of ours
            files.discard(name, hosts)
            os.rename(passing, name, src_dir_fd=tmp, dst_dir_fd=hosts)
    except BaseException:
        files.discard(passing, tmp)
        raise


def sweep_hosts(hosts: int, now: float) -> int:
    """Forget the hosts whose back-off ended long ago, and what cannot be read: how many."""
    removed = 0
    for name in os.listdir(hosts):
        state = host_in(hosts, name)
        if state is None or state.until < now - KEPT:
            files.discard(name, hosts)
            removed += 1
    return removed


def sweep_rates(marks: int, now: float) -> int:
    """Forget the marks of rate limits whose time is past: how many. Only one of them has a digest as name."""
    removed = 0
    for name in os.listdir(marks):
        if name.startswith((files.file_name(RATE), "%")):
            when = exchange_mark(marks, name, None, encoded=True)
            if when is None or when < now - KEPT:
                files.discard(name, marks)
                removed += 1
    return removed


def exchange_mark(marks: int, name: str, when: float | None, *, encoded: bool = False) -> float | None:
    """What the named time was, after which it is `when`, unless None. Two processes never get the same.
    encoded: the name is that of its file."""
    file = name if encoded else files.file_name(name)
    if when is None:
        try:
            fd = files.open_regular(file, os.O_RDONLY, marks)
        except (FileNotFoundError, files.NotRegular):
            return None
    else:
        fd = _create_mark(file, marks)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH if when is None else fcntl.LOCK_EX)
        try:
            before = float(os.pread(fd, 64, 0))
        except ValueError:
            before = None
        if when is not None:
            os.ftruncate(fd, 0)
            files.write_all(fd, b"%r\n" % when)
        return before
    finally:
        os.close(fd)


def _create_mark(file: str, marks: int) -> int:
    """The file of a named time, new if it is missing; what is no file of ours gives way to one."""
    while True:
        try:
            return files.open_regular(file, os.O_RDWR | os.O_CREAT, marks)
        except FileNotFoundError:  # swept by now
            continue
        except files.NotRegular:
            files.discard(file, marks)
