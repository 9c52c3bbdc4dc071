"""The setting `aliases`: the addresses that bare local names stand for."""

from __future__ import annotations

from mailstrom_cli.config.kinds import Kind, toml_text
from mailstrom_cli.config.text import quoted
from mailstrom_cli.mail.address import AddressError, parse_mailbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    Aliases = Mapping[str, tuple[str, ...]]

ORIGIN = "localhost"  # completes a bare name while it is checked


def _read(held: object) -> Aliases:
    if not isinstance(held, dict):
        raise ValueError
    found: dict[str, tuple[str, ...]] = {}
    for name, addresses in held.items():
        key = _local(name)
        if key in found:
            raise ValueError(f"{quoted(name)} is there twice, in another case of letters")
        listed = [addresses] if isinstance(addresses, str) else addresses
        if not isinstance(listed, list) or not listed or not all(isinstance(text, str) for text in listed):
            raise ValueError(f"{quoted(name)} must stand for an address, or for a list of addresses")
        for text in listed:
            try:
                parse_mailbox(text, ORIGIN)
            except AddressError as error:
                raise ValueError(f"{quoted(name)}: {error}") from None
        found[key] = tuple(listed)
    return found


def _local(name: str) -> str:
    """The local part that an alias is for, without quotes, in lower case. Raises ValueError."""
    try:
        box = parse_mailbox(name, ORIGIN)
    except AddressError as error:
        raise ValueError(f"{quoted(name)} is no local name: {error}") from None
    if "@" in name and not name.endswith('"'):
        raise ValueError(f"{quoted(name)} has an @, and an alias stands for a bare local name")
    return box.local.lower()


def _write(held: Aliases) -> str:
    pairs = [
        f"{toml_text(name)} = {toml_text(addresses if len(addresses) > 1 else addresses[0])}"
        for name, addresses in held.items()
    ]
    return f"{{ {', '.join(pairs)} }}" if pairs else "{}"


def _from_text(text: str) -> object:
    """`root=ops@example.org,admin=root`; a name that comes again has another address."""
    found: dict[str, list[str]] = {}
    for item in filter(None, text.split(",")):
        name, equals, address = item.partition("=")
        if not equals:
            return text
        found.setdefault(name.strip(), []).append(address.strip())
    return found


ALIASES = Kind(
    'a table of local names and their addresses, such as { root = "ops@example.org" }',
    _read,
    _write,
    _from_text,
)
