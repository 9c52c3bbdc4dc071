"""The envelope: who sends a message to whom, apart from what its header says (RFC 5321, 2.3.1)."""

from __future__ import annotations

from mailstrom_cli.values import value


@value
class Recipient:
    """One forward-path, with what its sender asked for (RFC 3461, 4.1 and 4.2).

    notify: () when not asked for, else ("never",) or some of "success", "failure", "delay".
    orcpt: the original recipient as `addr-type;address`.
    """

    address: str
    notify: tuple[str, ...] = ()
    orcpt: str | None = None


@value
class Envelope:
    """What was accepted, fixed at submission.

    reverse_path: "" is the null reverse-path (RFC 5321, 4.5.5).
    message_id: with its angle brackets.
    size: octets of the message as it will be sent.
    body: "7bit" or "8bitmime" (RFC 6152).  smtputf8: needs RFC 6531.
    at: not to be tried before; expires: not to be tried after; both seconds since the epoch.
    key: idempotency key of the submitter.  digest: hex SHA-256 that a second use of the key must match.
    envid, ret ("full" or "hdrs"): RFC 3461, 4.3 and 4.4.
    submitter: login name or uid of who submitted.
    requiretls: every server on its way has to prove itself, and to pass that on (RFC 8689, 2).
    tls_optional: the header says `TLS-Required: No` (RFC 8689, 3), and nothing overrides it.
    """

    reverse_path: str
    recipients: tuple[Recipient, ...]
    message_id: str
    size: int
    body: str = "7bit"
    smtputf8: bool = False
    at: float | None = None
    expires: float | None = None
    key: str | None = None
    digest: str | None = None
    envid: str | None = None
    ret: str | None = None
    submitter: str | None = None
    requiretls: bool = False
    tls_optional: bool = False
