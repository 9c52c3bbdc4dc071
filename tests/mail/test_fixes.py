"""What is put right in a header, what signatures forbid, and what comes out of it: golden messages."""

from __future__ import annotations

import pytest

from mailstrom_cli.mail.prepare import Context, Request, check
from mailstrom_cli.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailstrom_cli.mail.finding import Finding

CONTEXT = Context(now=1795488180.5, token="abc123", host="mail.example.org", origin="example.org")
STAMPS = b"Date: Mon, 1 Jan 2024 00:00:00 +0000\nMessage-ID: <x@y.example>\n"
FROM = b"From: a@example.org\n"
TO = b"To: b@example.net\n"
PLAIN = FROM + TO + STAMPS
EXPLICIT = Request(reverse_path="s@example.org", recipients=("r@example.net",))


def examined(
    data: bytes, request: Request = EXPLICIT, context: Context = CONTEXT
) -> tuple[bytes | None, list[Finding]]:
    made, findings = check(data, request, context)
    octets = b"".join(made.chunks()).replace(b"\r\n", b"\n") if made is not None else None
    return octets, list(findings)


def told(findings: list[Finding], severity: str) -> list[str]:
    return [str(finding) for finding in findings if finding.severity == severity]


def test_a_script_s_message_leaves_as_a_good_one() -> None:
    data = (
        "From root@example.org Tue Nov 24 02:43:00 2026\n"
        "From: Jürgen <root>\n"
        "To: admin, Ünï Çode <u@example.net>\n"
        "Bcc: secret@example.net\n"
        "Subject: Größe der Platten\n"
        "Content-Length: 7\n"
        "\n"
        "Grüße\n"
        "ohne Ende"
    )
    octets, findings = examined(data.encode(), Request())
    assert octets is not None
    assert octets.decode() == (
        "From: =?utf-8?q?J=C3=BCrgen?= <root@example.org>\n"
        "To: admin@example.org, =?utf-8?b?w5xuw68gw4dvZGU=?= <u@example.net>\n"
        "Subject: =?utf-8?b?R3LDtsOfZQ==?= der Platten\n"
        "Date: Tue, 24 Nov 2026 02:43:00 +0000\n"
        "Message-ID: <abc123.1795488180@mail.example.org>\n"
        "MIME-Version: 1.0\n"
        "Content-Type: text/plain; charset=utf-8\n"
        "Content-Transfer-Encoding: 8bit\n"
        "\n"
        "Grüße\n"
        "ohne Ende\n"
    )
    assert told(findings, "refused") == told(findings, "noted") == []
    assert told(findings, "fixed") == [
        "field `Date`: added (RFC 5322, 3.6)",
        "field `Message-ID`: added (RFC 5322, 3.6)",
        "field `MIME-Version`: added, as the text is not ASCII: `1.0` (RFC 2045, 4)",
        "field `Content-Type`: added, as the text is not ASCII: `text/plain; charset=utf-8` (RFC 2045, 4)",
        "field `Content-Transfer-Encoding`: added, as the text is not ASCII: `8bit` (RFC 2045, 4)",
        "the last line had no line end",
        "line 1: the separator line of an mbox was dropped",
        "line 2: field `From`: names without a domain were completed with `example.org`",
        "line 2: field `From`: its text beyond ASCII was written as encoded-words (RFC 2047)",
        "line 3: field `To`: names without a domain were completed with `example.org`",
        "line 3: field `To`: its text beyond ASCII was written as encoded-words (RFC 2047)",
        "line 4: field `Bcc`: removed (RFC 5322, 3.6.3)",
        "line 5: field `Subject`: its text beyond ASCII was written as encoded-words (RFC 2047)",
        "line 6: field `Content-Length`: removed",
    ]


# --- declared ---


@pytest.mark.parametrize(
    ("header", "body", "added"),
    [
        (b"", b"ascii", b""),
        (b"", b"\xc3\xbc", b"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n" + b"CTE: 8bit\n"),
        (
            b"",
            b"\xfc",
            b"MIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\n" + b"CTE: 8bit\n",
        ),
        (b"Content-Type: text/html; charset=latin1\n", b"\xfc", b"MIME-Version: 1.0\nCTE: 8bit\n"),
        (b"CTE: 8bit\n", b"\xfc", b"MIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\n"),
        (b"CTE: base64\n", b"\xfc", b""),
        (b"MIME-Version: 1.0\n", b"\xfc", b""),
    ],
)
def test_a_text_beyond_ascii_is_declared_where_it_is_not(header: bytes, body: bytes, added: bytes) -> None:
    def full(text: bytes) -> bytes:
        return text.replace(b"CTE:", b"Content-Transfer-Encoding:")

    octets, _ = examined(full(header) + PLAIN + b"\n" + body + b"\n")
    assert octets == full(header + PLAIN + added) + b"\n" + body + b"\n"


# --- SMTPUTF8 ---


@pytest.mark.parametrize(
    "kept", ["References: <ü@x.example>\n", "Cc: ü@example.net\n", "Reply-To: a@bücher.example\n"]
)
def test_header_text_stays_when_something_beyond_ascii_stays_anyway(kept: str) -> None:
    data = kept.encode() + "Subject: ü\n".encode() + PLAIN + b"\n"
    octets, findings = examined(data)
    assert octets == data
    (note,) = told(findings, "noted")
    assert "only servers with SMTPUTF8 take the message" in note


# --- signatures ---


def signed(names: str, name: str = "DKIM-Signature") -> bytes:
    return f"{name}: v=1; c=relaxed/simple; h={names};\n bh=x; b=y\n".encode()


@pytest.mark.parametrize("name", ["DKIM-Signature", "ARC-Message-Signature", "dkim-signature"])
@pytest.mark.parametrize(
    ("names", "header", "field"),
    [
        ("from:bcc", PLAIN + b"Bcc: x@example.net\n", "line 7: field `Bcc`"),
        ("from:Date", FROM + TO + b"Message-ID: <x@y.example>\n", "field `Date`"),
        ("from : date : \n\tmessage-id", FROM + TO + b"Date: x\n", "field `Message-ID`"),
        ("From", b"From: root\n" + TO + STAMPS, "line 3: field `From`"),
        (
            "resent-date",
            b"Resent-From: a@example.org\nResent-To: b@example.org\n" + PLAIN,
            "field `Resent-Date`",
        ),
    ],
)
def test_a_fix_that_would_break_a_signature_is_refused(
    name: str, names: str, header: bytes, field: str
) -> None:
    octets, findings = examined(signed(names, name) + header + b"\n", Request())
    assert octets is None
    (refusal,) = [f for f in findings if f.severity == "refused"]
    assert str(refusal).startswith(field)
    assert f"as the {name} on line 1 covers it (RFC 6376, 5.4)" in refusal.what + f" ({refusal.rfc})"
    assert refusal.hint


@pytest.mark.parametrize(
    ("names", "rest"),
    [
        ("from:subject", "Subject: ü\n\n"),
        ("from:mime-version", "\nü\n"),
        ("from:content-transfer-encoding", "\nü\n"),
        ("from:return-path:content-length", "Return-Path: <x@y.example>\nContent-Length: 7\n\n"),
    ],
)
def test_a_fix_that_can_be_spared_is_not_made_under_a_signature(names: str, rest: str) -> None:
    data = signed(names) + PLAIN + rest.encode()
    octets, findings = examined(data)
    assert octets == data
    assert any(
        "it is left as it is, as the DKIM-Signature on line 1 covers it" in n for n in told(findings, "noted")
    )


def test_what_a_signature_does_not_cover_is_fixed_and_line_ends_are_nobody_s() -> None:
    data = signed("from:to") + FROM + TO + b"Bcc: x@example.net\n\ntext"
    octets, _ = examined(data)
    assert octets is not None
    assert octets.startswith(signed("from:to") + FROM + TO + b"Date: ")
    assert octets.endswith(b"\n\ntext\n")
    assert b"Bcc" not in octets


# --- a missing From, and a header that is none ---

SENDMAIL = replace(EXPLICIT, add_from="Jürgen <j@example.org>")
ADDED = (
    b"From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\nDate: Tue, 24 Nov 2026 02:43:00 +0000\n"
    b"Message-ID: <abc123.1795488180@mail.example.org>\n"
)


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        (b"Subject: x\n\ntext\n", b"Subject: x\n" + ADDED + b"\ntext\n"),
        (b"\ntext\n", ADDED + b"\ntext\n"),
        (b"hello world\n\nmore\n", ADDED + b"\nhello world\n\nmore\n"),
        (b"Subject: x\r\nhello world\r\nmore", b"Subject: x\n" + ADDED + b"\nhello world\nmore\n"),
        (b"From x y\nhello\n", ADDED + b"\nhello\n"),
        (b"", ADDED),
        (PLAIN + b"\ntext\n", PLAIN + b"\ntext\n"),
        (b"Subject: x\nhello\n" + b"y" * 1200 + b"\n", None),
    ],
)
def test_a_from_is_added_where_there_is_none(data: bytes, sent: bytes | None) -> None:
    octets, findings = examined(data, SENDMAIL)
    assert told(findings, "refused") == []
    assert octets is not None
    if sent is None:
        assert octets.startswith(b"Subject: x\nMIME-Version: 1.0\n")
        assert b"\n\nhello\nyyy" in octets
    else:
        assert octets == sent


def test_an_empty_line_is_not_put_before_a_bcc() -> None:
    octets, findings = examined(b"Subject: x\noops\nBcc: c@example.net\n\ntext\n", SENDMAIL)
    assert octets is None
    assert told(findings, "refused") == [
        "line 2: `oops` is no header field: it has no colon (RFC 5322, 2.2)",
    ]


@pytest.mark.parametrize("value", ["broken <", "", "a@x.example\nBcc: b@x.example", "root"])
def test_a_from_to_add_must_be_one(value: str) -> None:
    context = replace(CONTEXT, origin="")
    octets, findings = examined(b"Subject: x\n\n", replace(SENDMAIL, add_from=value), context)
    assert octets is None
    assert told(findings, "refused")


def test_bare_names_in_an_added_from_are_completed() -> None:
    octets, _ = examined(b"Subject: x\n\n", replace(SENDMAIL, add_from="Cron <root>", reverse_path=None))
    assert octets is not None
    assert octets.startswith(b"Subject: x\nFrom: Cron <root@example.org>\n")


# --- lines too long ---


def test_long_lines_are_encoded_anew_or_refused() -> None:
    octets, findings = examined(PLAIN + b"\nshort\n" + b"x" * 999 + b"\n")
    assert octets is not None
    assert max(map(len, octets.split(b"\n"))) <= 78
    assert b"Content-Transfer-Encoding: quoted-printable\n" in octets
    assert told(findings, "fixed")[-1].startswith(
        "line 7: lines of up to 999 octets were encoded as quoted-printable"
    )
    for stays in (signed("from"), b"Content-Type: multipart/signed; boundary=b\n"):
        octets, findings = examined(stays + PLAIN + b"\n--b\n\n" + b"x" * 999 + b"\n--b--\n")
        assert octets is None
        assert "and stays so, as" in told(findings, "refused")[0]


# --- a From that the envelope does not need ---


def test_an_empty_from_is_filled_in_where_one_was_given() -> None:
    octets, findings = examined(b"From:\nSubject: x\n\n", SENDMAIL)
    assert octets is not None
    assert octets.startswith(b"From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\nSubject: x\n")
    assert "line 1: field `From`: it was empty and was filled in (RFC 5322, 3.6)" in told(findings, "fixed")
    assert examined(b"From:\nSubject: x\n\n", replace(SENDMAIL, add_from=None))[0] is None


@pytest.mark.parametrize("value", [b"Cron Daemon", b"a@b_b.example", b"(c)", b"<"])
def test_a_from_that_is_not_needed_is_noted_and_stays(value: bytes) -> None:
    data = b"From: " + value + b"\nSubject: x\n\n"
    octets, findings = examined(data, SENDMAIL)
    assert octets is not None
    assert octets.startswith(data.rstrip(b"\n"))
    assert any(note.startswith("line 1: field `From`: ") for note in told(findings, "noted"))
    assert examined(data, replace(SENDMAIL, add_from=None))[0] is None
    assert examined(data, replace(SENDMAIL, reverse_path=None))[0] is None


def test_a_from_that_is_an_address_and_the_same_in_brackets_is_taken() -> None:
    data = b"From: a@example.org <a@example.org>\nSubject: x\n\n"
    octets, findings = examined(data, replace(SENDMAIL, add_from=None, reverse_path=None))
    assert octets is not None
    assert octets.startswith(data.rstrip(b"\n"))
    what = "a display name with an @ in it should be in quotes; the address in < and > counts"
    assert told(findings, "noted") == [f"line 1: field `From`: {what} (RFC 5322, 3.4)"]
