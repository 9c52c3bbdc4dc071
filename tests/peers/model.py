"""A server as a state machine without sockets: bytes in, replies out, and what each recipient is to be told.

It reads strictly (RFC 5321, 2920, 3030): what a client must not write is an AssertionError. `decide(stage)`
gives the code of each reply that the state leaves open; after a 421 nothing more is heard. Every reply has a
number of its own in its text.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATH = re.compile(r"(?:MAIL FROM|RCPT TO):<([^<>]*)>(?: .*)?")


@dataclass(frozen=True)
class Said:
    """One reply: to what, its code and its number."""

    stage: str
    code: int
    number: int

    @property
    def positive(self) -> bool:
        return 200 <= self.code < 300

    @property
    def line(self) -> bytes:
        return f"{self.code} reply {self.number}\r\n".encode()


@dataclass
class Heard:
    """One transaction, from its MAIL on, and what was said in it."""

    sender: str
    mail: Said
    recipients: dict[str, Said] = field(default_factory=dict)
    data: Said | None = None
    ends: list[Said] = field(default_factory=list)
    message: bytes | None = None

    @property
    def taken(self) -> list[str]:
        return [address for address, said in self.recipients.items() if said.positive]

    def meant_for(self, address: str) -> Said | None:
        """The reply that decides for a recipient; None: there was none."""
        if not self.mail.positive:
            return self.mail
        said = self.recipients.get(address)
        if said is None or not said.positive:
            return said
        if self.data is not None and self.data.code != 354:
            return self.data
        which = self.taken.index(address) if len(self.ends) > 1 else 0
        return self.ends[which] if self.ends else None

    def accepted(self, address: str) -> bool:
        """The server has this recipient's message, whether it has said so or not."""
        said = self.meant_for(address)
        return self.message is not None and said is not None and said.positive and said in self.ends


class Model:
    """offered: PIPELINING and CHUNKING or not.  keeps: a refused chunk leaves the sender set, of which RFC
    3030 says nothing.  unread: replies that the client has not taken yet (the test takes them)."""

    def __init__(
        self,
        offered: frozenset[str],
        decide: Callable[[str], int],
        *,
        lmtp: bool = False,
        keeps: bool = True,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self.offered = offered
        self.heard: list[Heard] = []
        self.unread: list[Said] = []
        self._decide = decide
        self._lmtp = lmtp
        self._keeps = keeps
        self._now: Heard | None = None
        self._pending = b""
        self._reading = False  # a message after DATA
        self._numbers = numbers or itertools.count(1)
        self.over = False  # 421 was said: nothing more is heard

    def feed(self, data: bytes) -> None:
        """Replies are appended to `unread`."""
        assert not any(said.stage == "data" for said in self.unread), f"behind DATA: {data[:80]!r}"
        assert not self.unread or "PIPELINING" in self.offered, f"pipelined: {data[:80]!r}"
        self._pending += data
        while self._step():
            pass

    def _step(self) -> bool:
        if self.over:
            return False
        if self._reading:
            return self._message()
        line, end, rest = self._pending.partition(b"\r\n")
        assert b"\n" not in line, f"a bare LF in {line!r}"
        if not end:
            return False
        verb = line.decode().split(" ")[0].split(":")[0].upper()
        if verb == "BDAT":
            return self._chunk(line.decode(), rest)
        self._pending = rest
        assert not rest or "PIPELINING" in self.offered, f"pipelined: {rest[:80]!r}"
        getattr(self, f"_{verb.lower()}")(line.decode())
        return True

    def _say(self, stage: str, code: int | None = None) -> Said:
        said = Said(stage, self._decide(stage) if code is None else code, next(self._numbers))
        self.unread.append(said)
        self.over = self.over or said.code == 421
        return said

    def _ehlo(self, line: str) -> None:
        self._say("ehlo", 250)

    _lhlo = _ehlo

    def _quit(self, line: str) -> None:
        self._say("quit", 221)

    def _rset(self, line: str) -> None:
        self._now = None
        self._say("rset")

    def _mail(self, line: str) -> None:
        assert self._now is None, f"nested: {line}"
        path = PATH.fullmatch(line)
        assert path, line
        now = Heard(path[1], self._say("mail"))
        self.heard.append(now)
        if now.mail.positive:
            self._now = now

    def _rcpt(self, line: str) -> None:
        path = PATH.fullmatch(line)
        assert path, line
        if self._now is None:
            self._say("rcpt", 503)
        else:
            self._now.recipients[path[1]] = self._say("rcpt")

    def _data(self, line: str) -> None:
        assert not self._pending, f"behind DATA: {self._pending[:80]!r}"
        if self._now is None or not self._now.taken:
            self._say("data", 503)
            return
        self._now.data = self._say("data")
        self._reading = self._now.data.code == 354

    def _message(self) -> bool:
        assert self._now is not None
        data = b"\r\n" + self._pending
        end = data.find(b"\r\n.\r\n")
        if end < 0:
            return False
        self._reading, self._pending = False, data[end + 5 :]
        self._now.message = data[2 : end + 2].replace(b"\r\n..", b"\r\n.").removeprefix(b".")
        self._end("dot")
        self._now = None
        return True

    def _chunk(self, line: str, rest: bytes) -> bool:
        assert "CHUNKING" in self.offered, line
        word = re.fullmatch(r"BDAT (\d+) LAST", line)
        assert word, line
        if len(rest) < int(word[1]):
            return False
        body, self._pending = rest[: int(word[1])], rest[int(word[1]) :]
        assert not self._pending or "PIPELINING" in self.offered, f"pipelined: {self._pending[:80]!r}"
        if self._now is None or not self._now.taken:
            self._say("bdat", 503)
            return True
        self._now.message = body
        self._end("bdat")
        if any(end.positive for end in self._now.ends) or not self._keeps:
            self._now = None
        return True

    def _end(self, stage: str) -> None:
        assert self._now is not None
        for _ in self._now.taken if self._lmtp else (0,):
            self._now.ends.append(self._say(stage))
