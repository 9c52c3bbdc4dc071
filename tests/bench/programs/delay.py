"""A link with a delay, from two tun devices: whatever comes out of one goes into the other so much later.

    delay.py SECONDS DEVICE DEVICE

The devices are made here, and moved into network namespaces by whoever started this after it printed `ready`.
It stands in for netem, which not every kernel has. The TCP handshake is delayed, too.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import select
import struct
import sys
import time

TUNSETIFF, TUN, NO_PI = 0x400454CA, 0x0001, 0x1000


def main(seconds: str, *devices: str) -> None:
    fds = [os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK) for _ in devices]
    for fd, name in zip(fds, devices, strict=True):
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), TUN | NO_PI))
    print("ready", flush=True)
    held: list[tuple[float, int, int, bytes]] = []
    count, one_way = 0, float(seconds)
    while True:
        wait = max(0.0, held[0][0] - time.monotonic()) if held else None
        for fd in select.select(fds, [], [], wait)[0]:
            try:
                packet = os.read(fd, 65536)
            except BlockingIOError:
                continue
            count += 1
            heapq.heappush(held, (time.monotonic() + one_way, count, fds[fds[0] == fd], packet))
        while held and held[0][0] <= time.monotonic():
            try:
                os.write(*heapq.heappop(held)[2:])
            except OSError:  # a full or closed device drops packets, as a network does
                pass


if __name__ == "__main__":
    main(*sys.argv[1:])
