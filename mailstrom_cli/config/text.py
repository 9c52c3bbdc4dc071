"""Checks of text that every kind of setting shares: controls, domain names, network addresses."""

from __future__ import annotations

CONTROLS = {"\0": "a NUL", "\t": "a tab", "\n": "a line feed", "\r": "a carriage return"}


def plain(text: str) -> str:
    """The text itself. Raises ValueError (`contains a line feed`) when a control character or a byte that is
    not UTF-8 is in it.

    Nothing that was set may end a line of SMTP, of a header or of a log; it is refused, never cleaned up.
    """
    for character in text:
        if character < " " or "\x7f" <= character <= "\x9f":
            raise ValueError(f"contains {CONTROLS.get(character, 'a control character')}")
        if "\ud800" <= character <= "\udfff":
            raise ValueError("is not UTF-8")
    return text


def quoted(text: str) -> str:
    """A text as it is repeated in a sentence: on one line, in quotes, cut where it grows long."""
    cut = text if len(text) <= 60 else text[:57] + "..."
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return f'"{escaped}"'


def is_domain(text: str, *, ascii_only: bool = True) -> bool:
    """Whether the text is a domain (RFC 5321, 2.3.5, or 6531, 3.3), without a final dot; `_` may be in it."""
    if not ascii_only:
        text = "".join(c if c.isascii() else "x" for c in text)
    return 0 < len(text) <= 253 and all(
        0 < len(label) <= 63
        and label.isascii()
        and label.replace("-", "").replace("_", "").isalnum()
        and label[0] != "-" != label[-1]
        for label in text.split(".")
    )


def ip_address(text: str) -> str:
    """An IPv4 or IPv6 address in its canonical form, without brackets. Raises ValueError."""
    from ipaddress import ip_address  # 3 ms, and an address is rarely set

    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError(f"{quoted(text)} is not an IP address") from None


def port_number(text: str) -> int:
    """A TCP or UDP port in decimal digits. Raises ValueError."""
    if text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536:
        return int(text)
    raise ValueError(f"{quoted(text)} is not a port: a number from 1 to 65535")


def split_address(text: str, default_port: int) -> tuple[str, int]:
    """The address and port of `192.0.2.1`, `192.0.2.1:53`, `2001:db8::1`, `[2001:db8::1]` or
    `[2001:db8::1]:53`. Raises ValueError."""
    if text.startswith("["):
        address, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError(f"{quoted(text)} is not an IP address with a port")
        return ip_address(address), port_number(rest[1:]) if rest else default_port
    address, colon, port = text.partition(":")
    if colon and ":" not in port:
        return ip_address(address), port_number(port)
    return ip_address(text), default_port
