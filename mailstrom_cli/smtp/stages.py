"""The stages of a session: their names and what a person reads when one of them fails (RFC 5321, 4.5.3.2)."""

from __future__ import annotations

LOOKUP = "lookup"
CONNECT = "connect"
GREETING = "greeting"
EHLO = "ehlo"
STARTTLS = "starttls"
AUTH = "auth"
MAIL = "mail"
RCPT = "rcpt"
DATA = "data"
BLOCK = "block"  # sending the message itself
DOT = "dot"  # the reply to the end of data
RSET = "rset"
QUIT = "quit"

WHILE = {
    LOOKUP: "while looking up the host",
    CONNECT: "while connecting",
    GREETING: "while waiting for the greeting",
    EHLO: "while saying EHLO",
    STARTTLS: "while starting TLS",
    AUTH: "while authenticating",
    MAIL: "while sending MAIL FROM",
    RCPT: "while sending RCPT TO",
    DATA: "while sending DATA",
    BLOCK: "while sending the message",
    DOT: "after the end of data (the message may be delivered more than once)",
    RSET: "while sending RSET",
    QUIT: "while sending QUIT",
}

OPENING = frozenset({LOOKUP, CONNECT, GREETING, EHLO, STARTTLS, AUTH})
"""Stages before any message: a failure here says something of the host, nothing of the message."""
