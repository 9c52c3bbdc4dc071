"""What must hold of every message: nothing is injected, nothing leaks, nothing changes that need not."""

from __future__ import annotations

import mmap
import re
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.errors import MailstromError
from mailstrom_cli.mail.prepare import Context, Request, check, prepare
from mailstrom_cli.values import replace

if TYPE_CHECKING:
    from pathlib import Path

CONTEXT = Context(now=1795488180.5, token="abc123", host="mail.example.org", origin="example.org")
EXPLICIT = Request(reverse_path="s@example.org", recipients=("r@example.net",))
PLAIN = (
    b"From: a@example.org\nTo: b@example.net\nDate: Mon, 1 Jan 2024 00:00:00 +0000\n"
    b"Message-ID: <x@y.example>\n\ntext\n"
)
INJECTIONS = ["\r", "\n", "\0", "\r\nRCPT TO:<x@example.net>", "\u2028", "\x85"]


@pytest.mark.parametrize("injection", INJECTIONS)
@pytest.mark.parametrize("name", ["reverse_path", "recipients", "key", "envid", "submitter", "add_from"])
def test_no_control_character_comes_in_through_an_option(name: str, injection: str) -> None:
    for text in (f"a{injection}@example.org", f"{injection}a@example.org", f"a@example.org{injection}"):
        given = (text,) if name == "recipients" else text
        with pytest.raises(MailstromError):
            prepare(b"Subject: x\n\n", replace(EXPLICIT, **{name: given}), CONTEXT)


@pytest.mark.parametrize("injection", INJECTIONS)
def test_no_control_character_comes_in_through_an_alias_or_the_origin(injection: str) -> None:
    request = Request(recipients=("root",))
    for changes in (
        {"aliases": {"root": (f"a@example.net{injection}",)}},
        {"origin": f"example.org{injection}"},
    ):
        with pytest.raises(MailstromError):
            prepare(PLAIN, request, replace(CONTEXT, **changes))


SIGNED_HEADER = (
    b"DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=example.org; s=s;\r\n"
    b"\th=From:To:Subject:Date:Message-ID:MIME-Version:Content-Type;\r\n\tbh=x; b=y\r\n"
)
AS_IT_IS = (
    SIGNED_HEADER
    + b"from:a@example.org\r\nTO: \t B <b@example.net> ,,(c)\r\n \t c@example.net\r\nSubject:\r\n x \t \r\n"
    b"date : Mon, 1 Jan 2024 00:00:00 +0000\r\nmessage-id:<x@y.example>\r\nX-Odd:;;\r\nx-odd: \t\r\n"
    b'MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary="=b"; micalg=pgp-sha256;\r\n'
    b' protocol="application/pgp-signature"\r\n\r\npreamble \r\n--=b\r\nContent-Type: text/plain\r\n\r\n'
    b".\r\n..\r\nFrom x \r\n-- \r\ntrailing  \t\r\n\r\n\r\n--=b\r\n"
    b"Content-Type: application/pgp-signature\r\n\r\n"
    b"-----BEGIN PGP SIGNATURE-----\r\n\r\n=abcd\r\n--=b--\r\n\r\n\r\n"
)


def test_what_needs_no_fix_leaves_octet_for_octet() -> None:
    made = prepare(AS_IT_IS, EXPLICIT, CONTEXT)
    assert b"".join(made.chunks()) == AS_IT_IS
    assert b"".join(prepare(AS_IT_IS.replace(b"\r\n", b"\n"), EXPLICIT, CONTEXT).chunks()) == AS_IT_IS


@pytest.mark.parametrize(
    "end", [b"\r", b"\n", b"\r\r\n", b"\n\r", b"\r\n.\r", b"\n.\n", b"\r.\r\n", b"\r\n.\n"]
)
def test_no_bare_cr_or_lf_leaves(end: bytes) -> None:
    smuggled = PLAIN + end + b"MAIL FROM:<x@example.org>" + end
    sent = b"".join(prepare(smuggled, EXPLICIT, CONTEXT).chunks())
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", sent)


@pytest.mark.parametrize("length", [998, 999, 5000])
def test_a_line_too_long_is_never_cut(length: int) -> None:
    line = b"x" * length
    made, findings = check(PLAIN + line + b"\n", EXPLICIT, CONTEXT)
    assert made is not None
    body = b"".join(made.body.chunks())
    assert (line in body) == (length <= 998)
    assert line in body.replace(b"=\r\n", b"")
    made, findings = check(b"X: " + line + b"\n" + PLAIN, EXPLICIT, CONTEXT)
    assert made is None
    assert [f.what for f in findings if f.severity == "refused"] == [
        f"the line has {length + 3} octets; 998 are the most"
    ]


BCCS = [
    b"Bcc: secret@example.net\n",
    b"bCC\t :\n secret@example.net\n",
    b"BCC: x@example.net,\n\tsecret@example.net\n",
    b"Resent-Bcc: secret@example.net\n",
]


@pytest.mark.parametrize("bcc", BCCS)
@pytest.mark.parametrize("request_", [EXPLICIT, Request(), replace(EXPLICIT, add_from="x@example.org")])
def test_a_blind_copy_never_leaves(bcc: bytes, request_: Request) -> None:
    resent = b"Resent-From: r@example.org\nResent-To: q@example.net\n" if b"Resent" in bcc else b""
    made = prepare(resent + bcc + PLAIN, request_, CONTEXT)
    assert b"secret" not in b"".join(made.chunks())
    wanted = {"secret@example.net"} if request_ == Request() else set()
    assert {r.address for r in made.envelope.recipients} & {"secret@example.net"} == wanted


def test_a_hundred_received_fields_are_a_loop() -> None:
    assert prepare(b"Received: x\n" * 99 + PLAIN, EXPLICIT, CONTEXT)
    with pytest.raises(MailstromError, match="runs in a loop"):
        prepare(b"Received: x\n" * 100 + PLAIN, EXPLICIT, CONTEXT)


@pytest.mark.parametrize(
    "line", [b"line of a text\n", b"\xc3\xbc" * 600 + b"\n"], ids=["plain", "encoded anew"]
)
def test_a_large_body_takes_little_memory(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "large.eml"
    with path.open("wb") as file:
        file.write(b"From: a@example.org\nTo: b@example.net\n\n")
        for _ in range(3 if line[0] > 127 else 24):
            file.write(line * ((3 << 20) // len(line)))
    context = replace(CONTEXT, message_size=1 << 30)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        tracemalloc.start()
        made = prepare(data, EXPLICIT, context)
        size = sum(map(len, made.chunks()))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert size == made.envelope.size > 4 << 20
    assert most < 6 << 20


INJECTED = [b"Subject: hi\rBcc: victim@example.org\n", b"Subject: hi\r\rtext\n", b"X: a\n b\r\n\tc\rd\n"]


@pytest.mark.parametrize("field", INJECTED)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r\r\n"])
@pytest.mark.parametrize("request_", [EXPLICIT, Request(), replace(EXPLICIT, add_from="x@example.org")])
def test_a_lone_cr_in_a_header_of_other_line_ends_is_refused(
    field: bytes, end: bytes, request_: Request
) -> None:
    data = re.sub(rb"\r*\n", end, field + PLAIN)
    with pytest.raises(MailstromError) as caught:
        prepare(data, request_, CONTEXT)
    line, name = (3, "X") if field[:1] == b"X" else (1, "Subject")
    what = "a CR stands alone in it: it ends a line for some and none for others (RFC 5322, 2.2)"
    assert (caught.value.message, caught.value.exit_code) == (f"line {line}: field `{name}`: {what}", 65)


def test_a_message_whose_lines_all_end_with_cr_is_taken() -> None:
    made = prepare(PLAIN.replace(b"\n", b"\r"), Request(), CONTEXT)
    assert b"".join(made.chunks()) == PLAIN.replace(b"\n", b"\r\n")
    assert made.fixes == ()


def test_cr_cr_lf_is_one_line_end_throughout() -> None:
    made = prepare(PLAIN.replace(b"\n", b"\r\r\n"), Request(), CONTEXT)
    assert b"".join(made.chunks()) == PLAIN.replace(b"\n", b"\r\n")
    assert [r.address for r in made.envelope.recipients] == ["b@example.net"]
    assert made.fixes == ()


def test_a_lone_cr_in_a_text_is_told() -> None:
    made = prepare(PLAIN + b"a\rb\r\rc\r", EXPLICIT, CONTEXT)
    assert b"".join(made.body.chunks()) == b"text\r\na\r\nb\r\n\r\nc\r\n"
    assert [str(f) for f in made.fixes] == [
        "4 CR that stood alone in the text were made line ends (RFC 5322, 2.3)"
    ]
