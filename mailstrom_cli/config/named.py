"""Tables of tables that have a name each: [auth."HOST"], [tls.policy."DESTINATION"] and [dkim."DOMAIN"]."""

from __future__ import annotations

from mailstrom_cli.config.schema import Auth, Dkim, TlsPolicy
from mailstrom_cli.config.text import ip_address, is_domain, plain
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    Faults = Iterable[tuple[str, str | None]]

USUAL = ({"username", "password_command"}, {"username", "password_file"})
"""Credentials that are complete, and need no closer look."""


@value
class Named:
    """by: what the names are, such as `example`.  canonical: a name as it is kept; raises ValueError, with
    what is wrong with it.  faults: what is wrong with the keys of one, to follow its name, and what to do.
    make: the value of one, from its keys."""

    by: str
    example: str
    canonical: Callable[[str], str]
    faults: Callable[[Mapping[str, Any], str], Faults]
    make: Callable[..., object]


def _host(text: str) -> str:
    try:
        if is_domain(text) or ip_address(plain(text)):
            return text.lower()
    except ValueError:
        pass
    raise ValueError("neither a host name nor an IP address")


def _destination(text: str) -> str:
    from mailstrom_cli.config.protection import canonical

    return canonical(text)


def _domain(text: str) -> str:
    from mailstrom_cli.config.dkim import signing_domain

    return signing_domain(text)


def _faults_of_credentials(found: Mapping[str, Any], name: str) -> Faults:
    if found.keys() in USUAL:
        return ()
    from mailstrom_cli.config.credentials import faults

    return faults(found)


def _faults_of_protection(found: Mapping[str, Any], name: str) -> Faults:
    from mailstrom_cli.config.protection import faults

    return faults(found)


def _faults_of_keys(found: Mapping[str, Any], name: str) -> Faults:
    from mailstrom_cli.config.dkim import faults

    return faults(found, name)


KINDS = {
    "auth": Named("host", "smtp.example.org", _host, _faults_of_credentials, Auth),
    "tls.policy": Named("destination", "*.example.net", _destination, _faults_of_protection, TlsPolicy),
    "dkim": Named("domain", "example.org", _domain, _faults_of_keys, Dkim),
}
