"""For whom a certificate is (RFC 6125, 9525): the names in it against those that it has to be for."""

from __future__ import annotations

from ipaddress import ip_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def covered(wanted: Sequence[str], names: Sequence[str], addresses: Sequence[str]) -> bool:
    """Whether a certificate is for one of the wanted: a host name, an IP address, or `*.example.net`, which
    is every host below example.net.  names, addresses: those of its subjectAltName; there is no other place
    for them."""
    names = [name.lower().removesuffix(".") for name in names]
    return any(
        _same_address(one, addresses) if is_address(one) else any(_covers(name, one) for name in names)
        for one in map(str.lower, wanted)
    )


def _covers(name: str, wanted: str) -> bool:
    """A `*` in a certificate stands for one label, the first, and never for a whole domain of a registry."""
    if wanted.startswith("*."):
        parent = name[2:] if name.startswith("*.") else name.partition(".")[2]
        return parent == wanted[2:] or parent.endswith(wanted[1:])
    if name.startswith("*."):
        first, _, rest = wanted.partition(".")
        return bool(first) and "." in rest and rest == name[2:]
    return name == wanted


def is_address(text: str) -> bool:
    """Whether it is an IP address and no name; whether a valid one is not looked at."""
    return ":" in text or text.replace(".", "").isdigit()


def _same_address(wanted: str, addresses: Sequence[str]) -> bool:
    for address in addresses:
        try:
            if ip_address(address.strip()) == ip_address(wanted):
                return True
        except ValueError:
            pass
    return False
