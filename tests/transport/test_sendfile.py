"""A long message as one chunk: the system sends the file itself, and what arrives is the file."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.net import stream
from mailstrom_cli.net.driver import CHUNK
from mailstrom_cli.net.stream import SEND_BUFFER, connect
from mailstrom_cli.policy.mx import Target

from ..peers.answers import Action, Hangup
from ..peers.scripted import Script
from .sending import MESSAGE, statuses

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailstrom_cli.mail.status import Result

    from ..peers.scripted import ScriptedServer
    from ..peers.wire import Wire
    from .sending import Sender

HEAD = b"Message-ID: <1@example.org>\r\n\r\n"
LONG = HEAD + b"".join(b"line %d\r\n.\r\n" % number for number in range(300_000))
"""4 MB in which no two pieces are alike."""
HUGE = HEAD + (b"x" * 998 + b"\r\n") * 16_000
"""16 MB: more than all buffers between the two hold."""


class Kernel:
    """What os.sendfile sent, and to which sockets; fails: errors that it raises in turn, None where it goes
    well."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.octets = 0
        self.sockets: set[str] = set()
        self.fails: list[int | None] = []
        self._sendfile = os.sendfile
        monkeypatch.setattr(os, "sendfile", self)

    def __call__(self, out_fd: int, in_fd: int, offset: int, count: int) -> int:
        if self.fails and (number := self.fails.pop(0)):
            raise OSError(number, os.strerror(number))
        self.sockets.add(os.readlink(f"/proc/self/fd/{out_fd}"))
        sent = self._sendfile(out_fd, in_fd, offset, count)
        self.octets += sent
        return sent


@pytest.fixture
def kernel(monkeypatch) -> Kernel:
    return Kernel(monkeypatch)


@pytest.fixture
def send(tmp_path: Path) -> Callable[..., list[Result]]:
    """send(sender, via, message) -> the results, the message read from a file of the system."""
    path = tmp_path / "message"

    def made(out: Sender, via: str, message: bytes = LONG) -> list[Result]:
        path.write_bytes(message)
        return out.send(via, message=message, opener=lambda: path.open("rb"))

    return made


def open_files() -> set[str]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # a server has closed it
            found.add(os.readlink(f"/proc/self/fd/{name}"))
    return found


def via(server: ScriptedServer, scheme: str = "smtp") -> str:
    return f"{scheme}://127.0.0.1:{server.port}"


def bodies(server: ScriptedServer) -> list[bytes | None]:
    return [t.body for t in server.transactions if t.accepted]


def test_long_and_short_messages_on_one_connection(scripted, sender, send, kernel: Kernel) -> None:
    server, out = scripted(Script(chunking=True)), sender()
    for message in (MESSAGE, LONG, MESSAGE, LONG[: CHUNK + 1], LONG):
        assert statuses(send(out, via(server), message)) == [("delivered", 250, "2.0.0")]
    assert bodies(server) == [MESSAGE, LONG, MESSAGE, LONG[: CHUNK + 1], LONG]
    assert len(server.sessions) == 1
    assert kernel.octets == 2 * (len(LONG) - CHUNK) + 1


@pytest.mark.parametrize("size", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
def test_of_every_size_nothing_is_lost(scripted, sender, send, size: int) -> None:
    server = scripted(Script(chunking=True))
    send(sender(), via(server), LONG[:size])
    assert bodies(server) == [LONG[:size]]


def test_over_a_unix_socket(scripted, sender, send, tmp_path: Path, kernel: Kernel) -> None:
    server = scripted(Script(lmtp=True, chunking=True), path=str(tmp_path / "lmtp"))
    send(sender(), f"lmtp://{tmp_path}/lmtp")
    assert bodies(server) == [LONG]
    assert kernel.octets == len(LONG) - CHUNK


def test_with_tls_everything_is_encrypted(scripted, sender, send, certificates, kernel: Kernel) -> None:
    server = scripted(Script(chunking=True, tls=certificates.context("good")))
    (told,) = send(sender(), via(server))
    assert told.tls == "TLSv1.3 encrypted"
    assert bodies(server) == [LONG]
    assert kernel.octets == 0


def test_dots_of_data_are_doubled(scripted, sender, send, kernel: Kernel) -> None:
    server = scripted(Script(chunking=False))
    send(sender(), via(server))
    assert bodies(server) == [LONG]
    assert kernel.octets == 0


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EIO])
def test_what_the_system_will_not_send_is_read_and_written(
    scripted, sender, send, kernel: Kernel, number: int
) -> None:
    server = scripted(Script(chunking=True))
    kernel.fails = [number, None, number, number]
    send(sender(), via(server))
    assert bodies(server) == [LONG]


def test_without_a_descriptor_left_it_is_read_and_written(
    scripted, sender, send, kernel: Kernel, monkeypatch
) -> None:
    def none_left(fd: int) -> int:
        raise OSError(errno.EMFILE, "none left")

    server = scripted(Script(chunking=True))
    monkeypatch.setattr(os, "dup", none_left)
    send(sender(), via(server))
    assert bodies(server) == [LONG]
    assert kernel.octets == 0


@pytest.mark.parametrize("piece", [0, 10_000, len(HUGE)], ids=["nothing", "little", "much"])
def test_what_was_written_before_goes_before(tmp_path: Path, piece: int) -> None:
    """However little or much of it still waits for room; the last of it the transport has not seen yet."""
    path = tmp_path / "message"
    path.write_bytes(LONG)

    async def run() -> None:
        came = asyncio.get_running_loop().create_future()
        server = await asyncio.start_server(lambda *both: came.set_result(both), "127.0.0.1", 0)
        sending = await connect(Target("mx", *server.sockets[0].getsockname()), 5)
        length = 0
        while piece and not sending._transport.get_write_buffer_size():
            sending.write(HUGE[length : length + piece])
            length += piece
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        sending.write(b"last")
        with path.open("rb") as file:
            under_way = asyncio.ensure_future(sending.send_file(file, "block", 5))
            reader, writer = await came
            sent = HUGE[:length] + b"last" + LONG
            assert await reader.readexactly(len(sent)) == sent
            assert await under_way
        assert sending._transport.get_write_buffer_limits()[1] == SEND_BUFFER
        sending.close()
        writer.close()
        server.close()

    asyncio.run(run())


def test_others_have_their_turn_meanwhile(scripted, sender, send, kernel: Kernel, monkeypatch) -> None:
    turns: list[int] = []

    async def others() -> None:
        while True:
            turns.append(kernel.octets)
            await asyncio.sleep(0)

    monkeypatch.setattr(stream, "SEND_FILE", 1000)
    server, out = scripted(Script(chunking=True)), sender()
    other = out.runner.get_loop().create_task(others())
    send(out, via(server))
    other.cancel()
    assert len(set(turns)) > (len(LONG) - CHUNK) // 1000


@dataclass(frozen=True)
class SayAndClose(Action):
    """A reply in the middle of the message, and the end of the connection, without a look at the rest."""

    reply: str

    def act(self, connection: Wire, usual: str) -> str:
        connection.fill(100_000)
        connection.send(connection.note(self.reply).encode() + b"\r\n")
        raise Hangup


def test_a_server_that_speaks_and_hangs_up_is_heard(scripted, sender, send, kernel: Kernel) -> None:
    server = scripted(Script(chunking=True, replies={"body": SayAndClose("552 5.3.4 Too big")}))
    out = sender()
    assert statuses(send(out, via(server), HUGE)) == [("failed", 552, "5.3.4")]
    assert 0 < kernel.octets < len(HUGE) - CHUNK
    out.run(asyncio.sleep(0))
    assert kernel.sockets.isdisjoint(open_files())


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ECONNRESET])
def test_a_connection_that_only_sending_finds_broken_is_waited_for(
    scripted, sender, send, kernel: Kernel, number: int
) -> None:
    """What the server said before may lie there unread."""
    server = scripted(Script(chunking=True, replies={"body": SayAndClose("452 4.3.1 Full")}))
    kernel.fails = [number]
    assert statuses(send(sender(), via(server), HUGE)) == [("deferred", 452, "4.3.1")]
