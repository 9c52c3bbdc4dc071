"""Messages get their DKIM signatures as they leave, in front of the octets that leave; the stored ones stay.

What goes by SMTP and LMTP is signed, since others will carry or judge it; a Maildir is where mail ends.
"""

from __future__ import annotations

import asyncio
import io
import time

from mailstrom_cli.dkim.canonical import RelaxedBody
from mailstrom_cli.dkim.selection import author_domains, signing_domain
from mailstrom_cli.dkim.signature import Signer, signature
from mailstrom_cli.errors import CONFIG, MailstromError
from mailstrom_cli.mail.header import MAX_HEADER, split_header
from mailstrom_cli.net.background import in_thread
from mailstrom_cli.net.keys import read_key
from mailstrom_cli.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

    from mailstrom_cli.config.schema import Dkim
    from mailstrom_cli.transport.base import Job

AT_ONCE = 64 * 1024
"""A message up to this long is hashed in place; a thread for it would take longer."""
BLOCK = 1 << 20  # octets in memory of a longer one
KEPT = 1000
"""Messages whose signatures are kept: one to a hundred domains is hashed and signed once, not a hundred
times."""


class Signing:
    """Signs for these domains. Keys are read when mail is first signed with them, and kept."""

    def __init__(self, domains: Mapping[str, Dkim]) -> None:
        self._domains = domains
        self._signers: dict[str, list[Signer]] = {}
        self._made: dict[tuple[str, str], asyncio.Future[bytes]] = {}

    async def signed(self, job: Job) -> Job:
        """The job with the message as it is to be sent. Raises OSError where that cannot be read, and
        MailstromError where it should be signed and cannot be."""
        top = await self._top(job)
        if not top:
            return job
        return replace(
            job,
            envelope=replace(job.envelope, size=job.envelope.size + len(top)),
            open_message=lambda: Prefixed(top, job.open_message()),
        )

    async def _top(self, job: Job) -> bytes:
        """The signatures of a message, made once for all that send it."""
        key = (job.id, job.form)
        making = self._made.get(key)
        if making is None:
            if job.envelope.size <= AT_ONCE:
                making = asyncio.get_running_loop().create_future()
                making.set_result(self._sign(job))
            else:
                making = asyncio.ensure_future(in_thread(self._sign, job))
                making.add_done_callback(lambda done: self._forget_failed(key, done))
            while len(self._made) >= KEPT:
                del self._made[next(iter(self._made))]
            self._made[key] = making
        return await asyncio.shield(making)

    def _forget_failed(self, key: tuple[str, str], done: asyncio.Future[bytes]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._made.pop(key, None)

    def _sign(self, job: Job) -> bytes:
        """All signatures of a message, one field each; none for a domain that has no keys."""
        with job.open_message() as message:
            head = _header_section(message)
            header = split_header(head)
            domains = dict.fromkeys(signing_domain(d, self._domains) for d in author_domains(header.fields))
            signers = [signer for domain in domains if domain for signer in self._keys(domain)]
            if not signers:
                return b""
            body = RelaxedBody()
            body.update(head[header.end :])
            while block := message.read(BLOCK):
                body.update(block)
        digest, now = body.digest(), int(time.time())
        return b"".join([signature(signer, header.fields, digest, now) for signer in signers])

    def _keys(self, domain: str) -> list[Signer]:
        """Raises MailstromError."""
        if domain not in self._signers:
            self._signers[domain] = signers(domain, self._domains[domain])
        return self._signers[domain]


def signers(domain: str, entry: Dkim) -> list[Signer]:
    """The keys of a domain, read. Raises MailstromError, which names the domain."""
    try:
        return [
            Signer(domain, selector, read_key(path))
            for selector, path in zip(entry.selector, entry.key_file, strict=True)
        ]
    except MailstromError as error:
        what = f"mail cannot be signed for {domain}: {error.message}"
        raise MailstromError(what, error.hint, CONFIG) from None


def _header_section(message: BinaryIO) -> bytes:
    """The start of a message, with all of its header."""
    head = b""
    while b"\r\n\r\n" not in head and len(head) <= MAX_HEADER and (more := message.read(AT_ONCE)):
        head += more
    return head


class Prefixed(io.BufferedIOBase):
    """A message with something before it. Once that is read, it is the message's own file, of which the
    system may send the rest (`net.stream.Stream.send_file`)."""

    def __init__(self, prefix: bytes, message: BinaryIO) -> None:
        self._prefix = prefix
        self._message = message

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        prefix = self._prefix
        if not prefix:
            return self._message.read(-1 if size is None else size)
        if size is None or size < 0:
            self._prefix = b""
            return prefix + self._message.read()
        self._prefix = prefix[size:]
        return prefix[:size] + self._message.read(max(0, size - len(prefix)))

    def fileno(self) -> int:
        if self._prefix:
            raise io.UnsupportedOperation("what comes first is in no file")
        return self._message.fileno()

    def tell(self) -> int:
        return self._message.tell()

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._message.seek(offset, whence)

    def close(self) -> None:
        self._message.close()
        super().close()
