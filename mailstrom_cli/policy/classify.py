"""What a reply or a failure means for a recipient: the one place that decides between another try and an end.

    event                                        verdict
    ----------------------------------------     ----------------------------------------------------------
    250 to the end of data                       delivered
    4xx at MAIL, RCPT, DATA, end of data         deferred; another host may do better
    421 at MAIL                                  the same, and no retry is used up: the host is busy
    5xx at MAIL, RCPT, DATA, end of data         failed
    RCPT 452, or 552 "too many recipients"       that recipient again at once, in a transaction of its own
    RCPT 552 5.2.2 (mailbox full)                deferred until the message is a day old, then failed
    no connection; greeting or EHLO refused      next address; then deferred, no retry is used up
    greeting 521 (accepts no mail)               the same for a day, then failed (RFC 7504)
    TLS required and missing or not verified     next host; then deferred 4.7.4 or 4.7.5, no retry is used up
    no answer about TLSA records                 the same, 4.7.5: they could be kept back
    an MTA-STS policy does not list the host     the same, 4.7.5
    REQUIRETLS: no TLS; not verified or not      next host; then failed 5.7.10; 5.7.30 (RFC 8689, 4.2.1)
      offered by who has proved himself
    TLS failed, level may                        deferred 4.7.5; plain text from the second attempt on
    AUTH refused, or a relay's 530 to MAIL       deferred 4.7.8, no retry used up: never the mail's fault;
                                                 after a 5xx no other host of this relay
    connection lost or timed out                 deferred 4.4.2; another host may do better
    the same after the end of data               deferred, maybe delivered; no other host is tried now
    what is no SMTP reply                        deferred 4.5.0, failed 5.5.0 from the third time on;
                                                 after the end of data maybe delivered, no other host now
    SIZE not enough                              next host; then failed 5.3.4
    8BITMIME, SMTPUTF8 not granted               next host; then converted, else failed 5.6.3, 5.6.7
    this machine cannot                          deferred 4.3.0, no retry is used up; nobody else waits for it
    domain: NXDOMAIN, no address                 failed 5.4.4
    domain: null MX                              failed 556 5.1.10 (RFC 7505)
    domain: SERVFAIL, REFUSED, time-out          deferred 4.4.3, no retry is used up
    relay without an address                     deferred 4.4.4, no retry is used up: a typo bounces no mail

A reply's own enhanced code counts if its class is that of the reply; otherwise x.0.0 is made of it.
"""

from __future__ import annotations

import re

from mailstrom_cli.errors import MailstromError, exhausted
from mailstrom_cli.mail.status import DEFERRED, DELIVERED, FAILED
from mailstrom_cli.smtp import stages
from mailstrom_cli.smtp.dialog import DNSSEC_INVALID
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol, TypeVar

    from mailstrom_cli.mail.envelope import Envelope
    from mailstrom_cli.mail.reply import Reply
    from mailstrom_cli.policy.mx import Lookup
    from mailstrom_cli.smtp.dialog import Answer, Capabilities, Failure

    T = TypeVar("T", bound="Told")
else:
    Protocol = object

DAY = 86_400.0
NO_REQUIRETLS, NO_TLS = "5.7.30", "5.7.10"
MALFORMED_TRIES = 3
GREYLIST_WAIT = 60.0, 3600.0
"""Seconds: what a server asks us to wait is believed between these."""


@value
class Circumstances:
    """What else counts. age: seconds of waiting.  attempts: how many ended before this one.
    retries: how many of them a server deferred.
    tls_required: no plain text, whatever happens.  requiretls: as in `Envelope`, of a message with a sender.
    relay: the configuration names the server.
    forced: somebody wants it tried now, whatever is known of the server."""

    age: float = 0.0
    attempts: int = 0
    retries: int = 0
    tls_required: bool = False
    requiretls: bool = False
    relay: bool = False
    forced: bool = False


@value
class Verdict:
    """What it means for a recipient; the fields are those of `mail.status.Result`, and two more.

    again: the same server may take it, now, in another transaction.
    local: this machine could not; that says nothing of the next hop, nor of the mail.
    """

    status: str
    text: str
    code: int | None = None
    enhanced: str | None = None
    next_host: bool = False
    again: bool = False
    unreachable: bool = False
    local: bool = False
    retry_after: float | None = None
    maybe_delivered: bool = False
    remote_id: str | None = None

    @property
    def judged(self) -> bool:
        return not (self.unreachable or self.local)


def answer(told: Answer, circumstances: Circumstances) -> Verdict:
    """For what a transaction told of one recipient."""
    if told.failure is not None:
        return failure(told.failure, circumstances)
    assert told.reply is not None
    return _reply(told.stage, told.reply, circumstances)


def _reply(stage: str, reply: Reply, circumstances: Circumstances) -> Verdict:
    if stage == stages.DOT and reply.positive:
        text = reply.text or "accepted"
        enhanced = reply.enhanced or "2.0.0"
        return Verdict(DELIVERED, text, reply.code, enhanced, remote_id=remote_id(reply.text))
    if reply.code < 400:
        return _malformed(stage, _unexpected(stage, reply), circumstances)
    text = reply.text or f"refused {stages.WHILE[stage]}"
    enhanced = reply.enhanced or f"{reply.code // 100}.0.0"
    if stage == stages.RCPT and _too_many(reply):
        return Verdict(DEFERRED, text, reply.code, enhanced, again=True, next_host=True)
    if reply.transient:
        wait = asked_to_wait(reply.text)
        busy = reply.code == 421 and stage == stages.MAIL
        return Verdict(
            DEFERRED, text, reply.code, enhanced, next_host=wait is None, unreachable=busy, retry_after=wait
        )
    if reply.code == 530 and circumstances.relay:
        return Verdict(DEFERRED, f"login required: {text}", 530, "4.7.8", next_host=True, unreachable=True)
    if reply.code == 552 and reply.enhanced == "5.2.2" and circumstances.age < DAY:
        return Verdict(DEFERRED, text, reply.code, enhanced)
    return Verdict(FAILED, text, reply.code, enhanced)


def _unexpected(stage: str, reply: Reply) -> str:
    return f"unexpected reply {stages.WHILE[stage]}: {reply.code} {reply.text}"


def _too_many(reply: Reply) -> bool:
    """RFC 5321, 4.5.3.1.10: 452, and 552 where a server still says it so."""
    if reply.code == 452:
        return reply.enhanced in (None, "4.5.3")
    return reply.code == 552 and (reply.enhanced == "5.5.3" or "too many" in reply.text.lower())


def failure(failed: Failure, circumstances: Circumstances) -> Verdict:
    """For a session that ended early. Before MAIL it tells of the host, not of the message."""
    opening = failed.stage in stages.OPENING
    text, reply = failed.text or f"refused {stages.WHILE[failed.stage]}", failed.reply
    if failed.kind == "local":
        # Without its password nobody can use that relay; everything else passes with the moment.
        at_login = failed.stage == stages.AUTH
        return Verdict(DEFERRED, text, enhanced="4.3.0", unreachable=at_login, local=not at_login)
    if failed.kind in ("tls", "no-tls", "policy"):
        code = reply.code if reply is not None else None
        if circumstances.requiretls and (unmet := _requiretls_unmet(failed)):
            return Verdict(FAILED, f"REQUIRETLS: {text}", code, unmet, next_host=True)
        enhanced = "4.7.4" if failed.kind == "no-tls" else "4.7.5"
        required = circumstances.tls_required or failed.kind == "policy"
        return Verdict(DEFERRED, text, code, enhanced, next_host=True, unreachable=required)
    if failed.stage == stages.AUTH and failed.kind == "refused":
        code = reply.code if reply is not None else None
        again = reply is None or not reply.permanent
        return Verdict(DEFERRED, text, code, "4.7.8", next_host=again, unreachable=True)
    if failed.kind == "malformed" and not opening:
        return _malformed(failed.stage, text, circumstances)
    if failed.kind == "refused" and reply is not None:
        if failed.stage == stages.GREETING and reply.code == 521 and circumstances.age >= DAY:
            return Verdict(FAILED, text, 521, "5.3.2", next_host=True)
        if reply.code < 400:
            text = _unexpected(failed.stage, reply)
            return Verdict(DEFERRED, text, enhanced="4.3.2", next_host=True, unreachable=True)
        told = reply.enhanced if reply.transient else None
        return Verdict(DEFERRED, text, reply.code, told or "4.3.2", next_host=True, unreachable=True)
    if failed.stage == stages.DOT:
        return Verdict(DEFERRED, text, enhanced="4.4.2", maybe_delivered=True)
    enhanced = "4.4.1" if failed.kind == "unreachable" else "4.4.2"
    return Verdict(DEFERRED, text, enhanced=enhanced, next_host=True, unreachable=opening)


def _requiretls_unmet(failed: Failure) -> str | None:
    """The enhanced code for a host that does not do what REQUIRETLS asks for; None where another try may tell
    otherwise: a handshake that broke off, a refusal for now."""
    if failed.kind == "no-tls":
        return None if failed.reply is not None and failed.reply.transient else NO_TLS
    return NO_REQUIRETLS if failed.fault and failed.fault != DNSSEC_INVALID else None


def _malformed(stage: str, text: str, circumstances: Circumstances) -> Verdict:
    sent = stage == stages.DOT
    last = circumstances.retries + 1 >= MALFORMED_TRIES
    status, enhanced = (FAILED, "5.5.0") if last else (DEFERRED, "4.5.0")
    return Verdict(status, text, enhanced=enhanced, next_host=not sent, maybe_delivered=sent)


def unsuited(session: Capabilities, envelope: Envelope, addresses: tuple[str, ...]) -> Verdict | None:
    """Why this server cannot take this message at all, judged by what it offered; None when it can."""
    if session.size is not None and envelope.size > session.size:
        text = f"the message has {envelope.size} octets, and the server takes {session.size}"
        return Verdict(FAILED, text, enhanced="5.3.4", next_host=True)
    if envelope.requiretls and envelope.reverse_path and "REQUIRETLS" not in session:
        text = "the message needs REQUIRETLS, and the server does not offer it"
        return Verdict(FAILED, text, enhanced=NO_REQUIRETLS, next_host=True)
    if envelope.smtputf8 and "SMTPUTF8" not in session:
        text = "the message needs SMTPUTF8, and the server does not offer it"
        return Verdict(FAILED, text, enhanced="5.6.7", next_host=True)
    if not all(address.isascii() for address in (envelope.reverse_path, *addresses)) and (
        "SMTPUTF8" not in session
    ):
        text = "an address needs SMTPUTF8, and the server does not offer it"
        return Verdict(FAILED, text, enhanced="5.6.7", next_host=True)
    if envelope.body == "8bitmime" and "8BITMIME" not in session:
        text = "the message has 8-bit content, and the server does not offer 8BITMIME"
        return Verdict(FAILED, text, enhanced="5.6.3", next_host=True)
    return None


def lookup(told: Lookup, *, relay: bool) -> Verdict:
    """For a next hop of which DNS gave no address: a relay is never a reason to fail, a domain may be."""
    if told.kind == "local":
        return Verdict(DEFERRED, told.text, enhanced="4.3.0", local=True)
    if told.kind == "failed":
        return Verdict(DEFERRED, told.text, enhanced="4.4.3", unreachable=True)
    if relay:
        return Verdict(DEFERRED, told.text, enhanced="4.4.4", unreachable=True)
    if told.kind == "nullmx":
        return Verdict(FAILED, told.text, 556, "5.1.10")
    return Verdict(FAILED, told.text, enhanced="5.4.4")


def surprise(error: BaseException) -> Verdict:
    """For a bug of ours, or a setting that cannot be used: the mail waits, it is never failed for it."""
    known = str(error) if isinstance(error, MailstromError) else exhausted(error)
    text = known or f"internal error: {type(error).__name__}"
    return Verdict(DEFERRED, text, enhanced="4.3.0", local=True)


class Told(Protocol):
    """A Verdict, or the Result that is made of it."""

    @property
    def status(self) -> str: ...
    @property
    def next_host(self) -> bool: ...
    @property
    def judged(self) -> bool: ...


def more_telling(before: T | None, after: T) -> T:
    """Of what two hosts of one next hop said, what counts: an end that no other host can change, else what a
    server said of the mail before what kept us from asking, and a hope before an end; of equals the last."""
    if before is None or after.status == DELIVERED or (after.judged and not after.next_host):
        return after
    return max(after, before, key=_weight)


def _weight(told: Told) -> int:
    if told.status == FAILED:
        return 0
    return 2 if told.judged else 1


# --- reading replies that people wrote ---

_WAIT = re.compile(r"(\d{1,5})\s*(s|secs?|seconds?|m|mins?|minutes?|h|hours?)\b", re.IGNORECASE)
_UNIT = {"s": 1.0, "m": 60.0, "h": 3600.0}
_QUEUED_AS = re.compile(
    r"(?:queued as\s|queued mail for delivery\s|id=|\bid\s)\s*([0-9A-Za-z._@-]{4,100})", re.IGNORECASE
)


def asked_to_wait(text: str) -> float | None:
    """Seconds that a deferring server asks for ("greylisted, try again in 5 minutes"), clamped."""
    lowered = text.lower()
    if not any(word in lowered for word in ("greylist", "graylist", "retry", "try again", "wait")):
        return None
    found = _WAIT.search(text)
    if found is None:
        return None
    least, most = GREYLIST_WAIT
    return min(most, max(least, int(found[1]) * _UNIT[found[2][0].lower()]))


def remote_id(text: str) -> str | None:
    """The id under which a server says that it queued the message ("2.0.0 Ok: queued as 4FvXyz")."""
    found = _QUEUED_AS.search(text)
    return found[1] if found else None
