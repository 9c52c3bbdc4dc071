"""Who wants reports on TLS, asked of many domains at once (RFC 8460, 3)."""

from __future__ import annotations

import asyncio

from mailstrom_cli.net.resolver import Resolver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailstrom_cli.config.schema import Settings
    from mailstrom_cli.policy.mx import Lookup

    Answer = tuple[Lookup, list[str]]

ASKED_AT_ONCE = 10


def records(settings: Settings, domains: Iterable[str]) -> dict[str, Answer]:
    """What DNS says of each domain, in their order. Raises MailstromError."""
    return asyncio.run(_records(settings, domains))


async def _records(settings: Settings, domains: Iterable[str]) -> dict[str, Answer]:
    dns = settings.dns
    resolver = Resolver(dns.resolver, settings.smtp.ip, dns.trust_ad, settings.tls.ca_file)
    limit = asyncio.Semaphore(ASKED_AT_ONCE)

    async def ask(domain: str) -> tuple[str, Answer]:
        async with limit:
            return domain, await record(resolver, domain)

    try:
        return dict(await asyncio.gather(*map(ask, domains)))
    finally:
        await resolver.close()


async def record(resolver: Resolver, domain: str) -> Answer:
    """What DNS says of one."""
    return await resolver.txt(f"_smtp._tls.{domain}")
