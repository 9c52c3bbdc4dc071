"""`sendmail -bs`: the dialogue driven over stdin and stdout."""

from __future__ import annotations

import os

from mailstrom_cli.cli import source
from mailstrom_cli.cli.sendmail import dialogue
from mailstrom_cli.errors import DATA, MailstromError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailstrom_cli.cli.sendmail.dialogue import Dialogue, Transaction
    from mailstrom_cli.cli.source import Data

    Store = Callable[[Data, Transaction], str]  # gives the id; raises MailstromError

BLOCK = 1 << 16


def serve(session: Dialogue, store: Store, read_from: int = 0, write_to: int = 1) -> None:
    """Speak until QUIT or the end of input. Raises OSError when the client is gone."""
    lines = _Lines(read_from, write_to)
    lines.reply(session.greeting())
    ends = b""
    while not session.ended:
        line = lines.next(dialogue.LONGEST_LINE + 1)
        if not line.endswith(b"\n"):
            if len(line) <= dialogue.LONGEST_LINE:
                break
            lines.skip()
        ends = ends or (b"\r\n" if line.endswith(b"\r\n") else b"\n")
        lines.reply(session.command(line))
        if session.receiving:
            try:
                lines.reply(_receive(session, lines, ends, store))
            except EOFError:
                break
    lines.flush()


def _receive(session: Dialogue, lines: _Lines, ends: bytes, store: Store) -> str:
    """Take the message after DATA, store it, and give the reply."""
    content = dialogue.content(lines.each(), ends)
    try:
        data = source.gather(content, session.message_size)
    except MailstromError as error:
        for _ in content:  # the client goes on to the end of what it sends
            pass
        return session.too_large() if error.exit_code == DATA else session.refused(error)
    try:
        return session.stored(store(data, session.transaction))
    except MailstromError as error:
        return session.refused(error)


class _Lines:
    """Lines from one descriptor; replies to another, held back while more commands are at hand."""

    def __init__(self, read_from: int, write_to: int) -> None:
        self._from, self._to = read_from, write_to
        self._held = b""
        self._at = 0
        self._replies: list[bytes] = []

    def reply(self, text: str) -> None:
        self._replies.append(text.replace("\n", "\r\n").encode("ascii", "backslashreplace") + b"\r\n")

    def flush(self) -> None:
        rest = memoryview(b"".join(self._replies))
        self._replies.clear()
        while rest:
            rest = rest[os.write(self._to, rest) :]

    def next(self, longest: int) -> bytes:
        """The next line with its end; only its first part when it is longer, or the input ends."""
        while (end := self._held.find(b"\n", self._at, self._at + longest) + 1) == 0:
            if len(self._held) - self._at >= longest:
                end = self._at + longest
                break
            self.flush()
            more = os.read(self._from, BLOCK)
            self._held, self._at = self._held[self._at :] + more, 0
            if not more:
                end = len(self._held)
                break
        line, self._at = self._held[self._at : end], end
        return line

    def skip(self) -> None:
        """Pass over the rest of a line."""
        for part in self.each():
            if part.endswith(b"\n"):
                return

    def each(self) -> Iterator[bytes]:
        """Every further line; what is longer than a block in parts."""
        while line := self.next(BLOCK):
            yield line
