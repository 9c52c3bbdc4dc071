"""A new file, whole or not at all."""

from __future__ import annotations

import os


def write_new(path: str, octets: bytes, mode: int, *, replace: bool) -> None:
    """Writes a file of this mode, and the directories that it needs. Raises FileExistsError unless `replace`,
    and other OSErrors; then what was there is there unchanged."""
    path = os.path.abspath(path)
    # Those below /etc are for everybody to enter, those of a user are private.
    os.makedirs(os.path.dirname(path), 0o755 if mode & 0o004 else 0o700, exist_ok=True)
    temporary = f"{path}.{os.getpid()}.new"
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    try:
        with open(descriptor, "wb") as file:
            file.write(octets)
            os.fchmod(descriptor, mode)
            file.flush()
            os.fsync(descriptor)
        if replace:
            os.replace(temporary, path)
        else:
            os.link(temporary, path)  # unlike rename it does not replace what came between
    finally:
        if os.path.lexists(temporary):
            os.unlink(temporary)
