"""[tls.policy."NAME"]: how mail for one destination is protected, other than [tls] says for all."""

from __future__ import annotations

from mailstrom_cli.config.schema import TlsPolicy
from mailstrom_cli.config.text import ip_address, is_domain, plain, quoted
from mailstrom_cli.mail.address import AddressError
from mailstrom_cli.mail.idna import to_a_labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mailstrom_cli.config.tables import _Reader
    from mailstrom_cli.config.toml import Path

PATTERN = "tls.policy.*."
EXAMPLE = 'write [tls.policy."*.example.net"], and its keys in the lines below'
HEX = "0123456789abcdef"


def read_policies(reader: _Reader, held: object, path: Path) -> dict[str, TlsPolicy]:
    """By name: a host or domain in A-labels and lower case, `*.` before it, or an IP address."""
    found: dict[str, TlsPolicy] = {}
    if not isinstance(held, dict):
        reader.problem(path, "`tls.policy` is a table by destination", EXAMPLE)
        return found
    for name, item in held.items():
        here = (*path, name)
        if not isinstance(item, dict):
            what = f"`tls.policy` is a table by destination, and {quoted(name)} in it is not a table"
            reader.problem(here, what, EXAMPLE)
            continue
        known = canonical(name)
        if known is None:
            reader.problem(
                here,
                f"{quoted(name)} in `tls.policy` is no domain, host or IP address",
                'subdomains are "*.example.net", and [tls] itself is for everything else',
            )
        elif known in found:
            reader.problem(here, f"{quoted(name)} in `tls.policy` is there twice, written differently")
        else:
            found[known] = _policy(reader, item, here, f'tls.policy."{known}"')
    return found


def _policy(reader: _Reader, held: dict[str, Any], path: Path, name: str) -> TlsPolicy:
    read = reader.items(held, path, name + ".", PATTERN)
    level, ways = read.get("level"), [way for way in ("fingerprints", "match") if read.get(way)]
    if len(ways) == 2:
        what = f"`{name}` has both `match` and `fingerprints`"
        reader.problem(path, what, "what has a known fingerprint may have any name: keep one of them")
    elif ways and level not in (None, "verify"):
        what = f"`{name}.{ways[0]}` says how a certificate is verified, and `level` is {level}"
        reader.problem((*path, "level"), what, 'level = "verify", or no level, goes with it')
    elif ways == ["fingerprints"] and read.get("ca_file"):
        what = f"`{name}` has both `ca_file` and `fingerprints`"
        reader.problem(path, what, "no authority is asked about a known fingerprint: keep one of them")
    elif read.get("client_key") and not read.get("client_cert"):
        reader.problem(path, f"`{name}` has `client_key`, and no `client_cert`")
    return TlsPolicy(**read)


def canonical(name: str) -> str | None:
    """A name as it is looked up, or None for what is none."""
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
        known = canonical(text)
        if known is None:
            raise ValueError(f"{quoted(text)} is neither a host name, nor *. and a domain, nor an IP address")
        found.append(known)
    return tuple(found)


def _texts(held: object) -> list[str]:
    texts = [held] if isinstance(held, str) else held
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError
    return texts
