"""Which way a recipient's mail goes: the first [[route]] that matches, else `via`."""

from __future__ import annotations

from fnmatch import fnmatchcase

from mailstrom_cli.mail.idna import to_a_labels
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailstrom_cli.config.schema import Settings
    from mailstrom_cli.config.via import Via


KEPT = 10_000


@value
class NextHop:
    """Where mail goes next: the ways to try in order, and the domain that an `mx:` among them means."""

    vias: tuple[Via, ...]
    domain: str

    def __hash__(self) -> int:
        return hash(self.domain)

    def __str__(self) -> str:
        return ",".join(f"mx:{self.domain}" if via.scheme == "mx" else str(via) for via in self.vias)


def domain_of(address: str) -> str:
    """The domain of an address in lower case; "" for a bare local name."""
    return address.rpartition("@")[2].lower() if "@" in address else ""


def next_hop(settings: Settings, sender: str, recipient: str) -> NextHop:
    vias = settings.via
    for route in settings.route:
        if _matches(route.sender, sender) and _matches(route.recipient, recipient):
            vias = route.via
            break
    # Mail for many domains shares one next hop unless the domain decides: that is one queue and one window.
    domain = domain_of(recipient) if any(via.scheme == "mx" for via in vias) else ""
    return NextHop(vias, domain)


class Router:
    """`next_hop` for one set of settings, with equal next hops the same object.

    only: where all mail goes, whatever its addresses; None where they decide.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._hops: dict[NextHop, NextHop] = {}
        decided = not settings.route and all(via.scheme != "mx" for via in settings.via)
        self.only = NextHop(settings.via, "") if decided else None

    def next_hop(self, sender: str, recipient: str) -> NextHop:
        if self.only is not None:
            return self.only
        hop = next_hop(self._settings, sender, recipient)
        if len(self._hops) >= KEPT:
            self._hops.clear()
        return self._hops.setdefault(hop, hop)


def _canonical(pattern: str) -> str:
    """The pattern with its domain as addresses have it, in A-labels; a label with a `*` in it stays."""
    local, at, domain = pattern.rpartition("@")
    labels = [label if label.isascii() or "*" in label else to_a_labels(label) for label in domain.split(".")]
    return local + at + ".".join(labels)


def _matches(pattern: str | None, address: str) -> bool:
    """`*` is any text; a pattern without @ is a domain; `<>` is the null reverse-path."""
    if pattern is None:
        return True
    if pattern == "<>":
        return not address
    wanted = _canonical(pattern.lower()).replace("[", "[[]").replace("?", "[?]")
    return fnmatchcase(address.lower() if "@" in pattern else domain_of(address), wanted)
