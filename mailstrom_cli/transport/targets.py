"""Which addresses are dialled for a message, and in which order."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

from mailstrom_cli.policy import mx
from mailstrom_cli.policy.mx import Target
from mailstrom_cli.policy.names import is_address
from mailstrom_cli.policy.sts import ENFORCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from mailstrom_cli.config.via import Via
    from mailstrom_cli.net.resolver import Resolver
    from mailstrom_cli.policy.sts import Policy

    Has = Callable[[Target], bool]

MX_HOSTS = 10
FAILED_SECONDS, FAILED_KEPT = 60.0, 1000
"""How long a target that could not be reached is tried after others, and how many such are remembered."""


class Targets:
    """port: that of MX hosts.  rng shuffles hosts of equal preference.  dane: whether anybody asks for it."""

    def __init__(self, resolver: Resolver, port: int, rng: Random, *, dane: bool = False) -> None:
        self._dane = dane
        self._resolver = resolver
        self._port = port
        self._rng = rng
        self._failed: dict[Target, float] = {}  # when, in seconds of the loop

    async def of(self, via: Via, domain: str, has_session: Has) -> tuple[mx.Lookup, list[Target]]:
        """The addresses that could be dialled, for `choose`; when there are none, why.

        Of equal ones those come first to which a session stands that could take the message now: what would
        else be dialled is a connection more than the window of the next hop allows.
        """
        if via.path:
            return mx.Lookup("found"), [Target(via.path, via.path, None)]
        if via.scheme == "mx":
            told, targets = await self._mx_hosts(domain, has_session)
        else:
            told, addresses = await self._resolver.relay_addresses(via.host)
            bases = () if is_address(via.host) else (via.host,)
            targets = [Target(via.host, a, via.port, True, bases) for a in addresses]
            targets = _in_use_first(targets, has_session)
        return told, targets

    def choose(self, targets: list[Target], policy: Policy | None) -> list[Target]:
        """Those to dial, in order. Hosts that the MTA-STS policy of the domain forbids come last, so that
        they keep no other from being tried."""
        hopeful = self._hopeful(targets)
        if policy is not None and policy.mode == ENFORCE:
            hopeful.sort(key=lambda target: not policy.allows(target.name))
        return mx.choose(hopeful)

    async def _mx_hosts(self, domain: str, has_session: Has) -> tuple[mx.Lookup, list[Target]]:
        if domain.startswith("["):
            try:
                address = str(ip_address(domain.strip("[]").removeprefix("ipv6:")))
            except ValueError:
                return mx.Lookup("nodata", f"{domain} is no address of the internet"), []
            return mx.Lookup("found"), [Target(address, address, self._port)]
        told, records = await self._resolver.mx(domain)
        targets: list[Target] = []
        failed = None
        for hosts in mx.in_order(records[:MX_HOSTS], self._rng):
            equals: list[Target] = []
            for host in hosts:
                answer, addresses = await self._resolver.addresses(host)
                self._rng.shuffle(addresses)
                bases = await self._bases(host, answer)
                equals += [Target(host, a, self._port, told.secure, bases) for a in addresses]
                failed = answer if answer.kind in ("failed", "local") else failed
            targets += _in_use_first(equals, has_session)
            if len(targets) > 2 * mx.MAX_ADDRESSES:
                break
        if records and not targets:
            told = failed or mx.Lookup("nodata", f"no MX host of {domain} has an address")
        return told, targets

    async def _bases(self, host: str, answer: mx.Lookup) -> tuple[str, ...]:
        """Where the addresses of an MX host are not signed no TLSA record counts, nor is one asked for:
        servers of such zones are known to fail at it. An alias may be signed though what it leads to is not
        (RFC 7672, 2.2.2)."""
        alias = answer.canonical not in ("", host)
        if answer.secure:
            return (answer.canonical, host) if alias else (host,)
        if self._dane and alias and (await self._resolver.cname(host))[0].secure:
            return (host,)
        return ()

    def failed(self, target: Target) -> None:
        """It could not be reached."""
        now = asyncio.get_running_loop().time()
        if len(self._failed) >= FAILED_KEPT:
            self._failed = {t: when for t, when in self._failed.items() if when > now - FAILED_SECONDS}
        self._failed[target] = now

    def _hopeful(self, targets: list[Target]) -> list[Target]:
        """Those last that could not be reached a moment ago, which would cost each message a time-out."""
        if self._failed and len(targets) > 1:
            since = asyncio.get_running_loop().time() - FAILED_SECONDS
            targets.sort(key=lambda target: self._failed.get(target, since) > since)
        return targets


def _in_use_first(equals: list[Target], has_session: Has) -> list[Target]:
    if len(equals) > 1:
        equals.sort(key=lambda target: not has_session(target))
    return equals
