"""DNS through dnspython: what domains and host names say, as values; no answer is an exception."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import time

from mailstrom_cli.config.resolvers import DOH_HINT, DOH_LACKS, SYSTEM, lacks_http2, parse_server
from mailstrom_cli.errors import CONFIG, MailstromError
from mailstrom_cli.mail.address import AddressError
from mailstrom_cli.mail.idna import to_a_labels
from mailstrom_cli.net.background import in_thread
from mailstrom_cli.policy.mx import Lookup, MxRecord, is_null_mx, wanted_families

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import dns.asyncresolver
    import dns.name

    from mailstrom_cli.net.nameserver import Nameserver
    from mailstrom_cli.policy.dane import Tlsa

    Answer = tuple[Lookup, list[Any]]

FOUND = Lookup("found")
SECURE = Lookup("found", secure=True)
_FAMILY = {"A": socket.AF_INET, "AAAA": socket.AF_INET6}
KEPT = 10_000  # names and kinds
MOST_SECONDS, NEGATIVE_SECONDS, FAILED_SECONDS = 86400.0, 900.0, 1.0
"""The longest that records, their absence (RFC 2308, 5) and failures (RFC 9520, 3.2) are kept."""
LOOK_SECONDS = 1.0
RESOLV_CONF = "/etc/resolv.conf"
LIFETIME_SECONDS, SYSTEM_SECONDS = 15.0, 30.0


class Resolver:
    """servers: (SYSTEM,), or what `parse_server` reads; ip: "both", "ipv4" or "ipv6", the families wanted.
    trust_ad: believe them about DNSSEC in any case, not only if all are on this machine or asked over TLS.
    ca_file: certificates trusted beside the system's, or "". Raises MailstromError where the package for DNS
    over HTTPS is missing.

    Answers are kept as long as their TTL allows; what is asked twice at the same time is looked up once.
    """

    def __init__(self, servers: Sequence[str], ip: str, trust_ad: bool = False, ca_file: str = "") -> None:
        if lacks_http2(servers):
            raise MailstromError(DOH_LACKS, DOH_HINT, CONFIG)
        self._servers = tuple(servers)
        self._families = wanted_families(ip)
        self._trust_ad, self._ca_file = trust_ad, ca_file
        self._dns: dns.asyncresolver.Resolver | None = None
        self._asking: list[Nameserver] = []
        self._system: tuple[int, ...] | None = None
        self._looked = 0.0
        self._literals: dict[str, str] = {}  # by host of the configuration, "" for a name
        self._answers: dict[tuple[str, str], tuple[float, Answer]] = {}  # until when
        self._asked: dict[tuple[str, str], asyncio.Task[Answer]] = {}

    async def close(self) -> None:
        """Drop the connections that are kept."""
        for server in self._asking:
            server.close()

    @property
    def trusted(self) -> bool:
        """Whether the servers are believed about DNSSEC; if not, no answer is secure."""
        try:
            self._resolver()
        except Exception:
            return False  # why, the first answer says
        return all(server.trusted for server in self._asking)

    async def mx(self, domain: str) -> tuple[Lookup, list[MxRecord]]:
        """The MX records; for a domain that has none, itself if it has an address (RFC 5321, 5.1). An answer
        that failed never leads to that."""
        try:
            domain = domain if domain.isascii() else to_a_labels(domain)
        except AddressError as error:
            return Lookup("nxdomain", str(error)), []
        none, found = await self._records(domain, "MX")
        if none.kind == "found":
            if is_null_mx(found):
                return Lookup("nullmx", f"the domain {domain} says that it takes no mail (null MX)"), []
            return none, list(found)
        if none.kind in ("failed", "local"):
            return none, []
        told, _ = await self.addresses(domain)
        if told.kind == "found":
            return SECURE if none.secure and told.secure else FOUND, [MxRecord(0, domain)]
        if told.kind in ("nxdomain", "nodata"):
            what = "does not exist" if told.kind == "nxdomain" else "has neither MX nor address records"
            return Lookup(told.kind, f"the domain {domain} {what}"), []
        return told, []

    async def addresses(self, host: str) -> tuple[Lookup, list[str]]:
        """All addresses of a host; one failed look-up counts only when the other gave nothing. They are
        secure if every answer is, also one that there are none of a family."""
        kept = [self._kept(host, family) for family in self._families]
        known = [answer for answer in kept if answer]
        if len(known) == len(kept):
            return _together(known)
        return _together(await asyncio.gather(*(self._records(host, family) for family in self._families)))

    async def tlsa(self, host: str, port: int) -> tuple[Lookup, list[Tlsa]]:
        """The TLSA records of a service on TCP (RFC 6698, 3). They count only if the answer is secure."""
        return await self._records(f"_{port}._tcp.{host}", "TLSA")

    async def txt(self, name: str) -> tuple[Lookup, list[str]]:
        """The TXT records, the strings of each joined; an octet that is no ASCII is U+FFFD."""
        return await self._records(name, "TXT")

    def txt_at_hand(self, name: str) -> tuple[Lookup, list[str]] | None:
        """The same, if it was answered before and is still good."""
        return self._kept(name, "TXT")

    async def cname(self, name: str) -> tuple[Lookup, list[str]]:
        """What the name itself is an alias of. An alias may be secure though what it leads to is not
        (RFC 7672, 2.1.3)."""
        return await self._records(name, "CNAME")

    async def relay_addresses(self, host: str) -> tuple[Lookup, list[str]]:
        """Addresses of a host that the configuration names: an address, or a name that this system knows."""
        if host not in self._literals:
            self._literals[host] = _literal(host)
        if literal := self._literals[host]:
            return FOUND, [literal]
        if self._servers != (SYSTEM,) and host != "localhost":
            return await self.addresses(host)
        both = len(self._families) == 2
        family = socket.AF_UNSPEC if both else _FAMILY[self._families[0]]
        try:
            async with asyncio.timeout(SYSTEM_SECONDS):
                infos = await in_thread(socket.getaddrinfo, host, None, family, socket.SOCK_STREAM)
        except TimeoutError:
            text = f"{self._names()} did not answer within {SYSTEM_SECONDS:g} s"
            return Lookup("failed", f"looking up the host {host} failed: {text}"), []
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                text = f"looking up the host {host} failed: {error.strerror} ({self._names()})"
                return Lookup("failed", text), []
            return Lookup("nxdomain", f"the host {host} has no address: {error.strerror}"), []
        except OSError as error:
            return Lookup("local", f"looking up the host {host} failed: {error.strerror}"), []
        return FOUND, list(dict.fromkeys(str(info[4][0]) for info in infos))

    def _names(self) -> str:
        """The servers of this system, for people."""
        try:
            self._resolver()
        except Exception:
            return f"a server of {RESOLV_CONF}"
        return " and ".join(str(server) for server in self._asking)

    async def _records(self, name: str, kind: str) -> Answer:
        if kept := self._kept(name, kind):
            return kept
        key = name.lower(), kind
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.ensure_future(self._ask(name, kind))
            task.add_done_callback(lambda _: self._asked.pop(key, None))
        return await asyncio.shield(task)

    def _kept(self, name: str, kind: str) -> Answer | None:
        """What was answered before, if it is still good."""
        self._look_again()
        kept = self._answers.get((name.lower(), kind))
        return kept[1] if kept is not None and kept[0] > time.monotonic() else None

    def _keep(self, name: str, kind: str, seconds: float, answer: Answer) -> Answer:
        if len(self._answers) >= KEPT:
            self._answers.clear()
        self._answers[name.lower(), kind] = time.monotonic() + seconds, answer
        return answer

    async def _ask(self, name: str, kind: str) -> Answer:
        import dns.exception
        import dns.flags
        import dns.name
        import dns.resolver

        from mailstrom_cli.net.nameserver import in_order, local, why

        try:
            asked = dns.name.from_text(name)
            resolver = self._resolver()
            if len(self._asking) > 1:
                resolver.nameservers = in_order(self._asking)
            try:
                answer = await resolver.resolve(asked, kind, raise_on_no_answer=False, search=False)
                response, none = answer.response, "nodata"
            except dns.resolver.NXDOMAIN as nowhere:
                response, none = nowhere.kwargs["responses"][asked], "nxdomain"
            chain = response.resolve_chaining()
        except (dns.exception.DNSException, OSError, ValueError, UnicodeError) as error:
            if local(error):
                return Lookup("local", f"looking up {kind} of {name} failed: {why(error)}"), []
            told = Lookup("failed", f"looking up {kind} of {name} failed: {why(error)}")
            return self._keep(name, kind, FAILED_SECONDS, (told, []))
        secure = bool(response.flags & dns.flags.AD)
        if chain.answer is None:
            what = "does not exist" if none == "nxdomain" else f"has no {kind} record"
            told = Lookup(none, f"the host {name} {what}", secure)
            return self._keep(name, kind, min(chain.minimum_ttl, NEGATIVE_SECONDS), (told, []))
        told = SECURE if secure else FOUND
        if chain.cnames:
            told = Lookup("found", "", secure, _text(chain.canonical_name))
        records = [_value(kind, record) for record in chain.answer]
        return self._keep(name, kind, min(chain.minimum_ttl, MOST_SECONDS), (told, records))

    def _look_again(self) -> None:
        """Begin anew when the system has other resolvers now: this machine has come to another network."""
        now = time.monotonic()
        if self._servers != (SYSTEM,) or now < self._looked + LOOK_SECONDS:
            return
        self._looked = now
        before, self._system = self._system, _stamp(RESOLV_CONF)
        if before != self._system:
            self._dns = None
            self._answers.clear()

    def _resolver(self) -> dns.asyncresolver.Resolver:
        self._look_again()
        if self._dns is None:
            import dns.asyncresolver
            import dns.flags

            from mailstrom_cli.net.nameserver import TRY_SECONDS, nameserver

            system = self._servers == (SYSTEM,)
            made = dns.asyncresolver.Resolver(RESOLV_CONF, configure=system)
            servers = [str(server) for server in made.nameservers] if system else self._servers
            trust_ad = self._trust_ad or (system and _trusted_by(RESOLV_CONF))
            self._asking = [
                nameserver(parse_server(server), trust_ad=trust_ad, ca_file=self._ca_file)
                for server in servers
            ]
            # Else whoever keeps a trusted one from answering could switch off what DNSSEC protects.
            if not all(server.trusted for server in self._asking):
                for server in self._asking:
                    server.trusted = False
            made.nameservers = self._asking
            made.rotate = False  # the order is that of `in_order`
            made.timeout, made.lifetime = TRY_SECONDS, LIFETIME_SECONDS
            made.flags = dns.flags.RD | dns.flags.AD  # RFC 6840, 5.7: tell whether it was validated
            self._dns = made
        return self._dns


def _together(answers: Sequence[Answer]) -> tuple[Lookup, list[str]]:
    """The answers for all families as one."""
    found: list[str] = []
    first, secure = None, True
    for told, addresses in answers:
        if addresses:
            found += addresses
            first = first or told
        if not told.secure and told.kind not in ("failed", "local"):
            secure = False
    if first is not None:
        return first if first.secure == secure else Lookup("found", "", secure, first.canonical), found
    kinds = {told.kind: told for told, _ in answers}
    return next(kinds[kind] for kind in ("failed", "local", "nodata", "nxdomain") if kind in kinds), []


def _value(kind: str, record: Any) -> Any:
    """What of a record is of use."""
    if kind in _FAMILY:
        return record.address
    if kind == "MX":
        return MxRecord(record.preference, _text(record.exchange))
    if kind == "CNAME":
        return _text(record.target)
    if kind == "TXT":
        return b"".join(record.strings).decode("ascii", "replace")
    from mailstrom_cli.policy.dane import Tlsa

    return Tlsa(record.usage, record.selector, record.mtype, record.cert)


def _text(name: dns.name.Name) -> str:
    """A name without the final dot; "" is the root."""
    text = name.to_text(omit_final_dot=True)
    return "" if text in (".", "@") else text


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


def _trusted_by(path: str) -> bool:
    """Whether the file says `options trust-ad` (resolv.conf(5))."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.split() for line in file]
    except OSError:
        return False
    return any(words[:1] == ["options"] and "trust-ad" in words for words in lines)
