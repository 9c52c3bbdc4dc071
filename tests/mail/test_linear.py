"""Twice the input is twice the work: in executed lines, and in seconds only where a square would show."""

from __future__ import annotations

import sys
import time

import pytest

from mailstrom_cli.mail.address import AddressError, parse_mailbox
from mailstrom_cli.mail.prepare import Context, Request, check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

CONTEXT = Context(now=0.0, token="t", origin="example.org", message_size=1 << 30, recipients=1 << 30)
FROM = b"From: a@example.org\n"
TO = b"To: b@example.net\n"


def lines_executed(work: Callable[[], object]) -> int:
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> object:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


MESSAGES: dict[str, Callable[[int], bytes]] = {
    "fields": lambda n: FROM + TO + b"X-N: y\n" * n + b"\n",
    "fields without end": lambda n: FROM + TO + b"X-N: y\n" * n + b"oops",
    "fields not ASCII": lambda n: FROM + TO + b"X-N: \xc3\xbc\n" * n + b"\n",
    "fields with blanks": lambda n: FROM + TO + b"X-N : y\n" * n + b"\n",
    "Bcc and Resent-Bcc": lambda n: FROM + TO + b"Resent-Bcc: y\n" * n + b"\n",
    "folds": lambda n: FROM + b"To: b@example.net" + b"\n " * n + b"\n\n",
    "recipients": lambda n: FROM + b"To: " + b",\n ".join(b"r%d@example.net" % i for i in range(n)) + b"\n\n",
    "the same recipient": lambda n: FROM + b"To: " + b",\n ".join([b"r@example.net"] * n) + b"\n\n",
    "bare names": lambda n: FROM + b"To: " + b",\n ".join(b"r%d" % i for i in range(n)) + b"\n\n",
    "commas": lambda n: FROM + b"To: x@y" + b",\n " * n + b"\n\n",
    "nested comments": lambda n: FROM + b"To: " + b"(\n " * n + b")\n " * n + b"b@example.net\n\n",
    "open comments": lambda n: FROM + b"To: " + b"(\n " * n + b"b@example.net\n\n",
    "comments": lambda n: FROM + b"To: " + b"()\n " * n + b"b@example.net\n\n",
    "open brackets": lambda n: FROM + b"To: " + b"[\n " * n + b"\n\n",
    "literals": lambda n: FROM + b"To: x@" + b"[]\n " * n + b"\n\n",
    "quotes": lambda n: FROM + b"To: " + b'"\\""\n ' * n + b"<b@example.net>\n\n",
    "dots": lambda n: FROM + b"To: " + b"a.\n " * n + b"@example.net\n\n",
    "words": lambda n: FROM + b"To: " + b"a\n " * n + b"\n\n",
    "groups": lambda n: FROM + b"To: " + b"g:;,\n " * n + b"b@example.net\n\n",
    "routes": lambda n: FROM + b"To: <" + b"@a,\n " * n + b":b@example.net>\n\n",
    "labels": lambda n: FROM + b"To: b@" + b"a.\n " * n + b"example\n\n",
    "dates": lambda n: FROM + TO + b"Date: " + b"(\n " * n + b":\n " * n + b"\n\n",
    "identities": lambda n: FROM + TO + b"Message-ID: <" + b"a.\n @" * n + b"\n\n",
    "blank folds": lambda n: FROM + TO + b"X: y\n" + b" \n" * n + b"\n",
    "Resent- blocks": lambda n: FROM + TO + b"Resent-To: y@example.net\n" * n + b"\n",
    "controls": lambda n: FROM + TO + b"X: \x01\n" * n + b"\n",
    "encoded-words": lambda n: FROM + TO + b"Subject: " + b"=?utf-8?q?x?=\n " * n + b"\n\n",
    "starts of encoded-words": lambda n: FROM + TO + b"Subject: " + b"=?a?q?\n " * n + b"\n\n",
    "question marks": lambda n: FROM + TO + b"Subject: " + b"=?\n " * n + b"\n\n",
    "raw words": lambda n: FROM + TO + b"Subject: " + b"\xc3\xbc\n " * n + b"\n\n",
    "raw and other words": lambda n: FROM + TO + b"Subject: " + b"\xc3\xbc\n x\n " * n + b"\n\n",
    "raw names": lambda n: FROM + b"To: " + b"\xc3\xbc <b@example.net>,\n " * n + b"\n\n",
    "raw comments": lambda n: FROM + b"To: b@example.net " + b"(\xc3\xbc\n " * n + b")" * n + b"\n\n",
    "raw quotes": lambda n: FROM + b"To: " + b'"\xc3\xbc"\n ' * n + b"<b@example.net>\n\n",
    "signatures": lambda n: b"DKIM-Signature: h=x:y;\n" * n + FROM + TO + b"X: y\n" * n + b"\n",
    "signed names": lambda n: b"DKIM-Signature: h=" + b"x:\n " * n + b";\n" + FROM + TO + b"\n",
    "MIME fields": lambda n: FROM + TO + b"Content-Type: a/b\n" * n + b"\n",
    "MIME parameters": lambda n: FROM + TO + b"Content-Type: a/b" + b";\n x=(y)" * n + b"\n\n",
    "raw body": lambda n: FROM + TO + b"\n" + b"\xc3\xbc\n" * n,
    "long domain": lambda n: FROM + b"To: b@" + b"\xc3\xbc" * n + b"\n\n",
    "body lines": lambda n: FROM + TO + b"\n" + b"x\n" * n,
    "body of returns": lambda n: FROM + TO + b"\n" + b"\r" * n,
    "body of long lines": lambda n: FROM + TO + b"\n" + (b"x" * 1000 + b"\n") * (n // 100),
    "body of one line": lambda n: FROM + TO + b"\n" + b"x" * n,
    "body of NULs": lambda n: FROM + TO + b"\n" + b"\0\n" * n,
}


@pytest.mark.parametrize("name", MESSAGES)
def test_preparing_takes_linear_work(name: str) -> None:
    make = MESSAGES[name]
    small, large = (lines_executed(lambda n=n: check(make(n), Request(), CONTEXT)) for n in (1000, 2000))
    assert large <= 2.1 * small + 200


@pytest.mark.parametrize("name", MESSAGES)
def test_nothing_below_the_interpreter_is_quadratic_either(name: str) -> None:
    """The copying that no executed line shows: a square of 200,000 would take hours."""
    data = MESSAGES[name](20_000 if "fields" in name or "recipient" in name else 200_000)
    began = time.perf_counter()
    check(data, Request(), CONTEXT)
    assert time.perf_counter() - began < 30


@pytest.mark.parametrize("text", ["a.", '"', "\\", "a@", "[", "a@[IPv6::", "a@b.", "a@-", "<", "é", "a@é."])
def test_a_mailbox_of_any_length_takes_linear_work(text: str) -> None:
    def work(n: int) -> int:
        def parse() -> None:
            with pytest.raises(AddressError):
                parse_mailbox(text * n + " ")

        return lines_executed(parse)

    assert work(2000) <= 2.1 * work(1000) + 200
