"""The real servers: each starts, does its job for a plain client, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import smtplib
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.resolver
import pytest

from .needs import need
from .plain import MESSAGE, SENDER, client, lmtp_codes
from .process import Daemon, blackhole, free_port, group_members

if TYPE_CHECKING:
    from collections.abc import Callable

    from .certs import Certificates


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


def test_blackhole_answers_no_connection_attempt() -> None:
    with blackhole() as address, pytest.raises(TimeoutError):
        socket.create_connection(address, timeout=0.3)


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


def test_signed_dns_validates(signed_dns: Callable[..., Any]) -> None:
    zones = {
        "good.test": "@ MX 10 mx\nmx A 127.0.0.2\nin CNAME mx\nout CNAME plain.test.\n"
        "_25._tcp.mx TLSA 3 1 1 " + "ab" * 32 + "\n_26._tcp.mx TLSA 3 1 1 " + "ab" * 32,
        "broken.test": "@ A 127.0.0.2",
    }
    server = signed_dns(
        zones,
        bogus=["broken.test", "_26._tcp.mx.good.test"],
        insecure={"plain.test": "@ A 127.0.0.3"},
        servfail=["lame.test"],
    )

    def ask(name: str, kind: str) -> tuple[str, bool]:
        question = dns.message.make_query(name, kind)
        question.flags |= dns.flags.AD
        reply = dns.query.udp(question, server.host, 2, server.port)
        return dns.rcode.to_text(reply.rcode()), bool(reply.flags & dns.flags.AD)

    for name, kind, answer in [
        ("good.test", "MX", ("NOERROR", True)),
        ("good.test", "A", ("NOERROR", True)),
        ("none.good.test", "A", ("NXDOMAIN", True)),
        ("in.good.test", "A", ("NOERROR", True)),
        ("out.good.test", "A", ("NOERROR", False)),
        ("out.good.test", "CNAME", ("NOERROR", True)),
        ("_25._tcp.mx.good.test", "TLSA", ("NOERROR", True)),
        ("_26._tcp.mx.good.test", "TLSA", ("SERVFAIL", False)),
        ("_27._tcp.mx.good.test", "TLSA", ("NXDOMAIN", True)),
        ("broken.test", "A", ("SERVFAIL", False)),
        ("plain.test", "A", ("NOERROR", False)),
        ("none.plain.test", "A", ("NXDOMAIN", False)),
        ("lame.test", "A", ("SERVFAIL", False)),
    ]:
        assert ask(name, kind) == answer, f"{kind} of {name}"
    server.change({"good.test": "@ MX 5 new"})
    assert ask("good.test", "MX") == ("NOERROR", True)
    assert ask("mx.good.test", "A") == ("NXDOMAIN", True)


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
