"""SMTP and LMTP: to the MX hosts of a domain or to a relay, every recipient its own result.

targets        which addresses to dial, in order (transport.targets); beside it the policy of MTA-STS
session        one from the pool, or a new one (transport.sessions)
transactions   MAIL, RCPT ..., DATA; the next address only for recipients that are still undecided
"""

from __future__ import annotations

import asyncio

from mailstrom_cli.mail.status import DELIVERED
from mailstrom_cli.net.driver import Transcript
from mailstrom_cli.policy import classify, sts, tls
from mailstrom_cli.smtp import stages
from mailstrom_cli.smtp.dialog import Failure, SessionFailed
from mailstrom_cli.smtp.transaction import transaction
from mailstrom_cli.transport import conversion
from mailstrom_cli.transport.base import SENT, result, surprise, unreadable
from mailstrom_cli.transport.outcome import Outcome
from mailstrom_cli.transport.sessions import Sessions
from mailstrom_cli.transport.targets import Targets
from mailstrom_cli.transport.ways import Ways
from mailstrom_cli.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from mailstrom_cli.config.schema import Settings
    from mailstrom_cli.config.via import Via
    from mailstrom_cli.mail.envelope import Recipient
    from mailstrom_cli.mail.status import Result
    from mailstrom_cli.net.mtasts import Policies
    from mailstrom_cli.net.pool import Session
    from mailstrom_cli.net.resolver import Resolver
    from mailstrom_cli.policy.classify import Circumstances
    from mailstrom_cli.policy.mx import Lookup, Target
    from mailstrom_cli.policy.sts import Found
    from mailstrom_cli.smtp.dialog import Answer
    from mailstrom_cli.transport.base import Job
    from mailstrom_cli.transport.login import Hosts
    from mailstrom_cli.transport.signing import Signing
    from mailstrom_cli.transport.tally import Tally
    from mailstrom_cli.transport.ways import Way

MAX_SESSIONS = 2
"""Servers that get to see the message in one attempt; addresses that do not answer are not counted."""
AHEAD_OCTETS = 64 * 1024
"""A message up to this long may be sent before the server has said whether it wants it."""


class SmtpTransport:
    """For mx:, smtp:, smtps: and lmtp:. rng shuffles hosts of equal preference.  hosts: as in Logins.
    tally: told how TLS went."""

    def __init__(
        self,
        settings: Settings,
        resolver: Resolver,
        policies: Policies,
        rng: Random,
        hosts: Hosts | None = None,
        tally: Tally | None = None,
    ) -> None:
        self._settings = settings
        self._policies = policies
        self._targets = Targets(resolver, settings.smtp.port, rng, dane=tls.wanted(settings.tls, tls.DANE))
        self._ways = Ways(settings, resolver)
        self._sessions = Sessions(settings, self._ways, hosts, tally)
        self._pool = self._sessions.pool
        self._signing = _signing(settings)
        self._tally = tally

    async def close(self) -> None:
        await self._pool.close()
        if self._tally is not None:
            await self._tally.close()

    async def deliver(self, job: Job, via: Via) -> list[Result]:
        """To the addresses of `via` in order, until every recipient is decided."""
        if via.path and job.envelope.requiretls:  # it stays on this machine (RFC 8689, 4.4)
            job = replace(job, envelope=replace(job.envelope, requiretls=False))
        need = tls.needed(job.envelope)
        told, targets, found = await self._where(job, via, need)
        if not targets:
            verdict = classify.lookup(told, relay=via.scheme != "mx")
            return [result(r.address, verdict) for r in job.recipients]
        try:
            outcome = Outcome(job if self._signing is None else await self._signing.signed(job))
        except OSError as error:
            verdict = classify.failure(unreadable(error), job.circumstances)
            return [result(r.address, verdict) for r in job.recipients]
        transcript, sessions = [], 0
        known = replace(job.circumstances, requiretls=need == tls.REQUIRED, relay=via.scheme != "mx")
        circumstances = known
        for target in targets:
            try:
                way = await self._ways.of(via, job.domain, target, need, found.policy)
                circumstances = replace(known, tls_required=True) if way.protection.required else known
                session = await self._sessions.get(job, way, circumstances)
            except SessionFailed as failed:
                if self._tally is not None:
                    self._tally.barred(job, target, failed.failure)
                if failed.failure.kind != "local":
                    self._targets.failed(target)
                verdict = classify.failure(failed.failure, circumstances)
                transcript.append(f"{target}: {failed.failure.text}")
                outcome.tell_rest(verdict, str(target))
            except Exception as error:
                outcome.tell_rest(surprise(job, error), str(target))
            else:
                said = await self._hand_over(session, way, circumstances, outcome)
                transcript += said
                sessions += len(said) > 1  # where it does not suit, nothing is said of it
            if not outcome.undecided or sessions >= MAX_SESSIONS:
                break
            if final := outcome.final():
                await job.final(final)
        results = outcome.results("\n".join(transcript))
        if outcome.lacking and outcome.undecided:
            if final := outcome.final():
                await job.final(final)
            results = await conversion.again(
                job, results, outcome.undecided, outcome.lacking, lambda made: self.deliver(made, via)
            )
        return results

    async def _where(self, job: Job, via: Via, need: str) -> tuple[Lookup, list[Target], Found]:
        """What to dial, or why there is nothing, and what the domain asks for, which is looked up at the same
        time."""
        targets = self._targets.of(
            via, job.domain, lambda target: self._pool.has(self._ways.known(via, job.domain, target, need))
        )
        domain = self._ways.policy_domain(via, job.domain, need)
        found = self._policies.at_hand(domain) if domain else sts.NOTHING
        if found is None:
            (told, some), asked = await asyncio.gather(targets, self._policies.of(domain))
            found = asked
        else:
            told, some = await targets
        if domain and self._tally is not None:
            self._tally.asks(job.domain, found)
        return told, self._targets.choose(some, found.policy), found

    # --- the message ---

    async def _hand_over(
        self, session: Session, way: Way, circumstances: Circumstances, outcome: Outcome
    ) -> list[str]:
        """All undecided recipients through one session, in as many transactions as needed; what was said."""
        job, host = outcome.job, str(way.target)
        transcript = [f"{way.target}:"]
        waiting = list(outcome.undecided)
        held: Session | None = session
        most = self._settings.limits.recipients_per_transaction
        try:
            while waiting:
                batch = waiting[:most]
                addresses = tuple(r.address for r in batch)
                unsuited = classify.unsuited(session.offered, job.envelope, addresses)
                if unsuited is not None:
                    outcome.tell(batch, [unsuited] * len(batch), host, session.tls)
                    if unsuited.enhanced != classify.NO_REQUIRETLS:
                        outcome.lacking |= {k for k in ("8BITMIME", "SMTPUTF8") if k not in session.offered}
                    waiting = waiting[most:]
                    continue
                if held is None:  # another job has it by now
                    held = session = await self._sessions.get(job, way, circumstances)
                more, said = len(waiting) > len(batch), Transcript()
                kept = session.used > 0
                answers, held = await self._transact(session, way, job, batch, said, more=more)
                if kept and all(map(_stale, answers)):
                    if held is not None:
                        self._pool.give(held)
                    said = Transcript()
                    held = session = await self._sessions.get(job, way, circumstances, fresh=True)
                    answers, held = await self._transact(session, way, job, batch, said, more=more)
                verdicts = [classify.answer(a, circumstances) for a in answers]
                # Too many for one transaction: the rest follows at once, while each gets some through.
                through = any(v.status == DELIVERED for v in verdicts)
                if not all(v.status == DELIVERED for v in verdicts):
                    if session.used == 1:
                        transcript += session.conversation.transcript.lines()
                    transcript += said.lines()
                again = [r for r, v in zip(batch, verdicts, strict=True) if v.again and through]
                outcome.tell(batch, verdicts, host, session.tls)
                waiting = again + waiting[most:]
                if again:  # the server has told how many it takes
                    most = max(1, len(batch) - len(again))
                if held is not None and held.conversation.broken and waiting:
                    raise SessionFailed(Failure("lost", stages.MAIL, "the server ended the session"))
        except SessionFailed as failed:
            verdict = classify.failure(failed.failure, circumstances)
            outcome.tell(waiting, [verdict] * len(waiting), host, session.tls)
        except Exception as error:  # those whose answers are known keep them
            outcome.tell_rest(surprise(job, error), host)
        finally:
            if held is not None:
                self._pool.give(held)
        return transcript

    async def _transact(
        self,
        session: Session,
        way: Way,
        job: Job,
        batch: Sequence[Recipient],
        said: Transcript,
        *,
        more: bool,
    ) -> tuple[list[Answer], Session | None]:
        """One transaction; the session, unless it went back to the pool with the message. more: the job goes
        on with it."""
        ahead = job.envelope.size <= AHEAD_OCTETS and session.lively
        reset = session.begin()
        dialogue = transaction(session.offered, job.envelope, batch, lmtp=way.lmtp, ahead=ahead, reset=reset)
        passed_on = False

        def sent() -> None:
            nonlocal passed_on
            passed_on = self._pool.sent(session)
            if passed_on:
                job.progress(SENT)

        answers: list[Answer] = []
        try:
            with job.open_message() as message:
                answers = await session.conversation.drive(
                    dialogue,
                    message,
                    transcript=said,
                    sent=sent if "PIPELINING" in session.offered and not more else None,
                )
        except OSError as error:
            raise SessionFailed(unreadable(error)) from None
        finally:
            session.end(answers)
            if passed_on:
                self._pool.give(session)
        return answers, None if passed_on else session


def _signing(settings: Settings) -> Signing | None:
    """None where nothing is signed, and what would sign is not loaded."""
    if not settings.dkim:
        return None
    from mailstrom_cli.transport.signing import Signing

    return Signing(settings.dkim)


def _stale(answer: Answer) -> bool:
    """The server had closed a kept connection before it saw anything of this message, or does so now."""
    if answer.stage != stages.MAIL:
        return False
    if answer.reply is not None:
        return answer.reply.code == 421
    return answer.failure is not None and answer.failure.kind == "lost"
