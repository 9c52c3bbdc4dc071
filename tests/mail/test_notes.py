"""What is worth a note in a message that is accepted as it is: few things, with line and rule."""

from __future__ import annotations

import pytest

from mailstrom_cli.mail.prepare import Context, Request, check, prepare

CONTEXT = Context(now=1795488180.5, token="abc123", host="mail.example.org")
EXPLICIT = Request(reverse_path="s@example.org", recipients=("r@example.net",))
FROM, TO = b"From: a@example.org\n", b"To: b@example.net\n"
DATE, ID = b"Date: Mon, 1 Jan 2024 00:00:00 +0000\n", b"Message-ID: <x@y.example>\n"
PLAIN = FROM + TO + DATE + ID
MIME = b"MIME-Version: 1.0\n"


def notes(data: bytes) -> list[str]:
    made, findings = check(data, EXPLICIT, CONTEXT)
    assert made is not None, findings
    assert b"".join(made.chunks()).replace(b"\r\n", b"\n") == data
    assert [f for f in findings if f.severity != "noted"] == []
    return [str(finding) for finding in findings]


ORDINARY = (
    b"Return-Receipt: x\nReceived: from a by b; Tue, 24 Nov 2026 02:43:00 +0000\nX-Spam: no\n"
    b"Received: from c by d\n"
    b"DKIM-Signature: v=1; h=from; b=x\n"
    b'From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>, "A, B" <b@example.org> (c)\n'
    b"Sender: j@example.org\n"
    b"To: undisclosed-recipients:;\nSubject: =?utf-8?b?w7w=?= (=?iso-8859-1?q?=FC?=)\n\tand =? more ?=\n"
    b"Date: Tue, 24 Nov 2026 02:43:00 +0000 (UTC)\nMessage-ID: <a.b+c$d@[192.0.2.1]>\n"
    b"References: <a b> what\n"
    b'MIME-Version: 1.0 (by hand)\nContent-Type: multipart/mixed;\n\tboundary="b"\n'
    b"Content-Transfer-Encoding: 8BIT\nX-Empty:\n\n\xc3\xbc\n"
)


def test_an_ordinary_message_has_no_note() -> None:
    assert notes(ORDINARY) == []


@pytest.mark.parametrize(
    ("header", "note"),
    [
        (b"Date: x\n" + ID, "line 3: field `Date`: it is no date-time such as"),
        (b"Date: Tue, 24 Nov 2026 02:43:00 GMT\n" + ID, "line 3: field `Date`: a time zone by name"),
        (DATE + b"Message-ID: x\n", "line 4: field `Message-ID`: it has not the form <left@right> (RFC 5322"),
        (DATE + b"Message-ID: <a@b@c>\n", "line 4: field `Message-ID`: it has not the form"),
        (DATE + b"Message-ID: <a@b> <c@d>\n", "line 4: field `Message-ID`: it has not the form"),
        (DATE + b"Message-ID: <a..b@c>\n", "line 4: field `Message-ID`: it has not the form"),
        (
            DATE + ID + b"Subject : x\n",
            "line 5: field `Subject`: a blank stands before its colon (RFC 5322, 4.5)",
        ),
        (DATE + ID + b"Subject: x\x1b[2J\n", "line 5: field `Subject`: it has a control character in it"),
        (DATE + ID + b"X: a\n b\n \t \n c\n", "line 7: field `X`: a line of it is nothing but blanks"),
        (
            DATE + ID + b"Subject: =?utf-8?q?a b?=\n",
            "line 5: field `Subject`: an encoded-word has a blank in it",
        ),
        (
            DATE + ID + b'Cc: x@y.example,\n "=?utf-8?q?a?=" <a@b.example>\n',
            "line 6: field `Cc`: an encoded-word sta",
        ),
        (
            DATE + ID + b"Cc: =?utf-8?q?a?=@b.example\n",
            "line 5: field `Cc`: an encoded-word stands in an address",
        ),
        (
            DATE + ID + b"Cc: =?utf-8?z?a?= <a@b.example>\n",
            "line 5: field `Cc`: an encoded-word has an encoding",
        ),
        (DATE + ID + b"Sender: a@b.example, c@d.example\n", "line 5: field `Sender`: it names more than one"),
        (DATE + ID + b"Received: x\n", "line 5: field `Received`: it belongs on top of the header"),
        (DATE + ID + b"Reply-To: <\n", "line 5: field `Reply-To`: the `<` at character 11 has no `>`"),
        (DATE + ID + b"MIME-Version: 2.0\n", "line 5: field `MIME-Version`: it is not `1.0` (RFC 2045, 4)"),
        (DATE + ID + b"Content-Type: text/html\n", "line 5: field `Content-Type`: without a MIME-Version"),
        (
            DATE + ID + MIME + b"Content-Type: text\n",
            "line 6: field `Content-Type`: it has not the form type/sub",
        ),
        (
            DATE + ID + MIME + b"Content-Type: a/b/c\n",
            "line 6: field `Content-Type`: it has not the form type/s",
        ),
        (
            DATE + ID + MIME + b"Content-Type: multipart/x\n",
            "line 6: field `Content-Type`: a multipart without a ",
        ),
        (
            DATE + ID + MIME + b"Content-Type: a/b\nContent-Type: a/b\n",
            "line 7: field `Content-Type`: it is on l",
        ),
        (
            DATE + ID + MIME + b"Content-Transfer-Encoding: 9bit\n",
            "line 6: field `Content-Transfer-Encoding`: it",
        ),
        (
            DATE + ID + MIME + b"Content-Type: multipart/x; boundary=b\nContent-Transfer-Encoding: base64\n",
            "line 7: field `Content-Transfer-Encoding`: parts within multipart have their own",
        ),
        (DATE + ID + b"X: " + b"x" * 76 + b"\n", "line 5: field `X`: lines should have 78 octets at most"),
    ],
)
def test_one_thing_is_one_note(header: bytes, note: str) -> None:
    (told,) = notes(FROM + TO + header + b"\ntext\n")
    assert told.startswith(note), told
    assert "RFC" in told


@pytest.mark.parametrize("header", [MIME, MIME + b"Content-Transfer-Encoding: 7bit\n"])
def test_a_text_that_is_not_what_its_header_says(header: bytes) -> None:
    (told,) = notes(PLAIN + header + b"\n\xfc\n")
    assert "the text is not ASCII, and its encoding is said to be `7bit` (RFC 2045, 6.2)" in told


BLOCK = (
    b"Resent-Date: Tue, 24 Nov 2026 02:43:00 +0000\nResent-From: r@example.org\nResent-To: q@example.net\n"
)


def test_blocks_of_resent_fields() -> None:
    assert notes(BLOCK + BLOCK + b"Received: x\n" + BLOCK + PLAIN + b"\n") == []
    (told,) = notes(BLOCK + b"Received: x\nResent-To: q@example.net\n" + PLAIN + b"\n")
    assert told.startswith(
        "line 5: field `Resent-To`: its block of Resent- fields has no Resent-Date and no Resent-From"
    )
    (told,) = notes(PLAIN + BLOCK + b"\n")
    assert told.startswith(
        "line 5: field `Resent-Date`: it belongs on top of the header, and the message's own fields"
    )


def test_what_is_said_again_and_again_is_counted() -> None:
    told = notes(b"X : y\n" * 50 + PLAIN + b"\n")
    assert len(told) == 4
    assert told[0] == "a blank stands before its colon: so do 47 more (RFC 5322, 4.5)"


def test_long_lines_are_told_on_request_only() -> None:
    data = PLAIN + b"X: " + b"x" * 80 + b"\nY: " + b"y" * 90 + b"\n\n"
    assert prepare(data, EXPLICIT, CONTEXT).fixes == ()
    (told,) = notes(data)
    what = "lines should have 78 octets at most; of the header, 2 have more"
    assert told == f"line 5: field `X`: {what} (RFC 5322, 2.1.1)"
