"""Random submits: each a command, what it is given, and the letters that it is to store."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from random import Random

SENDER = "a@example.org"


@dataclass(frozen=True)
class Letter:
    """A message, complete, so that it is stored as it is but for its line ends. sha256: of what is stored."""

    message_id: str
    recipients: tuple[str, ...]
    octets: bytes
    sha256: str


@dataclass(frozen=True)
class Submit:
    """kind: what to call it.  valid: it is not to be refused."""

    kind: str
    words: tuple[str, ...]
    stdin: bytes
    letters: tuple[Letter, ...]
    valid: bool = True


class Load:
    """beside: a folder for files."""

    def __init__(self, rng: Random, beside: Path) -> None:
        self._rng = rng
        self._beside = beside
        self._number = 0
        self._lock = threading.Lock()

    def letter(self, recipients: int = 1, size: int = 0) -> Letter:
        with self._lock:
            self._number += 1
            number = self._number
        addresses = tuple(f"u{number}.{n}@example.net" for n in range(recipients))
        name = f"<{number}@example.org>"
        shown = addresses[0] if recipients == 1 else "everybody@example.net"
        text = (
            f"From: {SENDER}\nTo: {shown}\nDate: Tue, 24 Nov 2026 10:00:00 +0000\nMessage-ID: {name}\n"
            f"Subject: {number}\n\n.{number}\n" + f"{'x' * 70}\n" * (size // 71)
        ).encode()
        stored = text.replace(b"\n", b"\r\n")
        return Letter(name, addresses, text, hashlib.sha256(stored).hexdigest())

    @contextlib.contextmanager
    def any(self) -> Iterator[Submit]:
        """One or another; the files that it names are there meanwhile."""
        kinds = (self.single, self.keyed, self.sendmail, self.bulk, None)
        with self._lock:
            chosen = self._rng.choice((*kinds, *kinds, *kinds, self.big, self.invalid))
            count = self._rng.choice((2, 3, 5, 20))
        if chosen is not None:
            yield chosen()
            return
        with self.batch(count) as submit:
            yield submit

    def single(self) -> Submit:
        letter = self.letter()
        return Submit("submit", ("submit",), letter.octets, (letter,))

    def keyed(self) -> Submit:
        letter = self.letter()
        return Submit("submit --key", ("submit", "--key", letter.message_id), letter.octets, (letter,))

    def big(self) -> Submit:
        letter = self.letter(size=self._rng.randrange(100_000, 1_500_000))
        return Submit("submit, big", ("submit",), letter.octets, (letter,))

    def bulk(self) -> Submit:
        letter = self.letter(self._rng.randrange(2, 40))
        words = [word for address in letter.recipients for word in ("-t", address)]
        return Submit("submit, many recipients", ("submit", *words), letter.octets, (letter,))

    def sendmail(self) -> Submit:
        letter = self.letter(self._rng.randrange(1, 4))
        words = ("sendmail", "-i", "-f", SENDER, *letter.recipients)
        return Submit("sendmail", words, letter.octets, (letter,))

    def invalid(self) -> Submit:
        letter = self.letter()
        words = ("submit", "-t", "no address")
        return Submit("submit, invalid", words, letter.octets, (letter,), valid=False)

    @contextlib.contextmanager
    def batch(self, count: int) -> Iterator[Submit]:
        letters = tuple(self.letter() for _ in range(count))
        paths = [self._beside / f"{letter.message_id[1:-1]}.eml" for letter in letters]
        for path, letter in zip(paths, letters, strict=True):
            path.write_bytes(letter.octets)
        try:
            yield Submit("submit, several files", ("submit", *map(str, paths)), b"", letters)
        finally:
            for path in paths:
                os.unlink(path)
