"""The peers themselves: each starts, does its job for a plain client, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dns.resolver
import pytest

from .answers import Close, Drip, Drop, Moment, Raw, Reset, Stall
from .needs import need
from .process import Daemon, blackhole, free_port, group_members
from .record import body_faults, line_faults
from .scripted import Script, ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from .answers import Answer
    from .certs import Certificates

MESSAGE = b"Message-ID: <1@example.org>\r\nSubject: test\r\n\r\n.one dot\r\n..two\r\nend\r\n"
SENDER = "a@example.org"
TO_DATA = (b"EHLO x\r\n", b"MAIL FROM:<>\r\n", b"RCPT TO:<a@x.test>\r\n", b"DATA\r\n")


def client(server: Any, kind: type[smtplib.SMTP] = smtplib.SMTP) -> smtplib.SMTP:
    return kind(server.host, server.port, "client.example.org", timeout=10)


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


def lmtp_codes(lmtp: smtplib.LMTP, *recipients: str) -> list[int]:
    """The codes after each RCPT, and after the dot one for each recipient that was accepted."""
    lmtp.ehlo_or_helo_if_needed()
    lmtp.mail(SENDER)
    codes = [lmtp.rcpt(recipient)[0] for recipient in recipients]
    return [*codes, lmtp.data(MESSAGE)[0], *(lmtp.getreply()[0] for _ in range(codes.count(250) - 1))]


def left_behind(daemon: Daemon) -> list[str]:
    """Processes that know the daemon's folder, and the folder itself."""
    found = [str(daemon.folder)] if daemon.folder.exists() else []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes()
            if str(daemon.folder).encode() in command or (entry / "cwd").readlink().is_relative_to(
                daemon.folder
            ):
                found.append(command.decode(errors="replace"))
    return found


# the scripted server


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


def test_blackhole_answers_no_connection_attempt() -> None:
    with blackhole() as address, pytest.raises(TimeoutError):
        socket.create_connection(address, timeout=0.3)


# real servers


def test_daemon_that_ends_at_once_says_so_and_leaves_nothing() -> None:
    class Broken(Daemon):
        name = "broken"

        def prepare(self) -> list[str]:
            return [need("sh"), "-c", "echo no such option; exit 3"]

        def ready(self) -> bool:
            return False

    daemon = Broken()
    with pytest.raises(RuntimeError, match="status 3") as caught, daemon:
        pass
    assert "no such option" in "".join(caught.value.__notes__)
    assert left_behind(daemon) == []


def test_daemon_whose_children_ignore_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stubborn(Daemon):
        name = "stubborn"
        stop_seconds = 0.2

        def prepare(self) -> list[str]:
            return [need("sh"), "-c", "trap '' TERM; touch up; sleep 60 & wait"]

        def ready(self) -> bool:
            return (self.folder / "up").exists()

    daemon = Stubborn()
    with daemon:
        group = daemon.pids()[0]
    assert group_members(group) == []


def test_dns_gives_every_kind_of_answer(dns_server: Callable[..., Any]) -> None:
    many = "".join(f"many MX {n} mail{n}.a.name.that.makes.the.answer.long\n" for n in range(60))
    zones = {
        "example.test": "@ MX 10 mx1\n@ MX 20 mx2\nmx1 A 127.0.0.2\nmx2 AAAA ::1\nalias CNAME mx1\n"
        "one CNAME two\ntwo CNAME one\n" + many,
        "null.test": "@ MX 0 .",
    }
    server = dns_server(zones, servfail=["broken.test"], refuse=["refused.test"], silent=["silent.test"])
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port, resolver.lifetime = [server.host], server.port, 0.5

    def ask(name: str, kind: str) -> list[str]:
        return sorted(answer.to_text() for answer in resolver.resolve(name, kind))

    assert ask("example.test", "MX") == ["10 mx1.example.test.", "20 mx2.example.test."]
    assert ask("alias.example.test", "A") == ["127.0.0.2"]
    assert ask("mx2.example.test", "AAAA") == ["::1"]
    assert ask("null.test", "MX") == ["0 ."]
    assert len(ask("many.example.test", "MX")) == 60  # truncated over UDP, whole over TCP
    for name, kind, error in [
        ("mx1.example.test", "MX", dns.resolver.NoAnswer),
        ("nobody.example.test", "MX", dns.resolver.NXDOMAIN),
        ("elsewhere.invalid", "A", dns.resolver.NXDOMAIN),
        ("silent.test", "MX", dns.resolver.LifetimeTimeout),
    ]:
        with pytest.raises(error):
            ask(name, kind)
    for name, code in [
        ("broken.test", "SERVFAIL"),
        ("one.example.test", "SERVFAIL"),
        ("refused.test", "REFUSED"),
    ]:
        with pytest.raises(dns.resolver.NoNameservers, match=code):
            ask(name, "A")
    server.change({"example.test": "@ MX 5 new"})
    assert ask("example.test", "MX") == ["5 new.example.test."]
    server.__exit__(None, None, None)
    assert left_behind(server) == []


@pytest.mark.parametrize("name", ["postfix", "exim"])
def test_receiving_mx_delivers_and_refuses_by_recipient(
    request: pytest.FixtureRequest, certificates: Certificates, name: str
) -> None:
    mx = request.getfixturevalue(name)(hosts=("127.0.0.1", "127.0.0.2"), tls=certificates)
    recipients = [
        "ok@example.org",
        "b@example.test",
        "unknown@x.example.net",
        "defer@example.org",
        "full@example.com",
    ]
    for host in mx.hosts:
        with smtplib.SMTP(host, mx.port, "client.example.org", timeout=20) as smtp:
            smtp.starttls(context=certificates.client())
            refused = smtp.sendmail(
                SENDER, [*recipients, "reject@example.net", "x@elsewhere.invalid"], MESSAGE
            )
        assert {address.partition("@")[0]: code // 100 for address, (code, _) in refused.items()} == {
            "unknown": 5, "defer": 4, "full": 4, "reject": 5, "x": 5
        }  # fmt: skip
    deliveries = mx.mailbox.wait(4)
    assert (
        mx.mailbox.delivered()
        == [("b@example.test", "<1@example.org>")] * 2 + [("ok@example.org", "<1@example.org>")] * 2
    )
    assert {d.original for d in deliveries} == {MESSAGE.replace(b"\r\n", b"\n")}
    assert {d.reverse_path for d in deliveries} == {SENDER}
    assert all("client.example.org" in d.received[0] for d in deliveries)
    mx.__exit__(None, None, None)
    assert left_behind(mx) == []


def test_postfix_relays_for_those_who_authenticate(
    postfix: Any, dovecot: Any, scripted: Any, certificates: Certificates
) -> None:
    sasl = dovecot({"user@example.org": "secret"})
    onward = scripted()
    relay = postfix(relay_to=onward.address, tls=certificates, auth=sasl.auth_socket)
    with client(relay) as smtp:
        with pytest.raises(smtplib.SMTPNotSupportedError):
            smtp.login("user@example.org", "secret")
        smtp.starttls(context=certificates.client())
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            smtp.sendmail(SENDER, ["b@elsewhere.invalid"], MESSAGE)
        with pytest.raises(smtplib.SMTPAuthenticationError):
            smtp.login("user@example.org", "wrong")
    for mechanism in ("plain", "login"):
        with smtplib.SMTP_SSL(relay.host, relay.smtps_port, context=certificates.client()) as secure:
            secure.ehlo()
            secure.user, secure.password = "user@example.org", "secret"
            secure.auth(mechanism, getattr(secure, f"auth_{mechanism}"))
            assert secure.sendmail(SENDER, ["b@elsewhere.invalid"], MESSAGE) == {}
    onward.wait(lambda s: len(s.delivered()) == 2)
    assert onward.delivered() == [("b@elsewhere.invalid", "<1@example.org>")] * 2


def test_postfix_relays_to_another_postfix(postfix: Any) -> None:
    mx = postfix()
    relay = postfix(relay_to=mx.address, hostname="relay.example.test")
    with client(relay) as smtp:
        assert smtp.sendmail(SENDER, ["b@example.org"], MESSAGE) == {}
    mx.mailbox.hops = 2
    [delivery] = mx.mailbox.wait(1)
    assert "relay.example.test" in delivery.received[0]


def test_dovecot_takes_lmtp_over_tcp_and_a_unix_socket(dovecot: Any) -> None:
    server = dovecot({"user@example.org": "secret", "other@example.org": "secret"})
    for host, port in (server.address, (server.lmtp_socket, 0)):
        with smtplib.LMTP(host, port) as lmtp:
            codes = lmtp_codes(lmtp, "user@example.org", "nobody@example.org", "other@example.org")
        assert codes == [250, 550, 250, 250, 250]
    server.mailbox.wait(4)
    assert server.mailbox.delivered() == [
        ("other@example.org", "<1@example.org>"), ("other@example.org", "<1@example.org>"),
        ("user@example.org", "<1@example.org>"), ("user@example.org", "<1@example.org>"),
    ]  # fmt: skip
    server.__exit__(None, None, None)
    assert left_behind(server) == []


def test_a_missing_program_skips_and_in_ci_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed"):
        need("no-such-program")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed"):
        need("no-such-program")


def test_free_port_is_free_on_every_host() -> None:
    port = free_port("127.0.0.1", "127.0.0.2")
    for host in ("127.0.0.1", "127.0.0.2"):
        with socket.create_server((host, port)):
            pass
