"""Every message of the corpus, signed on its way out, through real DNS: dkimpy and opendkim find all good.

The keys are made by `dkim keygen`, and the zones hold what it has printed.
"""

from __future__ import annotations

import re
import subprocess
from email.utils import getaddresses
from pathlib import Path
from typing import TYPE_CHECKING

import dkim
import dns.message
import dns.query
import dns.rdatatype
import pytest

from ..mail import corpus
from ..peers.needs import need, need_files
from ..peers.opendkim import opendkim
from .conftest import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ..peers.dns import Dns

TYPES = ("rsa", "ed25519")
ANN = b"From: Ann <ann@example.org>\r\nTo: bob@example.test\r\nSubject: "
OWN = {
    "no body": ANN + b"no body\r\n\r\n",
    "empty lines": ANN + b"empty lines\r\n\r\n\r\n\r\n\r\n",
    "blanks": ANN + b"  many \t blanks\r\n \t in two lines\r\n\r\n a  b \t\r\n \t \r\nc\t\tc\r\n\r\n \r\n",
    "dots": ANN + b"dots\r\n\r\n.\r\n..\r\n.a\r\n",
    "8 bit": ANN
    + "Grüße\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    "Content-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n".encode(),
    "lists": ANN + b"lists\r\nList-Id: <l.example.org>\r\nList-Unsubscribe: <https://example.org/u>\r\n"
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nReply-To: l@example.org\r\nCc: c@example.net\r\n"
    b"Sender: l@example.org\r\nReferences: <a@b>\r\nIn-Reply-To: <a@b>\r\n\r\nhello\r\n",
    "resent": b"Resent-From: eve@example.net\r\nResent-To: bob@example.test\r\n"
    b"Resent-Date: Tue, 24 Nov 2026 10:00:00 +0000\r\n" + ANN + b"resent\r\n\r\nhello\r\n",
    "two authors": b"From: a@example.org, b@example.net\r\nSender: a@example.org\r\n"
    b"To: bob@example.test\r\n\r\nhello\r\n",
    "below": ANN.replace(b"ann@", b"ann@news.") + b"below\r\n\r\nhello\r\n",
    "beyond ASCII": ANN.replace(b"ann@example.org", "ann@bücher.example".encode()) + b"x\r\n\r\nhello\r\n",
    "long": ANN + b"long\r\n\r\n" + b"".join(b"line %d  \r\n" % n for n in range(10_000)),
}


def domains_of(message: bytes) -> list[str]:
    """The domains of From as A-labels, worked out without any of what is tested."""
    lines = message.replace(b"\r\n", b"\n").split(b"\n")
    for field in corpus.fields(lines):
        name, _, value = b"\n".join(field).partition(b":")
        if name.strip().lower() == b"from":
            boxes = getaddresses([value.decode().replace("\n", "")])
            found = [address.rpartition("@")[2].lower() for _, address in boxes if "@" in address]
            return [domain.encode("idna").decode() for domain in found]
    return []


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    """A key of each type: what was printed of them, for example.org, and their files."""
    folder, printed, files = tmp_path_factory.mktemp("keys"), "", []
    for type in TYPES:
        files.append(str(folder / f"{type}.pem"))
        line = ["dkim", "keygen", "example.org", "--type", type, "--selector", type, "--out", files[-1]]
        printed += subprocess.run([*PROGRAM, *line], capture_output=True, text=True, check=True).stdout
    return printed, files


@pytest.fixture
def signing(mailstrom, keys: tuple[str, list[str]]) -> Callable[..., dict[str, str]]:
    """signing(domains, ...) -> the zones of these domains, for which the configuration has both keys, and the
    other lines."""

    def configure(domains: Iterable[str], *lines: str) -> dict[str, str]:
        printed, files = keys
        entry = f'selector = ["rsa", "ed25519"]\nkey_file = ["{files[0]}", "{files[1]}"]'
        mailstrom.configure(*lines, *(f'[dkim."{domain}"]\n{entry}' for domain in domains))
        return {domain: printed.replace(".example.org.", f".{domain}.") for domain in domains}

    return configure


def looked_up(server: Dns) -> Callable[..., bytes | None]:
    """TXT records for dkimpy, asked of the server."""

    def ask(name: bytes, timeout: int = 5) -> bytes | None:
        question = dns.message.make_query(name.decode(), dns.rdatatype.TXT)
        reply = dns.query.udp(question, server.host, timeout, server.port)
        return b"".join(reply.answer[0][0].strings) if reply.answer else None

    return ask


def check(messages: Mapping[str, bytes], authors: Mapping[str, int], server: Dns, folder: Path) -> None:
    """For each author's domain of each message both find two good signatures, and of a changed one none."""
    ask = looked_up(server)
    for name, message in messages.items():
        signed = dkim.DKIM(message, timeout=5)
        found = [signed.verify(index, dnsfunc=ask) for index in range(2 * authors[name])]
        assert found == [True, True] * authors[name], name
    changed = [re.sub(rb"(?i)\r\nFrom: *", rb"\g<0>x", message, count=1) for message in messages.values()]
    for octets, told in ((list(messages.values()), "pass"), (changed, "fail")):
        for name, verdict in zip(messages, opendkim(octets, server, folder), strict=True):
            assert verdict == [("rsa", told), ("ed25519", told)] * authors[name], name


def submitted(mailstrom, folder: Path, messages: Iterable[bytes], expect: int = 0) -> dict[int, str]:
    """Submits them all; the ids, by their places."""
    paths = []
    for number, message in enumerate(messages):
        paths.append(f"{folder}/input{number}")
        Path(paths[-1]).write_bytes(message)
    line = ["submit", "-f", "s@example.org", "-t", "r@example.test", *paths]
    done = mailstrom(*line, expect=expect)
    refused = set(map(int, re.findall(r"^error: \S+/input(\d+): ", done.stderr, re.MULTILINE)))
    accepted = [number for number in range(len(paths)) if number not in refused]
    return dict(zip(accepted, done.stdout.split(), strict=True))


def test_the_whole_corpus_is_signed_and_verified(mailstrom, scripted, dns_server, signing, tmp_path) -> None:
    need("opendkim")
    need_files(corpus.FOLDER)
    inputs = {**{name: corpus.read(name) for name in corpus.FILES}, **OWN}
    authors = {name: domains_of(message) for name, message in inputs.items()}
    server = scripted()
    resolver = dns_server(
        signing(
            {domain for found in authors.values() for domain in found} - {"news.example.org"},
            f'via = "smtp://127.0.0.1:{server.port}"',
        )
    )
    numbers = submitted(mailstrom, tmp_path, inputs.values(), expect=65)
    ids = {name: numbers[number] for number, name in enumerate(inputs) if number in numbers}
    assert len(ids) >= 30 + len(OWN)
    spool = mailstrom.spool
    stored = {name: (spool / "queued" / id / "message.eml").read_bytes() for name, id in ids.items()}
    mailstrom("flush")
    bodies = [t.body for t in server.transactions if t.accepted]
    assert len(bodies) == len(stored)
    sent = {}
    for name, message in stored.items():
        (sent[name],) = [body for body in bodies if body.endswith(message)]
        top = sent[name].removesuffix(message)
        assert top.startswith(b"DKIM-Signature: v=1; a=rsa-sha256; ")
        assert top.count(b"\r\nDKIM-Signature: ") == 2 * len(authors[name]) - 1
        assert (spool / "delivered" / ids[name] / "message.eml").read_bytes() == message
    check(sent, {name: len(authors[name]) for name in sent}, resolver, tmp_path)


def test_through_a_real_server(mailstrom, postfix, dns_server, signing, tmp_path) -> None:
    need("opendkim")
    server = postfix(["example.test"])
    domains = ["example.org", "example.net", "xn--bcher-kva.example"]
    resolver = dns_server(signing(domains, f'via = "smtp://127.0.0.1:{server.port}"'))
    submitted(mailstrom, tmp_path, OWN.values())
    mailstrom("flush")
    came = [delivery.original.replace(b"\n", b"\r\n") for delivery in server.mailbox.wait(len(OWN))]
    assert len(came) == len(OWN)
    messages = {str(number): message for number, message in enumerate(came)}
    check(messages, {n: len(domains_of(m)) for n, m in messages.items()}, resolver, tmp_path)


def test_the_record_is_what_a_real_dns_server_takes(dns_server, signing) -> None:
    """As it was printed; that the key in it is the right one, a signature tells."""
    resolver = dns_server(signing(["example.org"]))
    for type, strings in (("rsa", 2), ("ed25519", 1)):
        question = dns.message.make_query(f"{type}._domainkey.example.org.", dns.rdatatype.TXT)
        reply = dns.query.udp(question, resolver.host, 5, resolver.port)
        ((record,),) = reply.answer
        assert len(record.strings) == strings
        assert b"".join(record.strings).startswith(f"v=DKIM1; k={type}; p=".encode())


def test_mail_waits_for_its_key_and_nobody_bounces_it(mailstrom, scripted, signing, keys, tmp_path) -> None:
    server, key = scripted(), Path(keys[1][0])
    signing(["example.org"], f'via = "smtp://127.0.0.1:{server.port}"')
    key.rename(tmp_path / "away")
    try:
        signed, other = submitted(
            mailstrom, tmp_path, [OWN["dots"], b"From: a@example.net\n\nhello\n"]
        ).values()
        done = mailstrom("flush")
        (told,) = mailstrom.recipients(signed).values()
    finally:
        (tmp_path / "away").rename(key)
    what = f"mail cannot be signed for example.org: {key} cannot be read: No such file or directory"
    assert (told["status"], told["enhanced"], told["text"]) == ("deferred", "4.3.0", what)
    assert f"{signed}: {what}" in done.stderr
    assert mailstrom.status(other)["status"] == "delivered"
    assert b"DKIM-Signature" not in server.message()
    mailstrom("flush", signed)
    assert mailstrom.status(signed)["status"] == "delivered"
    assert server.transactions[-1].body.count(b"DKIM-Signature: ") == 2
