"""A message made ready: its envelope, its octets, what was fixed, and what is refused, where and why."""

from __future__ import annotations

import re

import pytest

from mailstrom_cli.errors import DATA, USAGE, MailstromError
from mailstrom_cli.mail.envelope import Recipient
from mailstrom_cli.mail.prepare import Context, Finding, Prepared, Request, check, prepare
from mailstrom_cli.values import replace

NOW = 1795488180.5  # Tue, 24 Nov 2026 02:43:00 UTC
CONTEXT = Context(now=NOW, token="abc123", host="mail.example.org")
DATE = b"Date: Tue, 24 Nov 2026 02:43:00 +0000\n"
ID = b"Message-ID: <abc123.1795488180@mail.example.org>\n"
STAMPS = b"Date: Mon, 1 Jan 2024 00:00:00 +0000\nMessage-ID: <x@y.example>\n"
NOBODY = "the message has no recipients: To, Cc and Bcc name no address"
NO_COMMA = "line 4: field `To`: `d` at character 2 follows an address without a comma between (RFC 5322, 3.4)"
NO_ORIGIN = "`b` has no domain, and no `origin` is configured to complete it"
FROM = b"From: a@example.org\n"
TO = b"To: b@example.net\n"
MIME = b"MIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\n"
PLAIN = FROM + TO + STAMPS + b"\ntext\n"
EXPLICIT = Request(reverse_path="s@example.org", recipients=("r@example.net",))


def prepared(data: bytes, request: Request | None = None, **context: object) -> Prepared:
    return prepare(data, request or Request(), replace(CONTEXT, **context))


def sent(data: bytes, request: Request | None = None, **context: object) -> bytes:
    """What leaves, with LF for easy reading."""
    octets = b"".join(prepared(data, request, **context).chunks())
    assert octets.count(b"\r\n") == octets.count(b"\r") == octets.count(b"\n")
    return octets.replace(b"\r\n", b"\n")


def recipients(data: bytes, request: Request | None = None, **context: object) -> list[str]:
    return [r.address for r in prepared(data, request, **context).envelope.recipients]


def refusals(data: bytes, request: Request | None = None, **context: object) -> list[str]:
    with pytest.raises(MailstromError) as caught:
        prepared(data, request, **context)
    return caught.value.message.split("\n")


# --- octets ---


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        PLAIN.replace(b"\ntext\n", b"\n"),
        PLAIN.replace(b"\ntext\n", b""),
        b"Received: x\n by y\n" + PLAIN,
        PLAIN.replace(b"To: ", b"tO \t:   (c)  \n\t "),
        PLAIN.replace(b"text", b"..\n.\n\n\n From x\nx"),
        MIME + PLAIN.replace(b"text", b"\xff\xfe"),
        b"DKIM-Signature: v=1; b=ab\n\tcd==\nX-Odd:\t \nContent-Lengths: 7\n" + PLAIN,
        "X: x\nTo: ünï@example.net\nSubject: ünï\n".encode() + FROM + STAMPS + b"\n",
    ],
)
def test_what_is_right_leaves_as_it_came(data: bytes) -> None:
    assert sent(data) == data
    assert b"".join(prepared(data.replace(b"\n", b"\r\n")).chunks()) == data.replace(b"\n", b"\r\n")
    assert not [f for f in prepared(data).fixes if f.severity == "fixed"]


def test_date_and_message_id_are_added_after_the_last_field() -> None:
    assert sent(FROM + TO + b"\ntext\n") == FROM + TO + DATE + ID + b"\ntext\n"
    assert sent(FROM + TO) == FROM + TO + DATE + ID


def test_an_empty_date_or_message_id_is_filled_in_where_it_stands() -> None:
    stamped = DATE + ID.replace(b"ID", b"Id")
    assert sent(FROM + b"Date:\nMessage-Id: \n" + TO + b"\n") == FROM + stamped + TO + b"\n"


@pytest.mark.parametrize(
    ("offset", "date"),
    [
        (0, b"Tue, 24 Nov 2026 02:43:00 +0000"),
        (3600, b"Tue, 24 Nov 2026 03:43:00 +0100"),
        (-5 * 3600, b"Mon, 23 Nov 2026 21:43:00 -0500"),
        (-12600, b"Mon, 23 Nov 2026 23:13:00 -0330"),
        (20700, b"Tue, 24 Nov 2026 08:28:00 +0545"),
    ],
)
def test_the_date_is_in_the_zone_of_the_context(offset: int, date: bytes) -> None:
    assert b"\nDate: " + date + b"\n" in sent(FROM + TO, timezone=offset)


@pytest.mark.parametrize(
    ("host", "origin", "author", "domain"),
    [
        ("mail.example.org", "example.com", "a@example.net", "mail.example.org"),
        ("localhost", "example.com", "a@example.net", "example.com"),
        ("localhost", "", "a@example.net", "example.net"),
        ("localhost", "", "a@x", "localhost"),
        ("a\r\nb", "", "a@example.net", "example.net"),
        ("büro.example", "", "a@example.net", "xn--bro-hoa.example"),
        ("", "", "a@exämple.net", "xn--exmple-cua.net"),
        ("", "", "a@[192.0.2.1]", "[192.0.2.1]"),
    ],
)
def test_the_message_id_is_made_at_the_first_full_name(
    host: str, origin: str, author: str, domain: str
) -> None:
    data = f"From: {author}\nTo: b@example.net\n\n".encode()
    assert prepared(data, host=host, origin=origin).envelope.message_id == f"<abc123.1795488180@{domain}>"


@pytest.mark.parametrize(
    ("field", "identity"),
    [
        (b"<x@y.example>", "<x@y.example>"),
        (b"(c) <x@y.example> (d)", "<x@y.example>"),
        (b"\n <x@y.example>", "<x@y.example>"),
        (b"unusual", "unusual"),
        (b"<a b>", "<a b>"),
    ],
)
def test_a_message_id_is_kept_even_if_unusual(field: bytes, identity: str) -> None:
    data = FROM + TO + b"Date: x\nMessage-ID: " + field + b"\n\n"
    assert sent(data) == data
    assert prepared(data).envelope.message_id == identity


def test_bcc_and_return_path_go_with_their_folds_and_nothing_else_does() -> None:
    data = (
        b"Return-Path: <x@example.org>\nBcc: c@example.net,\n d@example.net\n"
        + FROM
        + b"BCC : \n\tq@example.net\nX-Bcc: stays\n"
        + TO
        + STAMPS
        + b"\nBcc: in the text\n"
    )
    assert sent(data) == FROM + b"X-Bcc: stays\n" + TO + STAMPS + b"\nBcc: in the text\n"
    assert recipients(data) == ["b@example.net", "c@example.net", "d@example.net", "q@example.net"]
    assert [str(f) for f in prepared(data).fixes] == [
        "line 1: field `Return-Path`: removed (RFC 5321, 4.4)",
        "line 2: field `Bcc`: removed (RFC 5322, 3.6.3)",
        "line 5: field `BCC`: a blank stands before its colon (RFC 5322, 4.5)",
        "line 5: field `BCC`: removed (RFC 5322, 3.6.3)",
    ]


@pytest.mark.parametrize("name", ["To", "Cc"])
def test_destinations_that_repeat_are_all_sent_to_and_stay(name: str) -> None:
    data = f"{name}: x@example.net\nX: y\n{name.upper()}: y@example.net\n{name}: x@example.net\n".encode()
    data += FROM + STAMPS + b"\n"
    assert recipients(data) == ["x@example.net", "y@example.net"]
    assert sent(data) == data
    assert [str(f) for f in prepared(data).fixes] == [
        f"line {line}: field `{field}`: it may stand once; all of them are read as one (RFC 5322, 4.5.3)"
        for line, field in ((3, name.upper()), (4, name))
    ]


def test_a_fault_in_any_of_several_destinations_is_refused() -> None:
    (says,) = refusals(TO + b"To: <\n" + FROM)
    assert says.startswith("line 2: field `To`: the `<` at character 5 has no `>`")
    assert len(refusals(b"Bcc: x@example.net\nBCC: <\n" + PLAIN)) == 1


@pytest.mark.parametrize("name", ["To", "Cc", "Bcc"])
def test_every_destination_of_the_last_resending_counts(name: str) -> None:
    block = f"Resent-From: q@example.org\nResent-{name}: x@example.net\nResent-{name}: y@example.net\n"
    block += f"Resent-Date: x\nResent-{name}: z@example.net\n"
    old = b"Resent-From: o@example.org\nResent-Date: x\nResent-To: old@example.net\n"
    data = block.encode() + b"Received: x\n" + old + PLAIN
    assert recipients(data) == ["x@example.net", "y@example.net", "z@example.net"]
    assert sent(data) == (data if name != "Bcc" else re.sub(rb"Resent-Bcc: .*\n", b"", data))
    assert recipients(block.encode() + old + PLAIN) == recipients(data)


def test_a_destination_that_repeats_before_an_originator_begins_the_older_block() -> None:
    first = b"Resent-To: new@example.net\nResent-From: n@example.org\nResent-Date: x\n"
    older = b"Resent-To: old@example.net\nResent-Cc: old@example.net\nResent-From: o@example.org\n"
    assert recipients(first + older + PLAIN) == ["new@example.net"]
    assert prepared(first + older + PLAIN).envelope.reverse_path == "n@example.org"


def test_bcc_goes_with_explicit_recipients_too_and_is_not_mailed() -> None:
    data = PLAIN.replace(TO, TO + b"bcc\t: \xc3\xbc@example.net, not an address\n")
    assert sent(data, EXPLICIT) == PLAIN
    assert recipients(data, EXPLICIT) == ["r@example.net"]


def test_every_resent_bcc_goes() -> None:
    block = b"Resent-From: q@example.org\nResent-Date: x\nResent-Bcc: z@example.net\n"
    data = block + b"Received: x\nResent-Bcc: old@example.net\n" + PLAIN
    assert b"Resent-Bcc" not in sent(data)
    assert recipients(data) == ["z@example.net"]


def test_an_mbox_separator_is_dropped() -> None:
    assert sent(b"From a@example.org Tue Nov 24 02:43:00 2026\n" + PLAIN) == PLAIN
    fixes = prepared(b"From a@example.org Tue Nov 24\n" + PLAIN).fixes
    assert fixes == (Finding("fixed", "the separator line of an mbox was dropped", line=1),)


def test_lone_cr_and_lf_end_lines_and_the_last_line_gets_its_end() -> None:
    data = PLAIN.replace(b"\ntext\n", b"\r\na\rb\r\rc\nd")
    assert sent(data) == PLAIN.replace(b"text\n", b"a\nb\n\nc\nd\n")
    assert [str(f) for f in prepared(data).fixes] == [
        "3 CR that stood alone in the text were made line ends (RFC 5322, 2.3)",
        "the last line had no line end",
    ]


def test_bare_names_get_the_origin_in_the_header_and_in_the_envelope() -> None:
    data = b"From: root (Cron)\nTo: admin,\n Bob <bob>, c@example.net\nReply-To: x\n" + STAMPS + b"\n"
    made = prepared(data, origin="example.org")
    assert sent(data, origin="example.org") == (
        b"From: root@example.org (Cron)\nTo: admin@example.org,\n Bob <bob@example.org>, c@example.net\n"
        b"Reply-To: x@example.org\n" + STAMPS + b"\n"
    )
    assert made.envelope.reverse_path == "root@example.org"
    assert [r.address for r in made.envelope.recipients] == [
        "admin@example.org",
        "bob@example.org",
        "c@example.net",
    ]
    assert [(f.severity, f.line, f.field) for f in made.fixes] == [
        ("fixed", 1, "From"),
        ("fixed", 2, "To"),
        ("fixed", 4, "Reply-To"),
    ]


def test_a_name_whose_completion_makes_a_long_line_is_refused() -> None:
    data = FROM + b"To: " + b" " * 990 + b"abc\n" + STAMPS + b"\n"
    assert "with its names completed" in refusals(data, origin="example.org")[0]


# --- envelope ---


def test_recipients_are_those_of_to_cc_and_bcc_each_once_in_order() -> None:
    data = FROM + (
        b'To: b@Example.NET, "c"@example.net, Bob <b@example.net>\n'
        b"Cc: G: d@example.net, c@example.net;\nBcc: e@example.net, B@example.net\n\n"
    )
    assert recipients(data) == [
        "b@example.net",
        "c@example.net",
        "d@example.net",
        "e@example.net",
        "B@example.net",
    ]


def test_options_go_before_the_header() -> None:
    request = Request(
        reverse_path="<S@Example.org>",
        recipients=("<r@example.net>", '"r"@Example.net', "q@example.net"),
        at=5.0,
        expires=9.0,
        notify=("failure", "delay"),
        ret="hdrs",
        envid="id+1",
        submitter="jo",
    )
    envelope = prepared(PLAIN, request).envelope
    assert envelope.reverse_path == "S@example.org"
    assert envelope.recipients == (
        Recipient("r@example.net", ("failure", "delay")),
        Recipient("q@example.net", ("failure", "delay")),
    )
    assert (envelope.at, envelope.expires, envelope.ret, envelope.envid) == (5.0, 9.0, "hdrs", "id+1")
    assert (envelope.submitter, envelope.key, envelope.digest) == ("jo", None, None)


@pytest.mark.parametrize("null", ["", "<>"])
def test_the_reverse_path_may_be_null(null: str) -> None:
    assert prepared(PLAIN, Request(reverse_path=null)).envelope.reverse_path == ""


@pytest.mark.parametrize(
    ("header", "reverse_path"),
    [
        (b"From: A <a@example.org>\n", "a@example.org"),
        (b"From: a@example.org\nSender: s@example.org\n", "s@example.org"),
        (b"From: a@example.org, c@example.org\n", "a@example.org"),
        (b"From: G: c@example.org;, a@example.org\n", "a@example.org"),
        (b"From: G: c@example.org;\nSender: s@example.org\n", "s@example.org"),
        (b"From: nobody:;\nSender: s@example.org\n", "s@example.org"),
        (b"Resent-From: r@example.org\nFrom: a@example.org\n", "r@example.org"),
        (b"Resent-Sender: q@example.org\nResent-From: r@example.org\nFrom: a@example.org\n", "q@example.org"),
        (b"Resent-From: r@example.org\nFrom: a@example.org\nSender: s@example.org\n", "r@example.org"),
    ],
)
def test_the_reverse_path_is_the_senders_else_the_authors(header: bytes, reverse_path: str) -> None:
    data = header + TO + b"\n"
    request = Request(recipients=("r@example.net",))
    assert prepared(data, request).envelope.reverse_path == reverse_path


@pytest.mark.parametrize("trace", [b"Received: x\n", b"Return-Path: <>\n", b""])
def test_only_the_last_resending_counts(trace: bytes) -> None:
    new = b"Resent-From: n@example.org\nResent-To: new@example.net\nResent-Cc: cc@example.net\n"
    old = b"Resent-From: o@example.org\nResent-To: old@example.net\nResent-Bcc: older@example.net\n"
    data = b"Received: y\n" + new + trace + old + PLAIN
    assert recipients(data) == ["new@example.net", "cc@example.net"]
    assert prepared(data).envelope.reverse_path == "n@example.org"
    assert sent(data).startswith(b"Received: y\nResent-" + DATE + new)
    assert b"older" not in sent(data)


def test_a_resent_message_is_left_as_its_author_wrote_it() -> None:
    block = b"Resent-Date: x\nResent-From: r\nResent-To: q\n"
    original = b"From: root\nTo: admin, broken <\n" + STAMPS + b"\n"
    assert sent(block + original, origin="example.org") == (
        b"Resent-Date: x\nResent-From: r@example.org\nResent-To: q@example.org\n" + original
    )


def test_a_resent_block_without_recipients_has_none() -> None:
    assert refusals(b"Resent-From: r@example.org\n" + PLAIN) == [
        "the message has no recipients: Resent-To, Cc and Bcc name no address"
    ]


@pytest.mark.parametrize(
    ("data", "body", "smtputf8"),
    [
        (PLAIN, "7bit", False),
        (PLAIN + b"\xff", "8bitmime", False),
        ("Subject: ü\n".encode() + PLAIN, "7bit", False),
        ("References: <ü@x.example>\n".encode() + PLAIN, "8bitmime", True),
        (PLAIN.replace(b"b@", "ü@".encode()), "8bitmime", True),
        (PLAIN.replace(TO, TO + "Bcc: ü@example.net\n".encode()), "7bit", True),
    ],
)
def test_the_envelope_tells_what_the_server_must_know(data: bytes, body: str, smtputf8: bool) -> None:
    envelope = prepared(data).envelope
    assert (envelope.body, envelope.smtputf8) == (body, smtputf8)


def test_the_size_is_that_of_what_leaves() -> None:
    for data in (PLAIN, FROM + TO, FROM + TO + b"\n" + b"x\n" * 2_000_000):
        made = prepared(data)
        assert made.envelope.size == sum(map(len, made.chunks()))


def test_the_digest_of_a_key_tells_messages_and_recipients_apart_but_not_times() -> None:
    def digest(data: bytes, to: str = "r@example.net", now: float = NOW) -> str | None:
        request = Request(recipients=(to,), key="k")
        return prepared(data, request, now=now, token=str(now)).envelope.digest

    same = digest(FROM + b"\nx")
    assert same == digest(FROM + b"\nx", now=NOW + 99)
    assert same == digest(FROM.replace(b"\n", b"\r\n") + b"\r\nx\r\n")
    assert len({same, digest(FROM + b"\ny"), digest(FROM + b"\nx", to="q@example.net")}) == 3


# --- refusals ---


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the message is empty"),
        (b"hello world\n", "line 1: `hello world` is no header field: it has no colon (RFC 5322, 2.2)"),
        (FROM + b"hello\n" + TO, "line 2: `hello` is no header field: it has no colon (RFC 5322, 2.2)"),
        (b"\n" + PLAIN, "line 1: the message starts with an empty line and has no header (RFC 5322, 3.6)"),
        (TO + b"\nx", "field `From`: it is missing (RFC 5322, 3.6.2)"),
        (b"From:\n" + TO, "line 1: field `From`: it names no address (RFC 5322, 3.6.2)"),
        (
            b"From: nobody:;\n" + TO,
            "line 1: field `From`: it has a group, which cannot be the sender (RFC 6854, 2.1)",
        ),
        (FROM + b"\nx", NOBODY),
        (
            FROM + b"To: undisclosed-recipients:;\n\nx",
            NOBODY,
        ),
        (
            FROM + b"To: b@example.net,\n c@example.net\n d@e\n\nx",
            NO_COMMA,
        ),
        (
            b"From: Bob <b>\n" + TO,
            f"line 1: field `From`: {NO_ORIGIN} (RFC 5322, 3.4)",
        ),
        (
            "Subject: ü\n".encode("latin-1") + PLAIN,
            "line 1: field `Subject`: octet 0xFC is neither ASCII nor part of UTF-8 (RFC 6532, 3.1)",
        ),
        (b"X: a\0b\n" + PLAIN, "line 1: a NUL octet is in the header (RFC 5322, 4)"),
        (PLAIN + b"a\0b\n", "line 7: a NUL octet is in the body (RFC 5322, 4)"),
        (
            b"X: a\n " + b"y" * 998 + b"\n" + PLAIN,
            "line 2: field `X`: the line has 999 octets; 998 are the most (RFC 5322, 2.1.1)",
        ),
        (
            PLAIN + b"y" * 999 + b"\r.",
            (
                "line 7: the line has over 998 octets, the longest 999, and stays so, as some of its lines "
                "end with CR alone or with CR CR LF (RFC 5322, 2.1.1)"
            ),
        ),
        (
            b"Received: x\n" * 100 + PLAIN,
            "line 100: field `Received`: there are 100 of it: the message runs in a loop (RFC 5321, 6.3)",
        ),
        (
            b"Resent-To: b@example.net\n" + PLAIN,
            "field `Resent-From`: it is missing beside the other Resent- fields (RFC 5322, 3.6.6)",
        ),
        (
            b"From x\n" + FROM + TO + b"Subject: x\n" * 2,
            "line 5: field `Subject`: it may stand once, and is on line 4 already (RFC 5322, 3.6)",
        ),
    ],
)
def test_a_refusal_names_line_field_and_rule(data: bytes, says: str) -> None:
    assert refusals(data) == [says]


SINGLETONS = ["From", "Sender", "Reply-To", "Message-ID", "Date", "Subject", "In-Reply-To", "References"]


@pytest.mark.parametrize("name", SINGLETONS)
def test_a_singleton_stands_once(name: str) -> None:
    data = f"{name}: x@example.org\nX: y\n{name.upper()}: y@example.org\n".encode()
    data += b"" if name == "From" else FROM
    says = f"line 3: field `{name.upper()}`: it may stand once, and is on line 1 already (RFC 5322, 3.6)"
    assert refusals(data, EXPLICIT) == [says]


def test_every_refusal_is_told_in_the_order_of_lines() -> None:
    data = b"From: a b\nTo: <x\nX-\xff: y\n\n" + b"z" * 999 + b"\n\0\n"
    request = Request(recipients=("q q@x", "@x"), envid="\r\n")
    assert [text.split(":")[0] for text in refusals(data, request)] == [
        "envid",
        "recipient",
        "recipient",
        "line 1",
        "line 3",
        "line 5",
        "line 6",
    ]


def test_99_received_fields_are_no_loop() -> None:
    assert sent(b"Received: x\n" * 99 + PLAIN).startswith(b"Received: x\n" * 99)


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (Request(recipients=("a b@example.org",)), "recipient: `a b@example.org` has a space"),
        (Request(recipients=("a@example.org\r\nRCPT TO:<x@y>",)), "recipient: `a@example.org\\r\\nRCPT TO"),
        (Request(recipients=("root",)), "recipient: `root` has no domain"),
        (Request(recipients=("",)), "recipient: the address is empty"),
        (Request(reverse_path="a\0@example.org"), "sender: `a\\x00@example.org` has the character U+0000"),
        (Request(key="a\nb"), "key: `a\\nb` has a character in it that cannot be seen"),
        (Request(envid="x\r"), "envid: `x\\r` has a character"),
        (Request(envid=""), "envid: it must be 1 to 100"),
        (Request(envid="x" * 101), "envid: it must be 1 to 100"),
        (Request(envid="ü"), "envid: it must be 1 to 100"),
        (Request(submitter="a\nb"), "submitter: `a\\nb` has"),
        (Request(ret="all"), "ret: `all` is neither full nor hdrs"),
        (Request(notify=("never", "delay")), "notify: `never,delay` is neither"),
        (Request(notify=("sometimes",)), "notify: `sometimes` is neither"),
    ],
)
def test_a_wrong_option_is_a_usage_error_and_never_cleaned_up(request_: Request, says: str) -> None:
    with pytest.raises(MailstromError) as caught:
        prepared(PLAIN, request_)
    assert caught.value.message.startswith(says)
    assert caught.value.message.isprintable()
    assert caught.value.exit_code == USAGE


def test_a_wrong_message_is_a_data_error_with_a_hint() -> None:
    with pytest.raises(MailstromError) as caught:
        prepared(FROM + b"\n", Request(recipients=()))
    assert caught.value.message == "the message has no recipients"
    assert caught.value.hint == "name them with --to ADDRESS"
    assert caught.value.exit_code == DATA


def test_limits_hold_for_what_leaves() -> None:
    size = prepared(PLAIN).envelope.size
    assert prepared(PLAIN, message_size=size).envelope.size == size
    for limit in (size - 1, len(PLAIN) - 1):
        assert f"{limit} are the most (RFC 1870)" in refusals(PLAIN, message_size=limit)[0]
    many = Request(recipients=tuple(f"r{i}@example.net" for i in range(4)))
    assert len(recipients(PLAIN, many, recipients=4)) == 4
    assert refusals(PLAIN, many, recipients=3) == ["the message has 4 recipients; 3 are the most"]


@pytest.mark.parametrize("to", [b"broken <", b"root", b"a@b@c", b""])
def test_a_field_that_the_envelope_does_not_need_is_noted(to: bytes) -> None:
    data = PLAIN.replace(TO, b"To: " + to + b"\n")
    assert sent(data, EXPLICIT) == data
    assert [f.severity for f in prepared(data, EXPLICIT).fixes] == (["noted"] if to else [])


def test_several_authors_without_sender_and_blanks_before_colons_are_noted() -> None:
    notes = prepared(PLAIN.replace(FROM, b"From : a@example.org, b@example.org\n")).fixes
    assert [(f.severity, f.line) for f in notes] == [("noted", 1), ("noted", 1)]


def test_check_gives_all_findings_whether_refused_or_not() -> None:
    made, findings = check(b"Bcc: x@example.org\nTo: <\n\nx", Request(), CONTEXT)
    assert made is None
    assert [(f.severity, f.field, f.line) for f in findings] == [
        ("refused", "From", None),
        ("fixed", "Date", None),
        ("fixed", "Message-ID", None),
        ("fixed", None, None),
        ("fixed", "Bcc", 1),
        ("refused", "To", 2),
    ]
    made, findings = check(PLAIN, Request(), CONTEXT)
    assert made is not None
    assert findings == made.fixes == ()


def test_an_empty_from_however_written_is_filled_in_with_a_name_beyond_ascii() -> None:
    request = Request("a@example.org", ("b@example.net",), add_from="Jörg <a@example.org>")
    filled = sent(b"from :\nTo: b@example.net\n\nx\n", request)
    assert filled.startswith(b"from : =?utf-8?b?SsO2cmc=?= <a@example.org>\n")


@pytest.mark.parametrize(
    ("fields", "optional"),
    [
        (b"", False),
        (b"TLS-Required: No\n", True),
        (b"tls-required:no\n", True),
        (b"TLS-Required:\n  NO \n", True),
        (b"TLS-Required: Yes\n", False),
        (b"TLS-Required: no thanks\n", False),
        (b"TLS-Required:\n", False),
        (b"TLS-Required: No\nTLS-Required: No\n", False),
    ],
)
def test_tls_required_no_is_told_to_the_envelope_and_stays(fields: bytes, optional: bool) -> None:
    """RFC 8689, 3."""
    done = prepared(fields + PLAIN)
    assert (done.envelope.requiretls, done.envelope.tls_optional) == (False, optional)
    assert done.head.startswith(fields.replace(b"\n", b"\r\n"))
    _, findings = check(fields + PLAIN, Request(), CONTEXT)
    assert any("it has no effect" in f.what for f in findings) is (bool(fields) and not optional)
    both = prepared(fields + PLAIN, Request(requiretls=True)).envelope
    assert (both.requiretls, both.tls_optional) == (True, False)
