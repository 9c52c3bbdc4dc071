"""The scripted server says what it is told to, and hears everything."""

from __future__ import annotations

import gc
import smtplib
import socket
import ssl
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .answers import Close, Drip, Drop, Moment, Raw, Reset, Stall
from .plain import MESSAGE, SENDER, client, lmtp_codes
from .record import body_faults, line_faults
from .sasl import Exchange, Refused
from .scripted import Script, ScriptedServer

if TYPE_CHECKING:
    from .answers import Answer
    from .certs import Certificates

TO_DATA = (b"EHLO x\r\n", b"MAIL FROM:<>\r\n", b"RCPT TO:<a@x.test>\r\n", b"DATA\r\n")


def talk(server: ScriptedServer, *lines: bytes) -> list[bytes]:
    """Say each line when the reply to the one before is there; returns the replies' last lines."""
    replies = []
    with socket.create_connection(server.address, timeout=10) as raw, raw.makefile("rb") as incoming:
        for line in (b"", *lines):
            raw.sendall(line)
            while (reply := incoming.readline())[3:4] == b"-":
                pass
            replies.append(reply.rstrip())
    return replies


def test_scripted_server_gives_each_recipient_its_own_reply(scripted: Any) -> None:
    server = scripted()
    with client(server) as smtp:
        refused = smtp.sendmail(
            SENDER, ["ok@x.test", "defer1@x.test", "reject@x.test", "full@x.test"], MESSAGE
        )
    assert {address: code for address, (code, _) in refused.items()} == {
        "defer1@x.test": 450,
        "reject@x.test": 550,
        "full@x.test": 452,
    }
    assert server.delivered() == [("ok@x.test", "<1@example.org>")]
    assert server.message() == MESSAGE
    assert server.sessions[0].end == "quit"
    assert [r.reply[:3] for r in server.transactions[0].recipients] == ["250", "450", "550", "452"]


def test_greylisted_recipient_is_accepted_the_second_time(scripted: Any) -> None:
    server = scripted()
    with client(server) as smtp:
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            smtp.sendmail(SENDER, ["greylist@x.test"], MESSAGE)
        assert smtp.sendmail(SENDER, ["greylist@x.test"], MESSAGE) == {}
    assert len(server.delivered()) == 1


def test_lmtp_answers_each_recipient_after_the_dot(scripted: Any, tmp_path: Path) -> None:
    server = scripted(Script(lmtp=True), path=str(tmp_path / "lmtp"))
    with smtplib.LMTP(server.path) as lmtp:
        codes = lmtp_codes(lmtp, "ok@x.test", "dotdefer@x.test", "reject@x.test", "dotreject@x.test")
    assert codes == [250, 250, 550, 250, 250, 451, 554]
    assert server.delivered() == [("ok@x.test", "<1@example.org>")]
    server.stop()
    assert not Path(server.path).exists()


@pytest.mark.parametrize("stage", ["connect", "greeting", "ehlo", "mail", "rcpt", "data", "body", "dot"])
@pytest.mark.parametrize("action", [Drop(), Reset()], ids=["drop", "reset"])
def test_connection_ends_at_the_stage_told(scripted: Any, stage: str, action: Drop | Reset) -> None:
    server = scripted(Script(replies={stage: action}))
    with pytest.raises((OSError, smtplib.SMTPException)), client(server) as smtp:
        smtp.sendmail(SENDER, ["ok@x.test"], MESSAGE)
    server.wait(lambda s: s.sessions[-1].end == "server")
    assert server.delivered() == []


def test_a_reply_that_got_lost_counts_as_taken(scripted: Any) -> None:
    server = scripted(Script(replies={"dot": Drop(unsaid="250 2.0.0 Taken")}))
    with pytest.raises(smtplib.SMTPServerDisconnected), client(server) as smtp:
        smtp.sendmail(SENDER, ["ok@x.test"], MESSAGE)
    assert server.delivered() == [("ok@x.test", "<1@example.org>")]


def test_stall_lasts_until_it_is_released(scripted: Any) -> None:
    server = scripted(Script(replies={"mail": Stall()}))
    codes: list[int] = []

    def send() -> None:
        with client(server) as smtp:
            smtp.ehlo()
            codes.append(smtp.mail(SENDER)[0])

    thread = threading.Thread(target=send)
    thread.start()
    server.wait(lambda s: s.stalled == 1)
    assert codes == []
    server.release()
    thread.join(10)
    assert codes == [250]


def test_a_body_that_stalled_halfway_arrives_whole(scripted: Any) -> None:
    server = scripted(Script(replies={"body": Stall(after=10)}))
    thread = threading.Timer(0, lambda: (server.wait(lambda s: s.stalled == 1), server.release()))
    thread.start()
    with client(server) as smtp:
        smtp.sendmail(SENDER, ["ok@x.test"], MESSAGE)
    thread.join(10)
    assert server.message() == MESSAGE


def test_stop_ends_a_stalled_session(scripted: Any) -> None:
    server = scripted(Script(replies={"greeting": Stall()}))
    with socket.create_connection(server.address, timeout=10):
        server.wait(lambda s: s.stalled == 1)
        server.stop()
    assert not [t for t in threading.enumerate() if t.name.startswith("scripted")]


def test_replies_come_from_strings_lists_functions_and_actions(scripted: Any) -> None:
    def by_address(moment: Moment) -> str | None:
        return "552 5.2.2 Enough\nreally" if moment.text == "b@x.test" else None

    replies: dict[str, Answer] = {
        "mail": ["451 4.3.0 First", Drip(reply="250 2.1.0 Slowly")],
        "rcpt": by_address,
        "noop": Close("421 Bye"),
    }
    server = scripted(Script(replies=replies))
    with client(server) as smtp:
        smtp.ehlo()
        assert smtp.mail(SENDER) == (451, b"4.3.0 First")
        assert smtp.mail(SENDER) == (250, b"2.1.0 Slowly")
        assert smtp.rcpt("a@x.test")[0] == 250
        assert smtp.rcpt("b@x.test") == (552, b"5.2.2 Enough\nreally")
        assert smtp.noop() == (421, b"Bye")
        with pytest.raises(smtplib.SMTPServerDisconnected):
            smtp.noop()


@pytest.mark.parametrize(
    ("lines", "violation"),
    [
        ([b"EHLO x\r\nMAIL FROM:<>\r\n"], "did not wait"),
        ([b"HELO x\r\n", b"MAIL FROM:<>\r\nRCPT TO:<a@x.test>\r\n"], "did not wait"),
        ([b"EHLO x\n"], "bare LF"),
        ([b"EHLO x\ry\r\n"], "bare CR"),
        ([b"MAIL FROM:<>\r\n"], "out of order"),
        ([b"EHLO x\r\n", b"MAIL FROM: <>\r\n"], "syntax"),
        ([b"EHLO x\r\n", b"MAIL FROM:<> RET=FULL\r\n"], "without its extension"),
        ([b"HELO x\r\n", "MAIL FROM:<ü@x.test>\r\n".encode()], "without SMTPUTF8"),
        ([b"EHLO x\r\n", "MAIL FROM:<ü@x.test>\r\n".encode()], "transaction without SMTPUTF8"),
        ([b"EHLO x\r\n", b"AUTH PLAIN AGEAYg==\r\n"], "AUTH without TLS"),
        ([b"EHLO x\r\n", b"STARTTLS\r\n"], "not offered"),
        ([b"FOO\r\n"], "unknown command"),
        ([*TO_DATA, b".a\r\n.\r\n"], "not doubled"),
        ([*TO_DATA, b"a\nb\r\n.\r\n"], "bare LF"),
        ([*TO_DATA, b"\xff\r\n.\r\n"], "8-bit"),
    ],
)  # fmt: skip
def test_what_a_client_does_wrong_is_recorded(scripted: Any, lines: list[bytes], violation: str) -> None:
    server = scripted(Script(mechanisms=("PLAIN",)), strict=False)
    talk(server, *lines)
    server.wait(lambda s: s.sessions[0].end != "open")
    assert any(violation in v for v in server.violations), server.violations


def test_pipelining_where_it_is_offered_is_no_violation(scripted: Any) -> None:
    server = scripted()
    talk(
        server,
        b"EHLO x\r\n",
        b"MAIL FROM:<>\r\nRCPT TO:<a@x.test>\r\nDATA\r\n",
        b"",
        b"",
        b".\r\nRSET\r\n",
        b"",
    )
    assert [t.body for t in server.transactions] == [b""]


def test_message_and_line_checks_see_every_fault() -> None:
    assert body_faults(b"a\r\nb\r\n", eight_bit=False) == []
    assert body_faults(b"\r\n.\n" + b"x" * 999 + b"\r\n\0\xff\r\n", eight_bit=False) == [
        "bare LF at octet 3 of the message",
        "a line of more than 998 octets",
        "8-bit data without BODY=8BITMIME",
        "NUL in the message",
    ]
    assert line_faults(b"NOOP\r\r\n", utf8=True) == ["bare CR at octet 4 of a command"]


def test_starttls_and_auth(scripted: Any, certificates: Certificates) -> None:
    script = Script(
        tls=certificates.context(), mechanisms=("PLAIN", "LOGIN"), users={"user": "secret"}, require_auth=True
    )
    server = scripted(script)
    for mechanism in ("PLAIN", "LOGIN"):
        with client(server) as smtp:
            smtp.starttls(context=certificates.client())
            smtp.ehlo()
            assert smtp.mail(SENDER)[0] == 530
            with pytest.raises(smtplib.SMTPAuthenticationError):
                smtp.login("user", "wrong")
            smtp.user, smtp.password = "user", "secret"
            smtp.auth(mechanism, getattr(smtp, f"auth_{mechanism.lower()}"))
            assert smtp.sendmail(SENDER, ["ok@x.test"], MESSAGE) == {}
    assert [(s.tls, s.auth) for s in server.sessions] == [("TLSv1.3", "user")] * 2


def test_tls_from_the_first_byte(scripted: Any, certificates: Certificates) -> None:
    server = scripted(Script(tls=certificates.context(), implicit_tls=True))
    with smtplib.SMTP_SSL(server.host, server.port, context=certificates.client()) as smtp:
        assert smtp.sendmail(SENDER, ["ok@x.test"], MESSAGE) == {}


def test_plaintext_behind_the_starttls_reply_is_sent(scripted: Any, certificates: Certificates) -> None:
    injected = Raw(b"220 Ready\r\n250 injected\r\n")
    server = scripted(Script(tls=certificates.context(), replies={"starttls": injected, "tls": Drop()}))
    with socket.create_connection(server.address, timeout=10) as raw, raw.makefile("rb") as incoming:
        incoming.readline()
        raw.sendall(b"EHLO x\r\n")
        while incoming.readline()[3:4] == b"-":
            pass
        raw.sendall(b"STARTTLS\r\n")
        assert [incoming.readline(), incoming.readline()] == [b"220 Ready\r\n", b"250 injected\r\n"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("expired", "expired"), ("wrong-name", "mismatch"), ("self-signed", "local issuer")],
)
def test_bad_certificates_are_bad_for_the_reason_they_name(
    scripted: Any, certificates: Certificates, kind: str, reason: str
) -> None:
    server = scripted(Script(tls=certificates.context(kind)))
    with client(server) as smtp, pytest.raises(ssl.SSLCertVerificationError, match=reason):
        smtp.starttls(context=certificates.client())


def test_chunking(scripted: Any) -> None:
    server = scripted(Script(chunking=True))
    half = len(MESSAGE) // 2
    talk(
        server, b"EHLO x\r\n", b"MAIL FROM:<>\r\n", b"RCPT TO:<a@x.test>\r\n",
        b"BDAT %d\r\n" % half + MESSAGE[:half], b"BDAT %d LAST\r\n" % (len(MESSAGE) - half) + MESSAGE[half:],
    )  # fmt: skip
    assert server.message() == MESSAGE
    assert server.transactions[0].chunks == 2


def test_many_connections_at_once_and_digests_only(scripted: Any) -> None:
    server = scripted(Script(keep_bodies=False))
    everybody_in = threading.Barrier(50)

    def send(number: int) -> None:
        with client(server) as smtp:
            everybody_in.wait(20)
            for i in range(20):
                smtp.sendmail(SENDER, ["ok@x.test"], b"Message-ID: <%d.%d@x>\r\n\r\nhello\r\n" % (number, i))

    threads = [threading.Thread(target=send, args=(n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(set(server.delivered())) == 1000
    assert server.duplicates() == []
    assert server.peak == 50
    assert {t.body for t in server.transactions} == {None}


def test_the_same_port_again_after_a_stop(scripted: Any) -> None:
    server = scripted()
    for _ in range(2):
        with client(server) as smtp:
            smtp.noop()
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            client(server)
        server.start()
    assert len(server.sessions) == 2


def test_a_client_that_resets_before_the_handshake_leaves_nothing_open(
    scripted: Any, certificates: Certificates
) -> None:
    gone = threading.Event()

    def until_it_is_gone(moment: Moment) -> str:
        assert gone.wait(10)
        return moment.usual

    script = Script(implicit_tls=True, tls=certificates.context(), replies={"connect": until_it_is_gone})
    server = scripted(script)
    with socket.create_connection(server.address, timeout=10) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.set()
    server.wait(lambda s: [x.end for x in s.sessions] == ["lost"], 10)
    gc.collect()  # what is left open is an error of pytest


def sasl(mechanism: str, *said: bytes, offered: tuple[str, ...] = ("SCRAM-SHA-256",)) -> str:
    """What the strict server holds against a client that says this; "" for a plain refusal."""
    script = Script(mechanisms=offered, users={"user": "pencil"}, tokens={"user": "t"})
    answers = iter(said[1:])
    with pytest.raises(Refused) as raised:
        Exchange(script, lambda challenge: next(answers), said[0] if said else None).run(mechanism)
    return raised.value.fault


@pytest.mark.parametrize(
    ("mechanism", "said", "fault"),
    [
        ("PLAIN", [b"user\0pencil"], "PLAIN has three parts"),
        ("PLAIN", [b"\0user\0wrong"], ""),
        ("CRAM-MD5", [b"user 00"], "CRAM-MD5 has no initial response"),
        ("XOAUTH2", [b"user=user\x01auth=Bearer t\x01"], "not as XOAUTH2 has it"),
        ("XOAUTH2", [b"user=user\x01auth=Bearer x\x01\x01", b"\x01"], "b'\\x01' after an error"),
        ("OAUTHBEARER", [b"n,a=user,\x01auth=Bearer x\x01\x01", b""], "b'' after an error"),
        ("OAUTHBEARER", [b"n,a=user,\x01auth=Basic x\x01\x01"], "no bearer token"),
        ("SCRAM-SHA-256", [b"p=tls-unique,,n=user,r=abc"], "the flag is not that of the mechanism"),
        ("SCRAM-SHA-256-PLUS", [b"n,,n=user,r=abc"], "the flag is not that of the mechanism"),
        ("SCRAM-SHA-256", [b"n,,n=user,r=abc", b"c=biws,r=abc,p=eA=="], "another nonce"),
        ("SCRAM-SHA-256", [b"n,,user"], "not as RFC 5802 has it: 'n,,user'"),
    ],
)
def test_sasl_is_strict(mechanism: str, said: list[bytes], fault: str) -> None:
    assert sasl(mechanism, *said) == fault


def test_a_client_that_was_told_there_is_nothing_to_bind_to_is_found_out() -> None:
    offered = ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS")
    assert "was told that this server cannot" in sasl("SCRAM-SHA-256", b"y,,n=user,r=abc", offered=offered)
