"""What holds for any octets at all."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from mailstrom_cli.errors import MailstromError
from mailstrom_cli.mail.header import split_header
from mailstrom_cli.mail.prepare import Context, Request, check, prepare

CONTEXT = Context(now=1795488180.5, token="abc123", host="mail.example.org")
EXPLICIT = Request(reverse_path="s@example.org", recipients=("r@example.net",))

ends = st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\n", b"\r\r\n", b"", b"\n ", b"\r\n\t"])
NAMES = b"From|from |Sender|To|Cc|Bcc|bcc\t|Resent-Bcc|Resent-To|Resent-From|Resent-Date|Received|Return-Path"
NAMES += b"|Date|Message-ID|Subject|X||\xff|a b|MIME-Version|Content-Type|Content-Transfer-Encoding"
NAMES += b"|DKIM-Signature|Content-Length|Reply-To|References"
BODIES = (
    b" a@example.org| Bob <b@example.net>| root| <x@y.example>|| | G: a@b.example;|(|\0| \xc3\xbc@example.org"
)
BODIES += (
    "| Jürgen (ü) <j@example.net>| b@bücher.example| größer =?utf-8?q?x?= ü| h=from:subject:bcc;".encode()
)
BODIES += b"| text/plain| multipart/mixed; boundary=b| 8bit| base64| 1.0| Tue, 24 Nov 2026 02:43:00 GMT"
BODIES += b'| \xfc| "a b"@c.example| ,,,|' + b"x" * 999 + b"| <>| a@b, c d"
names = st.sampled_from(NAMES.split(b"|"))
bodies = st.sampled_from(BODIES.split(b"|"))
fields = st.builds(
    lambda *parts: b"".join(parts), names, st.sampled_from([b":", b":", b":", b""]), bodies, ends
)
messages = st.builds(
    lambda *parts: b"".join(parts),
    st.sampled_from([b"", b"", b"From x y\n", b"\n"]),
    st.sampled_from([b"", b"From: a@example.org\n", b"From: root\r\n"]),
    st.lists(fields, max_size=6).map(b"".join),
    st.sampled_from([b"", b"\n", b"\r\n\r\n"]),
    st.one_of(st.binary(max_size=30), st.lists(ends | bodies, max_size=4).map(b"".join)),
)
contexts = st.sampled_from([CONTEXT, Context(now=0.0, token="t", origin="example.org", timezone=-3600)])
requests = st.sampled_from(
    [EXPLICIT, Request(), Request(recipients=("r@example.net",), key="k", add_from="Ü <x@x.example>")]
)


@given(st.binary(max_size=80) | messages, requests, contexts)
@settings(max_examples=1500, deadline=None)
def test_any_octets_are_a_message_or_an_error_and_what_leaves_is_clean(
    data: bytes, request: Request, context: Context
) -> None:
    made, findings = check(data, request, context)
    try:
        assert prepare(data, request, context).envelope == (made and made.envelope)
    except MailstromError as error:
        assert made is None
        assert all(line.isprintable() for line in error.message.split("\n"))
        assert len(error.message.split("\n")) == len([f for f in findings if f.severity == "refused"])
        return
    assert made is not None
    sent = b"".join(made.chunks())
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", sent)
    assert sent.endswith(b"\r\n")
    assert max(map(len, sent.split(b"\r\n"))) <= 998
    assert made.envelope.size == len(sent)
    header = split_header(sent)
    keys = [field.key for field in header.fields]
    assert not {"bcc", "resent-bcc", "return-path"}.intersection(keys)
    assert keys.count("date") == keys.count("message-id") == keys.count("from") == 1
    for address in (made.envelope.reverse_path, *[r.address for r in made.envelope.recipients]):
        assert address.isprintable()
    assert not any(c in made.envelope.message_id for c in "\r\n\0")


@given(messages, contexts)
@settings(max_examples=1000, deadline=None)
def test_what_leaves_prepared_again_is_the_same(data: bytes, context: Context) -> None:
    made, _ = check(data, EXPLICIT, context)
    if made is None:
        return
    sent = b"".join(made.chunks())
    again = prepare(sent, EXPLICIT, Context(now=7.0, token="other", origin=context.origin))
    assert b"".join(again.chunks()) == sent
    assert again.envelope == made.envelope
    assert not [f for f in again.fixes if f.severity == "fixed"]


@given(messages, requests, contexts)
@settings(max_examples=500, deadline=None)
def test_no_field_under_a_signature_changes(data: bytes, request: Request, context: Context) -> None:
    data = b"DKIM-Signature: h=from:to:cc:bcc:subject:date:message-id:mime-version; b=x\n" + data
    made, _ = check(data, request, context)
    if made is None:
        return
    names = {"from", "to", "cc", "bcc", "subject", "date", "message-id", "mime-version"}
    before, after = (
        [field.raw for field in split_header(octets).fields if field.key in names]
        for octets in (data, b"".join(made.chunks()))
    )
    assert after == before or request.add_from is not None  # then the header may end where it did not before
