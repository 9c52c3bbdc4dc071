"""The four states of a message and of each of its recipients, and what one attempt told of a recipient."""

from __future__ import annotations

from mailstrom_cli.values import value

QUEUED = "queued"  # no attempt has ended
DEFERRED = "deferred"  # waits for its next attempt
DELIVERED = "delivered"  # the next hop took responsibility
FAILED = "failed"  # will not be tried again

STATES = (QUEUED, DEFERRED, DELIVERED, FAILED)
UNFINISHED = (QUEUED, DEFERRED)
FINAL = (DELIVERED, FAILED)


@value
class Result:
    """What one attempt told of one recipient; every transport gives one for each it was asked to reach.

    status: "delivered", "deferred" (worth another try) or "failed".
    code, enhanced, text: the reply that decided, or what mailstrom says in its place.
    host: `name[address]:port` of the server that decided, or of the last one tried.
    tls: "TLSv1.3 verified", "TLSv1.3 encrypted", or None for plain text.  tls_cipher: as OpenSSL calls it.
    tls_by: how the server has proved who it is: "certificate", "fingerprint", "dane-ee", "dane-ta",
        "mta-sts".
    remote_id: the id under which the server queued it, where its reply tells.
    unreachable: the next hop was never reached; others need not try it for a while.
    judged: a server decided on this mail; a deferral that no server decided uses up no retry.
    next_host: another server may decide otherwise.
    retry_after: seconds the server asked us to wait (greylisting), or None.
    maybe_delivered: the connection broke after the end of data; the server may have it.
    transcript: the SMTP dialogue, if it is worth keeping.
    """

    address: str
    status: str
    text: str
    code: int | None = None
    enhanced: str | None = None
    host: str | None = None
    tls: str | None = None
    remote_id: str | None = None
    unreachable: bool = False
    judged: bool = True
    next_host: bool = False
    retry_after: float | None = None
    maybe_delivered: bool = False
    transcript: str | None = None
    tls_cipher: str | None = None
    tls_by: str | None = None
