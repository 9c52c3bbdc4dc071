"""A real DNS server on loopback: unbound with the zones of a test and a root of its own; nothing goes out."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import dns.message
import dns.query
import dns.rdatatype

from .process import Daemon, find, free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CONFIG = """
server:
    chroot: "" # a folder of our own
    username: "" # whoever started it
    directory: "{folder}"
    pidfile: "{folder}/unbound.pid"
    use-syslog: no
    logfile: "{folder}/unbound.log"
    verbosity: 1
    interface: {host}@{port}
    access-control: 127.0.0.0/8 allow
    do-not-query-localhost: no
    module-config: "{modules}"
    num-threads: 1
    outgoing-range: 64
    so-rcvbuf: 0
    cache-max-ttl: 0
    cache-max-negative-ttl: 0
    local-zone: "test." nodefault
    local-zone: "invalid." nodefault
    local-zone: "127.in-addr.arpa." nodefault
remote-control:
    control-enable: no
"""
TLS = """
server:
    tls-service-pem: "{chain}"
    tls-service-key: "{key}"
    interface: {host}@{dot_port}
    tls-port: {dot_port}
    interface: {host}@{doh_port}
    https-port: {doh_port}
"""
ZONE = """
auth-zone:
    name: "{name}"
    zonefile: "{file}"
    for-downstream: no
    for-upstream: yes
    fallback-enabled: no
"""

# A secondary zone that could never be fetched cannot be answered for.
LAME = """
auth-zone:
    name: "{name}"
    primary: {host}@{port}
    for-downstream: no
    for-upstream: yes
    fallback-enabled: no
"""


class Dns(Daemon):
    """`zones` maps a zone to its records in master-file form, relative to the zone; SOA and NS are added.

        zones={"example.test": "@ MX 10 mx1\\nmx1 A 127.0.0.2", "null.test": "@ MX 0 ."}

    Names outside the zones do not exist (NXDOMAIN). Names below `servfail` get SERVFAIL, below `refuse`
    REFUSED, and below `silent` no answer at all. With `tls`, the paths of a certificate chain and its key,
    the same is served over TLS (`dot`) and over HTTPS (`doh`).
    """

    name = "dns"
    modules = "iterator"

    def __init__(
        self,
        zones: Mapping[str, str],
        servfail: Sequence[str] = (),
        refuse: Sequence[str] = (),
        silent: Sequence[str] = (),
        host: str = "127.0.0.1",
        tls: tuple[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.zones = dict(zones)
        self.servfail, self.refuse, self.silent = tuple(servfail), tuple(refuse), tuple(silent)
        self.host, self.port = host, free_port(host)
        self.nobody = free_port(host)
        self.tls = tls
        self.dot_port, self.doh_port = (free_port(host), free_port(host)) if tls else (0, 0)
        self.serial = 1

    @property
    def address(self) -> tuple[str, int]:
        return (self.host, self.port)

    @property
    def resolver(self) -> str:
        """As it is written in `[dns] resolver`."""
        return f"{self.host}:{self.port}"

    def dot(self, name: str = "localhost") -> str:
        """As it is written in `[dns] resolver`; `name` is what its certificate is verified against."""
        return f"tls://{self.host}:{self.dot_port}#{name}"

    def doh(self, name: str = "localhost") -> str:
        return f"https://{name}:{self.doh_port}/dns-query"

    def prepare(self) -> list[str]:
        self._write()
        program = find("unbound")
        assert program is not None
        return [program, "-d", "-p", "-c", str(self.folder / "unbound.conf")]

    def change(self, zones: Mapping[str, str]) -> None:
        """Serve other zones from now on; returns when they are served."""
        assert self.process is not None
        self.zones = dict(zones)
        self.serial += 1
        self._write()
        os.kill(self.process.pid, signal.SIGHUP)
        wait_for(self._ready, self.start_seconds, "the changed zones to be served")

    def contents(self) -> dict[str, str]:
        """The records of each zone that is served, the root first."""
        return {".": "", **self.zones}

    def ready(self) -> bool:
        question = dns.message.make_query(".", dns.rdatatype.SOA)
        try:
            reply = dns.query.udp(question, self.host, 0.1, self.port)
        except dns.exception.DNSException:
            return False
        return bool(reply.answer) and reply.answer[0][0].serial == self.serial

    def zone_file(self, name: str) -> Path:
        return self.folder / f"zone{list(self.contents()).index(name)}"

    def write_zone(self, name: str, records: str) -> None:
        self.zone_file(name).write_text(
            f"$ORIGIN {name.rstrip('.')}.\n$TTL 60\n@ NS ns.invalid.\n{records}\n"
            f"@ SOA ns.invalid. hostmaster.invalid. {self.serial} 3600 600 86400 60\n"
        )

    def _write(self) -> None:
        parts = [CONFIG.format(folder=self.folder, host=self.host, port=self.port, modules=self.modules)]
        if self.tls:
            chain, key = self.tls
            ports = {"dot_port": self.dot_port, "doh_port": self.doh_port}
            parts.append(TLS.format(host=self.host, chain=chain, key=key, **ports))
        for name, records in self.contents().items():
            self.write_zone(name, records)
            parts.append(ZONE.format(name=name, file=self.zone_file(name)))
        parts += [LAME.format(name=name, host=self.host, port=self.nobody) for name in self.servfail]
        parts += [f'server:\n    local-zone: "{name}" always_refuse\n' for name in self.refuse]
        parts += [f'server:\n    local-zone: "{name}" always_deny\n' for name in self.silent]
        (self.folder / "unbound.conf").write_text("".join(parts))
