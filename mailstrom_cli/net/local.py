"""What a dialogue needs of this machine and not of the server: chance, the channel, and long work."""

from __future__ import annotations

import hashlib
import secrets

from mailstrom_cli.net.background import in_thread
from mailstrom_cli.smtp.auth import Binding, Derive, Nonce

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailstrom_cli.net.stream import Stream


async def perform(effect: Nonce | Binding | Derive, stream: Stream) -> str | bytes | tuple[str, bytes] | None:
    """What the effect gives. Raises OSError (EAGAIN) when no thread is to be had."""
    if isinstance(effect, Nonce):
        return secrets.token_urlsafe(24)
    if isinstance(effect, Derive):
        given = (effect.hash, effect.password, effect.salt, effect.iterations)
        return await in_thread(hashlib.pbkdf2_hmac, *given)
    from mailstrom_cli.smtp.sasl.binding import END_POINT, end_point

    certificate = stream.certificate
    octets = end_point(certificate) if certificate is not None else None
    return (END_POINT, octets) if octets is not None else None
