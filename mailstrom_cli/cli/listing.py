"""Messages listed, oldest first, each as soon as it is read; of a long list another process reads every other
block, which on two cores takes half the time.

That process changes nothing, and all it does could be done here: what it does not bring, for whatever reason,
is read here.
"""

from __future__ import annotations

import os
import signal

from mailstrom_cli.cli import report
from mailstrom_cli.cli.share import processes
from mailstrom_cli.store.registry import is_spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mailstrom_cli.api import Mailstrom
    from mailstrom_cli.store.entry import Entry

    Part = tuple[str, int, int]  # lines without the last line end, of how many messages, of how many octets
    Read = Callable[[Iterable[str]], Iterator[Part]]

BLOCK = 250  # messages, which take some milliseconds
LONG = 16 * BLOCK


def listing(mail: Mailstrom, states: Sequence[str], text: Callable[[Entry], str]) -> Iterator[Part]:
    """What `text` makes of the messages in these states. What cannot be read is told on stderr."""

    def read(ids: Iterable[str]) -> Iterator[Part]:
        return ((text(entry), 1, entry.envelope.size) for entry in mail.entries(ids, report.warn))

    ids = list(mail.store.ids(states))
    if len(ids) < LONG or not processes() or not is_spool(mail.settings.spool):
        return read(ids)
    return _in_turns([ids[n : n + BLOCK] for n in range(0, len(ids), BLOCK)], read)


def _in_turns(blocks: Sequence[Sequence[str]], read: Read) -> Iterator[Part]:
    other = _Other(blocks[1::2], read)
    try:
        for number, block in enumerate(blocks):
            part = other.next() if number % 2 else None
            if part is None:
                yield from read(block)
            elif part[1]:
                yield part
    finally:
        other.end()


class _Other:
    """A process that reads these blocks, if there is one to be had."""

    def __init__(self, blocks: Sequence[Sequence[str]], read: Read) -> None:
        parent, self._child = os.getpid(), 0
        found, told = os.pipe()
        try:
            self._child = os.fork()
            if not self._child:
                os.close(found)  # so that the end of its parent is its own
                _bring(blocks, read, told)
        except OSError:
            pass
        finally:
            if os.getpid() != parent:
                os._exit(0)  # an error or an interrupt, and only one of us goes on from here
        os.close(told)
        self._found = open(found, "rb")

    def next(self) -> Part | None:
        """The next of its blocks, or None when it brings no more."""
        head = self._found.readline()
        if not head.endswith(b"\n"):
            return None
        length, messages, octets = map(int, head.split())
        text = self._found.read(length)
        return (text.decode("utf-8", "surrogatepass"), messages, octets) if len(text) == length else None

    def end(self) -> None:
        self._found.close()
        if self._child:
            os.kill(self._child, signal.SIGKILL)
            os.waitpid(self._child, 0)


def _bring(blocks: Sequence[Sequence[str]], read: Read, told: int) -> None:
    with open(told, "wb") as out:
        for block in blocks:
            parts = list(read(block))
            text = "\n".join([part[0] for part in parts]).encode("utf-8", "surrogatepass")
            octets = sum([part[2] for part in parts])
            out.write(b"%d %d %d\n%b" % (len(text), len(parts), octets, text))
            out.flush()
