"""SMTP and LMTP: to the MX hosts of a domain or to a relay, every recipient its own result.

targets        which addresses to dial, in order (transport.targets)
session        one from the pool, or a new one: connect, greeting, EHLO, STARTTLS, AUTH
transactions   MAIL, RCPT ..., DATA; the next address only for recipients that are still undecided
"""

from __future__ import annotations

from functools import partial

from mailstrom_cli.mail.status import DELIVERED
from mailstrom_cli.net.driver import Conversation, Transcript
from mailstrom_cli.net.pool import Pool, Session
from mailstrom_cli.net.stream import connect
from mailstrom_cli.net.tls import Contexts, describe
from mailstrom_cli.policy import classify, tls
from mailstrom_cli.smtp import stages
from mailstrom_cli.smtp.dialog import Failure, Opening, SessionFailed, open_session
from mailstrom_cli.smtp.transaction import transaction
from mailstrom_cli.transport import conversion
from mailstrom_cli.transport.base import OPEN, OPENING, SENT, result, surprise, unreadable
from mailstrom_cli.transport.login import Logins
from mailstrom_cli.transport.outcome import Outcome
from mailstrom_cli.transport.targets import Targets
from mailstrom_cli.values import replace, value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from mailstrom_cli.config.schema import Auth, Settings
    from mailstrom_cli.config.via import Via
    from mailstrom_cli.mail.envelope import Recipient
    from mailstrom_cli.mail.status import Result
    from mailstrom_cli.net.resolver import Resolver
    from mailstrom_cli.policy.classify import Circumstances
    from mailstrom_cli.policy.mx import Target
    from mailstrom_cli.smtp.auth import Credentials
    from mailstrom_cli.smtp.dialog import Answer
    from mailstrom_cli.transport.base import Job
    from mailstrom_cli.transport.login import Hosts

MAX_SESSIONS = 2
"""Servers that get to see the message in one attempt; addresses that do not answer are not counted."""
WAYS_KEPT = 10_000
AHEAD_OCTETS = 64 * 1024
"""A message up to this long may be sent before the server has said whether it wants it."""


@value
class Way:
    """How to speak to one target. level: as `policy.tls.level` has it."""

    target: Target
    lmtp: bool
    implicit: bool
    level: str
    auth: Auth | None

    def __hash__(self) -> int:
        return hash(self.target.address)


class SmtpTransport:
    """For mx:, smtp:, smtps: and lmtp:. rng shuffles hosts of equal preference.  hosts: as in Logins."""

    def __init__(
        self, settings: Settings, resolver: Resolver, rng: Random, hosts: Hosts | None = None
    ) -> None:
        self._settings = settings
        self._targets = Targets(resolver, settings.smtp.port, rng)
        self._contexts = Contexts(settings.tls.ca_file)
        if settings.tls.ca_file:
            self._contexts.get(tls.VERIFY)  # a wrong one is told at the start
        self._ways: dict[tuple[str | int | None, ...], Way] = {}
        self._logins = Logins(settings, hosts)
        self._pool = Pool(settings.limits.messages_per_connection, settings.limits.connections)

    async def close(self) -> None:
        await self._pool.close()

    async def deliver(self, job: Job, via: Via) -> list[Result]:
        """To the addresses of `via` in order, until every recipient is decided."""
        told, targets = await self._targets.of(
            via, job.domain, lambda target: self._pool.has(self._way(via, target))
        )
        if not targets:
            verdict = classify.lookup(told, relay=via.scheme != "mx")
            return [result(r.address, verdict) for r in job.recipients]
        outcome, transcript, sessions = Outcome(job), [], 0
        for target in targets:
            way = self._way(via, target)
            circumstances = replace(
                job.circumstances,
                tls_required=way.level not in (tls.NONE, tls.MAY),
                relay=via.scheme != "mx",
            )
            try:
                session = await self._session(job, way, circumstances)
            except SessionFailed as failed:
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

    def _way(self, via: Via, target: Target) -> Way:
        """Made once for each, since a pool looks up an object faster than its equal."""
        key = (via.scheme, via.host, target.name, target.address, target.port)
        way = self._ways.get(key)
        if way is None:
            if len(self._ways) >= WAYS_KEPT:
                self._ways.clear()
            way = self._ways[key] = self._new_way(via, target)
        return way

    def _new_way(self, via: Via, target: Target) -> Way:
        auth = self._settings.auth.get(via.host) if via.scheme in ("smtp", "smtps") else None
        implicit = via.scheme == "smtps"
        lmtp = via.scheme == "lmtp"
        asked = tls.NONE if target.port is None else self._settings.tls.level
        exempt = self._settings.tls.auth_loopback and target.address in tls.LOOPBACK
        login = auth is not None and not exempt
        return Way(target, lmtp, implicit, tls.level(asked, implicit=implicit, login=login), auth)

    # --- a session ---

    async def _session(
        self, job: Job, way: Way, circumstances: Circumstances, *, fresh: bool = False
    ) -> Session:
        """From the pool or new. Raises SessionFailed."""
        job.progress(OPENING)
        session = await self._found(way, circumstances, fresh=fresh)
        job.progress(OPEN)
        return session

    async def _found(self, way: Way, circumstances: Circumstances, *, fresh: bool) -> Session:
        plain = tls.plain_text_instead(way.level, circumstances.attempts)
        way_in = partial(self._open, forced=circumstances.forced)
        if not fresh:
            session = self._pool.take(way)
            if session is None and plain:
                session = self._pool.take(replace(way, level=tls.NONE))
            if session is not None:
                return session
        try:
            return await way_in(way, way.level)
        except SessionFailed as failed:
            if failed.failure.stage != stages.STARTTLS or not plain:
                raise
            return await way_in(way, tls.NONE)

    async def _open(self, way: Way, level: str, *, forced: bool) -> Session:
        if way.auth is None:
            return await self._dial(way, level, None)
        return await self._logins.session(
            way.auth, way.target, partial(self._dial, way, level), forced=forced
        )

    async def _dial(self, way: Way, level: str, login: Credentials | None) -> Session:
        settings = self._settings.smtp
        context = self._contexts.get(level)
        name = way.target.name
        at_once = (context, name, settings.timeout.starttls) if way.implicit else None
        stream = await connect(way.target, settings.timeout.connect, settings.source_address, at_once)
        conversation = Conversation(stream, settings.timeout)
        opening = Opening(self._settings.helo_name, "on" if way.implicit else level, way.lmtp, login)
        try:
            offered = await conversation.drive(open_session(opening), tls=(context, name))
            protection = describe(stream.tls_version, level)
        except BaseException:
            stream.close()
            raise
        key = way if level == way.level else replace(way, level=level)
        return Session(key, conversation, offered, protection)

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
                    outcome.lacking |= {k for k in ("8BITMIME", "SMTPUTF8") if k not in session.offered}
                    waiting = waiting[most:]
                    continue
                if held is None:  # another job has it by now
                    held = session = await self._session(job, way, circumstances)
                more, said = len(waiting) > len(batch), Transcript()
                kept = session.used > 0
                answers, held = await self._transact(session, way, job, batch, said, more=more)
                if kept and all(map(_stale, answers)):
                    if held is not None:
                        self._pool.give(held)
                    said = Transcript()
                    held = session = await self._session(job, way, circumstances, fresh=True)
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


def _stale(answer: Answer) -> bool:
    """The server had closed a kept connection before it saw anything of this message, or does so now."""
    if answer.stage != stages.MAIL:
        return False
    if answer.reply is not None:
        return answer.reply.code == 421
    return answer.failure is not None and answer.failure.kind == "lost"
