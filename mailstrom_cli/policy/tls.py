"""How much TLS a connection needs, and how its server has to prove who it is: from what is asked for and what
is known of the server.

    asked                 known                               the connection
    ------------------    --------------------------------    ---------------------------------------------
    none                                                      plain text
    may                                                       TLS where offered, of whoever it is; plain text
                                                              from the second attempt on where it fails
    encrypt                                                   TLS, of whoever it is
    verify                                                    TLS, and the certificate is valid for the host
    verify, fingerprints                                      TLS, and it is one of these
    dane                  usable TLSA records                 TLS, and it is what the records name
                          TLSA records, all not usable        TLS, of whoever it is (RFC 7672, 2.2)
                          none, or DNS that is not signed     as may
    any but none          a policy of MTA-STS, enforced,      TLS, and the certificate is valid for the name
                          and no usable TLSA records          of the MX host, which the policy lists
    REQUIRETLS            usable TLSA records of signed MX    TLS, and it is what the records name
                          a policy of MTA-STS                 as above
                          anything else                       TLS, and the certificate is valid for the host
    TLS-Required: No      whatever the domain asks for        what the configuration asks for, and dane as may
    a login                                                   at least verify
    smtps, require_tls                                        at least encrypt

REQUIRETLS, which a message brings with it (RFC 8689), goes before everything else, and wins over a header
field that says the contrary. It is for messages with a sender: no bounce is to be lost for it (RFC 8689, 5).

A host of `mx:` is named by DNS, and that can be forged where it is not signed. So "valid for the host" means
there: for the recipient's domain or a host below it, or for what `match` says; the name of the MX host counts
only where the MX records are signed (RFC 7672, 1.3.2; what Postfix calls "secure").
"""

from __future__ import annotations

from mailstrom_cli.policy import dane
from mailstrom_cli.policy.names import is_address
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeVar

    from mailstrom_cli.config.schema import Tls
    from mailstrom_cli.mail.envelope import Envelope
    from mailstrom_cli.policy.dane import Tlsa

    T = TypeVar("T")

NONE, MAY, ENCRYPT, VERIFY, DANE = "none", "may", "encrypt", "verify", "dane"
STS, TLSA, NO_POLICY = "sts", "tlsa", "no-policy-found"
"""What decides on a connection beside the configuration, as reports call it (RFC 8460, 4.4)."""
REQUIRED, OPTIONAL = "required", "optional"
"""What a message needs itself (RFC 8689): REQUIRETLS, or no regard to its recipients' policies; "" for
neither."""
LOOPBACK = ("127.0.0.1", "::1")
"""Addresses at which `tls.auth_loopback` allows to log in without TLS."""


@value
class Asked:
    """What the configuration wants where mail of one destination goes.

    floor: no plain text, whatever the level is.  ca_file: authorities to trust; only: and no others.
    match: names that the certificate has to be for, () for those that follow from the destination.
    fingerprints: SHA-256, in hexadecimal, of the certificates or public keys that are trusted.
    sts: what the domain asks for by MTA-STS counts, too.
    """

    level: str
    floor: bool = False
    ca_file: str = ""
    only: bool = False
    match: tuple[str, ...] = ()
    fingerprints: tuple[str, ...] = ()
    client_cert: str = ""
    client_key: str = ""
    sts: bool = False


@value
class Known:
    """What is known of a host. name: its name, or its address.  domain: the one whose MX host it is, else "".
    signed: its name is beyond doubt, since the configuration or signed MX records name it.
    base, tlsa: where the TLSA records were found, and all of them; "" where there are none.
    anchors: whether DANE-TA can be checked here.
    sts: its certificate has to be valid for its name by the MTA-STS policy of the domain, which lists it."""

    name: str
    domain: str = ""
    signed: bool = True
    base: str = ""
    tlsa: tuple[Tlsa, ...] = ()
    anchors: bool = False
    sts: bool = False


@value
class Protection:
    """What a connection has to have.

    level: "none", "may", "encrypt" or "verify"; for the last one the certificate is one of `fingerprints`, or
    one that `tlsa` names, or, where both are empty, valid and for one of `names`.
    sni: the name that the server is told, "" for none.
    certain: the server proves to be the right one, and not only the one that unsigned DNS has named.
    ca_file, only, client_cert, client_key: as in Asked.
    policy: STS, TLSA or NO_POLICY.
    """

    level: str
    sni: str = ""
    names: tuple[str, ...] = ()
    fingerprints: tuple[str, ...] = ()
    tlsa: tuple[Tlsa, ...] = ()
    certain: bool = True
    ca_file: str = ""
    only: bool = False
    client_cert: str = ""
    client_key: str = ""
    policy: str = NO_POLICY

    @property
    def required(self) -> bool:
        """No plain text, whatever happens."""
        return self.level not in (NONE, MAY)


PLAIN = Protection(NONE)


def needed(envelope: Envelope) -> str:
    """REQUIRED, OPTIONAL or "": what a message needs itself."""
    if envelope.requiretls:
        return REQUIRED if envelope.reverse_path else ""
    return OPTIONAL if envelope.tls_optional else ""


def by_dane(asked: Asked, need: str, *, signed: bool) -> bool:
    """Whether TLSA records count. signed: as in Known; who can forge MX records can have them name a host
    with TLSA records, which then prove nothing of the recipient's domain."""
    if need == REQUIRED:
        return asked.level != VERIFY and signed
    return asked.level == DANE and need != OPTIONAL


def protection(
    asked: Asked, known: Known, *, implicit: bool = False, login: bool = False, need: str = ""
) -> Protection:
    """What counts for one host.  implicit: TLS from the first octet.  login: a password is sent.
    need: what the message needs itself."""
    level, sni = MAY if asked.level == DANE else asked.level, known.name
    tlsa: tuple[Tlsa, ...] = ()
    policy = NO_POLICY
    dane_counts = bool(known.tlsa) and by_dane(asked, need, signed=known.signed)
    if dane_counts:
        tlsa = dane.usable(known.tlsa, anchors=known.anchors)
        level, sni, policy = VERIFY if tlsa else ENCRYPT, known.base, TLSA
    if known.sts and not tlsa and need != OPTIONAL:
        level, sni, policy = VERIFY, known.name, STS
    if login or need == REQUIRED:
        level = VERIFY
    elif (implicit or asked.floor) and level in (NONE, MAY):
        level = ENCRYPT
    if level == NONE:
        return PLAIN
    named = level == VERIFY and not asked.fingerprints and (not tlsa or any(r.usage == dane.TA for r in tlsa))
    return Protection(
        level,
        "" if is_address(sni) else sni,
        ((known.name,) if policy == STS else _names(asked, known, named=known.signed or dane_counts))
        if named
        else (),
        asked.fingerprints if level == VERIFY else (),
        tlsa,
        known.signed or not tlsa,
        asked.ca_file if named else "",
        asked.only and named,
        asked.client_cert,
        asked.client_key,
        policy,
    )


def _names(asked: Asked, known: Known, *, named: bool) -> tuple[str, ...]:
    """named: that of the host counts."""
    if asked.match:
        return asked.match
    names = [known.base, known.name] if named else []
    if known.domain:
        names += [known.domain, f"*.{known.domain}"]
    return tuple(dict.fromkeys(filter(None, names)))


def plain_text_instead(level: str, attempts: int) -> bool:
    """Whether a failed STARTTLS may be left out on the same host: only where TLS is opportunistic, and only
    once an attempt has ended before (RFC 7435, 4: some protection most of the time)."""
    return level == MAY and attempts > 0


# --- what the configuration asks for ---


def asked(settings: Tls, name: str) -> Asked:
    """For a destination: the recipient's domain for `mx:`, else the host of the next hop.

    Whoever names a level for it, or a certificate, has the last word about it: also where the policy that it
    asks for by MTA-STS is broken, and mail has to go all the same."""
    policy = most_specific(settings.policy, name)
    if policy is None:
        level, own, verifies = settings.level, None, False
    else:
        verifies = bool(policy.fingerprints or policy.match)
        level, own = policy.level or (VERIFY if verifies else settings.level), policy.ca_file
    client = policy if policy is not None and policy.client_cert else settings
    chosen = policy is not None and (verifies or policy.level not in (None, DANE))
    return Asked(
        level,
        settings.require_tls,
        own or settings.ca_file,
        bool(own),
        (policy and policy.match) or (),
        (policy and policy.fingerprints) or (),
        client.client_cert or "",
        client.client_key or "",
        settings.mta_sts and level != NONE and not chosen,
    )


def wanted(settings: Tls, level: str) -> bool:
    """Whether a level is asked for anywhere."""
    return level in (settings.level, *(policy.level for policy in settings.policy.values()))


def most_specific(policies: Mapping[str, T], name: str) -> T | None:
    """The policy for a name, or `[192.0.2.1]` or `[ipv6:2001:db8::1]`, else that of `*.` and the longest
    domain above it, else None."""
    if not policies:
        return None
    name = name.strip("[]").removeprefix("ipv6:")
    if name in policies:
        return policies[name]
    while name:
        _, _, name = name.partition(".")
        if f"*.{name}" in policies:
            return policies[f"*.{name}"]
    return None
