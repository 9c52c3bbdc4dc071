"""A real Postfix that offers neither 8BITMIME nor SMTPUTF8 gets a message that says the same."""

from __future__ import annotations

from email import message_from_bytes, policy

OLD = "smtpd_discard_ehlo_keywords = 8bitmime, smtputf8\n"
TEXT = "Grüße aus Köln, in Zeilen.\n" * 100
MESSAGE = (
    "From: Jörg Ähre <ann@example.org>\nTo: bob@example.test\nSubject: Große Ära 日本\nMIME-Version: 1.0\n"
    "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 8bit\n\n--b\n"
    "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + TEXT + "\n--b\n"
    'Content-Type: application/octet-stream\nContent-Disposition: attachment; filename="Übersicht.bin"\n\n'
).encode() + b"\x89\xff\xfe\n--b--\n"


def test_a_postfix_without_8bitmime_gets_7_bits(mailstrom, postfix) -> None:
    server = postfix(["example.test"], settings=OLD)
    mailstrom.configure(f'via = "smtp://127.0.0.1:{server.port}"')
    id = mailstrom.submit("-f", "ann@example.org", "-t", "bob@example.test", input=MESSAGE)
    stored = mailstrom("show", id).stdout
    mailstrom("flush")
    told = mailstrom.recipients(id)["bob@example.test"]
    assert told["status"] == "delivered"
    assert "converted to 7-bit content" in told["text"]
    assert mailstrom("show", id).stdout == stored

    (delivery,) = server.mailbox.wait(1)
    assert delivery.original.isascii()
    message = message_from_bytes(delivery.original, policy=policy.default)
    text, attached = message.iter_parts()
    assert message["subject"] == "Große Ära 日本"
    assert message["from"] == "Jörg Ähre <ann@example.org>"
    assert text.get_content().replace("\r\n", "\n") == TEXT
    assert attached.get_filename() == "Übersicht.bin"
    assert attached.get_content() == b"\x89\xff\xfe"


def test_of_two_mx_hosts_the_one_that_offers_it_gets_the_message_as_it_is(
    mailstrom, dns_server, postfix
) -> None:
    old = postfix(["example.test"], hosts=["127.0.0.2"], settings=OLD)
    new = postfix(["example.test"], hosts=["127.0.0.3"], port=old.port)
    resolver = dns_server(
        {"example.test": "@ MX 10 old\n@ MX 20 new\nold A 127.0.0.2\nnew A 127.0.0.3"},
    )
    mailstrom.configure(
        f'[dns]\nresolver = ["{resolver.resolver}"]', f'[smtp]\nport = {old.port}\nip = "ipv4"'
    )
    mailstrom.submit("-f", "ann@example.org", "-t", "bob@example.test", input=MESSAGE)
    mailstrom("flush")
    (delivery,) = new.mailbox.wait(1)
    assert TEXT.encode() in delivery.original
    assert old.mailbox.count() == 0
