"""DNS through dnspython: what a domain and a host name say, as values; no answer is an exception."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
import time

from mailstrom_cli.config.text import split_address
from mailstrom_cli.mail.address import AddressError
from mailstrom_cli.mail.idna import to_a_labels
from mailstrom_cli.net.background import in_thread
from mailstrom_cli.policy.mx import Lookup, MxRecord, is_null_mx, wanted_families

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import dns.asyncresolver
    import dns.rdatatype
    import dns.resolver

FOUND = Lookup("found")
_FAMILY = {"A": socket.AF_INET, "AAAA": socket.AF_INET6}
_OURS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN)
KEPT = 10_000  # names and kinds
LOOK_SECONDS = 1.0
RESOLV_CONF = "/etc/resolv.conf"
TRY_SECONDS, LIFETIME_SECONDS = 5.0, 15.0


class Resolver:
    """servers: ("system",) or "address[:port]" each; ip: "both", "ipv4" or "ipv6", the families wanted.

    Answers are kept as long as their TTL allows, those with records where they are found at once; what is
    asked twice at the same time is looked up once.
    """

    def __init__(self, servers: Sequence[str], ip: str) -> None:
        self._servers = tuple(servers)
        self._families = wanted_families(ip)
        self._dns: dns.asyncresolver.Resolver | None = None
        self._system: tuple[int, ...] | None = None
        self._looked = 0.0
        self._literals: dict[str, str] = {}  # by host of the configuration, "" for a name
        self._found: dict[tuple[str, str], tuple[float, list[Any]]] = {}  # until when, records
        self._asked: dict[tuple[str, str], asyncio.Task[tuple[Lookup, list[Any]]]] = {}

    async def mx(self, domain: str) -> tuple[Lookup, list[MxRecord]]:
        """The MX records; for a domain that has none, itself if it has an address (RFC 5321, 5.1). An answer
        that failed never leads to that."""
        try:
            domain = domain if domain.isascii() else to_a_labels(domain)
        except AddressError as error:
            return Lookup("nxdomain", str(error)), []
        told, records = await self._records(domain, "MX")
        if told.kind == "found":
            found = [MxRecord(r.preference, r.exchange.to_text(omit_final_dot=True)) for r in records]
            found = [MxRecord(r.preference, "" if r.host in (".", "@") else r.host) for r in found]
            if is_null_mx(found):
                return Lookup("nullmx", f"the domain {domain} says that it takes no mail (null MX)"), []
            return told, found
        if told.kind in ("failed", "local"):
            return told, []
        told, _ = await self.addresses(domain)
        if told.kind == "found":
            return told, [MxRecord(0, domain)]
        if told.kind in ("nxdomain", "nodata"):
            none = "does not exist" if told.kind == "nxdomain" else "has neither MX nor address records"
            return Lookup(told.kind, f"the domain {domain} {none}"), []
        return told, []

    async def addresses(self, host: str) -> tuple[Lookup, list[str]]:
        """All addresses of a host; one failed look-up counts only when the other gave nothing."""
        kept = [self._kept(host, family) for family in self._families]
        if all(kept):
            return FOUND, [record.address for records in kept for record in records]
        answers = await asyncio.gather(*(self._records(host, family) for family in self._families))
        found = [record.address for _, records in answers for record in records]
        if found:
            return FOUND, found
        kinds = {told.kind: told for told, _ in answers}
        for kind in ("failed", "local", "nodata", "nxdomain"):
            if kind in kinds:
                return kinds[kind], []
        return FOUND, []

    async def relay_addresses(self, host: str) -> tuple[Lookup, list[str]]:
        """Addresses of a host that the configuration names: an address, or a name that this system knows."""
        if host not in self._literals:
            self._literals[host] = _literal(host)
        if literal := self._literals[host]:
            return FOUND, [literal]
        if self._servers != ("system",) and host != "localhost":
            return await self.addresses(host)
        both = len(self._families) == 2
        family = socket.AF_UNSPEC if both else _FAMILY[self._families[0]]
        try:
            infos = await in_thread(socket.getaddrinfo, host, None, family, socket.SOCK_STREAM)
        except socket.gaierror as error:
            temporary = error.errno == socket.EAI_AGAIN
            text = f"the host {host} has no address: {error.strerror}"
            return Lookup("failed" if temporary else "nxdomain", text), []
        except OSError as error:
            return Lookup("local", f"looking up the host {host} failed: {error.strerror}"), []
        return FOUND, list(dict.fromkeys(str(info[4][0]) for info in infos))

    async def _records(self, name: str, kind: str) -> tuple[Lookup, list[Any]]:
        if kept := self._kept(name, kind):
            return FOUND, kept
        key = name.lower(), kind
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.ensure_future(self._ask(name, kind))
            task.add_done_callback(lambda _: self._asked.pop(key, None))
        return await asyncio.shield(task)

    def _kept(self, name: str, kind: str) -> list[Any]:
        """Records found before, if they are still good."""
        self._look_again()
        until, records = self._found.get((name.lower(), kind), (0.0, []))
        return records if until > time.monotonic() else []

    def _keep(self, name: str, kind: str, until: float, records: list[Any]) -> None:
        if len(self._found) >= KEPT:
            self._found.clear()
        self._found[name.lower(), kind] = until, records

    async def _ask(self, name: str, kind: str) -> tuple[Lookup, list[Any]]:
        import dns.exception
        import dns.name
        import dns.resolver

        try:
            answer = await self._resolver().resolve(
                dns.name.from_text(name), kind, raise_on_no_answer=False, search=False
            )
        except dns.resolver.NXDOMAIN:
            return Lookup("nxdomain", f"the host {name} does not exist"), []
        except dns.resolver.NoAnswer:
            return Lookup("nodata", f"the host {name} has no {kind} record"), []
        except (dns.exception.DNSException, OSError, ValueError, UnicodeError) as error:
            told = "local" if _local(error) else "failed"
            return Lookup(told, f"looking up {kind} of {name} failed: {error}"), []
        if answer.rrset is None:
            return Lookup("nodata", f"the host {name} has no {kind} record"), []
        records = list(answer.rrset)
        self._keep(name, kind, time.monotonic() + answer.expiration - time.time(), records)
        return FOUND, records

    def _look_again(self) -> None:
        """Begin anew when the system has other resolvers now: this machine has come to another network."""
        now = time.monotonic()
        if self._servers != ("system",) or now < self._looked + LOOK_SECONDS:
            return
        self._looked = now
        before, self._system = self._system, _stamp(RESOLV_CONF)
        if before != self._system:
            self._dns = None
            self._found.clear()

    def _resolver(self) -> dns.asyncresolver.Resolver:
        self._look_again()
        if self._dns is None:
            import dns.asyncresolver
            import dns.nameserver
            import dns.resolver

            system = self._servers == ("system",)
            made = dns.asyncresolver.Resolver(configure=system)
            if not system:
                made.nameservers = [
                    dns.nameserver.Do53Nameserver(*split_address(server, 53)) for server in self._servers
                ]
            made.timeout, made.lifetime = TRY_SECONDS, LIFETIME_SECONDS
            made.cache = dns.resolver.LRUCache()
            self._dns = made
        return self._dns


def _local(error: Exception) -> bool:
    """Whether a look-up failed since this machine is out of something: no server was asked at all."""
    tried = getattr(error, "kwargs", {}).get("errors") or [(None, None, None, error)]
    return all(isinstance(one[3], OSError) and one[3].errno in _OURS for one in tried)


def _literal(host: str) -> str:
    """An address in its canonical form; "" for what is none."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return ""


def _stamp(path: str) -> tuple[int, ...] | None:
    """What changes when a file does; None when there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
