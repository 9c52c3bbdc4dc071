"""Octets of a message on their way out: every line end CRLF, in slices, whatever the size (RFC 5321, 2.3.8).

LF, with any number of CR before it, and a lone CR each end a line and leave as one CRLF; nothing else is
changed, and the last line gets its end. So a bare CR or LF never leaves, and a receiver that takes one for a
line end sees the lines that we saw.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from mmap import mmap

    Data = bytes | mmap

SLICE = (1 << 19) - 8  # octets taken at a time; no more than twice as many leave
MAPPED = 8 << 20  # octets of a mapped file that stay mapped behind the place that is looked at
MAX_LINE = 998  # octets without CRLF (RFC 5322, 2.1.1; RFC 5321, 4.5.3.1.6)


class Content:
    """What a message has from octet `start` on, and the facts of it as it leaves.

    size: octets.  eight_bit: has an octet above 127.  nul: has a NUL.
    longest: octets of its longest line without CRLF, as far as that is over MAX_LINE; else 0.
    returns: how many lone CR were made line ends.
    """

    __slots__ = ("_data", "_slice", "_start", "_whole", "eight_bit", "longest", "nul", "returns", "size")

    def __init__(self, data: Data, start: int = 0, slice_size: int = SLICE) -> None:
        self._data = data
        self._start = start
        self._slice = slice_size
        self._whole: bytes | None = None
        self._examine()

    def chunks(self) -> Iterator[bytes]:
        """The octets as they leave, 1 MiB or less at a time."""
        if self._whole is None:
            yield from self._slices()
        elif self._whole:
            yield self._whole

    def is_utf8(self) -> bool:
        """Whether all of it is UTF-8. A second look at the octets."""
        from codecs import getincrementaldecoder

        decoder = getincrementaldecoder("utf-8")()
        try:
            for chunk in self.chunks():
                decoder.decode(chunk)
            decoder.decode(b"", True)
        except UnicodeDecodeError:
            return False
        return True

    def line_of(self, wanted: str) -> int:
        """The line, counted from 1, of the first "nul" or of the first "long" line. A second look at the
        octets, for the message that is refused anyway."""
        lines, open_line = 1, 0
        for chunk in self._slices():
            at = chunk.find(b"\0") if wanted == "nul" else first_long_line(chunk, open_line)
            if at >= 0:
                return lines + chunk.count(b"\n", 0, at)
            lines += chunk.count(b"\n")
            open_line = _open_line(chunk, open_line)
        return lines

    def _examine(self) -> None:
        self.size = self.longest = self.returns = 0
        self.eight_bit = self.nul = False
        chunk, open_line = b"", 0
        for chunk in self._slices():
            self.size += len(chunk)
            self.eight_bit = self.eight_bit or not chunk.isascii()
            self.nul = self.nul or b"\0" in chunk
            if first_long_line(chunk, open_line) >= 0:
                self.longest = max(self.longest, _longest_line(chunk, open_line))
            open_line = _open_line(chunk, open_line)
        if self.size == len(chunk):
            self._whole = chunk  # in one slice, and so not to be made twice

    def _slices(self) -> Iterator[bytes]:
        chunk, lone = b"", 0
        for piece in pieces(self._data, self._start, len(self._data), self._slice):
            if chunk:
                yield chunk
            chunk, returns = counted_crlf(piece)
            lone += returns
        self.returns = lone
        if chunk:
            yield chunk if chunk.endswith(b"\n") else chunk + b"\r\n"


def pieces(data: Data, start: int, end: int, size: int) -> Iterator[bytes]:
    """The octets from `start` to `end` in slices of `size`, none of which cuts a line end in two; of one that
    would, the rest of its CR is left out."""
    at = run = kept = start
    while at < end:
        if at - kept >= MAPPED:
            _let_go(data, kept, at)
            kept = at
        upto = min(at + size, end)
        if upto == end or data[upto - 1] != 13 or data[upto] not in b"\r\n":
            yield data[at:upto]
            at = upto
            continue
        run = _run_end(data, upto, end) if run < upto else run  # each run is looked at once
        ends = run < end and data[run] == 10
        yield data[at:upto] + (b"\n" if ends else b"")
        at = run + 1 if ends else upto


def _let_go(data: Data, start: int, end: int) -> None:
    """Have pages of a mapped file no longer count as memory of this process. They come back when needed."""
    if not isinstance(data, bytes) and hasattr(data, "madvise"):
        from mmap import MADV_DONTNEED, PAGESIZE

        start -= start % PAGESIZE
        data.madvise(MADV_DONTNEED, start, end - start)


def _run_end(data: Data, at: int, end: int) -> int:
    """Where the octets that are CR end."""
    while at < end:
        piece = data[at : min(at + SLICE, end)]
        if rest := piece.lstrip(b"\r"):
            return at + len(piece) - len(rest)
        at += len(piece)
    return end


def crlf(chunk: bytes) -> bytes:
    """Octets with every line end as CRLF."""
    return counted_crlf(chunk)[0]


def counted_crlf(chunk: bytes) -> tuple[bytes, int]:
    """Octets with every line end as CRLF, and how many of those were a lone CR."""
    if b"\r" not in chunk:
        return chunk.replace(b"\n", b"\r\n"), 0
    fresh = chunk.replace(b"\r", b"").replace(b"\n", b"\r\n")  # no other way is faster
    if fresh == chunk:
        return chunk, 0
    chunk = lf(chunk)
    returns = chunk.count(b"\r")
    return chunk.replace(b"\r", b"\n").replace(b"\n", b"\r\n"), returns


def lf(chunk: bytes) -> bytes:
    """Octets with every LF and the CR before it as LF; a lone CR stays."""
    if b"\r\r\n" in chunk:
        *lines, last = chunk.split(b"\n")
        return b"\n".join([*[line.rstrip(b"\r") for line in lines], last])
    return chunk.replace(b"\r\n", b"\n")


def _open_line(chunk: bytes, before: int) -> int:
    """Octets of the line that a chunk leaves open, after one that left `before`."""
    last = chunk.rfind(b"\n")
    return before + len(chunk) if last < 0 else len(chunk) - last - 1


def first_long_line(chunk: bytes, open_line: int = 0) -> int:
    """Where the first line over MAX_LINE starts in a chunk of CRLF lines, or -1; its first line has
    `open_line` octets already. Goes as many whole lines forward at once as MAX_LINE octets hold."""
    at, end = 0, len(chunk)
    room = MAX_LINE + 2 - open_line
    while at + room - 2 < end:
        newline = chunk.rfind(b"\n", at, at + room) if room > 0 else -1
        if newline < 0:
            return at
        at = newline + 1
        room = MAX_LINE + 2
    return -1


def _longest_line(chunk: bytes, open_line: int) -> int:
    first, *others = [len(line.removesuffix(b"\r")) for line in chunk.split(b"\n")]
    return max([first + open_line, *others])
