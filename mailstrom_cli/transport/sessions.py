"""Sessions for the messages of one transport: one from the pool, or a new one, as protected as it has to be.

a new one      connect, greeting, EHLO, STARTTLS, AUTH; for MTA-STS in testing and for DANE-TA dialled again
"""

from __future__ import annotations

import logging
from functools import partial

from mailstrom_cli.net.driver import Conversation
from mailstrom_cli.net.pool import Pool, Session
from mailstrom_cli.net.stream import connect
from mailstrom_cli.net.tls import Contexts, Handshake
from mailstrom_cli.policy import tls
from mailstrom_cli.smtp import stages
from mailstrom_cli.smtp.dialog import Opening, SessionFailed, open_session
from mailstrom_cli.transport.base import OPEN, OPENING
from mailstrom_cli.transport.login import Logins
from mailstrom_cli.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailstrom_cli.config.schema import Settings
    from mailstrom_cli.policy.classify import Circumstances
    from mailstrom_cli.policy.tls import Protection
    from mailstrom_cli.smtp.auth import Credentials
    from mailstrom_cli.transport.base import Job
    from mailstrom_cli.transport.login import Hosts
    from mailstrom_cli.transport.tally import Tally
    from mailstrom_cli.transport.ways import Way, Ways

log = logging.getLogger("mailstrom")


class Sessions:
    """pool: those that could take another message.  hosts: as in Logins.  tally: told how TLS went."""

    def __init__(self, settings: Settings, ways: Ways, hosts: Hosts | None, tally: Tally | None) -> None:
        self._settings = settings
        self._contexts = Contexts()
        for name in ("", *settings.tls.policy):
            self._contexts.check(tls.asked(settings.tls, name))  # a wrong file is told at the start
        self._ways = ways
        self._logins = Logins(settings, hosts)
        self.pool = Pool(settings.limits.messages_per_connection, settings.limits.connections)
        self._tally = tally

    async def get(self, job: Job, way: Way, circumstances: Circumstances, *, fresh: bool = False) -> Session:
        """From the pool or new; fresh: new. Raises SessionFailed."""
        job.progress(OPENING)
        try:
            session = await self._found(job, way, circumstances, fresh=fresh)
        except SessionFailed as failed:
            if way.protection.policy != tls.STS or failed.failure.kind not in ("tls", "no-tls"):
                raise
            text = f"{failed.failure.text} (the MTA-STS policy of {job.domain} asks for it)"
            raise SessionFailed(replace(failed.failure, text=text)) from None
        job.progress(OPEN)
        return session

    async def _found(self, job: Job, way: Way, circumstances: Circumstances, *, fresh: bool) -> Session:
        plain = tls.plain_text_instead(way.protection.level, circumstances.attempts)
        in_plain_text = replace(way, protection=tls.PLAIN, trial=None) if plain else way
        way_in = partial(self._open, job, circumstances)
        if not fresh:
            session = self.pool.take(way)
            if session is None and plain:
                session = self.pool.take(in_plain_text)
            if session is not None:
                return session
        try:
            return await way_in(way)
        except SessionFailed as failed:
            if failed.failure.stage != stages.STARTTLS or not plain:
                raise
            return await way_in(in_plain_text)

    async def _open(self, job: Job, circumstances: Circumstances, way: Way) -> Session:
        if way.auth is not None:
            dial = partial(self._hand_shaken, way, way.protection)
            return await self._logins.session(way.auth, way.target, dial, forced=circumstances.forced)
        tally = None if circumstances.relay else self._tally
        try:
            session = await self._hand_shaken(way, way.trial or way.protection, None)
        except SessionFailed as failed:
            if tally is not None:
                tally.count(job, way, self._ways, failed)
            if way.trial is None or failed.failure.stage != stages.STARTTLS:
                raise
            text = "%s: %s (the MTA-STS policy of %s, in testing, asks for it)"
            log.info(text, way.target, failed.failure.text, job.domain)
            return await self._hand_shaken(way, way.protection, None)
        if tally is not None:
            tally.count(job, way, self._ways, session)
        return session

    async def _hand_shaken(self, way: Way, protection: Protection, login: Credentials | None) -> Session:
        """Dials once more where the handshake needs another one to go well."""
        handshake = Handshake(self._contexts, protection)
        try:
            return await self._dial(way, handshake, login)
        except SessionFailed:
            if not handshake.again:
                raise
        return await self._dial(way, Handshake(self._contexts, protection), login)

    async def _dial(self, way: Way, handshake: Handshake, login: Credentials | None) -> Session:
        settings = self._settings.smtp
        at_once = (handshake, settings.timeout.starttls) if way.implicit else None
        stream = await connect(way.target, settings.timeout.connect, settings.source_address, at_once)
        conversation, sender = Conversation(stream, settings.timeout), stream.local
        level = "on" if way.implicit else handshake.protection.level
        opening = Opening(self._settings.helo_name, level, way.lmtp, login)
        try:
            offered = await conversation.drive(open_session(opening), tls=handshake)
        except BaseException as error:
            stream.close()
            if isinstance(error, SessionFailed):
                error.sender = sender
            raise
        if stream.secured is None or not stream.secured.verified:
            offered = offered.without("REQUIRETLS")  # only who has proved himself may be asked (RFC 8689, 2)
        return Session(way, conversation, offered, stream.secured)
