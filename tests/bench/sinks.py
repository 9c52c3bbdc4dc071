"""The sinks: Postfix's smtp-sink, our own, and the names that lead to it."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from .group import Asked, Group, group, program, until

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT, DNS_PORT = 2525, 5353
HOST = "127.0.0.1"
PIPELINING, CHUNKING = "PIPELINING,SIZE,8BITMIME", "PIPELINING,CHUNKING,SIZE,8BITMIME"


@contextlib.contextmanager
def smtp_sink() -> Iterator[Group]:
    with group("sink") as made:
        made.spawn(["/usr/sbin/smtp-sink", "-u", "nobody", f"{HOST}:{PORT}", "500"])
        if not until(5, lambda: listens(PORT)):
            raise RuntimeError("smtp-sink does not listen")
        yield made


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


@contextlib.contextmanager
def our_sink(extensions: str = CHUNKING, *places: str, netns: str = "") -> Iterator[Asked]:
    with group("sink") as made:
        yield Asked(made, program("sink", PORT, extensions, *(places or (HOST,))), netns)


@contextlib.contextmanager
def names() -> Iterator[Asked]:
    with group("names") as made:
        yield Asked(made, program("names", HOST, DNS_PORT))
