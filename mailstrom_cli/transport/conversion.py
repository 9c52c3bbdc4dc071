"""The second round for a message that no host of a next hop takes as it is: converted, where that can be.

The conversion is made anew whenever the message is opened, from the stored one, which never changes; so its
result is never in memory or on a disk as a whole.
"""

from __future__ import annotations

import io
import mmap

from mailstrom_cli.mail.convert import Impossible, to_7bit, to_ascii
from mailstrom_cli.mail.downgrade import ascii_address
from mailstrom_cli.mail.header import split_header
from mailstrom_cli.mail.signature import SIGNATURES
from mailstrom_cli.mail.status import FAILED
from mailstrom_cli.net.background import in_thread
from mailstrom_cli.policy import classify
from mailstrom_cli.transport.base import NotRecorded, result, surprise, unreadable
from mailstrom_cli.values import replace, value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
    from typing import BinaryIO

    from _typeshed import WriteableBuffer

    from mailstrom_cli.mail.content import Data
    from mailstrom_cli.mail.envelope import Recipient
    from mailstrom_cli.mail.status import Result
    from mailstrom_cli.transport.base import Job


async def again(
    job: Job,
    results: list[Result],
    undecided: Collection[Recipient],
    lacking: Collection[str],
    deliver: Callable[[Job], Awaitable[list[Result]]],
) -> list[Result]:
    """The results after another round, for those of the `undecided` whom no host has told anything of the
    mail: the hosts that need no conversion, if any, could not be reached. An address without an ASCII form,
    and a message that cannot be converted, fail as they did.

    lacking: which of 8BITMIME and SMTPUTF8 some host did not offer."""
    conversion = Conversion(job, lacking)
    waiting = [r for r, told in zip(job.recipients, results, strict=True) if r in undecided and _open(told)]
    chosen = conversion.suited(waiting)
    if not chosen:
        return results
    after: dict[str, Result]
    try:
        facts = await in_thread(conversion.examine, job.open_message)
        if isinstance(facts, Impossible):
            mine = {r.address for r in chosen}
            after = {r.address: _explained(r, facts) for r in results if r.address in mine}
        else:
            told = await deliver(conversion.job(chosen, facts))
            after = {
                r.address: conversion.original(r.address, t, facts) for r, t in zip(chosen, told, strict=True)
            }
    except NotRecorded:
        raise
    except OSError as error:
        verdict = classify.failure(unreadable(error), job.circumstances)
        after = {r.address: result(r.address, verdict) for r in chosen}
    except Exception as error:  # those whose results are known keep them
        verdict = surprise(job, error)
        after = {r.address: result(r.address, verdict) for r in chosen}
    return [after.get(r.address, r) for r in results]


def _open(told: Result) -> bool:
    """Whether all that is known is what hosts do not offer, or that they could not be reached."""
    return told.unreachable or (told.status == FAILED and told.code is None)


def _explained(told: Result, why: Impossible) -> Result:
    return replace(told, text=f"{told.text}; it cannot be converted: {why.reason}")


@value
class Facts:
    """Of a converted message. size: octets.  eight_bit: it still has octets above 127.
    signed: it has a DKIM or ARC signature."""

    size: int
    eight_bit: bool
    signed: bool


class Conversion:
    """What a message needs for servers that lack an extension. ascii: header and addresses in ASCII.
    content: 7-bit content."""

    def __init__(self, job: Job, lacking: Collection[str]) -> None:
        envelope = job.envelope
        addresses = (envelope.reverse_path, *[r.address for r in job.recipients])
        beyond = envelope.smtputf8 or not all(map(str.isascii, addresses))
        self._job = job
        self.ascii = "SMTPUTF8" in lacking and beyond
        self.content = "8BITMIME" in lacking and envelope.body == "8bitmime"

    @property
    def form(self) -> str:
        """What it is converted to, in words."""
        return " and ".join(["7-bit content"] * self.content + ["an ASCII header"] * self.ascii)

    def suited(self, recipients: Sequence[Recipient]) -> tuple[Recipient, ...]:
        """Those whom the message can be sent to, converted."""
        if self.ascii and ascii_address(self._job.envelope.reverse_path) is None:
            return ()
        if self.ascii:
            return tuple([r for r in recipients if ascii_address(r.address) is not None])
        return tuple(recipients) if self.content else ()

    def examine(self, open_message: Callable[[], BinaryIO]) -> Facts | Impossible:
        """Converts once, to know what comes out. Raises OSError."""
        size, eight_bit = 0, False
        with open_message() as source, _Octets(source) as data:
            chunks = self.chunks(data)
            if isinstance(chunks, Impossible):
                return chunks
            for chunk in chunks:
                size += len(chunk)
                eight_bit = eight_bit or not chunk.isascii()
            signed = any(field.key in SIGNATURES for field in split_header(data).fields)
        return Facts(size, eight_bit, signed)

    def chunks(self, data: Data) -> Iterator[bytes] | Impossible:
        return to_7bit(data, header=self.ascii) if self.content else to_ascii(data)

    def job(self, recipients: tuple[Recipient, ...], facts: Facts) -> Job:
        """The same job with the converted message, for some of its recipients."""
        job = self._job
        envelope = replace(
            job.envelope,
            reverse_path=self._form(job.envelope.reverse_path),
            size=facts.size,
            body="8bitmime" if facts.eight_bit and not self.content else "7bit",
            smtputf8=job.envelope.smtputf8 and not self.ascii,
        )
        given = {self._form(r.address): r.address for r in recipients}

        async def final(told: Sequence[Result]) -> None:
            await job.final([self.original(given[r.address], r, facts) for r in told])

        return replace(
            job,
            envelope=envelope,
            recipients=tuple([replace(r, address=self._form(r.address)) for r in recipients]),
            open_message=lambda: io.BufferedReader(Converted(job.open_message(), self)),
            final=final,
            form=self.form,
        )

    def original(self, address: str, told: Result, facts: Facts) -> Result:
        """A result for the recipient as it was given, saying that the message was converted."""
        if told.code is None:
            return replace(told, address=address)
        note = f"converted to {self.form}"
        if self.content and facts.signed:
            note += ", which breaks its DKIM signature"
        return replace(told, address=address, text=f"{told.text} ({note})")

    def _form(self, address: str) -> str:
        return (ascii_address(address) or address) if self.ascii else address


class Converted(io.RawIOBase):
    """A message as a file, converted as it is read."""

    def __init__(self, source: BinaryIO, conversion: Conversion) -> None:
        self._source = source
        self._octets = _Octets(source)
        chunks = conversion.chunks(self._octets.__enter__())
        assert not isinstance(chunks, Impossible)
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        room = memoryview(buffer)
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = chunk
        count = min(len(room), len(self._rest))
        room[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        if not self.closed:
            self._octets.__exit__()
            self._source.close()
        super().close()


class _Octets:
    """A message's file as octets: mapped into memory where it is a file of this system, else read."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._mapped: mmap.mmap | None = None

    def __enter__(self) -> Data:
        try:
            self._mapped = mmap.mmap(self._source.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError, AttributeError):  # no file, or an empty one
            return self._source.read()
        return self._mapped

    def __exit__(self, *_: object) -> None:
        if self._mapped is not None:
            self._mapped.close()
