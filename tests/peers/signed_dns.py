"""A resolver on loopback that validates: unbound, with zones and a root that Knot's kzonesign signs."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import dns.dnssec
import dns.name
import dns.zone
from dns.rdatatype import NSEC, RRSIG

from .dns import Dns
from .process import find

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

SIGNER = """
database:
    storage: "{folder}/keys"
policy:
  - id: one
    single-type-signing: on
    algorithm: ecdsap256sha256
zone:
"""
SIGNED = """
  - domain: "{name}"
    file: "{file}"
    dnssec-signing: on
    dnssec-policy: one
"""


class SignedDns(Dns):
    """`zones` are signed and delegated with a DS record; `insecure` ones are neither signed nor have a DS.

        SignedDns(
            {"good.test": "@ MX 10 mx\\nmx A 127.0.0.2\\n_25._tcp.mx TLSA 3 1 1 ab12...", "broken.test": ""},
            bogus=["broken.test", "_25._tcp.mx.good.test"],
            insecure={"plain.test": "@ A 127.0.0.3"},
        )

    `bogus` names a zone, whose DS record then is that of another key (nothing in it validates), or a name
    within a zone, whose signatures then are wrong (only that name does not validate). Both give SERVFAIL; all
    other signed answers have the AD bit, those that something does not exist too.
    """

    name = "signed-dns"
    modules = "validator iterator"

    def __init__(
        self,
        zones: Mapping[str, str],
        bogus: Sequence[str] = (),
        insecure: Mapping[str, str] | None = None,
        **answers: Any,
    ) -> None:
        super().__init__(zones, **answers)
        self.bogus, self.insecure = tuple(bogus), dict(insecure or {})

    def contents(self) -> dict[str, str]:
        return {".": "", **self.zones, **self.insecure}

    def _write(self) -> None:
        """The zones first: their keys make the DS records of the root."""
        super()._write()
        for folder in ("keys", "signed"):
            (self.folder / folder).mkdir(exist_ok=True)
        root = "".join(f"{name}. NS ns.invalid.\n" for name in (*self.zones, *self.insecure))
        for name in self.zones:
            root += f"{name}. DS {self._sign(name, wrong=name in self.bogus)}\n"
        self.write_zone(".", root)
        with (self.folder / "unbound.conf").open("a") as file:
            file.write(f'server:\n    trust-anchor: ". DS {self._sign(".")}"\n')

    def _sign(self, name: str, wrong: bool = False) -> str:
        """Sign a zone file where it lies; returns the DS record of its key, or one that no key has."""
        file, signed = self.zone_file(name), self.folder / "signed"
        config = self.folder / "knot.conf"
        config.write_text(SIGNER.format(folder=self.folder) + SIGNED.format(name=name, file=file))
        program = find("kzonesign")
        assert program is not None
        command = [program, "-c", str(config), "-o", str(signed), name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{program} of {name} failed: {done.stderr}")
        zone = dns.zone.from_file(str(signed / file.name), name, relativize=False)
        for owner in self.bogus:
            for rdataset in zone.nodes.get(dns.name.from_text(owner), ()):
                if rdataset.rdtype == RRSIG and rdataset.covers != NSEC:  # its neighbours need the NSEC
                    self._spoil(rdataset)
        zone.to_file(str(file), relativize=False)
        (key,) = zone.find_rdataset("@", "DNSKEY")
        ds = dns.dnssec.make_ds(zone.origin, key, "SHA256")
        return str(ds.replace(digest=bytes(32)) if wrong else ds)

    @staticmethod
    def _spoil(rdataset: Any) -> None:
        spoilt = [r.replace(signature=bytes(len(r.signature))) for r in rdataset]
        rdataset.clear()
        for record in spoilt:
            rdataset.add(record)
