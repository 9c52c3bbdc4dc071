"""What plain Python can do on this machine. Each prints one line of JSON.

floors.py drain HOST PORT FOLDER CONNECTIONS PROCESSES    send FOLDER/*.eml and remove them
floors.py fill FOLDER MESSAGE COUNT                       make FOLDER for `drain`
floors.py list FOLDER [NAME]      scandir + read + json of FOLDER/*, or of FOLDER/*/NAME
floors.py make FOLDER COUNT       files for `list`
floors.py send HOST PORT FILE VERB    cp FILE, fsync the copy, and send it with BDAT or DATA
"""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

SIDECAR = {
    "format": 1, "id": "06fsh1s41cqtr9mk", "submitted": 1700000000.5, "reverse_path": "a@bench.test",
    "recipients": [{"address": "c@dest.test"}], "message_id": "<bench@bench.test>", "size": 4200,
    "body": "7bit",
}  # fmt: skip


def read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()


# --- drain ---


def load(path: str) -> tuple[bytes, bytes]:
    """The envelope and the message as they go over the wire."""
    data = read(path).replace(b"\n", b"\r\n")
    if b"\n." in data:
        data = data.replace(b"\n.", b"\n..")
    told = json.loads(read(path[:-3] + "json"))
    to = told["recipients"][0]["address"]
    return f"MAIL FROM:<{told['reverse_path']}>\r\nRCPT TO:<{to}>\r\nDATA\r\n".encode(), data + b".\r\n"


def expect(replies: BinaryIO, *codes: bytes) -> None:
    for code in codes:
        while (line := replies.readline())[3:4] == b"-":
            pass
        if not line.startswith(code):
            raise RuntimeError(f"wanted {code!r}, got {line!r}")


def send_all(address: tuple[str, int], paths: Iterator[str]) -> None:
    """On one connection; the next envelope rides with the end of each body (RFC 2920, 3.1)."""

    def sent(path: str) -> None:
        expect(replies, b"250")
        os.unlink(path)
        os.unlink(path[:-3] + "json")

    with socket.create_connection(address) as connection, connection.makefile("rb") as replies:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        expect(replies, b"220")
        connection.sendall(b"EHLO bench.test\r\n")
        expect(replies, b"250")
        held, body = "", b""
        for path in paths:
            envelope, following = load(path)
            connection.sendall(body + envelope)
            if held:
                sent(held)
            expect(replies, b"250", b"250", b"354")
            held, body = path, following
        if held:
            connection.sendall(body)
            sent(held)
        connection.sendall(b"QUIT\r\n")


def drain(host: str, port: int, folder: str, connections: int, processes: int) -> dict[str, float]:
    paths = [entry.path for entry in os.scandir(folder) if entry.name.endswith(".eml")]
    began, children = time.perf_counter(), []

    def work(some: list[str]) -> None:
        shared = iter(some)  # next() is atomic under the GIL
        each = range(max(1, connections // processes))
        threads = [threading.Thread(target=send_all, args=((host, port), shared)) for _ in each]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    if processes == 1:
        work(paths)
    for i in range(processes if processes > 1 else 0):
        child = os.fork()
        if not child:
            work(paths[i::processes])
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    wall = time.perf_counter() - began
    if left := len(os.listdir(folder)):
        raise SystemExit(f"{left} files left")
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(u.ru_utime + u.ru_stime for u in used)
    return {"msgs_per_s": len(paths) / wall, "cpu_ms": cpu * 1e3 / len(paths)}


def fill(folder: str, message: str, count: int) -> dict[str, float]:
    os.makedirs(folder)
    data = read(message)
    for i in range(count):
        with open(f"{folder}/{i}.eml", "wb") as file:
            file.write(data)
        with open(f"{folder}/{i}.json", "w") as sidecar:
            json.dump(SIDECAR, sidecar)
    return {"count": count}


# --- listing ---


def make(folder: str, count: int) -> dict[str, float]:
    os.makedirs(folder)
    for i in range(count):
        with open(f"{folder}/{i:08d}.json", "w") as file:
            json.dump(SIDECAR, file)
    return {"count": count}


def list_all(folder: str, name: str = "") -> dict[str, float]:
    tail = f"/{name}" if name else ""
    lines = (read(entry.path + tail).partition(b"\n")[0] for entry in os.scandir(folder))
    return {"count": sum(1 for line in lines if json.loads(line))}


# --- a long body ---


def send(host: str, port: int, path: str, verb: str) -> dict[str, float]:
    began = time.perf_counter()
    subprocess.run(["cp", path, path + ".copy"], check=True)
    copied = time.perf_counter()
    with open(path + ".copy", "rb") as file:
        os.fsync(file.fileno())
        synced = time.perf_counter()
        size = os.fstat(file.fileno()).st_size
        command, end = (f"BDAT {size} LAST", b"") if verb == "BDAT" else ("DATA", b"\r\n.\r\n")
        with socket.create_connection((host, port)) as connection, connection.makefile("rb") as replies:
            expect(replies, b"220")
            connection.sendall(b"EHLO bench.test\r\n")
            expect(replies, b"250")
            connection.sendall(f"MAIL FROM:<a@bench.test>\r\nRCPT TO:<c@dest.test>\r\n{command}\r\n".encode())
            expect(replies, b"250", b"250", *[b"354"] * (verb == "DATA"))
            while data := file.read(1 << 18):
                connection.sendall(data)
            connection.sendall(end)
            expect(replies, b"250")
    ended = time.perf_counter()
    os.unlink(path + ".copy")
    return {"copy_s": copied - began, "sync_s": synced - copied, "send_s": ended - synced}


if __name__ == "__main__":
    given = [int(text) if text.isdigit() else text for text in sys.argv[2:]]
    programs = {"drain": drain, "fill": fill, "make": make, "list": list_all, "send": send}
    print(json.dumps(programs[sys.argv[1]](*given)))  # type: ignore[operator]
