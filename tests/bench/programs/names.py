"""A DNS server for *.test on UDP, of which each name says its own answer.

    names.py ADDRESS PORT

`a-127-1-0-7.test` has the MX `mx.a-127-1-0-7.test`, and that has the address 127.1.0.7. It prints `ready` and
ends with its stdin.
"""

from __future__ import annotations

import asyncio
import os
import sys

import dns.message
import dns.rdatatype
import dns.rrset

TTL = 3600


def answer(question: bytes) -> bytes:
    reply = dns.message.make_response(dns.message.from_wire(question), recursion_available=True)
    name, kind = reply.question[0].name, reply.question[0].rdtype
    label = name.labels[0].decode().lower()
    host = name.labels[1].decode().lower() if label == "mx" and len(name.labels) > 2 else ""
    if kind == dns.rdatatype.MX and not host:
        reply.answer.append(dns.rrset.from_text(name, TTL, "IN", "MX", f"10 mx.{name}"))
    elif kind == dns.rdatatype.A and host.startswith("a-"):
        reply.answer.append(dns.rrset.from_text(name, TTL, "IN", "A", host[2:].replace("-", ".")))
    return reply.to_wire()


class Names(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        self.transport.sendto(answer(data), addr)


async def main(address: str, port: str) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Names, (address, int(port)))
    ended = loop.create_future()

    def asked() -> None:
        if not os.read(0, 4096) and not ended.done():
            ended.set_result(None)

    loop.add_reader(0, asked)
    print("ready", flush=True)
    await ended


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
