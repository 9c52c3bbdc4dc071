"""One transport, driven step by step from a test: its event loop runs only while something is sent."""

from __future__ import annotations

import asyncio
import io
from random import Random
from typing import TYPE_CHECKING, Any

from mailstrom_cli.config.schema import DEFAULTS, Settings, build
from mailstrom_cli.config.via import parse_via
from mailstrom_cli.mail.envelope import Envelope, Recipient
from mailstrom_cli.net.mtasts import Policies
from mailstrom_cli.policy.classify import Circumstances
from mailstrom_cli.policy.mx import Lookup, MxRecord
from mailstrom_cli.policy.routing import NextHop
from mailstrom_cli.store.memory import Memory
from mailstrom_cli.transport.base import Job, deliver
from mailstrom_cli.transport.maildir import MaildirTransport
from mailstrom_cli.transport.smtp import SmtpTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import BinaryIO

    from mailstrom_cli.mail.status import Result
    from mailstrom_cli.net.resolver import Resolver
    from mailstrom_cli.policy.dane import Tlsa
    from mailstrom_cli.store.base import Store
    from mailstrom_cli.transport.base import Transport
    from mailstrom_cli.transport.login import Hosts
    from mailstrom_cli.transport.tally import Tally

MESSAGE = b"From: ann@example.org\r\nMessage-ID: <1@example.org>\r\n\r\nHello\r\n.dot\r\n..\r\n.\r\nend\r\n"
RELAY = "mx.example.test"


class Names:
    """A resolver of plain dicts. mx: domain -> [(preference, host)].  hosts: name -> addresses.
    signed: the names of which all answers are secure.  aliases: host -> the name that it stands for.
    tlsa: host -> its records, or an answer that there are none.  txt: name -> its records, or the same."""

    def __init__(
        self,
        mx: Mapping[str, Sequence[tuple[int, str]]] | None = None,
        hosts: Mapping[str, Sequence[str]] | None = None,
        signed: Sequence[str] = (),
        aliases: Mapping[str, str] | None = None,
        tlsa: Mapping[str, Sequence[Tlsa] | Lookup] | None = None,
        txt: Mapping[str, list[str] | Lookup] | None = None,
    ) -> None:
        self.signed, self.aliases, self.records = signed, aliases or {}, tlsa or {}
        self.trusted = True
        self.asked: list[str] = []  # for TLSA records of whom
        self.unsigned_tlsa: list[str] = []  # whose are not signed, though all else is
        self.texts: dict[str, list[str] | Lookup] = dict(txt or {})
        self.domains = {d: [MxRecord(*r) for r in records] for d, records in (mx or {}).items()}
        self.hosts = {RELAY: ["127.0.0.1"], **(hosts or {})}

    async def mx(self, domain: str) -> tuple[Lookup, list[MxRecord]]:
        records = self.domains.get(domain, [])
        told = "found" if records else "nxdomain"
        return Lookup(told, f"no {domain}", domain in self.signed), records

    async def addresses(self, host: str) -> tuple[Lookup, list[str]]:
        alias = self.aliases.get(host, host)
        found = list(self.hosts.get(alias, []))
        told = "found" if found else "nxdomain"
        secure = host in self.signed and alias in self.signed
        return Lookup(told, f"no {host}", secure, alias if alias != host else ""), found

    async def cname(self, name: str) -> tuple[Lookup, list[str]]:
        alias = self.aliases.get(name)
        return Lookup("found" if alias else "nodata", "", name in self.signed), [alias] if alias else []

    async def tlsa(self, host: str, port: int) -> tuple[Lookup, list[Tlsa]]:
        self.asked.append(host)
        records = self.records.get(host, ())
        if isinstance(records, Lookup):
            return records, []
        secure = host in self.signed and host not in self.unsigned_tlsa
        return Lookup("found" if records else "nodata", "", secure), list(records)

    async def txt(self, name: str) -> tuple[Lookup, list[str]]:
        held = self.texts.get(name, Lookup("nxdomain"))
        return (held, []) if isinstance(held, Lookup) else (Lookup("found"), held)

    def txt_at_hand(self, name: str) -> None:
        return None

    async def relay_addresses(self, host: str) -> tuple[Lookup, list[str]]:
        return Lookup("found"), list(self.hosts.get(host, [host]))


def settings(**changed: Any) -> Settings:
    """Settings with these changed: `tls_level` is tls.level, `smtp_timeout_dot` smtp.timeout.dot."""
    groups = ("smtp_timeout_", "smtp_", "tls_", "limits_", "dns_", "retry_")
    keys = {}
    for name, held in changed.items():
        group = next((g for g in groups if name.startswith(g)), "")
        keys[group.replace("_", ".") + name.removeprefix(group)] = held
    return build({"helo_name": "client.example.org", **keys})


class Sender:
    """`send` gives the results for some recipients of one message."""

    def __init__(
        self,
        with_settings: Settings = DEFAULTS,
        resolver: Resolver | Names | None = None,
        store: Store | None = None,
        sts_port: int = 1,  # of policy hosts
        tally: Tally | None = None,
        hosts: Hosts | None = None,
    ) -> None:
        self.runner = asyncio.Runner()
        names: Any = resolver or Names()
        policies = Policies(names, store or Memory(), with_settings.tls.ca_file, sts_port)
        self.smtp = SmtpTransport(with_settings, names, policies, Random(1), hosts, tally)
        self.transports: dict[str, Transport] = {"maildir": MaildirTransport("here.example.org")}
        self.finals: list[list[Result]] = []  # what was told before the end, a list each time

    async def final(self, results: Sequence[Result]) -> None:
        self.finals.append(list(results))

    def send(self, via: str, *recipients: str, **options: Any) -> list[Result]:
        """via: one URL, or several parted by commas, tried in order. options: those of `attempt`."""
        return self.run(self.attempt(via, *recipients, **options))

    async def attempt(
        self,
        via: str,
        *recipients: str,
        message: bytes = MESSAGE,
        opener: Callable[[], BinaryIO] | None = None,
        attempts: int = 0,
        forced: bool = False,
        domain: str = "example.test",
        id: str = "0123456789abcdef",
        **envelope: Any,
    ) -> list[Result]:
        """The same on the loop of this sender."""
        to = tuple(Recipient(r) for r in recipients or ("good@example.test",))
        described: dict[str, Any] = {"reverse_path": "ann@example.org", "message_id": "<1@example.org>",
                                     "size": len(message), **envelope}  # fmt: skip
        job = Job(
            id,
            Envelope(recipients=to, **described),
            to,
            domain,
            opener or (lambda: io.BytesIO(message)),
            self.final,
            Circumstances(attempts=attempts, retries=attempts, forced=forced),
        )
        hop = NextHop(tuple(parse_via(v) for v in via.split(",")), domain)
        return await deliver(lambda scheme: self.transports.get(scheme, self.smtp), job, hop)

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    def close(self) -> None:
        """End all sessions and the loop; what is left open then is told as a ResourceWarning."""
        self.run(self.smtp.close())
        self.runner.close()


def statuses(results: Sequence[Result]) -> list[tuple[str, int | None, str | None]]:
    return [(r.status, r.code, r.enhanced) for r in results]
