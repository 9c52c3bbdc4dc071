"""What is composed says the same to every reader: to `email` with both of its policies, and to our own."""

from __future__ import annotations

import email
import email.header
import email.policy
import email.utils
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailstrom_cli.errors import MailstromError
from mailstrom_cli.mail.address import AddressError, Mailbox
from mailstrom_cli.mail.compose import Attachment, Draft, compose, encoded_size
from mailstrom_cli.mail.prepare import Context, Request, prepare
from mailstrom_cli.mail.written import Named, parse_named, text_field

if TYPE_CHECKING:
    from email.message import EmailMessage, Message

AUTHOR = Named("", Mailbox("a", "example.org"))
TO = (Named("", Mailbox("b", "example.net")),)
CONTEXT = Context(now=1_790_000_000.0, token="0" * 20, host="mail.example.org", origin="example.org")

# Everything that may be typed: no controls, no surrogates. Some pieces that readers stumble over more often.
CHARACTERS = st.characters(exclude_categories=["Cc", "Cs"])
TRAPS = st.sampled_from(
    ["=?utf-8?q?a?=", "=?", "?=", "  ", '"', "\\", ",", ";", "Jörg", "日本", "x" * 80, "%41", "'"]
)
TEXTS = st.lists(st.one_of(TRAPS, CHARACTERS), max_size=40).map("".join)
SAID = TEXTS.map(lambda text: text.strip(" \t"))
NAMES = TEXTS.map(lambda text: text.replace("/", "") or "x")
SOME = settings(max_examples=150, deadline=None)


def draft(**given: Any) -> Draft:
    return Draft(**{"author": AUTHOR, "to": TO, **given})


def modern(octets: bytes) -> EmailMessage:
    return email.message_from_bytes(octets, policy=email.policy.default)


def old(octets: bytes) -> Message[str, str]:
    return email.message_from_bytes(octets, policy=email.policy.compat32)


def decoded(value: str) -> str:
    """A field as RFC 2047 has it decoded, by the older of the two readers."""
    return str(email.header.make_header(email.header.decode_header(value.replace("\r\n", ""))))


def only(parts: Any) -> Any:
    (part,) = parts
    return part


def check_form(octets: bytes) -> None:
    """What holds of every composed message: it may be sent as it is, and nothing about it is remarked."""
    for line in octets.split(b"\r\n"):
        assert len(line) <= 998
        assert b"\r" not in line and b"\n" not in line
    head = octets.partition(b"\r\n\r\n")[0]
    assert head.isascii()
    assert all(len(line) <= 78 or len(line.split()) <= 2 for line in head.split(b"\r\n"))
    prepared = prepare(octets, Request(), CONTEXT)
    assert [str(f) for f in prepared.fixes if "added" not in str(f)] == []
    assert b"".join(prepared.chunks()).endswith(octets.partition(b"\r\n\r\n")[2])


# --- fields ---


@SOME
@given(subject=SAID)
@example("=?utf-8?q?not_encoded?= =?utf-8?q?by_us?=")
@example("ä  b   c ö " * 12 + "z")
@example("x" * 1200)
@example("a" + " " * 300 + "b")
def test_a_subject_is_read_as_it_was_given(subject: str) -> None:
    octets = compose(draft(subject=subject))
    check_form(octets)
    assert decoded(old(octets).get("Subject", "")) == subject
    if "\u2028" not in subject and "\u2029" not in subject:  # the newer reader takes them for ends of a line
        assert str(modern(octets).get("Subject", "")) == subject


@SOME
@given(name=SAID.filter(bool), others=st.integers(0, 3))
@example("Müller, Jörg and a very very long display name; yes, it is long", 1)
@example('"', 0)
@example("=?utf-8?q?a?=", 2)
def test_a_display_name_is_read_as_it_was_given(name: str, others: int) -> None:
    named = Named(name, Mailbox("jörg" if others == 9 else "j.x", "example.org"))
    octets = compose(draft(author=named, to=(*TO * others, named)))
    check_form(octets)
    for field in ("From", "To"):
        pairs = email.utils.getaddresses([re.sub("\r\n", "", old(octets)[field])])
        assert (decoded(pairs[-1][0]), pairs[-1][1]) == (name, "j.x@example.org")
        if "\u2028" not in name and "\u2029" not in name:
            assert modern(octets)[field].addresses[-1].addr_spec == "j.x@example.org"
    assert parse_named(old(octets)["To"].replace("\r\n", ""))[-1].box == named.box


@pytest.mark.parametrize(
    ("typed", "name", "address"),
    [
        ("j@example.org", "", "j@example.org"),
        ("<j@example.org>", "", "j@example.org"),
        ("Jörg Müller <j@example.org>", "Jörg Müller", "j@example.org"),
        ('"Müller,  Jörg (Büro)" <j@example.org>', "Müller,  Jörg (Büro)", "j@example.org"),
        ("Dr. J.  M. <j@example.org>", "Dr. J. M.", "j@example.org"),
        (r'"a \"b\" c" <j@example.org>', 'a "b" c', "j@example.org"),
        ("J (a comment, that goes) <j@example.org>", "J", "j@example.org"),
        ("J <j@BÜCHER.example>", "J", "j@xn--bcher-kva.example"),
        ('"a@b, c" <"x, y"@[192.0.2.1]>', "a@b, c", '"x, y"@[192.0.2.1]'),
        ("ops", "", "ops@example.org"),
        ("root", "", "root@example.org"),
    ],
)
def test_a_typed_mailbox_is_understood(typed: str, name: str, address: str) -> None:
    (named,) = parse_named(typed, "example.org", {"root"})
    assert (named.name, str(named.box)) == (name, address)


def test_a_list_is_split_at_its_commas() -> None:
    found = parse_named('"B, C" <b@example.net>,, d@example.net, E (x, y) <e@example.net> ,')
    assert [(n.name, str(n.box)) for n in found] == [
        ("B, C", "b@example.net"),
        ("", "d@example.net"),
        ("E", "e@example.net"),
    ]


@pytest.mark.parametrize(
    "typed",
    ["", ",", "a b@example.org", "a@example.org b@example.org", "Team: a@example.org;",
     "T: a@example.org, b@example.org;, c@example.org", '"a <a@example.org>', "Müller, Jörg <j@example.org>",
     "a@example.org\n",
     "a\r\nBcc: x@example.org <a@example.org>", "a\0 <a@example.org>", "a\x85 <a@example.org>", "ops"],
)  # fmt: skip
def test_what_is_no_list_of_mailboxes_is_refused(typed: str) -> None:
    with pytest.raises(AddressError):
        parse_named(typed)


def test_names_in_ascii_stay_readable() -> None:
    to = parse_named('Joe Doe <j@example.net>, "Doe, J." <d@example.net>, c@example.net')
    assert b'\r\nTo: Joe Doe <j@example.net>, "Doe, J." <d@example.net>, c@example.net\r\n' in compose(
        draft(to=to)
    )


def test_an_address_beyond_ascii_stays_and_the_names_are_encoded() -> None:
    to = parse_named("Jörg <jörg@example.net>")
    octets = compose(draft(to=to))
    assert "To: =?utf-8?b?SsO2cmc=?= <jörg@example.net>\r\n".encode() in octets
    assert prepare(octets, Request(), CONTEXT).envelope.smtputf8


def test_many_recipients_are_folded() -> None:
    to = tuple(Named("", Mailbox(f"recipient-{n}", "example.net")) for n in range(2000))
    octets = compose(draft(to=to))
    check_form(octets)
    assert len(prepare(octets, Request(), CONTEXT).envelope.recipients) == 2000


def test_without_a_named_recipient_there_is_a_to_field_all_the_same() -> None:
    octets = compose(draft(to=()))
    assert b"\r\nTo: undisclosed-recipients:;\r\n" in octets
    prepare(octets, Request(recipients=("b@example.net",)), CONTEXT)


def test_further_fields_stay_as_they_are_or_are_encoded() -> None:
    url = "<https://example.org/" + "u" * 200 + ">"
    headers = (("List-Unsubscribe", url), ("X-Note", "=?utf-8?q?=C3=A4?="), ("X-Wo", "Straße 1"),
               ("Sender", "Jörg <j@example.org>"), ("X-Long", "word " * 40))  # fmt: skip
    read = old(compose(draft(headers=headers)))
    assert read["List-Unsubscribe"] == url
    assert read["X-Note"] == "=?utf-8?q?=C3=A4?="
    assert read["X-Wo"] == "=?utf-8?q?Stra=C3=9Fe?= 1"
    assert read["Sender"].isascii() and decoded(read["Sender"]) == "Jörg <j@example.org>"
    assert read["X-Long"].replace("\r\n", "") == ("word " * 40).strip()
    assert max(map(len, read["X-Long"].split("\r\n"))) <= 76


@pytest.mark.parametrize("header", [("References", "<ä@example.org>"), ("Sender", "ä ä"), ("List-Id", "<ä>")])
def test_text_beyond_ascii_is_refused_where_it_cannot_be_encoded(header: tuple[str, str]) -> None:
    with pytest.raises(MailstromError, match="cannot have text beyond ASCII"):
        compose(draft(headers=(header,)))


@pytest.mark.parametrize("control", ["\r\n", "\n", "\r", "\0", "\x1b", "\x7f", "\x85", "\r\n ", "\ud800"])
@pytest.mark.parametrize("where", ["subject", "name", "header", "filename"])
def test_no_control_reaches_a_field(control: str, where: str) -> None:
    text = f"a{control}Bcc: x@example.org"
    given_ = {
        "subject": {"subject": text},
        "name": {"to": (Named(text, TO[0].box),)},
        "header": {"headers": (("X-A", text),)},
        "filename": {"attachments": (Attachment(text, "text/plain", b""),)},
    }[where]
    with pytest.raises(AddressError, match=r"U\+"):
        compose(draft(**given_))


# --- texts ---


@SOME
@given(text=st.lists(st.one_of(CHARACTERS, TRAPS, st.sampled_from("\n\t \f\x1b.="))).map("".join))
@example("From here\n.\n..\n")
@example("trailing blank \nand tab\t\n")
@example("ж" * 3000)
@example("y" * 3000 + "\n")
@example("")
def test_a_text_is_read_as_it_was_given(text: str) -> None:
    octets = compose(draft(text=text))
    check_form(octets)
    ended = text if text.endswith("\n") else text + "\n"
    payload = old(octets).get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert payload.replace(b"\r\n", b"\n").decode() == ended
    assert modern(octets).get_content().replace("\r\n", "\n") == ended
    assert modern(octets).get_content_charset() == "utf-8"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("plain\n", "7bit"),
        ("", "7bit"),
        ("x" * 998, "7bit"),
        ("x" * 999, "quoted-printable"),
        ("Grüße aus Köln\n", "quoted-printable"),
        ("Привет, мир\n", "base64"),
        ("日本語\n", "base64"),
    ],
)
def test_the_encoding_is_the_most_readable_that_arrives(text: str, encoding: str) -> None:
    assert old(compose(draft(text=text)))["Content-Transfer-Encoding"] == encoding


def test_line_ends_of_every_kind_become_crlf() -> None:
    assert compose(draft(text="a\nb\r\nc\rd")).endswith(b"\r\n\r\na\r\nb\r\nc\r\nd\r\n")


def test_encoded_lines_have_76_octets_at_most() -> None:
    for text in ("ü " * 500, "日本" * 500):
        body = compose(draft(text=text)).partition(b"\r\n\r\n")[2]
        assert max(map(len, body.split(b"\r\n"))) == 76


def test_html_stands_behind_the_text_as_its_alternative() -> None:
    octets = compose(draft(text="Grüße\n", html="<p>Grüße</p>\n"))
    check_form(octets)
    read = modern(octets)
    assert read.get_content_type() == "multipart/alternative"
    assert [p.get_content_type() for p in read.iter_parts()] == ["text/plain", "text/html"]
    assert read.get_body(("html",)).get_content() == "<p>Grüße</p>\r\n"


def test_html_alone_is_no_alternative() -> None:
    assert modern(compose(draft(html="<p>a</p>"))).get_content_type() == "text/html"


# --- attachments ---


@SOME
@given(name=NAMES, data=st.binary(max_size=300))
@example("Übersicht.pdf", b"")
@example("日本語" * 30 + ".txt", b"x")
@example('a"b\\c.txt', b"x")
@example("x" * 255, b"x")
@example("it's 100%.txt", b"x")
def test_an_attachment_arrives_unaltered_with_its_name(name: str, data: bytes) -> None:
    octets = compose(draft(text="see there\n", attachments=(Attachment(name, "application/pdf", data),)))
    check_form(octets)
    part = only(modern(octets).iter_attachments())
    assert part.get_content() == data
    payload = old(octets).get_payload()
    assert isinstance(payload, list)
    _, attached = payload
    assert attached.get_payload(decode=True) == data
    if not any(c in name for c in "\u2028\u2029"):
        assert (
            email.utils.collapse_rfc2231_value(attached.get_param("filename", header="content-disposition"))
            == name
        )
    # Who reads neither RFC 2231 nor Content-Disposition: the quoted value, decoded.
    assert decoded(str(attached.get_param("name"))) == name


@given(name=NAMES)
@settings(max_examples=100, deadline=None)
def test_the_newer_reader_knows_the_name_too(name: str) -> None:
    octets = compose(draft(attachments=(Attachment(name, "application/pdf", b""),)))
    name = email.utils.unquote(name).strip()  # `get_filename` does that to what it has read
    if not any(c in name for c in "\u2028\u2029"):
        assert only(modern(octets).iter_attachments()).get_filename() == name


def test_a_text_file_is_not_altered() -> None:
    data = "Zeile 1\nZeile 2\r\nohne Ende: ü".encode()
    octets = compose(draft(attachments=(Attachment("a.txt", "text/plain", data),)))
    part = only(modern(octets).iter_attachments())
    assert part.get_payload(decode=True) == data
    assert part.get_content_charset() == "utf-8"


@pytest.mark.parametrize("data", [b"ascii only", "ü".encode("latin1"), "ü".encode("utf-16")])
def test_of_a_file_in_another_charset_none_is_claimed(data: bytes) -> None:
    octets = compose(draft(attachments=(Attachment("a.csv", "text/csv", data),)))
    part = only(modern(octets).iter_attachments())
    assert (part.get_content_charset(), part.get_payload(decode=True)) == (None, data)


INNER = (
    b"From: x@example.org\nSubject:   odd   \n folding\nMIME-Version: 1.0\n\nDear reader,\n--\n--=_mixed\n"
)


@pytest.mark.parametrize(
    "data", [INNER, INNER.replace(b"\n", b"\r\n"), INNER + b"\xfc\n", INNER + b"no end", b""]
)
def test_a_message_is_attached_as_it_is(data: bytes) -> None:
    octets = compose(draft(text="fwd\n", attachments=(Attachment("m.eml", "message/rfc822", data),)))
    assert data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + b"\r\n--=_mixed" in octets
    part = only(modern(octets).iter_attachments())
    assert part.get_content_type() == "message/rfc822"
    eight_bit = not data.isascii()
    assert part["Content-Transfer-Encoding"] == ("8bit" if eight_bit else "7bit")
    assert (modern(octets)["Content-Transfer-Encoding"] == "8bit") is eight_bit
    assert prepare(octets, Request(), CONTEXT).envelope.body == ("8bitmime" if eight_bit else "7bit")


@pytest.mark.parametrize("data", [INNER + b"x" * 999, INNER + b"\0", b"X: \xfc\n" + INNER])
def test_a_message_that_no_server_takes_as_it_is_is_attached_as_a_file(data: bytes) -> None:
    octets = compose(draft(attachments=(Attachment("m.eml", "message/rfc822", data),)))
    check_form(octets)
    part = only(modern(octets).iter_attachments())
    assert (part.get_content_type(), part.get_content()) == ("application/octet-stream", data)


@given(st.binary(max_size=400))
@settings(max_examples=60, deadline=None)
def test_the_size_of_an_attachment_is_known_beforehand(data: bytes) -> None:
    def size(content: bytes) -> int:
        return len(compose(draft(attachments=(Attachment("a", "image/png", content),))))

    assert size(data) - size(b"") == encoded_size(len(data), "image/png")


# --- the whole ---


def test_the_same_draft_gives_the_same_octets_and_another_one_another_boundary() -> None:
    def whole(data: bytes) -> bytes:
        return compose(draft(text="a", html="b", attachments=(Attachment("a", "image/png", data),)))

    assert whole(b"1") == whole(b"1")
    assert modern(whole(b"1")).get_boundary() != modern(whole(b"2")).get_boundary()


def test_golden_octets_of_a_plain_text() -> None:
    assert compose(draft(subject="Backup done", text="all well\n")) == (
        b"From: a@example.org\r\nTo: b@example.net\r\nSubject: Backup done\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: text/plain; charset="utf-8"\r\nContent-Transfer-Encoding: 7bit\r\n\r\nall well\r\n'
    )


def test_golden_octets_of_everything() -> None:
    made = compose(
        Draft(
            author=Named("Jörg Müller", Mailbox("j", "example.org")),
            subject="Übersicht für März",
            to=parse_named('"Doe, Jo" <d@example.net>, b@example.net'),
            cc=parse_named("c@example.net"),
            reply_to=parse_named("r@example.org"),
            headers=(("X-A", "1"),),
            text="Grüße\n",
            html="<p>Gr&uuml;&szlig;e\n",
            attachments=(
                Attachment("März.csv", "text/csv", "ä;1\n".encode()),
                Attachment("m.eml", "message/rfc822", b"From: x@example.org\n\nHi\n"),
            ),
        )
    )
    mark = re.search(rb"=_mixed_([0-9a-f]{32})", made)
    assert mark is not None
    assert made.replace(mark[1], b"MARK").decode("ascii").replace("\r\n", "\n") == EVERYTHING


EVERYTHING = """\
From: =?utf-8?b?SsO2cmcgTcO8bGxlcg==?= <j@example.org>
Reply-To: r@example.org
To: "Doe, Jo" <d@example.net>, b@example.net
Cc: c@example.net
Subject: =?utf-8?b?w5xiZXJzaWNodCBmw7xyIE3DpHJ6?=
X-A: 1
MIME-Version: 1.0
Content-Type: multipart/mixed;
 boundary="=_mixed_MARK"

--=_mixed_MARK
Content-Type: multipart/alternative;
 boundary="=_alternative_MARK"

--=_alternative_MARK
Content-Type: text/plain; charset="utf-8"
Content-Transfer-Encoding: quoted-printable

Gr=C3=BC=C3=9Fe

--=_alternative_MARK
Content-Type: text/html; charset="utf-8"
Content-Transfer-Encoding: 7bit

<p>Gr&uuml;&szlig;e

--=_alternative_MARK--

--=_mixed_MARK
Content-Type: text/csv; charset=utf-8; name="=?utf-8?b?TcOkcnouY3N2?="
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename*=utf-8''M%C3%A4rz.csv

w6Q7MQo=

--=_mixed_MARK
Content-Type: message/rfc822; name="m.eml"
Content-Transfer-Encoding: 7bit
Content-Disposition: attachment; filename="m.eml"

From: x@example.org

Hi

--=_mixed_MARK--
"""


def test_a_text_field_has_no_line_of_blanks() -> None:
    value = text_field("Subject", "a" + " " * 200 + "b " + "c " * 60)
    assert all(line.strip() for line in value.split("\r\n"))
