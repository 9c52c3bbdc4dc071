"""Plain clients for the tests of the peers: smtplib, and what it lacks for LMTP."""

from __future__ import annotations

import smtplib
from typing import Any

MESSAGE = b"Message-ID: <1@example.org>\r\nSubject: test\r\n\r\n.one dot\r\n..two\r\nend\r\n"
SENDER = "a@example.org"


def client(server: Any) -> smtplib.SMTP:
    return smtplib.SMTP(server.host, server.port, "client.example.org", timeout=10)


def lmtp_codes(lmtp: smtplib.LMTP, *recipients: str) -> list[int]:
    """The codes after each RCPT, and after the dot one for each recipient that was accepted."""
    lmtp.ehlo_or_helo_if_needed()
    lmtp.mail(SENDER)
    codes = [lmtp.rcpt(recipient)[0] for recipient in recipients]
    return [*codes, lmtp.data(MESSAGE)[0], *(lmtp.getreply()[0] for _ in range(codes.count(250) - 1))]
