"""The mail with a report on TLS in it (RFC 8460, 5.3)."""

from __future__ import annotations

import gzip
import json
from email import message_from_bytes, policy

from mailstrom_cli.mail.prepare import Context, Request, prepare
from mailstrom_cli.mail.tlsreport import file_name, packed, report_mail

REPORT = {"report-id": "2026-11-23.example.net@mail.example.org", "policies": [{"x": "y" * 500}]}
BEGIN = 1_795_392_000
NAME = "mail.example.org!example.net!1795392000!1795478399.json.gz"


def mail() -> bytes:
    return report_mail(
        packed(REPORT),
        author="tlsrpt@example.org",
        to="reports@example.net",
        domain="example.net",
        submitter="mail.example.org",
        report_id="2026-11-23.example.net@mail.example.org",
        name=file_name("mail.example.org", "example.net", BEGIN),
    )


def test_the_header_is_as_the_rfc_wants_it() -> None:
    assert mail().partition(b"\r\n\r\n")[0].decode().split("\r\n")[:-1] == [
        "From: <tlsrpt@example.org>",
        "To: <reports@example.net>",
        "Subject: Report Domain: example.net",
        " Submitter: mail.example.org",
        " Report-ID: <2026-11-23.example.net@mail.example.org>",
        "TLS-Report-Domain: example.net",
        "TLS-Report-Submitter: mail.example.org",
        "TLS-Required: No",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        'Content-Type: multipart/report; report-type="tlsrpt";',
    ]


def test_it_is_a_report_with_a_text_and_the_packed_file() -> None:
    message = message_from_bytes(mail(), policy=policy.default)
    assert (message.get_content_type(), message["content-type"].params["report-type"]) == (
        "multipart/report",
        "tlsrpt",
    )
    text, file = message.iter_parts()
    assert text.get_content_type() == "text/plain"
    assert (file.get_content_type(), file.get_filename()) == ("application/tlsrpt+gzip", NAME)
    assert json.loads(gzip.decompress(file.get_content())) == REPORT
    assert not message.defects and not file.defects


def test_it_is_submitted_as_it_is_and_says_that_tls_is_no_condition() -> None:
    done = prepare(mail(), Request(), Context(now=1.0, token="t", host="mail.example.org"))
    assert done.envelope.tls_optional
    assert [str(fix) for fix in done.fixes if "added" not in str(fix)] == []
    assert max(map(len, mail().split(b"\r\n"))) <= 78


def test_the_same_report_gives_the_same_octets() -> None:
    assert packed(REPORT) == packed(dict(REPORT))
