"""A fast SMTP sink: takes everything, keeps nothing, and knows when what arrived.

    sink.py PORT EXTENSION,... ADDRESS[+COUNT]... [--stall ADDRESS+COUNT]

EXTENSIONS are such as PIPELINING, CHUNKING, SIZE, 8BITMIME, or - for none. ADDRESS+COUNT are so many
addresses in a row; those after --stall accept connections and never say anything. It prints `ready` once it
listens, and for each line on stdin one line of JSON (times are of the monotonic clock, which all processes
share). It ends with its stdin.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import resource
import sys
import time

MARK = b"TO:<MARK"  # the first recipient whose local part begins so is noted with its time
END = b"\r\n.\r\n"
LONG = 1 << 16  # octets in one piece, of which no copy is made
BUFFER = bytearray(1 << 18)  # of all sessions: each takes at once what it finds there
SEEN = dict.fromkeys(("connections", "messages", "octets", "accepted", "first", "last", "marked"), 0.0)


class Session(asyncio.BufferedProtocol):
    greeting = b"220 sink.test\r\n"
    extensions: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.held = bytearray()
        self.octets = 0  # of a chunk, still to come
        self.last = False  # it is the last chunk
        self.in_data = False
        SEEN["connections"] += 1
        SEEN["accepted"] = SEEN["accepted"] or time.monotonic()
        transport.write(self.greeting)

    def get_buffer(self, sizehint: int) -> bytearray:
        return BUFFER

    def buffer_updated(self, count: int) -> None:
        if self.octets > count and not self.held:
            self.octets -= count
            SEEN["octets"] += count
            return
        if self.in_data and count > LONG and not self.ends(count):
            SEEN["octets"] += len(self.held) + count - 4
            self.held[:] = BUFFER[count - 4 : count]
            return
        self.held += memoryview(BUFFER)[:count]
        replies: list[bytes] = []
        while self.held and self.step(replies):
            pass
        if replies:
            self.transport.write(b"".join(replies))

    def ends(self, count: int) -> bool:
        """Whether what is in the buffer has or completes the end of a message; at most 4 octets are held."""
        return BUFFER.rfind(END, 0, count) >= 0 or END in self.held + BUFFER[:4]  # find takes twice as long

    def step(self, replies: list[bytes]) -> bool:
        """Take one command or a piece of a message off what is held; False when more has to come first."""
        held = self.held
        if self.octets:
            taken = min(self.octets, len(held))
            del held[:taken]
            SEEN["octets"] += taken
            self.octets -= taken
            if not self.octets:
                replies.append(self.arrived() if self.last else b"250 2.0.0 chunk\r\n")
            return True
        if self.in_data:
            at = held.find(END)
            SEEN["octets"] += max(0, at if at >= 0 else len(held) - 4)
            if at < 0:
                del held[:-4]
                return False
            del held[: at + 5]
            self.in_data = False
            replies.append(self.arrived())
            return True
        end = held.find(b"\n")
        if end < 0:
            return False
        line = bytes(held[:end]).rstrip(b"\r").upper()
        del held[: end + 1]
        verb = line[:4]
        if verb == b"BDAT":
            words = line.split()
            self.octets, self.last = int(words[1]), words[-1] == b"LAST"
            if not self.octets:
                replies.append(self.arrived() if self.last else b"250 2.0.0 chunk\r\n")
        elif verb == b"DATA":
            self.in_data = True
            held[:0] = b"\r\n"  # the dot may stand in the first line
            replies.append(b"354 go on\r\n")
        elif verb == b"EHLO":
            lines = [b"sink.test", *self.extensions]
            replies += [b"250-" + text + b"\r\n" for text in lines[:-1]] + [b"250 " + lines[-1] + b"\r\n"]
        elif verb == b"QUIT":
            replies.append(b"221 2.0.0 bye\r\n")
            self.transport.write(b"".join(replies))
            replies.clear()
            self.transport.close()
            return False
        else:
            if verb == b"RCPT" and MARK in line and not SEEN["marked"]:
                SEEN["marked"] = time.monotonic()
            replies.append(b"250 2.0.0 ok\r\n")
        return True

    def arrived(self) -> bytes:
        now = time.monotonic()
        SEEN["messages"] += 1
        SEEN["first"] = SEEN["first"] or now
        SEEN["last"] = now
        return b"250 2.0.0 taken\r\n"


class Stalled(asyncio.Protocol):
    """It keeps the connection and says nothing."""


def addresses(text: str) -> list[str]:
    first, _, count = text.partition("+")
    return [str(ipaddress.ip_address(first) + i) for i in range(int(count or 1))]


async def main(port: str, extensions: str, *places: str) -> None:
    Session.extensions = [e.encode() for e in extensions.split(",") if e != "-"]
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    loop = asyncio.get_running_loop()
    cut = places.index("--stall") if "--stall" in places else len(places)
    for kind, texts in ((Session, places[:cut]), (Stalled, places[cut + 1 :])):
        for text in texts:
            for address in addresses(text):
                await loop.create_server(kind, address, int(port), backlog=1000)
    ended = loop.create_future()

    def asked() -> None:
        if os.read(0, 4096):
            print(json.dumps(SEEN), flush=True)
        elif not ended.done():
            ended.set_result(None)

    loop.add_reader(0, asked)
    print("ready", flush=True)
    await ended


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
