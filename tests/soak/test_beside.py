"""Every command beside every other one, the short form; see `beside`."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .beside import Beside, again_and_again

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def test_every_message_arrives_once_whoever_works_and_looks_on_at_the_same_time() -> None:
    books = Beside(5, seed=1).work()
    assert books.problems == []
    for kinds in (
        ("flush", "flush --all"),
        ("hold", "cancel", "retry"),
        ("status --json",),
        ("sendmail -bp",),
    ):
        assert sum(books.counts[kind] for kind in kinds) > 0, kinds
    assert books.counts["messages accepted"] > 0
    assert books.counts["lists in Python"] > 0


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["mailstrom_cli.cli.flush", "mailstrom_cli.cli.run", "mailstrom_cli.queue.run", __name__]
)


class Forked:
    """`mailstrom` in a process that is forked from one which has imported it."""

    def __init__(self, environment: Mapping[str, str], words: Sequence[str]) -> None:
        handle, path = tempfile.mkstemp()
        os.close(handle)
        self._said = Path(path)
        self._process = FORKS.Process(target=mailstrom, args=(dict(environment), list(words), path))
        self._process.start()
        assert self._process.pid
        self.pid = self._process.pid

    def end(self) -> tuple[int, str]:
        self._process.join(60)
        code, said = self._process.exitcode, self._said.read_text()
        self._process.close()
        self._said.unlink()
        assert code is not None
        return code, said


def mailstrom(environment: dict[str, str], words: list[str], path: str) -> None:
    """Become `mailstrom`, with these words, and stderr in this file."""
    from mailstrom_cli.__main__ import main

    os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), 2)
    os.environ.update(environment)
    sys.argv = ["mailstrom", *words]
    sys.exit(main())


def test_run_and_many_flushes_begun_at_once_deliver_everything_once() -> None:
    """A few times; fifty times in the long form."""
    assert again_and_again(4, Forked, seed=1, messages=6) == []
