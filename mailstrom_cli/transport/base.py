"""The Transport protocol: one job in, one result for each of its recipients out, never an exception."""

from __future__ import annotations

import logging

from mailstrom_cli.errors import MailstromError, exhausted
from mailstrom_cli.mail.status import DEFERRED, FINAL, Result
from mailstrom_cli.policy import classify
from mailstrom_cli.smtp import stages
from mailstrom_cli.smtp.dialog import Failure
from mailstrom_cli.values import replace, value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import BinaryIO, Protocol

    from mailstrom_cli.config.via import Via
    from mailstrom_cli.mail.envelope import Envelope, Recipient
    from mailstrom_cli.net.tls import Secured
    from mailstrom_cli.policy.classify import Circumstances, Verdict
    from mailstrom_cli.policy.routing import NextHop
else:
    Protocol = object

log = logging.getLogger("mailstrom")

TEXT_LENGTH = 1000
"""Characters that are kept of what a server says; it may say half a megabyte to every recipient."""


OPENING, OPEN, SENT = "opening", "open", "sent"
"""What a job does now: it needs a connection, and makes or waits for one; it has one; it only waits for
replies, on a connection that could take the next message."""


def nobody(phase: str) -> None:
    """Nobody wants to be told."""


class NotRecorded(Exception):
    """What `Job.final` was told could not be put on record, which ends the job."""


@value
class Job:
    """Some recipients of one message on their way to one next hop.

    domain: theirs, for mx.  open_message: the message as it leaves, but for signatures.
    final: to be told of results that nothing will change while the job goes on for others; what a server has
    taken is on record before the next one is asked. Raises NotRecorded.
    progress: to be told OPENING, OPEN and SENT, as often as it comes to that.
    form: what the message was converted to, "" as it is stored; with the id it says which octets these are.
    """

    id: str
    envelope: Envelope
    recipients: tuple[Recipient, ...]
    domain: str
    open_message: Callable[[], BinaryIO]
    final: Callable[[Sequence[Result]], Awaitable[None]]
    circumstances: Circumstances
    progress: Callable[[str], None] = nobody
    form: str = ""


class Transport(Protocol):
    """A way to leave, made once from the settings and used by many jobs at the same time."""

    async def deliver(self, job: Job, via: Via) -> list[Result]:
        """One result for each of `job.recipients`, in their order."""

    async def close(self) -> None:
        """End what is kept open between jobs."""


def result(address: str, verdict: Verdict, host: str | None = None, tls: Secured | None = None) -> Result:
    """What a verdict means for one recipient."""
    return Result(
        address,
        verdict.status,
        verdict.text[:TEXT_LENGTH],
        code=verdict.code,
        enhanced=verdict.enhanced,
        host=host,
        tls=tls.text if tls is not None else None,
        tls_cipher=tls.cipher if tls is not None else None,
        tls_by=tls.by if tls is not None else None,
        remote_id=verdict.remote_id,
        unreachable=verdict.unreachable,
        judged=verdict.judged,
        next_host=verdict.next_host,
        retry_after=verdict.retry_after,
        maybe_delivered=verdict.maybe_delivered,
    )


def unreadable(error: OSError) -> Failure:
    """The message cannot be read just now, which is the fault of this machine."""
    return Failure("local", stages.BLOCK, f"the message cannot be read: {error.strerror}")


def surprise(job: Job, error: Exception) -> Verdict:
    """What an exception means that should not have come: the mail waits, and the log has what to mend."""
    if isinstance(error, MailstromError):
        log.error("%s: %s", job.id, error.message)
    elif (lacking := exhausted(error)) is not None:
        log.error("%s: %s", job.id, lacking)
    else:
        log.error("%s: internal error in an attempt", job.id, exc_info=error)
    return classify.surprise(error)


async def deliver(transports: Callable[[str], Transport], job: Job, next_hop: NextHop) -> list[Result]:
    """Through the first way of a next hop that works: the next one is tried for the recipients that are only
    deferred or that another server may take, never for one that was refused, may have been delivered, or was
    asked to wait (greylisting). What is final is told to `job.final` before the next one is tried. Raises
    NotRecorded."""
    told: dict[str, Result] = {}
    waiting = job.recipients
    for i, via in enumerate(next_hop.vias):
        try:
            part = job if waiting is job.recipients else replace(job, recipients=waiting)
            results = await transports(via.scheme).deliver(part, via)
        except NotRecorded:
            raise
        except Exception as error:  # what an earlier way has delivered must not be forgotten
            verdict = surprise(job, error)
            results = [result(r.address, verdict) for r in waiting]
        for new in results:
            told[new.address] = classify.more_telling(told.get(new.address), new)
        ended = [new for new in results if not _worth_another(new)]
        waiting = tuple(r for r in waiting if _worth_another(told[r.address]))
        if not waiting:
            break
        if ended and i + 1 < len(next_hop.vias):
            await job.final([new for new in ended if new.status in FINAL])
    return [told[r.address] for r in job.recipients]


def _worth_another(told: Result) -> bool:
    if told.status == DEFERRED:
        return not told.maybe_delivered and told.retry_after is None
    return told.next_host
