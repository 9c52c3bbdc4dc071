"""Signatures that dkimpy finds good, whatever the message; and bad, where anything was changed or added."""

from __future__ import annotations

from base64 import b64decode

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstrom_cli.dkim import keys
from mailstrom_cli.dkim.canonical import RelaxedBody, relaxed_field
from mailstrom_cli.mail.header import split_header

from .signing import TYPES, signed, verified

MESSAGE = (
    b"Received: from a by b\r\nFrom: Ann <ann@example.org>\r\nTo:  Bob  <bob@example.test>,\r\n"
    b"\tcarol@example.test\r\nSubject: with  two   blanks \r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n"
    b"Message-ID: <s@example.org>\r\nMIME-Version: 1.0\r\nX-Fold: a\r\n b \r\n"
    b"\r\n.dots\r\n..\r\n-- \r\nblank \t\r\n\r\nFrom me\r\n\r\n\r\n"
)

blanks = st.lists(st.sampled_from([b" ", b"\t", b"\r\n ", b"\r\n\t"]), max_size=4).map(b"".join)
words = st.sampled_from([b"a", b"Re:", b"=?utf-8?q?x?=", b"b=c;", b"\xc3\xbc", b"x" * 90])
names = st.sampled_from(
    [b"Subject", b"To", b"CC", b"date", b"Reply-To", b"List-Id", b"X-Other", b"Received", b"Sender"]
)


@st.composite
def fields(draw: st.DrawFn) -> bytes:
    value = b"".join(draw(blanks) + draw(words) for _ in range(draw(st.integers(0, 4)))) + draw(blanks)
    folded = value.replace(b"\r\n \r\n", b"\r\n").replace(b"\r\n\t\r\n", b"\r\n")  # no line of blanks alone
    return draw(names) + b":" + folded.rstrip() + b"\r\n"


bodies = st.lists(
    st.sampled_from([b"", b"text", b" ", b"a  b", b"tab\t", b"blank ", b".", b"..", b"\xc3\xbc", b"y" * 998])
).map(lambda lines: b"".join(line + b"\r\n" for line in lines))
senders = st.sampled_from([b"From: ann@example.org\r\n", b"FROM:\r\n Ann \r\n\t<ann@example.org> \r\n"])


@settings(deadline=None, max_examples=60)
@given(st.lists(fields(), max_size=8), senders, bodies, st.sampled_from([*[(t,) for t in TYPES], TYPES]))
def test_every_signature_is_good(
    header: list[bytes], sender: bytes, body: bytes, types: tuple[str, ...]
) -> None:
    half = len(header) // 2
    message = b"".join([*header[:half], sender, *header[half:], b"\r\n", body])
    assert all(verified(signed(message, *types), len(types)))


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"Ann", b"Eve"),
        (b"two   blanks", b"two blank"),
        (b"\r\n\r\n.dots", b"\r\n\r\n.dot"),
        (b"From me\r\n", b"From me\r\n.\r\n"),
        (b"b=", b"b=A"),
    ],
)
def test_what_is_changed_shows(type: str, before: bytes, after: bytes) -> None:
    message = signed(MESSAGE, type)
    assert verified(message) == [True]
    assert before in message
    assert verified(message.replace(before, after)) == [False]


@pytest.mark.parametrize(
    "name", ["From", "To", "Cc", "Reply-To", "Subject", "Date", "Message-ID", "MIME-Version"]
)
@pytest.mark.parametrize("at", ["top", "bottom"])
def test_a_field_that_is_added_shows(name: str, at: str) -> None:
    message, added = signed(MESSAGE, "ed25519"), f"{name}: eve@example.net\r\n".encode()
    tampered = added + message if at == "top" else message.replace(b"\r\n\r\n", b"\r\n" + added + b"\r\n", 1)
    assert verified(tampered) == [False]


def test_what_carriers_and_lists_add_does_not_matter() -> None:
    message = signed(MESSAGE, *TYPES)
    added = b"Received: from b by c\r\nList-Id: <l.example.net>\r\nSender: l@example.net\r\nX-Spam: no\r\n"
    first = message.index(b"Received: from a")
    assert verified(message[:first] + added + message[first:], 2) == [True, True]


def test_blanks_and_line_ends_that_carriers_change_do_not_matter() -> None:
    message = signed(MESSAGE, *TYPES).replace(b"Bob  <bob", b"Bob <bob").replace(b"b=", b"b= \r\n\t")
    assert verified(message + b"\r\n", 2) == [True, True]


@pytest.mark.parametrize("type", TYPES)
def test_the_field_is_folded(type: str) -> None:
    top = signed(MESSAGE, type).removesuffix(MESSAGE)
    lines = top.decode("ascii").split("\r\n")
    assert lines.pop() == ""
    assert max(map(len, lines)) <= 78
    assert lines[0].startswith(f"DKIM-Signature: v=1; a={type}-sha256; c=relaxed/relaxed; d=example.org;")
    assert all(line.startswith("\t") for line in lines[1:])
    tags = dict(
        tag.strip().split("=", 1) for tag in "".join(lines).removeprefix("DKIM-Signature:").split(";")
    )
    assert tags["s"] == type
    assert tags["t"] == "1795488300"
    assert "x" not in tags
    assert tags["h"].replace("\t", "").split(":") == [
        *("from", "from", "reply-to", "subject", "subject", "to", "to", "cc"),
        *("date", "date", "message-id", "message-id", "mime-version", "mime-version"),
    ]


def test_blanks_before_the_colon_are_as_good_as_none() -> None:
    """RFC 6376, 3.4.2; dkimpy does not know such a field by its name."""
    blank = MESSAGE.replace(b"Subject:", b"Subject \t:")
    assert signed(blank, "ed25519").removesuffix(blank) == signed(MESSAGE, "ed25519").removesuffix(MESSAGE)


def test_of_several_fields_the_last_is_signed_first() -> None:
    """RFC 6376, 5.4.2: in the other order no verifier would find the signature good."""
    message = MESSAGE.replace(b"X-Fold", b"List-Post: <mailto:a>\r\nList-Post: <mailto:b>\r\nX-Fold")
    assert verified(signed(message, "rsa")) == [True]


RFC_8463 = b"""DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
""".replace(b"\n", b"\r\n")


def test_the_vector_of_rfc_8463() -> None:
    """Appendix A; a signature of Ed25519 has no chance in it."""
    header = split_header(RFC_8463)
    body = RelaxedBody()
    body.update(RFC_8463[header.end :])
    assert body.digest() == b64decode("2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=")
    own, *others = header.fields
    unsigned, _, told = own.raw.rpartition(b" b=")
    hashed = b"".join(relaxed_field(f.key, f.raw[f.colon + 1 :]) for f in others)
    hashed += relaxed_field(own.name, unsigned[own.colon + 1 :] + b" b=").removesuffix(b"\r\n")
    secret = Ed25519PrivateKey.from_private_bytes(b64decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="))
    pem = secret.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key = keys.read(pem)
    assert key.public == b64decode("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
    assert key.sign(hashed) == b64decode(told)
