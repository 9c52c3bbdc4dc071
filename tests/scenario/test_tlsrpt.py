"""Reports on TLS from end to end: mail to domains with and without policies, whose servers are right and
wrong; counts by real processes; the reports, received by a server as mail and over HTTPS (RFC 8460)."""

from __future__ import annotations

import gzip
import hashlib
import json
import signal
import ssl
import time
from email import message_from_bytes, policy
from typing import TYPE_CHECKING, Any

import pytest

from mailstrom_cli.policy.der import public_key
from mailstrom_cli.policy.tlsrpt import KIND, day_of
from mailstrom_cli.store.base import Note
from mailstrom_cli.store.registry import open_store

from ..peers.collector import Collector
from ..peers.policy_host import policy as mta_policy
from ..peers.process import free_port
from ..peers.scripted import Script
from ..policy.test_tlsrpt import check_schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..peers.certs import Certificates
    from ..peers.scripted import ScriptedServer

CONTACT = "tlsrpt@example.org"
YESTERDAY = day_of(time.time() - 86_400)
SUBMITTER = "client.example.test"


@pytest.fixture
def collector(certificates) -> Iterator[Collector]:
    with Collector(certificates.context()) as server:
        yield server


def digest(certificates: Certificates, kind: str) -> str:
    """Of the public key of a certificate."""
    with open(certificates.files(kind)[0]) as file:
        pem = file.read().partition("-----END")[0] + "-----END CERTIFICATE-----\n"
    return hashlib.sha256(public_key(ssl.PEM_cert_to_DER_cert(pem))).hexdigest()


def let_the_day_pass(mailstrom) -> None:
    """What was counted was counted yesterday."""
    store = open_store(str(mailstrom.spool), 0, False)
    for name, note in list(store.notes(KIND)):
        store.set_note(KIND, name, None)
        store.set_note(KIND, name.replace(day_of(time.time()), YESTERDAY), note)


def reports(server: ScriptedServer) -> dict[str, dict[str, Any]]:
    """Those that came as mail, by domain."""
    found = {}
    for transaction in server.transactions:
        message = message_from_bytes(transaction.body, policy=policy.default)
        domain = message["TLS-Report-Domain"]
        if domain is None:
            continue
        assert (message["From"], message["TLS-Report-Submitter"]) == (CONTACT, SUBMITTER)
        assert message["TLS-Required"] == "No" and transaction.reverse_path == CONTACT
        _, file = message.iter_parts()
        name = file.get_filename().split("!")
        assert name[:2] == [SUBMITTER, domain] and int(name[2]) + 86_399 == int(name[3].split(".")[0])
        assert domain not in found, "a report was sent twice"
        found[domain] = json.loads(gzip.decompress(file.get_content()))
    return found


def test_domains_learn_what_came_of_tls(mailstrom, signed_dns, scripted, certificates, collector) -> None:
    good = scripted(Script(tls=certificates.context()))
    plain = scripted(Script(), host="127.0.0.3", port=good.port)
    scripted(Script(tls=certificates.context("wrong-name")), host="127.0.0.4", port=good.port, strict=False)
    asks = '_smtp._tls TXT "v=TLSRPTv1; rua=mailto:r@reports.test"'
    tlsa = f"_{good.port}._tcp.mx TLSA 3 1 1 "
    zones = {
        "right.test": f"@ MX 10 mx\nmx A 127.0.0.1\n{tlsa}{digest(certificates, 'good')}\n"
        f'_smtp._tls TXT "v=TLSRPTv1;rua=mailto:r@reports.test,{collector.url}"',
        "wrong.test": f"@ MX 10 mx\nmx A 127.0.0.1\n{tlsa}{'ab' * 32}\n{asks}",
        "bogus.test": f"@ MX 10 mx\nmx A 127.0.0.1\n{tlsa}{'ab' * 32}\n{asks}",
    }
    insecure = {
        "plain.test": f"@ MX 10 mx\nmx A 127.0.0.3\n{asks}",
        "open.test": f"@ MX 10 mx\nmx A 127.0.0.1\n{asks}",
        "sts.test": f'@ MX 10 mx\nmx A 127.0.0.4\n_mta-sts TXT "v=STSv1; id=1"\n{asks}',
        "silent.test": "@ MX 10 mx\nmx A 127.0.0.1",
        "reports.test": "@ MX 10 mx\nmx A 127.0.0.1",
    }
    dns = signed_dns(zones, insecure=insecure, bogus=[f"_{good.port}._tcp.mx.bogus.test"])
    mailstrom.configure(
        f'[dns]\nresolver = ["{dns.host}:{dns.port}"]',
        f'[smtp]\nport = {good.port}\nip = "ipv4"',
        f'[tls]\nlevel = "dane"\nca_file = "{certificates.ca_file}"',
        f'[tlsrpt]\ncontact = "{CONTACT}"\norganization = "Example, Inc."',
    )
    for domain in (*zones, *insecure):
        mailstrom.submit("-f", "ann@example.org", "-t", f"bob@{domain}")
    enforced = mta_policy("mx.sts.test")  # which was fetched before, and is still good
    store = open_store(str(mailstrom.spool), 0, False)
    store.set_note("mta-sts", "sts.test", Note(f"1 {time.time()}\n{enforced.decode()}", time.time() + 86_400))
    for _ in range(2):  # each a process of its own
        mailstrom("flush", "--all")

    done = mailstrom("tlsrpt")
    assert (done.stdout, done.stderr) == ("", ""), "the day is not over"
    let_the_day_pass(mailstrom)
    done = mailstrom("tlsrpt", "--dry-run")
    assert len(done.stdout.splitlines()) == 7 and collector.taken == []
    done = mailstrom("tlsrpt", "--json")
    told = {(one["domain"], one["uri"]): one for one in map(json.loads, done.stdout.splitlines())}
    assert len(told) == 7
    assert mailstrom("tlsrpt").stdout == "", "it was sent already"
    mailstrom("flush")

    received = reports(good)
    assert set(received) == {"right.test", "wrong.test", "bogus.test", "sts.test", "plain.test", "open.test"}
    ((path, kind, octets),) = collector.taken
    assert (path, kind) == ("/v1/tlsrpt", "application/tlsrpt+gzip")
    assert json.loads(gzip.decompress(octets)) == received["right.test"]
    expected = {
        "right.test": ("tlsa", 1, {}),
        "wrong.test": ("tlsa", 0, {"tlsa-invalid": 2}),
        "bogus.test": ("tlsa", 0, {"dnssec-invalid": 2}),
        "sts.test": ("sts", 0, {"certificate-host-mismatch": 2}),
        "plain.test": ("no-policy-found", 0, {"starttls-not-supported": 1}),
        "open.test": ("no-policy-found", 1, {}),
    }
    for domain, made in received.items():
        check_schema(made)
        assert made == told[domain, "mailto:r@reports.test"]["report"]
        assert (made["organization-name"], made["contact-info"]) == ("Example, Inc.", CONTACT)
        assert made["date-range"]["start-datetime"] == f"{YESTERDAY}T00:00:00Z"
        (one,) = made["policies"]
        failed = {d["result-type"]: d["failed-session-count"] for d in one.get("failure-details", ())}
        summary = one["summary"]["total-successful-session-count"]
        assert (one["policy"]["policy-type"], summary, failed) == expected[domain], domain
    policies = {domain: made["policies"][0]["policy"] for domain, made in received.items()}
    assert policies["wrong.test"]["policy-domain"] == "mx.wrong.test"
    assert policies["wrong.test"]["policy-string"] == [f"3 1 1 {'ab' * 32}"]
    assert policies["sts.test"] == {
        "policy-type": "sts",
        "policy-string": ["version: STSv1", "mode: enforce", "mx: mx.sts.test", "max_age: 604800"],
        "policy-domain": "sts.test",
        "mx-host": ["mx.sts.test"],
    }
    (detail,) = received["plain.test"]["policies"][0]["failure-details"]
    assert (detail["receiving-mx-hostname"], detail["receiving-ip"]) == ("mx.plain.test", "127.0.0.3")
    assert detail["sending-mta-ip"].startswith("127.")
    assert plain.delivered() != []


class Simple:
    """One domain without a policy, that asks for reports at some addresses."""

    def __init__(self, mailstrom, dns_server, scripted, certificates) -> None:
        self.mailstrom = mailstrom
        self.server = scripted(Script(tls=certificates.context()))
        self._dns, self._certificates = dns_server, certificates

    def counted(self, *uris: str, contact: str = CONTACT) -> None:
        text = f"v=TLSRPTv1; rua={','.join(uris)}"
        zone = f'@ MX 10 mx\nmx A 127.0.0.1\n_smtp._tls TXT "{text}"'
        dns = self._dns({"example.test": zone})
        self.mailstrom.configure(
            f'[dns]\nresolver = ["{dns.host}:{dns.port}"]',
            f'[smtp]\nport = {self.server.port}\nip = "ipv4"',
            f'[tls]\nca_file = "{self._certificates.ca_file}"',
            f'[tlsrpt]\ncontact = "{contact}"',
        )
        self.mailstrom.submit("-f", "ann@example.org", "-t", "bob@example.test")
        self.mailstrom("flush")
        let_the_day_pass(self.mailstrom)


@pytest.fixture
def simple(mailstrom, dns_server, scripted, certificates) -> Simple:
    return Simple(mailstrom, dns_server, scripted, certificates)


@pytest.mark.parametrize("status", [302, 500])
def test_what_is_not_taken_is_sent_again_and_the_rest_is_not(simple, collector, status: int) -> None:
    """A redirect is not followed."""
    simple.counted("mailto:r@example.test", collector.url)
    collector.answers = [status]
    done = simple.mailstrom("tlsrpt", expect=75)
    assert done.stderr == f"error: example.test: {collector.url}: HTTP status {status}\n"
    assert done.stdout.startswith("example.test mailto:r@example.test ")
    done = simple.mailstrom("tlsrpt")
    assert (done.stdout, done.stderr) == (f"example.test {collector.url} -\n", "")
    assert [path for path, _, _ in collector.taken] == ["/v1/tlsrpt"] * 2
    simple.mailstrom("flush")
    assert set(reports(simple.server)) == {"example.test"}


def test_only_a_server_that_proves_who_it_is_gets_a_report(simple, certificates) -> None:
    with Collector(certificates.context("self-signed")) as other:
        simple.counted(other.url)
        done = simple.mailstrom("tlsrpt", expect=75)
        assert "certificate not verified" in done.stderr
        assert other.taken == []


def test_an_address_that_is_none_keeps_nobody_else_from_it(simple) -> None:
    simple.counted("mailto:nobody", "mailto:a%0d%0aX:y@example.test", "mailto:r@example.test?subject=x")
    done = simple.mailstrom("tlsrpt")
    assert done.stderr.count("error: example.test: mailto:") == 2
    simple.mailstrom("flush")
    assert set(reports(simple.server)) == {"example.test"}


def test_a_dead_resolver_is_told_and_asked_again_later(simple) -> None:
    simple.counted("mailto:r@example.test")
    simple.mailstrom.configure(
        f'[dns]\nresolver = "tls://127.0.0.1:{free_port()}#dns.example"', f'[tlsrpt]\ncontact = "{CONTACT}"'
    )
    done = simple.mailstrom("tlsrpt", expect=75)
    assert done.stderr.startswith("error: example.test: looking up TXT of _smtp._tls.example.test failed")
    assert done.stdout == ""


def test_the_same_domain_is_told_of_the_day_that_is_asked_for(simple) -> None:
    simple.counted("mailto:r@example.test")
    assert simple.mailstrom("tlsrpt", "--day", "2020-02-29").stdout == ""
    for day in ("2020-02-30", "20-02-01", "yesterday", "2020-2-1", ""):
        done = simple.mailstrom("tlsrpt", f"--day={day}", expect=64)
        assert f"--day: {day!r} is no date" in done.stderr
    done = simple.mailstrom("tlsrpt", "--day", day_of(time.time()), expect=64)
    assert "is not over yet" in done.stderr
    assert simple.mailstrom("tlsrpt", "--day", YESTERDAY).stdout.startswith("example.test mailto:r")


def test_nothing_is_counted_or_reported_unless_somebody_answers_for_it(simple) -> None:
    simple.counted("mailto:r@example.test", contact="")
    assert list(open_store(str(simple.mailstrom.spool), 0, False).notes(KIND)) == []
    done = simple.mailstrom("tlsrpt", expect=78)
    assert "[tlsrpt] contact is not set" in done.stderr


def test_run_writes_its_counts_at_its_end_beside_those_of_others(simple) -> None:
    simple.counted("mailto:r@example.test")  # by a flush, a day before
    mailstrom = simple.mailstrom
    running = mailstrom.start()
    for _ in range(3):
        id = mailstrom.submit("-f", "ann@example.org", "-t", "bob@example.test")
        mailstrom("status", "--wait=20", id)
    running.send_signal(signal.SIGTERM)
    assert running.wait(20) == 0
    mailstrom.submit("-f", "ann@example.org", "-t", "bob@example.test")
    mailstrom("flush")
    let_the_day_pass(mailstrom)
    (told,) = map(json.loads, mailstrom("tlsrpt", "--json").stdout.splitlines())
    (one,) = told["report"]["policies"]
    sessions = len([s for s in simple.server.sessions if s.transactions])
    assert one["summary"] == {
        "total-successful-session-count": sessions,
        "total-failure-session-count": 0,
    }
    assert sessions >= 3
