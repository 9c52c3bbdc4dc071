"""How one target is spoken to: the protocol, the protection, the login; and what DANE has to look up."""

from __future__ import annotations

import logging

from mailstrom_cli.mail.address import AddressError
from mailstrom_cli.mail.idna import to_a_labels
from mailstrom_cli.net.tls import ANCHORS
from mailstrom_cli.policy import sts, tls
from mailstrom_cli.policy.mx import Target
from mailstrom_cli.policy.tls import PLAIN, Asked, Known, Protection
from mailstrom_cli.smtp import stages
from mailstrom_cli.smtp.dialog import DNSSEC_INVALID, VALIDATION_FAILURE, Failure, SessionFailed
from mailstrom_cli.values import replace, value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailstrom_cli.config.schema import Auth, Settings
    from mailstrom_cli.config.via import Via
    from mailstrom_cli.net.resolver import Resolver
    from mailstrom_cli.policy.dane import Tlsa
    from mailstrom_cli.policy.sts import Policy

log = logging.getLogger("mailstrom")

WAYS_KEPT = 10_000
TRUSTED = "ask one on this machine, or over TLS, or set [dns] trust_ad; till then no TLSA record counts"


@value
class Way:
    """How to speak to one target. trial: what an MTA-STS policy in testing asks for, which is tried first."""

    target: Target
    lmtp: bool
    implicit: bool
    protection: Protection
    auth: Auth | None
    trial: Protection | None = None

    def __hash__(self) -> int:
        return hash(self.target.address)


class Ways:
    """Each way is made once, since a pool looks up an object faster than its equal."""

    def __init__(self, settings: Settings, resolver: Resolver) -> None:
        self._settings = settings
        self._resolver = resolver
        self._known: dict[tuple[str | int | None, ...], tuple[Policy | None, Way]] = {}
        self._same: dict[Way, Way] = {}
        self._asked: dict[str, Asked] = {}
        self._told = False  # that nobody can be believed
        self.tlsa: dict[Way, tuple[str, tuple[Tlsa, ...]]] = {}  # the records that counted, and their name

    def known(self, via: Via, domain: str, target: Target, need: str) -> Way | None:
        """The way that was taken last. need: what the message needs itself, as in `policy.tls`."""
        known = self._known.get(_key(via, domain, target, need))
        return known[1] if known is not None else None

    def policy_domain(self, via: Via, domain: str, need: str) -> str:
        """The domain whose MTA-STS policy counts, in A-labels, or ""."""
        if via.scheme != "mx" or domain.startswith("[") or need == tls.OPTIONAL:
            return ""
        return a_labels(domain) if self._asks(via, domain).sts else ""

    async def of(self, via: Via, domain: str, target: Target, need: str, policy: Policy | None = None) -> Way:
        """policy: that of MTA-STS. Raises SessionFailed where DNS does not tell how this target has to be
        protected, or the policy forbids it."""
        key = _key(via, domain, target, need)
        known = self._known.get(key)
        looks = self._dane(via, domain, target, need)
        if known is not None and known[0] == policy and not looks:
            return known[1]
        base, records = await self._tlsa(target) if looks else ("", ())
        new = self._new(via, domain, target, need, base, records, policy)
        if len(self._same) >= WAYS_KEPT:
            self._same.clear()
            self.tlsa.clear()
        if len(self._known) >= WAYS_KEPT:
            self._known.clear()
        way = self._same.setdefault(new, new)
        self._known[key] = policy, way
        if records:
            self.tlsa[way] = base, records
        return way

    def _new(
        self,
        via: Via,
        domain: str,
        target: Target,
        need: str,
        base: str,
        tlsa: tuple[Tlsa, ...],
        policy: Policy | None,
    ) -> Way:
        auth = self._settings.auth.get(via.host) if via.scheme in ("smtp", "smtps") else None
        implicit = via.scheme == "smtps"
        mx = via.scheme == "mx" and not domain.startswith("[")
        mode = policy.mode if policy is not None and mx else sts.NONE
        allowed = policy is None or policy.allows(target.name)
        # A policy in testing binds nobody, and names the hosts all the same.
        vouched = mode == sts.ENFORCE or (mode == sts.TESTING and need == tls.REQUIRED and allowed)
        known = Known(
            target.name, a_labels(domain) if mx else "", target.signed, base, tlsa, ANCHORS, vouched
        )  # fmt: skip
        protection, trial = PLAIN, None
        if target.port is not None:
            asked = self._asks(via, domain)
            exempt = self._settings.tls.auth_loopback and target.address in tls.LOOPBACK
            login = auth is not None and not exempt
            protection = tls.protection(asked, known, implicit=implicit, login=login, need=need)
            text = f"the MTA-STS policy of {domain} does not allow {target.name}"
            if protection.policy == tls.STS and not allowed:
                raise SessionFailed(Failure("policy", stages.STARTTLS, text, fault=VALIDATION_FAILURE))
            if mode == sts.TESTING and protection.level in (tls.MAY, tls.ENCRYPT):
                if allowed:
                    trial = tls.protection(asked, replace(known, sts=True))
                else:
                    log.info("%s (testing)", text)
        # How its name was found is no matter any more, and one session may be for domains that differ in it.
        there = Target(target.name, target.address, target.port)
        return Way(there, via.scheme == "lmtp", implicit, protection, auth, trial)

    def _asks(self, via: Via, domain: str) -> Asked:
        name = a_labels(domain) if via.scheme == "mx" else via.host
        found = self._asked.get(name)
        if found is None:
            if len(self._asked) >= WAYS_KEPT:
                self._asked.clear()
            found = self._asked[name] = tls.asked(self._settings.tls, name)
        return found

    def _dane(self, via: Via, domain: str, target: Target, need: str) -> bool:
        asked = self._asks(via, domain)
        if asked.level == tls.DANE and not self._told:
            if not self._resolver.trusted:
                log.warning("level dane, and no resolver that is believed about DNSSEC: %s", TRUSTED)
            self._told = True
        return bool(target.bases) and tls.by_dane(asked, need, signed=target.signed)

    async def _tlsa(self, target: Target) -> tuple[str, tuple[Tlsa, ...]]:
        """The name that has TLSA records, and these; where DNS denies them, or nobody vouches for them, none
        (RFC 7672, 2.2). Without an answer nothing may be sent: who keeps it back could keep back that there
        are some."""
        assert target.port is not None
        for base in target.bases:
            told, records = await self._resolver.tlsa(base, target.port)
            if told.kind == "local":
                raise SessionFailed(Failure("local", stages.STARTTLS, told.text))
            if told.kind == "failed":
                text = f"TLS policy unknown: {told.text}"
                raise SessionFailed(Failure("policy", stages.STARTTLS, text, fault=DNSSEC_INVALID))
            if told.kind == "found" and told.secure:
                return base, tuple(records)
        return "", ()


def _key(via: Via, domain: str, target: Target, need: str) -> tuple[str | int | None, ...]:
    where = target.name, target.address, target.port, target.signed
    return (via.scheme, via.host or domain, need, *where, *target.bases)


def a_labels(domain: str) -> str:
    """A domain as DNS knows it; as it is where that cannot be."""
    if domain.isascii():
        return domain
    try:
        return to_a_labels(domain)
    except AddressError:
        return domain
