"""`[dns] resolver`: the servers that are asked, as people write them and as the settings hold them.

    system, google, cloudflare, quad9
    192.0.2.1    192.0.2.1:5353    2001:db8::1    [2001:db8::1]:5353    plain DNS
    tls://9.9.9.9#dns.quad9.net    tls://[2001:db8::1]:8853#name        DNS over TLS (RFC 7858)
    https://dns.quad9.net/dns-query                                     DNS over HTTPS (RFC 8484)

The name after `#` is what the certificate is verified against; without one it is the address.
"""

from __future__ import annotations

from mailstrom_cli.config.text import ip_address, is_domain, plain, port_number, quoted, split_address
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

PRESETS = {
    "google": ("8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844"),
    "cloudflare": ("1.1.1.1", "1.0.0.1", "2606:4700:4700::1111", "2606:4700:4700::1001"),
    "quad9": ("9.9.9.9", "149.112.112.112", "2620:fe::fe", "2620:fe::9"),
}
SYSTEM = "system"
OVER_TLS, OVER_HTTPS = "tls://ADDRESS#NAME", "https://HOST/PATH"
DEFAULT_PORT = {"": 53, "tls": 853, "https": 443}
DOH_LACKS = "DNS over HTTPS, as in `dns.resolver`, needs the package h2, which is not installed"
DOH_HINT = "pip install 'mailstrom[doh]', or take DNS over TLS, as in tls://9.9.9.9#dns.quad9.net"


@value
class Server:
    """scheme: "" (plain DNS), "tls" or "https".  host: an address, canonical and without brackets; for https
    it may be a name.  name: what the certificate is for, "" in plain DNS.  path: only that of https."""

    scheme: str
    host: str
    port: int
    name: str = ""
    path: str = ""

    def __str__(self) -> str:
        """What `parse_server` reads as this."""
        port = "" if self.port == DEFAULT_PORT[self.scheme] else f":{self.port}"
        host = f"[{self.host}]" if ":" in self.host and (port or self.scheme) else self.host
        name = f"#{self.name}" if self.scheme == "tls" and self.name != self.host else ""
        return f"{self.scheme and self.scheme + '://'}{host}{port}{name}{self.path}"


def read_resolvers(held: list[Any]) -> tuple[str, ...]:
    """The servers of a list, as canonical texts; (SYSTEM,) when it says so. Raises ValueError."""
    found: list[str] = []
    for item in held:
        if item == SYSTEM:
            found.append(SYSTEM)
        elif isinstance(item, str):
            found += PRESETS.get(item) or (str(parse_server(item)),)
        else:
            raise ValueError
    if not found:
        raise ValueError
    if SYSTEM in found and len(found) > 1:
        raise ValueError("`system` stands alone, without other servers in the list")
    return tuple(found)


def parse_server(text: str) -> Server:
    """Raises ValueError with a sentence for people; it never repeats a password."""
    try:
        plain(text)
    except ValueError as error:
        raise ValueError(f"the text {error}") from None
    if "@" in text:
        raise ValueError("no user and no password belong here; resolvers are asked without")
    scheme, colon, rest = text.partition("://")
    if not colon:
        try:
            return Server("", *split_address(text, DEFAULT_PORT[""]))
        except ValueError as error:
            words = f"{SYSTEM}, {', '.join(PRESETS)}, an address, {OVER_TLS} or {OVER_HTTPS}"
            raise ValueError(f"{error}; write one of {words}") from None
    if scheme.lower() == "tls":
        return _over_tls(rest, text)
    if scheme.lower() == "https":
        return _over_https(rest, text)
    raise ValueError(f"{quoted(text)} is neither {OVER_TLS} nor {OVER_HTTPS}")


def lacks_http2(servers: Iterable[str]) -> bool:
    """Whether one of them is asked over HTTPS, and the packages for it are not there."""
    if not any(server.startswith("https://") for server in servers):
        return False
    from importlib.util import find_spec

    return find_spec("h2") is None


def _over_tls(rest: str, text: str) -> Server:
    example = f"{OVER_TLS}, as in tls://9.9.9.9#dns.quad9.net"
    place, hash_sign, name = rest.partition("#")
    try:
        address, port = split_address(place.removesuffix("/"), DEFAULT_PORT["tls"])
    except ValueError as error:
        raise ValueError(f"{error}; write {example}") from None
    if hash_sign and not is_domain(name):
        raise ValueError(f"{quoted(text)} has no host name after the #; write {example}")
    return Server("tls", address, port, name.lower() or address)


def _over_https(rest: str, text: str) -> Server:
    example = f"{OVER_HTTPS}, as in https://dns.quad9.net/dns-query"
    if any(c in rest for c in '?#{}<>"\\ ') or not rest.isascii():
        raise ValueError(f"{quoted(text)} is more than a host and a path; write {example}")
    authority, slash, path = rest.partition("/")
    if not slash or not path:
        raise ValueError(f"{quoted(text)} has no path; write {example}")
    host, colon, port = authority, "", ""
    if authority.startswith("["):
        host, closed, tail = authority[1:].partition("]")
        colon, port = tail[:1], tail[1:]
        if not closed or colon not in ("", ":"):
            raise ValueError(f"{quoted(text)} has a bracket that is not closed, or no colon after it")
        host = ip_address(host)
    else:
        host, colon, port = authority.partition(":")
        host = host.lower().removesuffix(".")
        if not is_domain(host):
            raise ValueError(f"{quoted(text)} has no host name before the path; write {example}")
    return Server("https", host, port_number(port) if colon else DEFAULT_PORT["https"], host, slash + path)
