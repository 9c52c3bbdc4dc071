"""What leaves is signed, octet for octet as it leaves; where it cannot be, it waits."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.config.schema import Dkim
from mailstrom_cli.dkim.canonical import RelaxedBody
from mailstrom_cli.net.driver import CHUNK
from mailstrom_cli.transport import signing
from mailstrom_cli.transport.signing import Prefixed

from ..dkim.signing import TYPES, pair, verified
from ..peers.scripted import Script
from .sending import MESSAGE, Names, statuses
from .test_conversion import BOTH, EIGHT, OLD, two
from .test_sendfile import LONG, Kernel, send, via

if TYPE_CHECKING:
    import io
    from collections.abc import Callable
    from pathlib import Path

    from ..peers.scripted import ScriptedServer
    from .sending import Sender

__all__ = ["send"]
DELIVERED = [("delivered", 250, "2.0.0")]
WAITS = [("deferred", None, "4.3.0")]
LETTER = (
    LONG[: 4 * CHUNK].replace(b"\r\n\r\n", b"\r\nFrom: ann@example.org\r\n\r\n", 1).rpartition(b"\n")[0]
    + b"\n"
)
"""Too long to be hashed or sent in one go."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a file for each key."""
    path = tmp_path_factory.mktemp("keys")
    for type in TYPES:
        (path / type).write_bytes(pair(type)[0])
        (path / type).chmod(0o600)
    return path


@pytest.fixture
def signer(sender, folder: Path) -> Callable[..., Sender]:
    """signer("rsa", ..., domain=) -> a Sender that signs with these keys."""

    def make(*types: str, domain: str = "example.org", resolver: Names | None = None, **changed) -> Sender:
        entry = Dkim(types or ("ed25519",), tuple(str(folder / type) for type in types or ("ed25519",)))
        return sender(resolver, dkim={domain: entry}, **changed)

    return make


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The octets of each block that was hashed."""
    blocks: list[int] = []
    update = RelaxedBody.update

    def counted(body: RelaxedBody, block: bytes) -> None:
        blocks.append(len(block))
        update(body, block)

    monkeypatch.setattr(RelaxedBody, "update", counted)
    return blocks


def top(server: ScriptedServer, message: bytes = MESSAGE) -> bytes:
    """What stands before the message that a server got; its signatures are good, and its size is as told."""
    sent = server.message()
    assert sent.endswith(message)
    before = sent.removesuffix(message)
    count = before.count(b"DKIM-Signature:")
    assert verified(sent, count) == [True] * count
    (mail,) = [command for command in server.commands if command.startswith("MAIL")]
    assert mail.split()[2] == f"SIZE={len(sent)}"
    return before


@pytest.mark.parametrize("chunking", [True, False], ids=["BDAT", "DATA"])
@pytest.mark.parametrize("types", [("rsa",), ("ed25519",), TYPES], ids="+".join)
def test_signatures_are_put_in_front(scripted, signer, chunking: bool, types: tuple[str, ...]) -> None:
    server = scripted(Script(chunking=chunking))
    assert statuses(signer(*types).send(via(server))) == DELIVERED
    assert top(server).count(b"DKIM-Signature: v=1;") == len(types)


@pytest.mark.parametrize("size", [0, CHUNK - 5000, CHUNK, len(LETTER)])
def test_a_long_message_is_still_sent_by_the_system(
    scripted, signer, send, monkeypatch, hashed, size: int
) -> None:
    monkeypatch.setattr(signing, "BLOCK", 100_000)
    kernel, server = Kernel(monkeypatch), scripted(Script(chunking=True))
    message = LETTER[:size].rpartition(b"\n")[0] + b"\n" if size else MESSAGE
    assert statuses(send(signer("rsa"), via(server), message)) == DELIVERED
    assert kernel.octets == max(0, len(top(server, message)) + len(message) - CHUNK)
    assert max(hashed) <= 100_000


def test_dots_of_data_are_doubled_after_the_signature(scripted, signer, send) -> None:
    server = scripted(Script(chunking=False))
    assert statuses(send(signer("rsa"), via(server), LETTER)) == DELIVERED
    assert top(server, LETTER)


def test_mail_of_other_domains_is_sent_as_it_is(scripted, signer) -> None:
    server = scripted()
    assert statuses(signer(domain="example.net").send(via(server))) == DELIVERED
    assert top(server) == b""


def test_a_domain_below_is_signed_for_by_the_one_above(scripted, signer) -> None:
    server = scripted()
    message = MESSAGE.replace(b"ann@example.org", b"Ann <ann@News.Example.ORG>")
    assert statuses(signer().send(via(server), message=message)) == DELIVERED
    assert b" d=example.org;" in top(server, message)


def test_the_author_decides_and_not_the_reverse_path(scripted, signer) -> None:
    server = scripted()
    signer().send(via(server), reverse_path="bounces@example.net")
    assert top(server)


def test_by_lmtp_too(scripted, signer, tmp_path: Path) -> None:
    server = scripted(Script(lmtp=True), path=str(tmp_path / "lmtp"))
    assert statuses(signer().send(f"lmtp://{tmp_path}/lmtp")) == DELIVERED
    assert top(server)


def test_a_maildir_is_where_mail_ends(signer, tmp_path: Path) -> None:
    signer().send(f"maildir://{tmp_path}/mail")
    (name,) = os.listdir(tmp_path / "mail" / "new")
    assert b"DKIM" not in (tmp_path / "mail" / "new" / name).read_bytes()


@pytest.mark.parametrize("message", [EIGHT, BOTH], ids=["content", "header and content"])
def test_what_is_converted_is_signed_as_it_leaves(scripted, signer, message: dict) -> None:
    server = scripted(Script(**OLD))
    (told,) = signer(*TYPES).send(via(server), **message)
    assert told.status == "delivered"
    assert told.text.count("converted") == 1
    assert "breaks" not in told.text
    sent = server.message()
    assert sent.isascii()
    assert verified(sent, 2) == [True, True]
    assert f"MAIL FROM:<ann@example.org> SIZE={len(sent)}" in server.commands


@pytest.mark.parametrize("long", [False, True])
def test_a_message_is_hashed_once_for_all_its_hosts_and_next_hops(
    scripted, signer, hashed, folder, long: bool
) -> None:
    refuse = Script(replies={"mail": "451 4.3.0 no"})
    first, second, names = two(scripted, refuse, refuse)
    third = scripted()
    out = signer("rsa", resolver=names, smtp_port=first.port)
    message = LETTER if long else MESSAGE
    (told,) = out.send(f"mx:,{via(third)}", message=message)
    assert told.status == "delivered"
    out.send(via(third), "other@example.net", message=message)
    assert [len(server.sessions) for server in (first, second, third)] == [1, 1, 1]
    assert sum(hashed) == len(message) - message.index(b"\r\n\r\n") - 4
    assert third.transactions[0].body == third.transactions[1].body
    out.send(via(third), message=message, id="another")
    assert sum(hashed) == 2 * (len(message) - message.index(b"\r\n\r\n") - 4)


def test_jobs_of_one_message_side_by_side_hash_it_once(scripted, signer, hashed) -> None:
    server, out = scripted(), signer("rsa")

    async def both() -> list:
        jobs = [out.attempt(via(server), f"{n}@example.test", message=LETTER) for n in range(3)]
        return [told for job in await asyncio.gather(*jobs) for told in job]

    assert statuses(out.run(both())) == DELIVERED * 3
    assert sum(hashed) == len(LETTER) - LETTER.index(b"\r\n\r\n") - 4


def test_how_many_signatures_are_kept_is_bounded(scripted, signer, monkeypatch) -> None:
    monkeypatch.setattr(signing, "KEPT", 2)
    server, out = scripted(), signer()
    for id in ("a", "b", "c", "a"):
        out.send(via(server), id=id)
    assert list(out.smtp._signing._made) == [("c", ""), ("a", "")]


def test_a_server_that_has_no_room_for_the_signature_gets_nothing(scripted, signer) -> None:
    server = scripted(Script(size=len(MESSAGE) + 10))
    (told,) = signer().send(via(server))
    assert (told.status, told.enhanced) == ("failed", "5.3.4")
    assert not server.transactions


@pytest.mark.parametrize(
    "what",
    ["cannot be read: No such file", "has mode 0644: it is not private", "holds no private key in PEM"],
)
@pytest.mark.parametrize("long", [False, True])
def test_without_its_key_mail_waits_and_then_goes(
    scripted, sender, tmp_path: Path, caplog, what: str, long: bool
) -> None:
    server, path, message = scripted(), tmp_path / "key", LETTER if long else MESSAGE
    if "read" not in what:
        path.write_bytes(pair("rsa")[0] if "mode" in what else b"s3cret")
        path.chmod(0o644 if "mode" in what else 0o600)
    out = sender(dkim={"example.org": Dkim(("rsa",), (str(path),))})
    (told,) = out.send(via(server), message=message)
    assert statuses([told]) == WAITS
    assert told.text.startswith(f"mail cannot be signed for example.org: {path} {what}")
    assert not told.judged
    assert [record.getMessage() for record in caplog.records] == [f"0123456789abcdef: {told.text}"]
    assert not server.transactions
    path.write_bytes(pair("rsa")[0])
    path.chmod(0o600)
    assert statuses(out.send(via(server), message=message)) == DELIVERED
    assert top(server, message)


@pytest.mark.parametrize("size", [len(MESSAGE), 1 << 20])
def test_a_message_that_cannot_be_read_waits(scripted, signer, size: int) -> None:
    def opener() -> io.BytesIO:
        raise OSError(5, "Input/output error")

    (told,) = signer().send(via(scripted()), opener=opener, size=size)
    assert statuses([told]) == WAITS
    assert told.text == "the message cannot be read: Input/output error"


def test_without_keys_nothing_of_it_is_there(sender) -> None:
    assert sender().smtp._signing is None


def test_a_file_with_something_before_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    for sizes in ([3, 3, 3, 100], [4], [-1], [5, -1], [1] * 20, [None]):
        with Prefixed(b"abcd", path.open("rb")) as file:
            assert file.readable()
            with pytest.raises(OSError):
                file.fileno()
            read = b"".join(file.read(size) for size in sizes)
            assert read == b"abcd0123456789"[: len(read)]
            assert len(read) == 14 or sum(s or 0 for s in sizes) == len(read)
            if len(read) >= 4:
                assert os.pread(file.fileno(), 20, file.tell()) == b"0123456789"[len(read) - 4 :]
                file.seek(9)
                assert file.read(5) == b"9"
            inner = file._message
        assert inner.closed
