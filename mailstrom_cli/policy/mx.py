"""Which hosts take mail for a domain, and in which order they are tried (RFC 5321, 5.1; null MX RFC 7505)."""

from __future__ import annotations

from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

MAX_ADDRESSES = 5
"""Addresses tried in one attempt, of both families if the hosts have both."""


@value
class Lookup:
    """What DNS said. kind: "found", "nxdomain" (no such name), "nodata" (the name has none of it),
    "nullmx" (the domain takes no mail), "failed" (no answer that counts; `text` names the resolver) or
    "local" (this machine could not ask).  secure: a resolver that may be trusted to say so has validated the
    whole answer (DNSSEC; of addresses, all that were looked up).  canonical: the name that CNAMEs lead to,
    "" where there are none."""

    kind: str
    text: str = ""
    secure: bool = False
    canonical: str = ""


@value
class MxRecord:
    """preference: lower is tried first.  host: without the final dot; "" is the root, ".": a null MX."""

    preference: int
    host: str


@value
class Target:
    """One address to dial. name: the host name, for TLS and for people.  port None: the path of a socket.
    signed: the name is beyond doubt, since the configuration or signed MX records name it.
    bases: the names whose TLSA records count for it, the first that has some (RFC 7672, 2.2.2)."""

    name: str
    address: str
    port: int | None
    signed: bool = True
    bases: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.port is None:
            return self.address
        return (
            f"{self.name}[{self.address}]:{self.port}"
            if self.name != self.address
            else f"[{self.address}]:{self.port}"
        )


def is_null_mx(records: Sequence[MxRecord]) -> bool:
    """RFC 7505, 3: one record, whose exchange is the root."""
    return len(records) == 1 and records[0].host == ""


def in_order(records: Sequence[MxRecord], rng: Random) -> list[list[str]]:
    """Hosts by preference, those of equal preference together and shuffled; a root among real hosts is passed
    over."""
    shuffled = [r for r in records if r.host]
    rng.shuffle(shuffled)
    groups: dict[int, list[str]] = {}
    seen: set[str] = set()
    for record in sorted(shuffled, key=lambda r: r.preference):
        if record.host.lower() not in seen:
            seen.add(record.host.lower())
            groups.setdefault(record.preference, []).append(record.host.lower())
    return list(groups.values())


def wanted_families(ip: str) -> tuple[str, ...]:
    """The record types to look up for `[smtp] ip`."""
    return {"ipv4": ("A",), "ipv6": ("AAAA",)}.get(ip, ("A", "AAAA"))


def choose(targets: Sequence[Target]) -> list[Target]:
    """The first MAX_ADDRESSES, where the last place goes to the other family if it would be left out."""
    chosen = list(targets[:MAX_ADDRESSES])
    families = {":" in t.address for t in chosen}
    if len(families) == 1:
        other = next((t for t in targets[MAX_ADDRESSES:] if (":" in t.address) not in families), None)
        if other is not None:
            chosen[-1] = other
    return chosen
