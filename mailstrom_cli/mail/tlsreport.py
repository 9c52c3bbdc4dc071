"""The mail that carries a report on TLS (RFC 8460, 5.3), and the file in it."""

from __future__ import annotations

import base64
import gzip
import json
from hashlib import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeAlias

    Report: TypeAlias = Mapping[str, Any]

DAY = 86_400
MEDIA_TYPE = "application/tlsrpt+gzip"
BASE64_LINE = 76


def packed(report: Report) -> bytes:
    """A report as it is sent. The same report gives the same octets."""
    return gzip.compress(json.dumps(report, indent=2).encode(), mtime=0)


def file_name(submitter: str, domain: str, begin: int) -> str:
    """begin: of the day, in seconds since the epoch (RFC 8460, 5.1)."""
    return f"{submitter}!{domain}!{begin}!{begin + DAY - 1}.json.gz"


def report_mail(
    octets: bytes, *, author: str, to: str, domain: str, submitter: str, report_id: str, name: str
) -> bytes:
    """The message, with CRLF lines; Date and Message-ID are given to it when it is submitted. author, to:
    addresses.  octets: the packed report.  name: of the file.

    It says `TLS-Required: No`: a report that TLS is broken has to arrive though it is (RFC 8460, 5.3).
    """
    boundary = f"=_report_{sha256(octets).hexdigest()[:32]}"
    data = base64.b64encode(octets).decode()
    lines = [
        f"From: <{author}>",
        f"To: <{to}>",
        f"Subject: Report Domain: {domain}",
        f" Submitter: {submitter}",
        f" Report-ID: <{report_id}>",
        f"TLS-Report-Domain: {domain}",
        f"TLS-Report-Submitter: {submitter}",
        "TLS-Required: No",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        'Content-Type: multipart/report; report-type="tlsrpt";',
        f' boundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=us-ascii",
        "Content-Transfer-Encoding: 7bit",
        "",
        f"This is an aggregate TLS report from {submitter}.",
        "",
        f"--{boundary}",
        f"Content-Type: {MEDIA_TYPE}",
        "Content-Transfer-Encoding: base64",
        "Content-Disposition: attachment;",
        f' filename="{name}"',
        "",
        *(data[at : at + BASE64_LINE] for at in range(0, len(data), BASE64_LINE)),
        f"--{boundary}--",
        "",
    ]
    return "\r\n".join(lines).encode("ascii")
