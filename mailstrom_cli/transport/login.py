"""Who may log in where, and how often: a password that is wrong must not be tried by every message.

The first session with some credentials goes alone; others at the same address wait for what becomes of it. A
login that was refused for good is not repeated with the same password for a while that grows, by later
processes neither, unless somebody wants it: a provider that sees many failures locks the account.
"""

from __future__ import annotations

import asyncio
import logging
import time

from mailstrom_cli.net.secret import NoSecret, credentials, lasting, refused
from mailstrom_cli.policy import retry
from mailstrom_cli.smtp import stages
from mailstrom_cli.smtp.dialog import Failure, SessionFailed
from mailstrom_cli.store.base import HostState
from mailstrom_cli.values import replace, value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Protocol

    from mailstrom_cli.config.schema import Auth, Settings
    from mailstrom_cli.net.pool import Session
    from mailstrom_cli.policy.mx import Target
    from mailstrom_cli.smtp.auth import Credentials

    Dial = Callable[[Credentials], Awaitable[Session]]
else:
    Protocol = object

log = logging.getLogger("mailstrom")

REASON = 1000  # characters


class Hosts(Protocol):
    """Where it is kept when a relay may be tried again; a Store is one."""

    def host(self, next_hop: str) -> HostState | None: ...

    def set_host(self, next_hop: str, state: HostState | None) -> None: ...


@value
class Refusal:
    """A login that a relay refused for good. login: None where another process has tried.  count: how often
    in a row.  until: in seconds of the loop."""

    login: Credentials | None
    failure: Failure
    count: int
    until: float

    def __repr__(self) -> str:
        return f"Refusal({self.count} times)"


class Logins:
    """Credentials by the name of a relay, and what became of them."""

    def __init__(self, settings: Settings, hosts: Hosts | None = None) -> None:
        self._settings = settings
        self._hosts = hosts
        self._recalled: set[str] = set()
        self._asked: dict[str, asyncio.Task[Credentials]] = {}
        self._good: set[str] = set()
        self._first: dict[Target, asyncio.Future[SessionFailed | None]] = {}
        self._refusals: dict[str, Refusal] = {}

    async def session(self, auth: Auth, target: Target, dial: Dial, *, forced: bool) -> Session:
        """A session that is logged in. forced: try it, whatever came of it before. Raises SessionFailed."""
        if target.name in self._good:
            return await self._try(auth, target, dial, forced=forced)
        if (first := self._first.get(target)) is not None:
            if (failed := await asyncio.shield(first)) is not None:
                raise SessionFailed(failed.failure)
            return await self._try(auth, target, dial, forced=forced)
        first = self._first[target] = asyncio.get_running_loop().create_future()
        told: SessionFailed | None = None
        try:
            return await self._try(auth, target, dial, forced=forced)
        except SessionFailed as error:
            told = error
            raise
        finally:
            first.set_result(told)
            del self._first[target]

    async def _try(self, auth: Auth, target: Target, dial: Dial, *, forced: bool) -> Session:
        refusal = self._standing(target.name, forced=forced)
        # A file is read again, since somebody may have mended it; what may ask a person or a service is not.
        if refusal is not None and not (auth.password_file or auth.password_credential):
            raise SessionFailed(refusal.failure)
        login = await self._credentials(auth, target)
        if refusal is not None and refusal.login in (None, login):
            self._asked.pop(target.name, None)
            raise SessionFailed(refusal.failure)
        try:
            session = await dial(replace(login, port=target.port or 0))
        except SessionFailed as error:
            self._asked.pop(target.name, None)
            if error.failure.stage == stages.AUTH:
                await self._failed(auth, target, login, error.failure)
            raise
        self._good.add(target.name)
        if self._refusals.pop(target.name, None) is not None:
            self._keep(target.name, None)
        return session

    def _standing(self, name: str, *, forced: bool) -> Refusal | None:
        self._recall(name)
        refusal = self._refusals.get(name)
        if forced or refusal is None or asyncio.get_running_loop().time() >= refusal.until:
            return None
        return refusal

    async def _failed(self, auth: Auth, target: Target, login: Credentials, failure: Failure) -> None:
        self._good.discard(target.name)
        reply = failure.reply
        if reply is not None and reply.permanent:
            before = self._refusals.get(target.name)
            now = asyncio.get_running_loop().time()
            if before is not None and before.login == login and now < before.until:
                return  # one of several that were under way together
            count = before.count + 1 if before is not None else 1
            # No more than the back-off of a next hop that has no other relay: its attempts are made.
            wait = retry.host_least(self._settings.retry, count)
            self._refusals[target.name] = Refusal(login, failure, count, now + wait)
            self._keep(target.name, HostState(count, round(time.time() + wait, 3), failure.text[:REASON]))
            await refused(auth, target.name, login)
        if failure.kind in ("refused", "local"):
            _tell(target, failure.text)

    # What is kept is advice, as every back-off: that it cannot be read or written must not cost an attempt.

    def _recall(self, name: str) -> None:
        if self._hosts is None or name in self._recalled:
            return
        self._recalled.add(name)
        try:
            state = self._hosts.host(_record(name))
        except OSError:
            return
        if state is not None:
            left = state.until - time.time()  # more than anybody was told to wait is of a wrong clock
            until = asyncio.get_running_loop().time() + (left if left <= 2 * retry.HOST_LONGEST else 0)
            failure = Failure("refused", stages.AUTH, state.reason)
            self._refusals[name] = Refusal(None, failure, state.failures, until)

    def _keep(self, name: str, state: HostState | None) -> None:
        if self._hosts is not None:
            try:
                self._hosts.set_host(_record(name), state)
            except OSError as error:
                log.warning("%s: that it refuses the login cannot be written: %s", name, error.strerror)

    async def _credentials(self, auth: Auth, target: Target) -> Credentials:
        """Asked for once, and again after a session that did not come about. Raises SessionFailed."""
        name = target.name
        if name not in self._asked:
            asking = credentials(auth, name, self._settings.tls.ca_file)
            task = self._asked[name] = asyncio.ensure_future(asking)
            task.add_done_callback(lambda done: self._forget(auth, name, done))
        try:
            return await asyncio.shield(self._asked[name])
        except NoSecret as error:
            kind = "refused" if error.refused else "local"
            _tell(target, str(error))
            raise SessionFailed(Failure(kind, stages.AUTH, str(error))) from None

    def _forget(self, auth: Auth, name: str, done: asyncio.Task[Credentials]) -> None:
        if done.cancelled() or done.exception() is not None or not lasting(auth):
            self._asked.pop(name, None)


def _record(name: str) -> str:
    return f"login at {name}"


def _tell(target: Target, why: str) -> None:
    log.error(
        'relay %s: %s; its mail waits. When [auth."%s"] is right, `mailstrom flush --all` tries at once',
        target,
        why,
        target.name,
    )
