"""One connection: bytes out, replies in, each wait bounded (monotonic seconds), with or without TLS.

An event loop and one protocol object a connection: a stalled server costs a few kilobytes and no thread, and
nothing is copied through stream buffers that SMTP, which talks in lines, does not need.
"""

from __future__ import annotations

import asyncio
import os
import ssl

from mailstrom_cli.errors import exhausted
from mailstrom_cli.net.tls import NotProven, fault
from mailstrom_cli.smtp import stages
from mailstrom_cli.smtp.dialog import Failure, SessionFailed
from mailstrom_cli.smtp.wire import Malformed, ReplyParser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from mailstrom_cli.mail.reply import Reply
    from mailstrom_cli.net.tls import Handshake, Secured
    from mailstrom_cli.policy.mx import Target

SEND_BUFFER = 256 * 1024
SEND_FILE = 1 << 20  # octets in one go, after which others have their turn
MAX_BACKLOG = 512 * 1024
"""Octets a server may have said that nobody asked for; more is a flood, and the connection is dropped."""


class Alarm:
    """A deadline that moves with every wait, while the timer behind it is set anew only when it has run down:
    a busy connection would else spend more on timers than on its replies."""

    def __init__(self) -> None:
        self._future: asyncio.Future[None] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def set(self, future: asyncio.Future[None], seconds: float) -> None:
        """Have a future raise TimeoutError when it is not done after so many seconds."""
        loop = asyncio.get_running_loop()
        self._future, self._deadline = future, loop.time() + max(0.0, seconds)
        if self._timer is not None and self._timer.when() > self._deadline:
            self.stop()
        if self._timer is None:
            self._timer = loop.call_at(self._deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        future = self._future
        if future is None or future.done():
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._deadline:
            self._timer = loop.call_at(self._deadline, self._ring)
        else:
            future.set_exception(TimeoutError())

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def _bounded(future: asyncio.Future[None], alarm: Alarm, stage: str, seconds: float) -> None:
    alarm.set(future, seconds)
    try:
        await future
    except TimeoutError:
        raise SessionFailed(Failure("timeout", stage, f"timed out {stages.WHILE[stage]}")) from None


class Stream(asyncio.Protocol):
    """A connection to a server. Every method raises SessionFailed for what the network or the peer does."""

    def __init__(self) -> None:
        self._parser = ReplyParser()
        self._transport: asyncio.Transport | None = None
        self._lost: str | None = None  # why the connection ended
        self._waiting: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._held: list[bytes] = []  # on their way out, together with what is written in the next moment
        self._reading, self._writing = Alarm(), Alarm()
        self.secured: Secured | None = None  # None in plain text

    # --- what the event loop calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=SEND_BUFFER)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed(data)
        if self._parser.backlog > MAX_BACKLOG:
            self.close()
        _wake(self._waiting)

    def eof_received(self) -> bool:
        self._end("the server closed the connection")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(_reason(exc) if exc else "the server closed the connection")
        self._reading.stop()
        self._writing.stop()

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        _wake(self._writable)
        self._writable = None

    def _end(self, why: str) -> None:
        if self._lost is None:
            self._lost = why
        _wake(self._waiting)
        _wake(self._writable)

    # --- what the driver calls ---

    @property
    def open(self) -> bool:
        """What is written can still reach the server."""
        return self._lost is None

    @property
    def idle(self) -> bool:
        """Open, and the server has said nothing since its last reply: fit for another transaction."""
        return self.open and not self._parser.pending

    @property
    def answered(self) -> bool:
        """The server has said something that was not read yet."""
        return self._parser.pending

    def write(self, data: bytes) -> bool:
        """Queue bytes; False when the connection is gone, of which the next wait may still find a reply.

        They leave when everybody who can go on now has done so: the end of a message and the beginning of the
        next one are one packet then, and so are the replies to them.
        """
        if self._transport is None or self._lost is not None:
            return False
        if not self._held:
            asyncio.get_running_loop().call_soon(self._write_soon)
        self._held.append(data)
        return True

    def _write_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._write_now)

    def _write_now(self) -> None:
        held, self._held = self._held, []
        if held and self._transport is not None and self._lost is None:
            self._transport.write(b"".join(held))

    async def drained(self, stage: str, seconds: float) -> bool:
        """Wait until there is room to write more; False when the connection is gone."""
        self._write_now()
        await asyncio.sleep(0)  # a write that failed is told by the loop, and others want their turn too
        if self._writable is not None and self._lost is None:
            await _bounded(self._writable, self._writing, stage, seconds)
        return self._lost is None

    async def send_file(self, file: BinaryIO, stage: str, seconds: float) -> bool:
        """Send what is left of a file without a look at it, as far as the system can (sendfile(2)); with TLS
        and for what is no file of the system that is nothing. What it leaves is there to be read and written.

        seconds: for each wait until there is room for more. False when the connection is gone.
        """
        transport = self._transport
        if transport is None or transport.get_extra_info("ssl_object") is not None:
            return self.open
        try:
            source = file.fileno()
            target = os.dup(transport.get_extra_info("socket").fileno())  # the loop lets nobody watch its own
        except OSError:
            return self.open
        at = file.tell()
        try:
            transport.set_write_buffer_limits(high=0)
            if not await self.drained(stage, seconds):
                return False
            while sent := await self._send_some(target, source, at, stage, seconds):
                at += sent
                await asyncio.sleep(0)
        except ConnectionError:
            return False  # of which the loop does not know yet: it may still find a reply
        except OSError:
            pass  # of this file or in this place not; reading it tells what is wrong
        finally:
            transport.set_write_buffer_limits(high=SEND_BUFFER)
            os.close(target)
        file.seek(at)
        return self.open

    async def _send_some(self, target: int, source: int, at: int, stage: str, seconds: float) -> int:
        """Octets that there was room for; 0 at the end of the file or of the connection."""
        while self.open:
            try:
                return os.sendfile(target, source, at, SEND_FILE)
            except BlockingIOError:
                loop = asyncio.get_running_loop()
                self._writable = loop.create_future()
                loop.add_writer(target, _wake, self._writable)
                try:
                    await _bounded(self._writable, self._writing, stage, seconds)
                finally:
                    loop.remove_writer(target)
                    self._writable = None
        return 0

    async def read_reply(self, stage: str, seconds: float) -> Reply:
        """The next reply. What was received before the end of a connection still counts."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            try:
                reply = self._parser.next_reply()
            except Malformed as error:
                text = f"{error}, {stages.WHILE[stage]}"
                raise SessionFailed(Failure("malformed", stage, text)) from None
            if reply is not None:
                return reply
            if self._lost is not None:
                raise SessionFailed(Failure("lost", stage, f"{self._lost} {stages.WHILE[stage]}"))
            loop = asyncio.get_running_loop()
            self._waiting = loop.create_future()
            try:
                await _bounded(self._waiting, self._reading, stage, deadline - loop.time())
            finally:
                self._waiting = None

    async def start_tls(self, handshake: Handshake, seconds: float) -> None:
        """TLS on this connection, with a server that has proved what it has to: `secured` tells it. What came
        in plain text behind the reply to STARTTLS is an attack."""
        stage = stages.STARTTLS
        if self._parser.pending:
            raise SessionFailed(Failure("tls", stage, "the server sent plain text after its STARTTLS reply"))
        if self._transport is None or self._lost is not None:
            raise SessionFailed(Failure("lost", stage, f"{self._lost} {stages.WHILE[stage]}"))
        self._write_now()
        loop = asyncio.get_running_loop()
        try:
            self._transport = await loop.start_tls(
                self._transport,
                self,
                handshake.context,
                server_hostname=handshake.name,
                ssl_handshake_timeout=seconds,
            )
            if self._transport is None:
                raise SessionFailed(Failure("tls", stage, "TLS failed: the server closed the connection"))
            # After start_tls no connection_made is called again.
            self._transport.set_write_buffer_limits(high=SEND_BUFFER)
            self.secured = handshake.judge(self._transport.get_extra_info("ssl_object"))
        except NotProven as error:
            text = f"TLS failed: certificate not verified: {error}"
            raise SessionFailed(Failure("tls", stage, text, fault=error.fault)) from None
        except (OSError, ssl.SSLError) as error:
            handshake.failed()
            text, kind = f"TLS failed: {_reason(error)}", "local" if exhausted(error) else "tls"
            raise SessionFailed(Failure(kind, stage, text, fault=fault(error))) from None

    @property
    def local(self) -> str:
        """Our address on this connection; "" for a socket of this system."""
        name = self._transport.get_extra_info("sockname") if self._transport is not None else None
        return str(name[0]) if isinstance(name, tuple) else ""

    @property
    def certificate(self) -> bytes | None:
        """What the server has shown, in DER; None in plain text."""
        if self._transport is None:
            return None
        wrapped: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object")
        return wrapped.getpeercert(binary_form=True) if wrapped is not None else None

    def close(self) -> None:
        """Drop the connection at once."""
        self._end("the connection was closed")
        self._reading.stop()
        self._writing.stop()
        if self._transport is not None:
            self._transport.abort()


async def connect(
    target: Target,
    seconds: float,
    source_address: str = "",
    tls: tuple[Handshake, float] | None = None,
) -> Stream:
    """A connection to one address; `tls` is (handshake, its seconds) for implicit TLS."""
    stage = stages.CONNECT
    loop = asyncio.get_running_loop()
    stream = Stream()
    try:
        async with asyncio.timeout(seconds):
            if target.port is None:
                await loop.create_unix_connection(lambda: stream, target.address)
            else:
                local = (source_address, 0) if source_address else None
                await loop.create_connection(lambda: stream, target.address, target.port, local_addr=local)
    except TimeoutError:
        raise SessionFailed(Failure("unreachable", stage, f"timed out {stages.WHILE[stage]}")) from None
    except OSError as error:
        kind = "local" if error.errno in _OURS else "unreachable"
        raise SessionFailed(Failure(kind, stage, _reason(error))) from None
    if tls is not None:
        try:
            await stream.start_tls(*tls)
        except BaseException:
            stream.close()
            raise
    return stream


def _ours() -> frozenset[int]:
    import errno

    return frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL})


_OURS = _ours()
"""Errors of this machine, which say nothing of a host."""


def _reason(error: BaseException) -> str:
    """An error of the network in the words a person knows, without Python's."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not verified: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
