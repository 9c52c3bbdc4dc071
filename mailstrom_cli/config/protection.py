"""[tls.policy."NAME"]: how mail for one destination is protected, other than [tls] says for all."""

from __future__ import annotations

from mailstrom_cli.config.text import ip_address, is_domain, plain, quoted
from mailstrom_cli.mail.address import AddressError
from mailstrom_cli.mail.idna import to_a_labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

HEX = "0123456789abcdef"


def faults(found: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    """What is wrong with the keys of one, to follow its name, and what to do."""
    level, ways = found.get("level"), [way for way in ("fingerprints", "match") if found.get(way)]
    if len(ways) == 2:
        yield (
            "has both `match` and `fingerprints`",
            ("what has a known fingerprint may have any name: keep one of them"),
        )
    elif ways and level not in (None, "verify"):
        yield (
            f"says by `{ways[0]}` how a certificate is verified, and its `level` is {level}",
            ('level = "verify", or no level, goes with it'),
        )
    elif ways == ["fingerprints"] and found.get("ca_file"):
        yield (
            "has both `ca_file` and `fingerprints`",
            ("no authority is asked about a known fingerprint: keep one of them"),
        )
    elif found.get("client_key") and not found.get("client_cert"):
        yield "has `client_key`, and no `client_cert`", None


def canonical(name: str) -> str:
    """A destination as it is looked up: a host or domain in A-labels and lower case, with or without `*.`, or
    an IP address. Raises ValueError, with what is wrong."""
    known = _known(name)
    if known is None:
        raise ValueError(
            'no domain, host or IP address; subdomains are "*.example.net", and [tls] is for everything else'
        )
    return known


def _known(name: str) -> str | None:
    star, rest = ("*.", name[2:]) if name.startswith("*.") else ("", name)
    try:
        rest = to_a_labels(plain(rest).removesuffix(".")).lower()
        if is_domain(rest) and not rest.replace(".", "").isdigit():
            return star + rest
        return None if star else ip_address(name.strip("[]"))
    except (AddressError, ValueError):
        return None


def read_fingerprints(held: object) -> tuple[str, ...]:
    """In hexadecimal, colons left out. Raises ValueError."""
    found = []
    for text in _texts(held):
        digits = text.replace(":", "").lower()
        if len(digits) != 64 or not all(digit in HEX for digit in digits):
            raise ValueError(
                f"{quoted(text)} is no SHA-256: 64 hexadecimal digits, as "
                "`openssl x509 -in FILE -noout -fingerprint -sha256` prints them"
            )
        found.append(digits)
    return tuple(found)


def read_match(held: object) -> tuple[str, ...]:
    """Host names and addresses as `canonical` has them. Raises ValueError."""
    found = []
    for text in _texts(held):
        known = _known(text)
        if known is None:
            raise ValueError(f"{quoted(text)} is neither a host name, nor *. and a domain, nor an IP address")
        found.append(known)
    return tuple(found)


def _texts(held: object) -> list[str]:
    texts = [held] if isinstance(held, str) else held
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError
    return texts
