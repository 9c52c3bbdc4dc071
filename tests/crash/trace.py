"""strace's log, read: which call touches what, and between which calls a message may be delivered twice."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .scenario import Letter

GROUPS = "%file,%desc,%network"
"""Every call that can touch a file, a descriptor or a socket."""

TELLING = ("sendto", "sendmsg", "write")
"""The calls that `in_doubt` reads."""

_LINE = re.compile(r"(\d+) +(?:(\w+)\((.*)|<\.\.\. (\w+) resumed>(.*))")
_ID = re.compile(r"\b[0-9a-hjkmnp-tv-z]{16}\b")
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b|(?<=host-)[0-9a-f]{16}\b|(?<=%3A)\d+")
_FD_AND_NAME = re.compile(r'(?:\d+|AT_FDCWD)<([^>]*)>(?:, "([^"]*)")?')
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_NAMED = re.compile(r"(open|mkdir|mknod|chmod|chown|access|stat|unlink|rename|link|utimens|readlink)")
_CONNECTION = re.compile(r"<TCP:\[([^\]]*)\]>")

SERVER = "server"


@dataclass(frozen=True)
class Call:
    """number: which call of its name this is in its thread, from 1, as strace's `when=` counts.  text:
    arguments and result as strace shows them.  place: what it touches, "" for what is not ours."""

    thread: int
    name: str
    number: int
    text: str
    place: str

    @property
    def injected(self) -> bool:
        return self.text.endswith("(INJECTED)")

    @property
    def begun(self) -> bool:
        """The thread was killed before it did anything."""
        return self.text.endswith("= ?")

    @property
    def result(self) -> int:
        """What it returned, -1 for an error and for nothing."""
        found = re.match(r"-?\d+", self.text[self.text.rfind(" = ") + 3 :])
        return int(found[0]) if found else -1

    def __str__(self) -> str:
        return f"{self.name} {self.place}"

    def same(self, other: Call) -> bool:
        """Whether it is the same call of another run."""
        return str(self) == str(other)


def read(log: str, spool: Path) -> list[Call]:
    """All calls in a log, in the order in which they began."""
    begun: list[tuple[int, str, list[str]]] = []
    open_calls: dict[int, list[str]] = {}
    for line in log.splitlines():
        found = _LINE.match(line)
        if found is None:
            continue  # a signal, or an end
        thread = int(found[1])
        if found[4]:
            open_calls.pop(thread, []).append(found[5])
            continue
        text = found[3].removesuffix(" <unfinished ...>")
        parts = [text]
        if text != found[3]:
            open_calls[thread] = parts
        begun.append((thread, found[2], parts))
    count: Counter[tuple[int, str]] = Counter()
    calls = []
    for thread, name, parts in begun:
        text = "".join(parts)
        if thread in open_calls and open_calls[thread] is parts:
            text += " = ?"  # it never returned
        count[thread, name] += 1
        calls.append(Call(thread, name, count[thread, name], text, _place(name, text, str(spool))))
    return calls


def points(calls: Sequence[Call]) -> list[Call]:
    """The calls that touch the spool or the server."""
    return [call for call in calls if call.place and call.name != "execve"]


def _place(name: str, text: str, spool: str) -> str:
    """What a call touches: paths below the spool, without what differs from run to run; or the server."""
    if "<TCP" in text or (name == "socket" and text.startswith("AF_INET")):
        said = _STRING.search(text) if name.startswith("send") else None
        return f"{SERVER} {said[1][:4]}" if said else SERVER
    text = text.rpartition(" = ")[0]  # what it returns is nothing when it is killed
    if spool not in text:
        return ""
    places = []
    named = _NAMED.search(name) is not None
    for directory, entry in _FD_AND_NAME.findall(text):
        path = os.path.join(directory, entry) if named and entry else directory
        if path.startswith(spool):
            places.append(os.path.normpath(path))
    if named and not places:
        places = [path for path in _STRING.findall(text) if path.startswith(spool)]
    flags = " O_CREAT" if "O_CREAT" in text else " F_DUPFD" if "F_DUPFD" in text else ""
    held = " -> ".join(dict.fromkeys(path.removeprefix(spool) or "/" for path in places)) + flags
    return _DIGEST.sub("*", _ID.sub("ID", held))


def in_doubt(calls: Sequence[Call], letters: Mapping[str, Letter]) -> dict[str, list[Call]]:
    """For each letter (by id, as `letters`) that was sent the calls after the one that sent the end of its
    data, up to the one that put on record that it was delivered, or all: what ends or fails there may leave
    us without knowing that the server has it."""
    doubtful: dict[str, list[Call]] = {}
    recorded: set[str] = set()
    said: dict[str, bytes] = {}
    for call in calls:
        for id in doubtful.keys() - recorded:
            doubtful[id].append(call)
        if call.name.startswith("send") and call.result > 0 and (connection := _CONNECTION.search(call.text)):
            more = _octets(call.text)[: call.result]
            *messages, said[connection[1]] = (said.get(connection[1], b"") + more).split(b"\r\n.\r\n")
            for id, letter in letters.items():
                if any(letter.message_id.encode() in message for message in messages):
                    doubtful.setdefault(id, [])
        elif call.name == "write" and call.place.endswith(".jsonl") and call.result > 0:
            recorded.update(_ID.findall(call.text)[:1] if "delivered" in call.text else ())
    return doubtful


def _octets(text: str) -> bytes:
    """The first string in a call, as octets."""
    found = _STRING.search(text)
    return found[1].encode("latin-1").decode("unicode_escape").encode("latin-1") if found else b""
