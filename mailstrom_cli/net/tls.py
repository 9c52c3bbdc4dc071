"""TLS contexts: one that verifies, one that only encrypts."""

from __future__ import annotations

import ssl

from mailstrom_cli.errors import CONFIG, MailstromError
from mailstrom_cli.policy.tls import VERIFY


class Contexts:
    """Contexts by level, made once. ca_file: certificates trusted beside the system's, or ""."""

    def __init__(self, ca_file: str) -> None:
        self._ca_file = ca_file
        self._made: dict[bool, ssl.SSLContext] = {}

    def get(self, level: str) -> ssl.SSLContext:
        """For "verify" one that checks chain and name, else one that takes any certificate: to check in
        opportunistic mode would only bounce mail that could have gone in plain text."""
        verify = level == VERIFY
        if verify not in self._made:
            self._made[verify] = self._make(verify)
        return self._made[verify]

    def _make(self, verify: bool) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        try:
            context.load_default_certs()
            if self._ca_file:
                context.load_verify_locations(self._ca_file)
        except (OSError, ssl.SSLError) as error:
            raise MailstromError(
                f"[tls] ca_file {self._ca_file!r} cannot be used: {error.strerror or error}",
                "it is a file of PEM certificates",
                CONFIG,
            ) from None
        return context


def describe(version: str | None, level: str) -> str | None:
    """What people read in a status: "TLSv1.3 verified", "TLSv1.2 encrypted", or None."""
    if version is None:
        return None
    return f"{version} {'verified' if level == VERIFY else 'encrypted'}"
