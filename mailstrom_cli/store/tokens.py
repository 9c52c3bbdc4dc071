"""OAuth tokens in a file of their own, 0600: replaced as a whole, by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os

from mailstrom_cli.config.secret import read_secret
from mailstrom_cli.config.write import write_new
from mailstrom_cli.errors import CONFIG, MailstromError
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@value
class Tokens:
    """access: good until then, in seconds since the epoch."""

    refresh: str
    access: str = ""
    until: float = 0.0

    def __repr__(self) -> str:
        return "Tokens(...)"


class TokenFile:
    """The tokens for one relay."""

    def __init__(self, path: str) -> None:
        self.path = path

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else gets new tokens meanwhile: a refresh token may be good for one use only. Raises
        OSError."""
        os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(f"{self.path}.lock", flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def read(self) -> Tokens | None:
        """None where there is no file. Raises MailstromError for one that others can read, or that is none of
        ours."""
        if not os.path.lexists(self.path):
            return None
        try:
            held = json.loads(read_secret(self.path))
            return Tokens(str(held["refresh_token"]), str(held["access_token"]), float(held["until"]))
        except (ValueError, TypeError, KeyError, RecursionError):
            raise MailstromError(f"{self.path} holds no tokens", "remove it", CONFIG) from None

    def write(self, tokens: Tokens) -> None:
        """Raises OSError; then what was there is there unchanged."""
        held = {"refresh_token": tokens.refresh, "access_token": tokens.access, "until": tokens.until}
        write_new(self.path, json.dumps(held).encode() + b"\n", 0o600, replace=True)
