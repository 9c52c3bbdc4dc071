"""The TXT record of a key (RFC 6376, 3.6.1), as a line of a zone file."""

from __future__ import annotations

from base64 import b64encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailstrom_cli.dkim.keys import PrivateKey

STRING = 255  # octets that one string of a TXT record holds (RFC 1035, 3.3.14)


def record_name(domain: str, selector: str) -> str:
    """Where a verifier asks for the key, with its final dot."""
    return f"{selector}._domainkey.{domain}."


def record_strings(key: PrivateKey) -> tuple[str, ...]:
    """What the record says, cut into strings, which a verifier puts together with nothing between them."""
    text = f"v=DKIM1; k={key.type}; p={b64encode(key.public).decode('ascii')}"
    return tuple(text[at : at + STRING] for at in range(0, len(text), STRING))


def record(domain: str, selector: str, key: PrivateKey) -> str:
    """The record for a zone file (RFC 1035, 5.1): several strings in lines of their own, in parentheses."""
    strings = [f'"{string}"' for string in record_strings(key)]
    name = record_name(domain, selector)
    if len(strings) == 1:
        return f"{name} IN TXT {strings[0]}"
    return "\n".join([f"{name} IN TXT (", *(f"    {string}" for string in strings), ")"])
