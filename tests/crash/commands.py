"""What is cut: the commands that are run, what they find, and what must be there after a power cut."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from typing import TYPE_CHECKING

from mailstrom_cli.api import Request
from mailstrom_cli.errors import CANT_CREATE, OS_ERROR, TEMPORARY
from mailstrom_cli.mail.status import DELIVERED, FAILED, FINAL
from mailstrom_cli.store.base import SWEPT
from mailstrom_cli.store.intake import MANY

from .halt import CHANGES, LARGE, MAILSTROM
from .place import Place, finish

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailstrom_cli.store.entry import Entry

    from .halt import Done, Halted

SYNCS = ("fsync", "syncfs", "rename", "renameat", "renameat2", "write")
"""What orders the others, and what is told."""
TALKS = ("sendto", "recvfrom")
"""What a delivery does besides: cut between a server's reply and its record."""

LOGGED = re.compile(r"\d{4}-\d\d-\d\dT\S+Z (error|warning|info): ")


class Command:
    """One command, and what it works on. calls: those after which it can be cut.  boundaries: those in the
    short form, and for a `large` one in the long form, too.  endless: it has to be told to end."""

    name = ""
    large = False
    endless = False
    expected = "write"
    """A call that it makes."""
    calls: Sequence[str] = CHANGES
    boundaries: Sequence[str] = SYNCS

    def before(self, place: Place) -> None:
        """Make what it finds; it is on the disk when the command begins."""

    def words(self, place: Place) -> list[str]:
        raise NotImplementedError

    def stdin(self, place: Place) -> bytes:
        return b""

    def meanwhile(self, place: Place, running: Halted) -> None:
        """What happens beside it."""

    def after(self, place: Place, done: Done, found: dict[str, Entry]) -> str:
        """Check what the cut has left, and what becomes of it; the outcome in a word."""
        raise NotImplementedError


class Submit(Command):
    """files, each of such a size; none: stdin.  new: there is no spool yet."""

    def __init__(
        self, name: str, *options: str, count: int = 0, sizes: Sequence[int] = (), new: bool = False
    ) -> None:
        self.name, self._options, self._count, self._sizes, self._new = name, options, count, sizes, new
        self.large = count > 100
        if count >= MANY:
            self.expected = "syncfs"
        if new:
            self.boundaries = (*SYNCS, "mkdir", "mkdirat", "pwrite64")

    def before(self, place: Place) -> None:
        if not self._new:
            _ = place.mail(create=True).store

    def words(self, place: Place) -> list[str]:
        words = [*(LARGE if self._count >= MANY else MAILSTROM), "submit", *self._options]
        if "--mbox" not in self._options:
            return words + place.files(self._count, *self._sizes)
        box = place.beside / "mbox"
        box.write_bytes(b"".join(b"From a\n" + place.message() + b"\n" for _ in range(self._count)))
        return [*words, str(box)]

    def stdin(self, place: Place) -> bytes:
        return place.message() if not self._count else b""

    def after(self, place: Place, done: Done, found: dict[str, Entry]) -> str:
        told = done.out.split()
        if done.code >= 0:  # it was not killed
            check_told(done)
            assert (done.code == 0) is (len(told) == len(place.sent)), "a success that was not told, or none"
        lost = set(told) - set(found)
        assert not lost, f"accepted and lost: {lost}"
        assert all(entry.state == "queued" for entry in found.values())
        self._deliver(place, found)
        return "told" if told else "untold" if found else "nothing"

    def _deliver(self, place: Place, found: dict[str, Entry]) -> None:
        """All that is there goes out as it came, and the spool takes new mail."""
        mail = finish(place)
        bodies = sorted(t.body or b"" for t in place.server.transactions if t.accepted)
        assert bodies == sorted(place.sent[entry.envelope.message_id] for entry in found.values())
        assert all(mail.entry(id).state == DELIVERED for id in found)
        again = mail.submit(place.message(), Request())
        assert mail.entry(again.id).state == "queued"


def check_told(done: Done) -> None:
    """What a command says that came to its end: success, or in a line and a hint why there was none. A flush
    logs besides what it meets."""
    assert "Traceback" not in done.err
    assert "internal error" not in done.err
    lines = [line for line in done.err.splitlines() if not LOGGED.match(line)]
    if done.code == 0:
        assert lines == []
    else:
        assert done.code in (CANT_CREATE, TEMPORARY, OS_ERROR)
        assert any(line.startswith("error: ") for line in lines), "no error is told"
        assert all(line.startswith(("error: ", "hint: ", "note: ")) for line in lines), done.err


class Sendmail(Submit):
    """It tells no id; that it ends well is all it says."""

    def __init__(self) -> None:
        super().__init__("sendmail")

    def words(self, place: Place) -> list[str]:
        return [*MAILSTROM, "sendmail", "-i", "-f", "a@example.org", "b@example.net"]

    def after(self, place: Place, done: Done, found: dict[str, Entry]) -> str:
        if done.code == 0:
            done.out = "".join(found)
            assert found, "accepted and lost"
        return super().after(place, done, found)


class Flush(Command):
    """swept: the last sweep was just now, so that this pass makes none."""

    calls = (*CHANGES, *TALKS)
    boundaries = (*SYNCS, "utimensat", "sendto")

    def __init__(self, name: str, *, swept: bool) -> None:
        self.name, self._swept = name, swept

    def before(self, place: Place) -> None:
        mail = place.mail(create=True)
        place.ids = [mail.submit(place.message("done@example.net"), Request()).id]
        mail.flush()
        to = ("b@example.net", "b@example.net, defer@example.net", "reject@example.net", "c@example.net")
        place.ids += [mail.submit(place.message(one), Request()).id for one in to]
        mail.store.mark(SWEPT, time.time() if self._swept else 0.0)

    def words(self, place: Place) -> list[str]:
        return [*MAILSTROM, "flush"]

    def after(self, place: Place, done: Done, found: dict[str, Entry]) -> str:
        if done.code >= 0:
            check_told(done)
        assert sorted(found) == sorted(place.ids), "accepted and lost"
        mail = finish(place)
        ends = [mail.entry(id) for id in place.ids]
        assert [entry.state for entry in ends[:5]] == [DELIVERED, DELIVERED, DELIVERED, FAILED, DELIVERED]
        assert all(entry.state == DELIVERED for entry in ends[5:])
        times = Counter(place.server.delivered())
        wanted = {
            (r.address, entry.envelope.message_id)
            for entry in ends
            for r in entry.recipients
            if r.status == DELIVERED
        }
        assert set(times) == wanted, "recorded as delivered and never sent"
        assert max(times.values()) <= 2, "sent again and again"
        on_record = [times[at] for at in times if at[0] == "done@example.net"]
        assert on_record == [1], "sent again what was on the disk as delivered"
        return f"{times.total() - len(times)} again"


class Run(Flush):
    """It delivers what is there, and then what is submitted beside it."""

    endless = True

    def __init__(self) -> None:
        super().__init__("run", swept=True)

    def words(self, place: Place) -> list[str]:
        return [*MAILSTROM, "run"]

    def meanwhile(self, place: Place, running: Halted) -> None:
        for another in (True, False):
            while os.listdir(place.spool / "queued"):
                time.sleep(0.005)
                if running.over:
                    return
            if another:
                place.ids.append(place.mail().submit(place.message(), Request()).id)
        running.terminate()


class Expire(Command):
    """A pass that removes what is past its retention."""

    name = "expire"

    def before(self, place: Place) -> None:
        mail = place.mail(create=True)
        place.ids = [mail.submit(place.message(), Request(key=key)).id for key in ("k", None)]
        mail.flush()
        mail.store.mark(SWEPT, 0.0)

    def words(self, place: Place) -> list[str]:
        return ["env", "MAILSTROM_RETENTION_DELIVERED=0s", *MAILSTROM, "flush"]

    def after(self, place: Place, done: Done, found: dict[str, Entry]) -> str:
        assert all(entry.state == DELIVERED for entry in found.values())
        finish(place)
        assert place.server.duplicates() == []
        return f"{len(found)} there"


class Work(Command):
    """hold, release, retry or cancel of one message. prepared: what was done with it before."""

    def __init__(self, name: str, to: str = "b@example.net", *prepared: str) -> None:
        self.name, self._to, self._prepared = name, to, prepared

    def before(self, place: Place) -> None:
        mail = place.mail(create=True)
        place.ids = [mail.submit(place.message(self._to), Request()).id]
        for word in self._prepared:
            mail.flush() if word == "flush" else getattr(mail, word)(place.ids[0])
        mail.store.mark(SWEPT, time.time())
        self._before = mail.entry(place.ids[0])

    def words(self, place: Place) -> list[str]:
        return [*MAILSTROM, self.name.split()[0], place.ids[0]]

    def after(self, place: Place, done: Done, found: dict[str, Entry]) -> str:
        (id,) = place.ids
        assert list(found) == [id], "accepted and lost"
        entry = found[id]
        changed = (entry.state, entry.held) != (self._before.state, self._before.held)
        before = place.server.delivered()
        mail = finish(place)
        ended = mail.entry(id)
        assert mail.store.ids([ended.state]).__next__() == id
        if entry.held or entry.state in FINAL:
            assert (ended.state, ended.held) == (entry.state, entry.held)
            assert place.server.delivered() == before
        else:
            assert ended.state in FINAL
        return "as asked" if changed else "as before"


COMMANDS: list[Command] = [
    Submit("submit, no spool yet", new=True),
    Submit("submit"),
    Submit("submit --key", "--key", "k"),
    Submit("submit 3 files", count=3, sizes=(0, 100_000, 5_000_000)),
    Submit("submit 40 files", count=40),
    Submit("submit --mbox of 3", "--mbox", count=3),
    Submit("submit 300 files", count=300),
    Sendmail(),
    Flush("flush", swept=True),
    Flush("flush and sweep", swept=False),
    Run(),
    Expire(),
    Work("hold"),
    Work("release", "b@example.net", "hold"),
    Work("cancel"),
    Work("retry", "reject@example.net", "flush"),
    Work("retry of a deferred one", "defer@example.net", "flush"),
]
