"""Real Postfix, Exim and Dovecot as receivers and relays, found through a real DNS server."""

from __future__ import annotations

import hashlib
import subprocess

import pytest

from ..peers.needs import need

MESSAGE = (
    b"From: Ann <ann@example.org>\n"
    b"To: bob@example.test, carol@other.test, defer1@example.test, unknown@example.test\n"
    b"Bcc: secret@example.test\n"
    b"Subject: a real one\n"
    b"Message-ID: <real@example.org>\n"
    b"Date: Tue, 24 Nov 2026 10:00:00 +0000\n"
    b"\n"
    b"..two dots\n.one\nblah blah\n"
)
SENT = MESSAGE.replace(b"Bcc: secret@example.test\n", b"")


def test_directly_to_the_mx_hosts_of_each_domain(mailstrom, dns_server, postfix) -> None:
    receiver = postfix(["example.test"], hosts=["127.0.0.2"])
    other = postfix(["other.test"], hosts=["127.0.0.3"], port=receiver.port, hostname="mx.other.test")
    resolver = dns_server(
        {
            "example.test": "@ MX 10 dead\n@ MX 20 mx\ndead A 127.0.0.9\nmx A 127.0.0.2",
            "other.test": "@ A 127.0.0.3",
        }
    )
    mailstrom.configure(
        f'[dns]\nresolver = ["{resolver.resolver}"]', f'[smtp]\nport = {receiver.port}\nip = "ipv4"'
    )
    id = mailstrom.submit(input=MESSAGE)
    assert mailstrom.status(id)["status"] == "queued"
    mailstrom("flush")

    told = mailstrom.recipients(id)
    assert {a: (r["status"], r["code"], r["enhanced"]) for a, r in told.items()} == {
        "bob@example.test": ("delivered", 250, "2.0.0"),
        "carol@other.test": ("delivered", 250, "2.0.0"),
        "defer1@example.test": ("deferred", 450, told["defer1@example.test"]["enhanced"]),
        "unknown@example.test": ("failed", 550, "5.1.1"),
        "secret@example.test": ("delivered", 250, "2.0.0"),
    }
    assert told["bob@example.test"]["host"] == f"mx.example.test[127.0.0.2]:{receiver.port}"
    assert told["carol@other.test"]["host"] == f"other.test[127.0.0.3]:{receiver.port}"
    assert told["bob@example.test"]["remote_id"]
    assert mailstrom.status(id)["status"] == "deferred"

    deliveries = receiver.mailbox.wait(2) + other.mailbox.wait(1)
    assert sorted(d.recipient for d in deliveries) == [
        "bob@example.test",
        "carol@other.test",
        "secret@example.test",
    ]
    assert {d.original for d in deliveries} == {SENT}
    assert {d.reverse_path for d in deliveries} == {"ann@example.org"}


def test_through_a_postfix_relay_with_tls_and_login(
    mailstrom, postfix, dovecot, certificates, tmp_path
) -> None:
    receiver = postfix(["example.test"])
    login = dovecot({"robot@example.org": "correct horse"})
    relay = postfix(
        [], relay_to=receiver.address, tls=certificates, auth=login.auth_socket, hostname="relay.example.org"
    )
    secret = tmp_path / "password"
    secret.write_text("correct horse\n")
    secret.chmod(0o600)
    ca = tmp_path / "ca.pem"
    certificates.authority.cert_pem.write_to_path(str(ca))
    for mechanism, url in (
        ("plain", f"smtp://localhost:{relay.port}"),
        ("login", f"smtps://localhost:{relay.smtps_port}"),
    ):
        mailstrom.configure(
            f'via = "{url}"',
            f'[auth.localhost]\nusername = "robot@example.org"\npassword_file = "{secret}"\n'
            f'mechanism = "{mechanism}"',
            f'[tls]\nca_file = "{ca}"',
            '[smtp]\nip = "ipv4"',
        )
        id = mailstrom.submit("-f", "ann@example.org", "-t", f"{mechanism}@example.test")
        mailstrom("flush")
        (told,) = mailstrom.recipients(id).values()
        assert (told["status"], told["tls"]) == ("delivered", "TLSv1.3 verified"), told
        assert told["tls_by"] == "certificate" and told["tls_cipher"].startswith("TLS_")
    deliveries = receiver.mailbox.wait(2)
    assert sorted(d.recipient for d in deliveries) == ["login@example.test", "plain@example.test"]


def test_to_a_server_of_which_only_the_fingerprint_is_known(mailstrom, postfix, certificates) -> None:
    receiver = postfix(["example.test"], tls=certificates, kind="self-signed")
    chain, _ = certificates.files("self-signed")
    command = [need("openssl"), "x509", "-in", chain, "-noout", "-fingerprint", "-sha256"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    pin = printed.partition("=")[2].strip()
    for known, status in (("ab" * 32, "deferred"), (pin, "delivered")):
        mailstrom.configure(
            f'via = "smtp://localhost:{receiver.port}"',
            f'[tls.policy.localhost]\nfingerprints = "{known}"',
            '[smtp]\nip = "ipv4"',
        )
        id = mailstrom.submit("-f", "ann@example.org", "-t", "bob@example.test")
        mailstrom("flush", id)
        (told,) = mailstrom.recipients(id).values()
        assert told["status"] == status, told
    assert (told["tls"], told["tls_by"]) == ("TLSv1.3 verified", "fingerprint")
    assert [d.recipient for d in receiver.mailbox.wait(1)] == ["bob@example.test"]


def test_a_wrong_password_waits_and_never_bounces(
    mailstrom, postfix, dovecot, certificates, tmp_path
) -> None:
    login = dovecot({"robot@example.org": "correct horse"})
    relay = postfix([], relay_to=("127.0.0.1", 9), tls=certificates, auth=login.auth_socket)
    secret = tmp_path / "password"
    secret.write_text("battery-staple-marker\n")
    secret.chmod(0o600)
    ca = tmp_path / "ca.pem"
    certificates.authority.cert_pem.write_to_path(str(ca))
    mailstrom.configure(
        f'via = "smtp://localhost:{relay.port}"',
        f'[auth.localhost]\nusername = "robot@example.org"\npassword_file = "{secret}"',
        f'[tls]\nca_file = "{ca}"',
        '[smtp]\nip = "ipv4"',
    )
    id = mailstrom.submit("-f", "ann@example.org", "-t", "bob@example.test")
    done = mailstrom("-v", "flush")
    (told,) = mailstrom.recipients(id).values()
    assert (told["status"], told["code"], told["enhanced"]) == ("deferred", 535, "4.7.8")
    everything = done.stdout + done.stderr + mailstrom("-v", "status", id).stdout
    everything += mailstrom("show", "--log", id).stdout
    assert "battery" not in everything
    assert "AGJhdHRlcnk" not in everything


def test_dovecot_over_lmtp_gives_every_recipient_its_own_reply(mailstrom, dovecot) -> None:
    server = dovecot({"bob@example.test": "x", "carol@example.test": "x"})
    for url in (f"lmtp://127.0.0.1:{server.port}", f"lmtp://{server.lmtp_socket}"):
        mailstrom.configure(f'via = "{url}"')
        id = mailstrom.submit(
            "-f",
            "ann@example.org",
            "-t",
            "bob@example.test",
            "-t",
            "carol@example.test",
            "-t",
            "no@example.test",
        )
        mailstrom("flush")
        told = mailstrom.recipients(id)
        assert {a: r["status"] for a, r in told.items()} == {
            "bob@example.test": "delivered",
            "carol@example.test": "delivered",
            "no@example.test": "failed",
        }
        assert told["no@example.test"]["code"] == 550
    assert server.mailbox.count() == 4


def test_exim_receives_a_large_message_bit_for_bit(mailstrom, exim) -> None:
    server = exim(["example.test"])
    mailstrom.configure(f'via = "smtp://127.0.0.1:{server.port}"')
    lines = b"".join(hashlib.sha256(bytes([n % 256])).hexdigest().encode() + b"\n" for n in range(70_000))
    id = mailstrom.submit(
        "-f",
        "ann@example.org",
        "-t",
        "bob@example.test",
        input=b"From: a@example.org\nSubject: big\n\n" + lines,
    )
    mailstrom("flush")
    assert mailstrom.recipients(id)["bob@example.test"]["status"] == "delivered"
    (delivery,) = server.mailbox.wait(1)
    assert delivery.original.endswith(b"\n\n" + lines)


@pytest.mark.parametrize(
    ("domain", "status", "enhanced"),
    [
        ("null.test", "failed", "5.1.10"),
        ("nowhere.test", "failed", "5.4.4"),
        ("empty.test", "failed", "5.4.4"),
        ("hostless.test", "failed", "5.4.4"),
        ("lame.test", "deferred", "4.4.3"),
        ("refusing.test", "deferred", "4.4.3"),
    ],
)
def test_what_dns_says_decides_between_failed_and_deferred(
    mailstrom, dns_server, domain, status, enhanced
) -> None:
    resolver = dns_server(
        {"null.test": "@ MX 0 .", "empty.test": "@ TXT nothing", "hostless.test": "@ MX 10 gone"},
        servfail=["lame.test"],
        refuse=["refusing.test"],
    )
    mailstrom.configure(f'[dns]\nresolver = ["{resolver.resolver}"]')
    id = mailstrom.submit("-f", "ann@example.org", "-t", f"bob@{domain}")
    mailstrom("flush")
    (told,) = mailstrom.recipients(id).values()
    assert (told["status"], told["enhanced"]) == (status, enhanced), told["text"]
