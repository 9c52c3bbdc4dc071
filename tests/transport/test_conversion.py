"""What no host of a next hop takes as it is goes out converted; the stored message never changes."""

from __future__ import annotations

import io
from email import message_from_bytes, policy
from typing import TYPE_CHECKING

import pytest

from ..peers.answers import Close
from ..peers.scripted import Script
from .sending import Names, statuses

if TYPE_CHECKING:
    from pathlib import Path

    from mailstrom_cli.mail.status import Result

    from ..peers.scripted import ScriptedServer

TEXT = "Grüße aus Köln, in einer Zeile\r\n"
MESSAGE = (
    b"From: ann@example.org\r\nMessage-ID: <1@example.org>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + TEXT.encode()
)
UTF8 = MESSAGE.replace(b"Message-ID", "Subject: Grüße\r\nTo: Jörg <j@bücher.example>\r\nMessage-ID".encode())
SIGNED = MESSAGE.replace(b"text/plain", b"multipart/signed; boundary=b").replace(
    TEXT.encode(), b"--b\r\n\r\n\xff\r\n--b--\r\n"
)
EIGHT = {"message": MESSAGE, "body": "8bitmime"}
BOTH = {"message": UTF8, "body": "8bitmime", "smtputf8": True}
OLD = {"eight_bit": False, "smtputf8": False}


def via(server: ScriptedServer) -> str:
    return f"smtp://mx.example.test:{server.port}"


def two(scripted, first: Script, second: Script) -> tuple[ScriptedServer, ScriptedServer, Names]:
    """Two MX hosts of example.test, the first preferred."""
    one = scripted(first)
    other = scripted(second, host="127.0.0.2", port=one.port)
    names = Names({"example.test": [(10, "a"), (20, "b")]}, {"a": ["127.0.0.1"], "b": ["127.0.0.2"]})
    return one, other, names


def delivered(told: list[Result]) -> bool:
    return [r.status for r in told] == ["delivered"] * len(told)


def test_8_bit_content_in_7_bits(scripted, sender) -> None:
    server = scripted(Script(**OLD))
    (told,) = sender().send(via(server), **EIGHT)
    assert statuses([told]) == [("delivered", 250, "2.0.0")]
    assert told.text.endswith(" (converted to 7-bit content)")
    sent = server.message()
    assert sent.isascii()
    assert message_from_bytes(sent, policy=policy.default).get_content() == TEXT
    assert f"MAIL FROM:<ann@example.org> SIZE={len(sent)}" in server.commands


def test_a_server_without_any_extension(scripted, sender) -> None:
    server = scripted(Script(esmtp=False))
    assert delivered(sender().send(via(server), **BOTH))
    assert server.message().isascii()


def test_header_and_content_and_addresses_in_ascii(scripted, sender) -> None:
    server = scripted(Script(**OLD))
    (told,) = sender().send(via(server), "good@bücher.example", reverse_path="ann@straße.example", **BOTH)
    assert told.address == "good@bücher.example"
    assert told.text.endswith(" (converted to 7-bit content and an ASCII header)")
    sent = server.message()
    assert sent.isascii()
    message = message_from_bytes(sent, policy=policy.default)
    assert message["subject"] == "Grüße"
    assert message["to"] == "Jörg <j@xn--bcher-kva.example>"
    assert message.get_content() == TEXT
    assert f"MAIL FROM:<ann@xn--strae-oqa.example> SIZE={len(sent)}" in server.commands
    assert "RCPT TO:<good@xn--bcher-kva.example>" in server.commands


def test_only_what_is_not_offered_is_converted(scripted, sender) -> None:
    server = scripted(Script(smtputf8=False))
    (told,) = sender().send(via(server), **BOTH)
    assert told.text.endswith(" (converted to an ASCII header)")
    assert server.message().endswith(b"\r\n\r\n" + TEXT.encode())
    assert f"MAIL FROM:<ann@example.org> SIZE={len(server.message())} BODY=8BITMIME" in server.commands


def test_a_header_alone_leaves_a_message_that_is_7_bit(scripted, sender) -> None:
    server = scripted(Script(smtputf8=False))
    message = "Subject: Grüße\r\n\r\n".encode()
    assert delivered(sender().send(via(server), message=message, body="8bitmime", smtputf8=True))
    assert f"MAIL FROM:<ann@example.org> SIZE={len(server.message())}" in server.commands


def test_another_host_that_takes_it_as_it_is_comes_first(scripted, sender) -> None:
    old, new, names = two(scripted, Script(**OLD), Script())
    (told,) = sender(names, smtp_port=old.port).send("mx:", **BOTH)
    assert told.status == "delivered"
    assert "converted" not in told.text
    assert new.message() == UTF8
    assert old.transactions == []


@pytest.mark.parametrize("second", [Script(replies={"greeting": Close("421 4.3.2 Busy")}), Script(size=10)])
def test_another_host_that_is_no_help_does_not_keep_the_mail(scripted, sender, second: Script) -> None:
    old, _, names = two(scripted, Script(**OLD), second)
    (told,) = sender(names, smtp_port=old.port).send("mx:", **EIGHT)
    assert told.status == "delivered"
    assert old.message().isascii()


def test_another_host_that_asks_to_wait_is_waited_for(scripted, sender) -> None:
    old, _, names = two(scripted, Script(**OLD), Script(replies={"rcpt": "450 4.2.0 Not now"}))
    (told,) = sender(names, smtp_port=old.port).send("mx:", **EIGHT)
    assert statuses([told]) == [("deferred", 450, "4.2.0")]
    assert old.transactions == []


def test_hosts_that_do_not_suit_do_not_count_as_tried(scripted, sender) -> None:
    first = scripted(Script(**OLD))
    others = [scripted(Script(**OLD), host=f"127.0.0.{n}", port=first.port) for n in (2, 3)]
    good = scripted(host="127.0.0.4", port=first.port)
    hosts = {f"h{n}": [f"127.0.0.{n}"] for n in range(1, 5)}
    names = Names({"example.test": [(10 * n, f"h{n}") for n in range(1, 5)]}, hosts)
    assert delivered(sender(names, smtp_port=first.port).send("mx:", **EIGHT))
    assert good.message() == MESSAGE
    assert [s.transactions for s in (first, *others)] == [[], [], []]


def test_each_recipient_has_its_own_result(scripted, sender) -> None:
    server = scripted(Script(**OLD))
    addresses = ["good@example.test", "reject@bücher.example", "jürgen@example.test", "good@bücher.example"]
    told = sender().send(via(server), *addresses, **BOTH)
    assert [r.address for r in told] == addresses
    assert statuses(told) == [
        *(("delivered", 250, "2.0.0"), ("failed", 550, "5.1.1")),
        *(("failed", None, "5.6.7"), ("delivered", 250, "2.0.0")),
    ]


def test_only_addresses_beyond_ascii(scripted, sender) -> None:
    server = scripted(Script(**OLD))
    told = sender().send(via(server), "good@bücher.example", "good@example.test")
    assert delivered(told)
    assert [r.address for r in server.transactions[0].recipients] == [
        *("good@xn--bcher-kva.example", "good@example.test")
    ]


@pytest.mark.parametrize(
    ("given", "enhanced", "reason"),
    [
        (
            {"message": SIGNED, "body": "8bitmime"},
            "5.6.3",
            "; it cannot be converted: a part of it is signed (multipart/signed) and must not be changed",
        ),
        (
            {"message": "From: ünn@example.org\r\n\r\n".encode(), "smtputf8": True},
            "5.6.7",
            "; it cannot be converted: its field `from` has no form in ASCII",
        ),
        ({**BOTH, "reverse_path": "ünn@example.org"}, "5.6.7", "and the server does not offer it"),
    ],
)
def test_what_cannot_be_converted_fails(scripted, sender, given, enhanced: str, reason: str) -> None:
    server = scripted(Script(**OLD))
    (told,) = sender().send(via(server), **given)
    assert statuses([told]) == [("failed", None, enhanced)]
    assert told.text.endswith(reason)
    assert server.transactions == []


def test_a_signature_that_breaks_is_told_of(scripted, sender) -> None:
    server = scripted(Script(**OLD))
    (told,) = sender().send(via(server), message=b"DKIM-Signature: x\r\n" + MESSAGE, body="8bitmime")
    assert told.text.endswith(" (converted to 7-bit content, which breaks its DKIM signature)")


def test_a_message_that_grows_beyond_what_the_server_takes(scripted, sender) -> None:
    server = scripted(Script(**OLD, size=len(MESSAGE)))
    (told,) = sender().send(via(server), **EIGHT)
    assert statuses([told]) == [("failed", None, "5.3.4")]
    assert server.transactions == []


def test_a_relay_that_is_next_takes_it_as_it_is(scripted, sender) -> None:
    server = scripted(Script(**OLD), strict=True)
    lmtp = scripted(Script(lmtp=True))
    told = sender().send(f"{via(server)},lmtp://127.0.0.1:{lmtp.port}", message=SIGNED, body="8bitmime")
    assert delivered(told)
    assert lmtp.message() == SIGNED


def test_lmtp_gives_each_its_reply(scripted, sender) -> None:
    server = scripted(Script(lmtp=True, **OLD, finals={"full": "452 4.2.2 Full"}))
    told = sender().send(f"lmtp://127.0.0.1:{server.port}", "good@example.test", "full@example.test", **EIGHT)
    assert [r.status for r in told] == ["delivered", "deferred"]


class Broken(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("opener", [lambda: Broken(b"x"), lambda: 1 / 0], ids=["disk", "bug"])
def test_a_message_that_cannot_be_read_waits(scripted, sender, opener, caplog) -> None:
    server = scripted(Script(**OLD))
    (told,) = sender().send(via(server), opener=opener, **EIGHT)
    assert (told.status, told.enhanced) == ("deferred", "4.3.0")


def test_a_large_message_from_a_file_streams_and_stays(scripted, sender, tmp_path: Path) -> None:
    lines = (TEXT * 100_000).encode()
    path = tmp_path / "message"
    path.write_bytes(MESSAGE + lines)
    server = scripted(Script(**OLD))
    sized = {"body": "8bitmime", "size": path.stat().st_size}
    assert delivered(sender().send(via(server), opener=lambda: path.open("rb"), **sized))
    assert message_from_bytes(server.message()).get_payload(decode=True) == TEXT.encode() + lines
    assert path.read_bytes() == MESSAGE + lines


def test_what_is_final_is_told_with_the_address_as_given(scripted, sender) -> None:
    """Between the hosts of the second round, as of the first."""
    slow = Script(**OLD, recipients={"late": "450 4.2.0 Not now"})
    old, other, names = two(scripted, slow, Script(**OLD))
    out = sender(names, smtp_port=old.port)
    told = out.send("mx:", "good@bücher.example", "late@bücher.example", **BOTH)
    assert delivered(told)
    assert [[(r.address, r.status) for r in results] for results in out.finals] == [
        [("good@bücher.example", "delivered")]
    ]
    assert "converted" in out.finals[0][0].text
    assert [r.address for r in other.transactions[-1].recipients] == ["late@xn--bcher-kva.example"]
