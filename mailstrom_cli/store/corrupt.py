"""What cannot be read: set aside into corrupt/ID with its reason, so that it is met once and blocks
nothing."""

from __future__ import annotations

import errno
import os
import stat

from mailstrom_cli.store import files, layout

PLANTED = "planted"  # the name, in its directory in corrupt/, of what was no directory itself

_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR)


def set_aside(id: str, reason: str, state: int, corrupt: int) -> None:
    """Move the entry `id` from a state's directory into corrupt/; somebody else may have been faster."""
    for number in range(1000):
        name = f"{id}.{number}" if number else id
        try:
            if stat.S_ISDIR(os.stat(id, dir_fd=state, follow_symlinks=False).st_mode):
                os.rename(id, name, src_dir_fd=state, dst_dir_fd=corrupt)
            else:
                files.make_directory(name, corrupt)
                os.rename(id, f"{name}/{PLANTED}", src_dir_fd=state, dst_dir_fd=corrupt)
            break
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
    entry = files.open_directory(name, corrupt)
    try:
        files.discard(layout.REASON, entry)
        fd = files.create(layout.REASON, entry)
        try:
            files.write_all(fd, f"{reason}\n".encode("utf-8", "backslashreplace"))
        finally:
            os.close(fd)
    finally:
        os.close(entry)


def reason_for(id: str, corrupt: int) -> str | None:
    """Why a message was set aside; None when it was not."""
    try:
        entry = files.open_directory(id, corrupt)
    except OSError:
        return None
    try:
        fd = files.open_regular(layout.REASON, os.O_RDONLY, entry)
        try:
            return os.read(fd, 1000).decode("utf-8", "replace").strip()
        finally:
            os.close(fd)
    except (OSError, files.NotRegular):
        return "its reason is not known"
    finally:
        os.close(entry)
