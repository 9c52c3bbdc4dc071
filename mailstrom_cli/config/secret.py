"""Files that hold a password: opened only when nobody else can read them."""

from __future__ import annotations

import os
import stat

from mailstrom_cli.errors import CONFIG, MailstromError

LONGEST = 65_536  # octets of a secret and what stands around it


def credential(name: str) -> str:
    """The path of a systemd credential (systemd.exec(5)). Raises MailstromError (exit 78)."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        hint = f"give the unit LoadCredential={name}:FILE, or name the file in `password_file`"
        raise MailstromError(
            f"there is no credential {name!r}: CREDENTIALS_DIRECTORY is not set", hint, CONFIG
        )
    return os.path.join(folder, name)


def read_secret(path: str) -> bytes:
    """What such a file holds. Raises MailstromError as `open_secret`."""
    try:
        with open(open_secret(path), "rb") as file:
            return file.read(LONGEST)
    except OSError as error:
        raise MailstromError(f"{path} cannot be read: {error.strerror}", None, CONFIG) from None


def open_secret(path: str) -> int:
    """A descriptor of a password file. Raises MailstromError (exit 78) when it cannot be read, is no regular
    file, belongs to somebody else than this user or root, or can be read by others.

    The opened file is judged, not the path. A file below $CREDENTIALS_DIRECTORY may be readable by its group:
    systemd grants it by an access list, whose mask shows as the group's mode.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise MailstromError(f"{path} cannot be read: {error.strerror}", None, CONFIG) from None
    status = os.fstat(descriptor)
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    granted = bool(credentials) and os.path.dirname(path) == credentials
    try:
        if not stat.S_ISREG(status.st_mode):
            raise MailstromError(f"{path} is not a regular file", None, CONFIG)
        if status.st_uid not in (0, os.geteuid()):
            raise MailstromError(f"{path} belongs to another user", f"chown it to uid {os.geteuid()}", CONFIG)
        if status.st_mode & (0o007 if granted else 0o077):
            mode = stat.S_IMODE(status.st_mode)
            raise MailstromError(
                f"{path} has mode {mode:04o}: it is not private", f"chmod 600 {path}", CONFIG
            )
    except MailstromError:
        os.close(descriptor)
        raise
    return descriptor
