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
    module-config: "iterator"
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
    REFUSED, and below `silent` no answer at all.
    """

    name = "dns"

    def __init__(
        self,
        zones: Mapping[str, str],
        servfail: Sequence[str] = (),
        refuse: Sequence[str] = (),
        silent: Sequence[str] = (),
        host: str = "127.0.0.1",
    ) -> None:
        super().__init__()
        self.zones = dict(zones)
        self.servfail, self.refuse, self.silent = tuple(servfail), tuple(refuse), tuple(silent)
        self.host, self.port = host, free_port(host)
        self.nobody = free_port(host)
        self.serial = 1

    @property
    def address(self) -> tuple[str, int]:
        return (self.host, self.port)

    @property
    def resolver(self) -> str:
        """As it is written in `[dns] resolver`."""
        return f"{self.host}:{self.port}"

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

    def ready(self) -> bool:
        question = dns.message.make_query(".", dns.rdatatype.SOA)
        try:
            reply = dns.query.udp(question, self.host, 0.1, self.port)
        except dns.exception.DNSException:
            return False
        return bool(reply.answer) and reply.answer[0][0].serial == self.serial

    def _write(self) -> None:
        parts = [CONFIG.format(folder=self.folder, host=self.host, port=self.port)]
        for number, (name, records) in enumerate({".": "", **self.zones}.items()):
            file = self.folder / f"zone{number}"
            origin = name.rstrip(".") + "."
            file.write_text(
                f"$ORIGIN {origin}\n$TTL 60\n@ NS ns.invalid.\n{records}\n"
                f"@ SOA ns.invalid. hostmaster.invalid. {self.serial} 3600 600 86400 60\n"
            )
            parts.append(ZONE.format(name=name, file=file))
        parts += [LAME.format(name=name, host=self.host, port=self.nobody) for name in self.servfail]
        parts += [f'server:\n    local-zone: "{name}" always_refuse\n' for name in self.refuse]
        parts += [f'server:\n    local-zone: "{name}" always_deny\n' for name in self.silent]
        (self.folder / "unbound.conf").write_text("".join(parts))
