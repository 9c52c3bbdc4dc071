"""The real command and its resolver: over TLS, over HTTPS, dead, and without the package that it needs."""

from __future__ import annotations

import subprocess
import sys

from ..peers.process import free_port


def test_mail_finds_its_way_by_encrypted_dns(mailstrom, dns_server, scripted, certificates) -> None:
    receiver = scripted()
    zones = {"example.test": "@ MX 10 mx\nmx A 127.0.0.1"}
    resolver = dns_server(zones, tls=certificates.files()).doh()
    mailstrom.configure(
        f'[dns]\nresolver = "{resolver}"\n[tls]\nca_file = "{certificates.ca_file}"',
        f'[smtp]\nport = {receiver.port}\nip = "ipv4"',
    )
    id = mailstrom.submit("-f", "ann@example.org", "-t", "bob@example.test")
    done = mailstrom("flush")
    assert done.stderr == ""
    (told,) = mailstrom.recipients(id).values()
    assert told["status"] == "delivered", told["text"]


def test_a_dead_resolver_defers_and_is_named(mailstrom) -> None:
    dead = f"tls://127.0.0.1:{free_port()}#dns.example"
    mailstrom.configure(f'[dns]\nresolver = "{dead}"')
    id = mailstrom.submit("-f", "ann@example.org", "-t", "bob@example.test")
    mailstrom("flush")
    (told,) = mailstrom.recipients(id).values()
    assert (told["status"], told["enhanced"]) == ("deferred", "4.4.3")
    assert told["text"] == (
        f"looking up MX of example.test failed: {dead} cannot be reached: Connection refused"
    )


def test_without_the_package_for_https_mail_is_taken_and_one_line_says_what_to_do(mailstrom) -> None:
    mailstrom.configure('[dns]\nresolver = "https://dns.example/dns-query"')
    program = (
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name == 'h2' else find(name, *more)\n"
        "from mailstrom_cli.__main__ import main\n"
        "sys.exit(main())\n"
    )

    def call(*words: str, **options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, "--config", str(mailstrom.config), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)

    assert call("submit", "-t", "bob@example.test", input="From: ann@example.org\n\nHello\n").returncode == 0
    why = "DNS over HTTPS, as in `dns.resolver`, needs the package h2, which is not installed\n"
    hint = "hint: pip install 'mailstrom[doh]', or take DNS over TLS, as in tls://9.9.9.9#dns.quad9.net\n"
    done = call("flush")
    assert (done.returncode, done.stderr) == (78, f"error: {why}{hint}")
    done = call("config", "check")
    assert (done.returncode, done.stderr) == (78, f"error: {mailstrom.config}:4: {why}{hint}")
