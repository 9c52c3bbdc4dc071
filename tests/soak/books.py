"""What was submitted, killed and cut; what the record and the server say; and whether they agree."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mailstrom_cli.errors import DATA, OK, USAGE
from mailstrom_cli.mail.status import DELIVERED, FAILED, FINAL
from mailstrom_cli.store.ids import is_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import BinaryIO

    from mailstrom_cli.store.entry import Entry

    from .crowd import Done
    from .load import Letter, Submit
    from .weather import Taken

BUGS = re.compile("Traceback|internal error|Exception ignored|never retrieved|never awaited")
TO_DISK = 120.0
"""Seconds after which a system has written out what was not synced."""
TO_RECORD = 5.0
"""Seconds that may pass, on a busy machine, between a server's reply and its record."""

ACCEPTED, REFUSED, UNCERTAIN = "accepted", "refused", "uncertain"
"""What a submit told, and what may or may not be stored since it was killed before it could tell."""
LOST_REPLY, KILLED, CUT = "the reply was lost", "killed before the record", "the power cut took the record"
"""Why a server may get a message again that it had taken."""


@dataclass(frozen=True)
class Recorded:
    """What the spool knew of a message in the end. recipients: address, status, text."""

    id: str
    message_id: str
    recipients: tuple[tuple[str, str, str], ...]


@dataclass
class Books:
    letters: dict[str, Letter] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    """id -> Message-ID, or "" where it is one of several."""
    outcomes: dict[str, str] = field(default_factory=dict)
    """Message-ID -> what became of its submit."""
    records: dict[str, Recorded] = field(default_factory=dict)
    kills: dict[str, float] = field(default_factory=dict)
    """The name of a client -> when it was killed."""
    cuts: list[float] = field(default_factory=list)
    taken_back: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)
    """Message-ID and recipient -> the last cut after which it was taken and not on record, and how often."""
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def problem(self, what: str) -> None:
        with self._lock:
            self.problems.append(what)

    # --- as it happens ---

    def submitted(self, submit: Submit, done: Done) -> None:
        """A submit has ended, one way or another."""
        ids = [line for line in done.out.splitlines(keepends=True) if line.endswith("\n")]
        with self._lock:
            self.counts[submit.kind] += 1
            self.letters.update((one.message_id, replace(one, octets=b"")) for one in submit.letters)
            names = [letter.message_id for letter in submit.letters]
            if done.code == OK and submit.valid:
                outcome = ACCEPTED
                if submit.words[0] != "sendmail" and len(ids) != len(names):
                    self.problems.append(f"{done}, and {len(ids)} ids for {len(names)} messages")
            elif done.killed or done.cut:
                outcome = UNCERTAIN
                self.counts["submits cut" if done.cut else "submits killed"] += 1
            else:
                outcome = REFUSED
                self.counts["submits refused"] += 1
                if ids or submit.valid or done.code not in (DATA, USAGE):
                    self.problems.append(f"refused without a reason: {done}")
            for name in names:  # one that has a key may be submitted again, until it is accepted
                if self.outcomes.get(name) != ACCEPTED:
                    self.outcomes[name] = outcome
            for id, name in zip(ids, names if len(ids) == len(names) else [""] * len(ids), strict=True):
                if is_id(id[:-1]):
                    self.told[id[:-1]] = name
                else:
                    self.problems.append(f"{done}: {id!r} is no id")
            self._check_words(done)

    def worked(self, done: Done, allowed: Sequence[str] = ()) -> None:
        """A command that delivers has ended. allowed: what it may say."""
        with self._lock:
            kind = " ".join(word for word in done.words if not is_id(word))
            self.counts[kind] += 1
            if done.killed:
                self.counts[f"{done.words[0]} killed"] += 1
            if done.killed or done.cut:
                self.kills[done.name] = done.ended
            elif done.code != OK and not any(re.search(word, done.err) for word in allowed):
                self.problems.append(str(done))
            self._check_words(done)

    def _check_words(self, done: Done) -> None:
        if BUGS.search(done.err):
            self.problems.append(f"{done.words[0]} said: {done.err[-3000:]}")

    def record(self, entry: Entry) -> None:
        """It will not change any more."""
        recipients = tuple((r.address, r.status, r.text or "") for r in entry.recipients)
        self.records[entry.id] = Recorded(entry.id, entry.envelope.message_id, recipients)

    def after_cut(
        self,
        when: float,
        entries: Iterable[Entry],
        open_message: Callable[[str], BinaryIO],
        taken: Sequence[Taken],
    ) -> None:
        """Look at all that is there when the power is back, and nobody works yet."""
        self.cuts.append(when)
        times = _times(taken)
        there = set()
        for entry in entries:
            there.add(entry.id)
            name = entry.envelope.message_id
            with open_message(entry.id) as message:
                digest = hashlib.sha256(message.read()).hexdigest()
            if name not in self.letters or self.letters[name].sha256 != digest:
                self.problem(f"{entry.id} {name} is not what was given, after a power cut")
            for r in entry.recipients:
                had = len(times.get((name, r.address), ()))
                if had and r.status != DELIVERED:
                    self.taken_back[name, r.address] = when, had
        for id in self.told.keys() - self.records.keys() - there:
            self.problem(f"{id} was accepted, and is lost after a power cut at {when:.3f}")

    # --- in the end ---

    def close(self, taken: Sequence[Taken]) -> None:
        """Whether everything agrees."""
        by_name: dict[str, list[Recorded]] = defaultdict(list)
        for record in self.records.values():
            by_name[record.message_id].append(record)
        self.problems += [f"{id} was accepted, and is lost" for id in self.told.keys() - self.records.keys()]
        times = _times(taken)
        for name, outcome in self.outcomes.items():
            self.counts[f"messages {outcome}"] += 1
            found = by_name.get(name, [])
            if outcome == ACCEPTED and not found:
                self.problems.append(f"{name} was accepted, and is lost")
            elif outcome == REFUSED and found:
                self.problems.append(f"{name} was refused, and is there")
            elif outcome == UNCERTAIN and found:
                self.counts["of those stored"] += 1
            if len(found) > 1:
                self.problems.append(f"{name} is there {len(found)} times")
        for name, records in by_name.items():
            if name in self.letters:
                self._agree(self.letters[name], records[0], times)
            else:
                self.problems.append(f"{name} is there, and nobody gave it")
        for one in taken:
            letter = self.letters.get(one.message_id)
            if letter is None or one.sha256 != letter.sha256:
                self.problems.append(f"the server got {one.message_id}, and not as it was given")
            if one.message_id not in by_name:
                self.problems.append(f"the server got {one.message_id}, which is nowhere")

    def _agree(self, letter: Letter, record: Recorded, times: dict[tuple[str, str], list[Taken]]) -> None:
        """One message: what is on record, and what the server saw."""
        if sorted(r[0] for r in record.recipients) != sorted(letter.recipients):
            self.problems.append(f"{record.id} is on record for {record.recipients}")
        for address, status, text in record.recipients:
            had = times.get((letter.message_id, address), [])
            self.counts[f"recipients {status}"] += 1
            if status not in FINAL:
                self.problems.append(f"{record.id}: {address} is {status} in the end: {text}")
            if status == FAILED and not text:
                self.problems.append(f"{record.id}: {address} failed without a reason")
            if status == DELIVERED and not had:
                self.problems.append(f"{record.id}: {address} is on record as delivered, and was not")
            again = had if status != DELIVERED else had[:-1]
            for number, one in enumerate(again):
                why = self.why(letter.message_id, address, number, one)
                last = number == len(had) - 1
                what = "failed on record, and taken" if last else "taken again"
                if why is None:
                    told = ", ".join(f"{t.time:.3f} by {t.by}" for t in had)
                    self.problems.append(f"{record.id}: {address} was {what}, for no reason; taken {told}")
                else:
                    self.counts[f"{what}: {why}"] += 1

    def why(self, name: str, address: str, number: int, one: Taken) -> str | None:
        """Why the record did not hold what the server had taken for the `number`-th time (from 0)."""
        if not one.said:
            return LOST_REPLY
        killed = self.kills.get(one.by)
        if killed is not None and killed - one.time < TO_RECORD:
            return CUT if self._at_cut(killed) else KILLED
        cut, had = self.taken_back.get((name, address), (0.0, 0))
        return CUT if number < had and cut - one.time < TO_DISK else None

    def _at_cut(self, killed: float) -> bool:
        return any(0.0 <= killed - cut < TO_RECORD for cut in self.cuts)


def _times(taken: Sequence[Taken]) -> dict[tuple[str, str], list[Taken]]:
    """By Message-ID and recipient, whenever the server took it."""
    times: dict[tuple[str, str], list[Taken]] = defaultdict(list)
    for one in list(taken):
        for address in one.recipients:
            times[one.message_id, address].append(one)
    return times
