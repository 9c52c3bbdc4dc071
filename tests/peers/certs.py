"""Certificates for the peers: an authority of our own, good leaves, and leaves with one thing wrong each."""

from __future__ import annotations

import datetime
import os
import ssl
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("mx.example.test", "*.example.test", "*.example.org", "*.example.net", "localhost")
ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "::1")


class Certificates:
    """`ca_file` is what a client has to trust; `context(kind)` and `files(kind)` are for servers.

    Kinds: good, expired, wrong-name (for another.invalid), self-signed (by an authority of its own that is
    called like the name it vouches for, and not in `ca_file`).
    """

    KINDS = ("good", "expired", "wrong-name", "self-signed")

    def __init__(self, folder: Path, names: tuple[str, ...] = (*NAMES, *ADDRESSES)) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.ca_file = str(folder / "ca.pem")
        self.authority.cert_pem.write_to_path(self.ca_file)
        past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)
        self._leaves = {
            "good": self.authority.issue_cert(*names),
            "expired": self.authority.issue_cert(*names, not_after=past),
            "wrong-name": self.authority.issue_cert("another.invalid"),
            "self-signed": trustme.CA().issue_cert(*names),
        }

    def context(self, kind: str = "good", **minimum: ssl.TLSVersion) -> ssl.SSLContext:
        """A server's context, a new one each time; `maximum_version=` and the like set its attributes."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for name, version in minimum.items():
            setattr(context, name, version)
        self._leaves[kind].configure_cert(context)
        return context

    def files(self, kind: str = "good") -> tuple[str, str]:
        """Paths of the certificate chain and of its key (0600), for a server that is a program."""
        chain, key = self.folder / f"{kind}.pem", self.folder / f"{kind}.key"
        if not key.exists():
            for blob in self._leaves[kind].cert_chain_pems:
                blob.write_to_path(str(chain), append=True)
            os.close(os.open(key, os.O_CREAT | os.O_WRONLY, 0o600))
            self._leaves[kind].private_key_pem.write_to_path(str(key))
        return str(chain), str(key)

    @staticmethod
    def bare() -> ssl.SSLContext:
        """A client's context that verifies, and trusts nobody yet: the system's authorities take long."""
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def client(self) -> ssl.SSLContext:
        """A client's context that trusts `ca_file` and verifies names."""
        return ssl.create_default_context(cafile=self.ca_file)
