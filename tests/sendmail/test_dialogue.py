"""`-bs`: the state machine, and the whole over pipes with a real client."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstrom_cli.cli.sendmail.dialogue import Dialogue, Transaction, content
from mailstrom_cli.errors import DATA, TEMPORARY, MailstromError

from .conftest import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .conftest import Front

MESSAGE = b"From: ann@example.org\r\nTo: bob@example.net\r\nSubject: x\r\n\r\n"


def dialogue() -> Dialogue:
    return Dialogue("client.example.org", "home.test", 10_000, 3)


def replies(*lines: str, session: Dialogue | None = None) -> list[str]:
    session = session or dialogue()
    return [session.command(line.encode() + b"\r\n") for line in lines]


def codes(*lines: str) -> list[str]:
    return [reply[:3] for reply in replies(*lines)]


# --- the state machine ---


def test_a_transaction() -> None:
    session = dialogue()
    assert session.greeting() == "220 client.example.org ESMTP mailstrom"
    told = replies(
        "EHLO me", "MAIL FROM:<ann@example.org>", "RCPT TO:<bob@example.net>", "DATA", session=session
    )
    assert [reply[:3] for reply in told] == ["250", "250", "250", "354"]
    assert session.receiving
    assert session.transaction == Transaction("ann@example.org", ("bob@example.net",))
    assert session.stored("06h0") == "250 2.0.0 Ok: queued as 06h0"
    assert not session.receiving
    assert replies("MAIL FROM:<>", "RCPT TO:<root>", session=session) == ["250 2.1.0 Ok", "250 2.1.5 Ok"]
    assert session.transaction == Transaction("", ("root",))


def test_what_is_announced() -> None:
    (told,) = replies("EHLO me")
    assert told.split("\n") == [
        "250-client.example.org", "250-PIPELINING", "250-SIZE 10000", "250-8BITMIME", "250-SMTPUTF8",
        "250 ENHANCEDSTATUSCODES",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("HELO me", "250"), ("helo me", "250"), ("NOOP", "250"), ("NOOP x", "250"), ("RSET", "250"),
        ("VRFY bob", "252"), ("HELP", "214"), ("QUIT", "221"), ("EXPN x", "502"), ("STARTTLS", "502"),
        ("AUTH PLAIN x", "502"), ("", "502"), ("DATA", "503"), ("RCPT TO:<b@example.net>", "503"),
        ("MAIL", "501"), ("MAIL FROM:", "501"), ("MAIL TO:<a@example.org>", "501"), ("MAIL FROM:<a@", "501"),
        ("MAIL FROM:<a@b c>", "501"), ("MAIL FROM:<a@>", "501"),
        ("MAIL FROM:<a@example.org> SIZE=10000", "250"),
        ("MAIL FROM:<a@example.org> SIZE=10001", "552"),
        ("MAIL FROM:<a@example.org> BODY=8BITMIME SMTPUTF8", "250"),
        ("MAIL FROM:<a@example.org> BODY=BINARYMIME", "555"), ("MAIL FROM:<a@example.org> SIZE=x", "555"),
        ("MAIL FROM:<a@example.org> RET=HDRS", "555"), ("mail from: a@example.org", "250"),
        ('MAIL FROM:<"a>b"@example.org>', "250"), ("MAIL FROM:<@x.test,@y.test:a@example.org>", "250"),
        ("MAIL FROM:<jörg@example.org> SMTPUTF8", "250"),
        ("MAIL FROM:<a@example.org>\x00", "500"), ("X" * 5000, "500"),
    ],
)  # fmt: skip
def test_the_reply_to_one_command(line: str, code: str) -> None:
    assert codes(line) == [code]


@pytest.mark.parametrize(
    ("lines", "last"),
    [
        (["MAIL FROM:<a@b.test>", "MAIL FROM:<a@b.test>"], "503"),
        (["MAIL FROM:<a@b.test>", "DATA"], "503"),
        (["MAIL FROM:<a@b.test>", "RCPT TO:<>"], "501"),
        (["MAIL FROM:<a@b.test>", "RCPT TO:<a b@c.test>"], "501"),
        (["MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test> NOTIFY=NEVER"], "555"),
        (["MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>", "DATA now"], "501"),
        (["MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>", "RSET", "DATA"], "503"),
        (["MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>", "EHLO x", "RCPT TO:<c@d.test>"], "503"),
        (["MAIL FROM:<a@b.test>", *["RCPT TO:<c@d.test>"] * 3, "RCPT TO:<c@d.test>"], "452"),
        (["MAIL FROM:<a@b.test>", "RCPT TO:<postmaster>"], "250"),
    ],
)
def test_the_order_of_commands(lines: list[str], last: str) -> None:
    assert codes(*lines)[-1] == last


def test_bytes_that_are_no_text_are_refused() -> None:
    assert dialogue().command(b"MAIL FROM:<\xff@example.org>\r\n").startswith("500")


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (MailstromError("line 1: no\nline 2: nor that", None, DATA), "554 5.6.0 line 1: no line 2: nor that"),
        (MailstromError("disk full", None, TEMPORARY), "451 4.3.0 disk full"),
    ],
)
def test_what_is_not_stored_ends_the_transaction(error: MailstromError, reply: str) -> None:
    session = dialogue()
    replies("MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>", "DATA", session=session)
    assert session.refused(error) == reply
    assert replies("DATA", session=session)[0].startswith("503")
    assert len(session.refused(MailstromError("x" * 5000, None, DATA))) < 512


COMMANDS = (
    *(b"MAIL FROM:<a@b.test>", b"RCPT TO:<c@d.test>", b"DATA", b"RSET", b"EHLO x"),
    *(b'MAIL FROM:<"\\', b'RCPT TO:<"\\>'),
)


@given(st.lists(st.binary(max_size=30) | st.sampled_from(COMMANDS), max_size=8))
@settings(max_examples=300)
def test_any_line_has_a_reply_that_is_one(lines: list[bytes]) -> None:
    session = dialogue()
    for line in lines:
        reply = session.command(line + b"\r\n")
        assert all(part[:3].isdigit() and part[3] in " -" for part in reply.split("\n"))
        assert reply.isprintable() or "\n" in reply
        if session.receiving:
            assert session.transaction.recipients
            session.stored("x")


# --- the message ---


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ([b"a\r\n", b".\r\n"], b"a\r\n"),
        ([b"..\r\n", b".a\r\n", b".\r\n"], b".\r\na\r\n"),
        ([b"a\n", b".\n", b".\r\n", b"\r\n", b".\r\n"], b"a\n.\n.\r\n\r\n"),  # bare line feeds end nothing
        ([b"long", b".\r\n", b".\r\n"], b"long.\r\n"),
        ([b"cut at\r", b"\n", b".\r\n"], b"cut at\r\n"),
        ([b".\r\n"], b""),
    ],
)
def test_dots_are_taken_off_and_one_alone_ends_it(sent: list[bytes], message: bytes) -> None:
    lines = iter([*sent, b"rest"])
    assert b"".join(content(lines, b"\r\n")) == message
    assert list(lines) == [b"rest"]


def test_a_client_with_bare_line_feeds_ends_its_message_so() -> None:
    assert b"".join(content([b"a\n", b"..\n", b".\n"], b"\n")) == b"a\n.\n"


def test_input_that_ends_before_is_no_message() -> None:
    with pytest.raises(EOFError):
        list(content([b"a\r\n"], b"\r\n"))


# --- over pipes ---


@pytest.fixture
def smtp(front: Front) -> Iterator[Callable[..., smtplib.SMTP]]:
    """smtp(...) -> a client of the standard library, connected to a front that has a socket for stdin and
    stdout."""
    with contextlib.ExitStack() as ending:

        def connect(*words: str, **env: str) -> smtplib.SMTP:
            ours, theirs = socket.socketpair()
            process = subprocess.Popen(
                [*PROGRAM, "-bs", *words], stdin=theirs, stdout=theirs, env={**front.env, **env}
            )
            theirs.close()

            class Client(smtplib.SMTP):
                def _get_socket(self, *_: object) -> socket.socket:  # type: ignore[override]
                    return ours

            client = Client("localhost", 25, "client.example.org", timeout=30)
            ending.callback(lambda: process.wait(30))
            ending.callback(ours.close)
            return client

        yield connect


def test_smtplib_sends_through_it(front: Front, smtp: Callable[..., smtplib.SMTP]) -> None:
    with smtp() as client:
        client.ehlo()
        assert client.has_extn("pipelining") and client.esmtp_features["size"] == str(50 << 20)
        refused = client.sendmail(
            "ann@example.org", ["bob@example.net", "a b@c"], MESSAGE + b".dot\r\n..\r\n"
        )
        assert list(refused) == ["a b@c"]
        client.sendmail("", ["root"], MESSAGE)
    first, second = sorted(front.entries(), key=lambda entry: entry.envelope.reverse_path, reverse=True)
    assert first.envelope.reverse_path == "ann@example.org"
    assert front.message(first.id).endswith(b"\n.dot\n..\n")
    assert (second.envelope.reverse_path, second.recipients[0].address) == ("", "root@home.test")


def test_a_refused_message_is_no_end(front: Front, smtp: Callable[..., smtplib.SMTP]) -> None:
    with smtp(MAILSTROM_LIMITS_MESSAGE_SIZE="2KiB") as client:
        with pytest.raises(smtplib.SMTPDataError) as caught:
            client.sendmail("ann@example.org", ["bob@example.net"], b"Subject: a\r\nSubject: b\r\n\r\n")
        assert caught.value.smtp_code == 554
        client.ehlo()
        client.mail("ann@example.org")
        client.rcpt("bob@example.net")
        code, _ = client.data(MESSAGE + b"x" * 70 + b"\r\n" * 2000)
        assert code == 552
        client.sendmail("ann@example.org", ["bob@example.net"], MESSAGE)
    assert front.recipients == ["bob@example.net"]


def test_nothing_stored_is_told_as_passing(front: Front, smtp: Callable[..., smtplib.SMTP]) -> None:
    with smtp(MAILSTROM_LIMITS_MIN_FREE="1000000GB") as client:
        with pytest.raises(smtplib.SMTPDataError) as caught:
            client.sendmail("ann@example.org", ["bob@example.net"], MESSAGE)
        assert caught.value.smtp_code == 451
    assert not front.dead_letter.exists()


def talk(front: Front, *lines: bytes, **env: str) -> list[str]:
    done = front("-bs", input=b"".join(line + b"\r\n" for line in lines), **env)
    return done.out.split("\r\n")


def test_pipelined_commands_are_answered_in_order(front: Front) -> None:
    told = talk(
        front, b"EHLO x", b"MAIL FROM:<a@b.test>", b"RCPT TO:<c@d.test>", b"RCPT TO:<bad", b"DATA",
        b"Subject: one", b"", b".", b"MAIL FROM:<a@b.test>", b"RCPT TO:<e@d.test>", b"DATA", b"two", b".",
        b"QUIT",
        b"NOOP",
    )  # fmt: skip
    assert [line[:3] for line in told if line[3:4] != "-"] == [
        "220", "250", "250", "250", "501", "354", "250", "250", "250", "354", "250", "221", "",
    ]  # fmt: skip
    assert sorted(e.recipients[0].address for e in front.entries()) == ["c@d.test", "e@d.test"]


def test_a_from_is_added_there_too(front: Front) -> None:
    talk(
        front,
        b"HELO x",
        b"MAIL FROM:<a@b.test>",
        b"RCPT TO:<c@d.test>",
        b"DATA",
        b"Subject: one",
        b"",
        b".",
        b"QUIT",
    )
    assert front.field("From") == "Carol Caller <a@b.test>"


def test_bare_line_feeds_serve_for_a_script(front: Front) -> None:
    done = front(
        "-bs", input=b"HELO x\nMAIL FROM:<a@b.test>\nRCPT TO:<c@d.test>\nDATA\nSubject: x\n\n..a\n.\nQUIT\n"
    )
    assert "250 2.0.0 Ok: queued as" in done.out
    assert front.body == b".a\n"


def test_no_message_is_smuggled_by_bare_line_feeds(front: Front) -> None:
    talk(front, b"HELO x", b"MAIL FROM:<a@b.test>", b"RCPT TO:<c@d.test>", b"DATA", b"Subject: x\r\n",
         b"a\n.\nMAIL FROM:<evil@b.test>\nRCPT TO:<e@d.test>\nDATA\n\nevil\n", b".", b"QUIT")  # fmt: skip
    assert front.recipients == ["c@d.test"]


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b"HELO x"],
        [b"MAIL FROM:<a@b.test>", b"RCPT TO:<c@d.test>"],
        [b"MAIL FROM:<a@b.test>", b"RCPT TO:<c@d.test>", b"DATA"],
        [b"MAIL FROM:<a@b.test>", b"RCPT TO:<c@d.test>", b"DATA", b"Subject: x", b"", b"cut"],
    ],
)
def test_input_that_ends_early_stores_nothing(front: Front, lines: list[bytes]) -> None:
    assert talk(front, *lines)[0].startswith("220")
    assert front.entries() == []


def test_a_line_without_end_is_refused_and_the_next_one_read(front: Front) -> None:
    told = talk(front, b"X" * 1_000_000, b"NOOP", b"QUIT")
    assert [line[:3] for line in told] == ["220", "500", "250", "221", ""]


def test_odi_tries_after_the_session(front: Front) -> None:
    talk_ = b"HELO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n"
    front("-bs", "-odi", input=talk_, MAILSTROM_VIA=f"maildir://{front.folder}/mail")
    assert front.only().state == "delivered"
