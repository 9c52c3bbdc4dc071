"""Transports by URL scheme, made from the settings."""

from __future__ import annotations

from mailstrom_cli.config.places import host_name
from mailstrom_cli.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from random import Random

    from mailstrom_cli.config.schema import Settings
    from mailstrom_cli.net.mtasts import Policies
    from mailstrom_cli.net.resolver import Resolver
    from mailstrom_cli.store.base import Store
    from mailstrom_cli.transport.base import Transport


def check_signing(settings: Settings) -> None:
    """Raises MailstromError where mail is to be signed and what signs is not installed."""
    if settings.dkim:
        from mailstrom_cli.dkim.keys import check_installed

        check_installed()


class Transports:
    """Call it with a scheme; close it at the end. store: where policies of domains are kept, what is counted
    for reports, and the back-off of hosts. Raises MailstromError for settings that cannot be used."""

    def __init__(self, settings: Settings, rng: Random, store: Store) -> None:
        self._settings = replace(settings, helo_name=settings.helo_name or host_name())
        self._rng = rng
        self._made: dict[str, Transport] = {}
        self._store = store
        self._resolver: Resolver | None = None
        self._policies: Policies | None = None
        check_signing(settings)
        for via in (*settings.via, *(via for route in settings.route for via in route.via)):
            self(via.scheme)

    def __call__(self, scheme: str) -> Transport:
        kind = "maildir" if scheme == "maildir" else "smtp"
        if kind not in self._made:
            self._made[kind] = self._make(kind)
        return self._made[kind]

    def _make(self, kind: str) -> Transport:
        settings = self._settings
        if kind == "maildir":
            from mailstrom_cli.transport.maildir import MaildirTransport

            return MaildirTransport(settings.helo_name)
        from mailstrom_cli.net.mtasts import Policies
        from mailstrom_cli.net.resolver import Resolver
        from mailstrom_cli.transport.smtp import SmtpTransport

        self._resolver = Resolver(
            settings.dns.resolver, settings.smtp.ip, settings.dns.trust_ad, settings.tls.ca_file
        )
        self._policies = Policies(self._resolver, self._store, settings.tls.ca_file)
        tally = None
        if settings.tlsrpt.contact:
            from mailstrom_cli.transport.tally import Tally

            tally = Tally(self._store, self._resolver)
        return SmtpTransport(settings, self._resolver, self._policies, self._rng, self._store, tally)

    async def close(self) -> None:
        for transport in self._made.values():
            await transport.close()
        self._made.clear()
        if self._policies is not None:
            await self._policies.close()
        if self._resolver is not None:
            await self._resolver.close()
