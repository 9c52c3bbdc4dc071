"""`Via`: one way for mail to leave, written as a URL.

    mx:                          to the MX hosts of each recipient's domain
    smtp://host[:25]             to a relay; IPv6 addresses in brackets
    smtps://host[:465]           to a relay, TLS from the first octet
    lmtp://host[:24]             to an LMTP server (RFC 2033)
    lmtp:///path/of/a/socket     to an LMTP server on a Unix socket
    maildir:///path              into a Maildir of this machine

In a path `%`, `,`, `?`, `#` and space are written as `%` and two hexadecimal digits.
"""

from __future__ import annotations

from mailstrom_cli.config.text import ip_address, is_domain, plain, port_number, quoted
from mailstrom_cli.values import value

DEFAULT_PORT = {"smtp": 25, "smtps": 465, "lmtp": 24}
SCHEMES = ("mx", "smtp", "smtps", "lmtp", "maildir")
ESCAPED = "%,?# "  # a comma separates the URLs of MAILSTROM_VIA
HEX = "0123456789abcdefABCDEF"


@value
class Via:
    """host: lower case, an IPv6 address without brackets, or "".  port: 0 where there is none.
    path: absolute, or ""; a path and a host exclude each other."""

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        """The canonical URL; `parse_via` gives the same value for it."""
        if self.scheme == "mx":
            return "mx:"
        if self.path:
            path = "".join(f"%{ord(c):02X}" if c in ESCAPED else c for c in self.path)
            return f"{self.scheme}://{path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORT[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"


MX = Via("mx")


def parse_via(text: str) -> Via:
    """The value of a URL. Raises ValueError with a sentence for people; it never repeats a password."""
    try:
        plain(text)
    except ValueError as error:
        raise ValueError(f"the URL {error}") from None
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if "@" in text and not (scheme in ("lmtp", "maildir") and rest.startswith("///")):
        raise ValueError(
            f"credentials do not belong in a URL; name the user in [auth.{_quoted_host(text)}], "
            "with password_file or password_command"
        )
    if not colon or scheme not in SCHEMES:
        raise ValueError(f"{quoted(text)} does not begin with mx:, smtp://, smtps://, lmtp:// or maildir://")
    if scheme == "mx":
        if rest:
            raise ValueError(f"{quoted(text)} names a host; mx: stands alone, and a relay is smtp://host")
        return MX
    if not rest.startswith("//"):
        raise ValueError(f"{quoted(text)} lacks the // after {scheme}:")
    rest = rest[2:]
    if any(c in rest for c in "?# "):
        raise ValueError(f"{quoted(text)} contains `?`, `#` or a space; in a path write %3F, %23 or %20")
    if rest.startswith("/"):
        if scheme not in ("lmtp", "maildir"):
            raise ValueError(f"{quoted(text)} names a path and no host, as in {scheme}://smtp.example.org")
        return Via(scheme, path=_path(rest, text))
    if scheme == "maildir":
        raise ValueError(f"{quoted(text)} lacks an absolute path, as in maildir:///var/mail/me")
    host, port = _host_and_port(rest.removesuffix("/"), text)
    return Via(scheme, host, port or DEFAULT_PORT[scheme])


def _quoted_host(text: str) -> str:
    host = text.rpartition("@")[2].partition("/")[0].partition(":")[0]
    return f'"{host}"' if is_domain(host) else "HOST"


def _host_and_port(authority: str, text: str) -> tuple[str, int]:
    if "/" in authority:
        raise ValueError(f"{quoted(text)} has a path after the host")
    if authority.startswith("["):
        host, closed, rest = authority[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError(f"{quoted(text)} has a bracket that is not closed, or no colon after it")
        host, colon, port = ip_address(host), rest[:1], rest[1:]
    else:
        host, colon, port = authority.partition(":")
        if ":" in port:
            raise ValueError(
                f"{quoted(text)} has an IPv6 address without brackets, as in smtp://[2001:db8::1]:25"
            )
        host = host.removesuffix(".").lower()
        if not is_domain(host):
            raise ValueError(
                f"{quoted(text)} lacks a host name" if not host else f"{quoted(host)} is not a host name"
            )
    return host, port_number(port) if colon else 0


def _path(escaped: str, text: str) -> str:
    first, *parts = escaped.split("%")
    octets = bytearray(first.encode())
    for part in parts:
        if len(part) < 2 or part[0] not in HEX or part[1] not in HEX:
            raise ValueError(f"{quoted(text)} has a % without two hexadecimal digits; the sign itself is %25")
        octets.append(int(part[:2], 16))
        octets += part[2:].encode()
    try:
        path = plain(octets.decode())
    except ValueError:
        raise ValueError(f"the path of {quoted(text)} contains a control character or is not UTF-8") from None
    path = "/" + path.strip("/")
    if path == "/":
        raise ValueError(f"{quoted(text)} names no path")
    return path
