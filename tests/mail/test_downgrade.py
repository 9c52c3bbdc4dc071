"""Without SMTPUTF8 a message shows the same, its text encoded and its domains in A-labels, or is not sent."""

from __future__ import annotations

from email import message_from_bytes, policy
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstrom_cli.mail.convert import Impossible, to_7bit, to_ascii
from mailstrom_cli.mail.downgrade import ascii_address, ascii_field

if TYPE_CHECKING:
    from collections.abc import Iterator


def made(converted: Iterator[bytes] | Impossible) -> bytes:
    assert not isinstance(converted, Impossible), converted.reason
    return b"".join(converted)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("", ""),
        ("ann@example.org", "ann@example.org"),
        ("ann@bücher.example", "ann@xn--bcher-kva.example"),
        ('"a b"@straße.example', '"a b"@xn--strae-oqa.example'),
        ("jürgen@example.org", None),
        ("ann@-ü.example", None),
    ],
)
def test_addresses(address: str, expected: str | None) -> None:
    assert ascii_address(address) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("Subject: Grüße\r\n", "Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\n"),
        ("Subject: Grüße", "Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\n"),
        ("To: Jörg <j@example.org>\r\n", "To: =?utf-8?b?SsO2cmc=?= <j@example.org>\r\n"),
        (
            'To: "x@ü" <a@bücher.example>,\r\n (@ü) b@ü.test\r\n',
            'To: =?utf-8?b?eEDDvA==?= <a@xn--bcher-kva.example>,\r\n (=?utf-8?b?QMO8?=) b@xn--tda.test\r\n',
        ),
        ("To: (( )@ü) a@ü.test\r\n", "To: (( )=?utf-8?b?QMO8?=) a@xn--tda.test\r\n"),
        ("To: jürgen@example.org\r\n", None),
        ("To: (ü\r\n", None),
        ("Message-ID: <ü@example.org>\r\n", None),
        ("Received: from ü\r\n", None),
        (
            'Content-Disposition: attachment; filename="Gr\\üße 1.pdf"; size=1\r\n',
            "Content-Disposition: attachment;\r\n filename*=utf-8''Gr%C3%BC%C3%9Fe%201.pdf; size=1\r\n",
        ),
        ("Content-Type: text/plain; name=ü\n", "Content-Type: text/plain;\r\n name*=utf-8''%C3%BC\r\n"),
        (
            f'Content-Type: image/png; name="{"ü" * 20}"\r\n',
            "Content-Type: image/png;\r\n name*0*=utf-8''" + "%C3%BC" * 6 + "%C3;\r\n name*1*="
            + "%BC" + "%C3%BC" * 7 + "%C3;\r\n name*2*=%BC" + "%C3%BC" * 5 + "\r\n",
        ),
        ("Content-Type: text/plain (ü)\r\n", None),
    ],
)  # fmt: skip
def test_fields(field: str, expected: str | None) -> None:
    assert ascii_field(field.encode()) == (None if expected is None else expected.encode())


def test_a_field_that_is_not_utf8_is_left_to_others() -> None:
    assert ascii_field(b"Subject: \xfc\r\n") is None


def test_only_the_header_changes_and_only_what_must() -> None:
    data = "From: a@example.org\r\nsubject:  Grüße\r\nX: a  b\r\n\r\nKörper\r\n".encode()
    assert made(to_ascii(data)) == (
        "From: a@example.org\r\nsubject:  =?utf-8?b?R3LDvMOfZQ==?=\r\nX: a  b\r\n\r\nKörper\r\n".encode()
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("From: ü@example.org\r\n\r\n", "its field `from` has no form in ASCII"),
        ("Subject: ü\r\nReceived: ü\r\n\r\n", "its field `received` has no form in ASCII"),
    ],
)
def test_what_has_no_form_in_ascii(data: str, reason: str) -> None:
    assert to_ascii(data.encode()) == Impossible(reason)


def test_fields_of_inner_parts_are_converted_with_the_content() -> None:
    data = (
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
        "Subject: ü\r\n\r\nx\r\n--b\r\nContent-Disposition: inline; filename=ü\r\n\r\ny\r\n--b--\r\n"
    )
    assert made(to_7bit(data.encode())) == (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
        b"Subject: =?utf-8?b?w7w=?=\r\n\r\nx\r\n--b\r\nContent-Disposition: inline;\r\n"
        b" filename*=utf-8''%C3%BC\r\n\r\ny\r\n--b--\r\n"
    )
    hopeless = to_7bit(data.replace("Subject", "References").encode())
    assert hopeless == Impossible("its field `references` has no form in ASCII")


def test_header_and_content_at_once() -> None:
    data = "From: a@example.org\r\nSubject: ü\r\n\r\nü\r\n".encode()
    assert made(to_7bit(data, header=True)) == (
        b"From: a@example.org\r\nSubject: =?utf-8?b?w7w=?=\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=BC\r\n"
    )


words = st.text(st.sampled_from("aé日😀 .,\"'()=?_"), min_size=1, max_size=60)


@given(words.map(lambda text: f"{text}ü"))
@settings(max_examples=300, deadline=None)
def test_a_file_name_reads_as_it_did(name: str) -> None:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    field = ascii_field(f'Content-Disposition: attachment; filename="{quoted}"\r\n'.encode())
    assert field is not None
    assert max(map(len, field.split(b"\r\n"))) <= 78
    assert message_from_bytes(field, policy=policy.default).get_filename() == name.strip()


@given(st.binary(max_size=100) | st.text(max_size=60).map(str.encode))
@settings(max_examples=500, deadline=None)
def test_any_field_has_a_form_in_ascii_or_none(octets: bytes) -> None:
    for name in (b"Subject", b"To", b"Content-Type", b"X"):
        field = ascii_field(name + b": " + octets)
        assert field is None or (field.isascii() and field.endswith(b"\r\n"))
    converted = to_ascii(b"A: b\r\n" + octets)
    assert isinstance(converted, Impossible) or b"".join(converted)
