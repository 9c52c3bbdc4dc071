"""Private keys that sign mail: read from their files when they are needed."""

from __future__ import annotations

from mailstrom_cli.config.secret import open_secret
from mailstrom_cli.dkim import keys
from mailstrom_cli.errors import CONFIG, MailstromError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailstrom_cli.dkim.keys import PrivateKey

LARGEST = 65_536  # octets; the key of an RSA of 16,384 bits has 13,000


def read_key(path: str) -> PrivateKey:
    """The key in a file that nobody else can read. Raises MailstromError."""
    descriptor = open_secret(path)
    try:
        with open(descriptor, "rb") as file:
            pem = file.read(LARGEST)
    except OSError as error:
        raise MailstromError(f"{path} cannot be read: {error.strerror}", None, CONFIG) from None
    try:
        return keys.read(pem)
    except ValueError as error:
        raise MailstromError(f"{path} {error}", "`mailstrom dkim keygen` makes a key", CONFIG) from None
