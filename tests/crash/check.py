"""What must hold after a run, whatever it met, and after the next one, which meets nothing."""

from __future__ import annotations

import contextlib
import re
import time
from signal import SIGKILL
from typing import TYPE_CHECKING

from mailstrom_cli.errors import CANT_CREATE, OK, TEMPORARY
from mailstrom_cli.mail.status import DELIVERED, FINAL, STATES, UNFINISHED
from mailstrom_cli.policy.retry import CRASH_GUARD
from mailstrom_cli.store.ids import is_id
from mailstrom_cli.store.layout import CORRUPT, FORMAT_FILE, TMP

from .inject import KILL, ON, ONCE
from .trace import SERVER, in_doubt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailstrom_cli.store.entry import Entry
    from mailstrom_cli.store.spool import Spool

    from .inject import Fault, Outcome
    from .scenario import Letter, World

CODES = {"submit": {OK, CANT_CREATE, TEMPORARY}, "flush": {OK, TEMPORARY}, "run": {OK, TEMPORARY}}
SYNCS = ("fsync", "syncfs")
BACK_OFF = 300.0
"""Seconds that an attempt may be put off; see scenario.CONFIG."""
HOUR = 3600.0


class Problems(list[str]):
    """What does not hold."""

    def unless(self, holds: object, what: str) -> None:
        if not holds:
            self.append(what)


def check(world: World, outcome: Outcome, fault: Fault | None = None) -> list[str]:
    """Everything; what does not hold. The next runs are made here."""
    problems = Problems()
    told = _ids(outcome)
    problems.unless(not outcome.late, "it did not end")
    _check_words(world, outcome, fault, problems)
    _check_visible(world, outcome, fault, told, problems)
    with _opened(world) as spool:
        if spool is not None:
            _check_rest(world, spool, problems)
            _check_told(world, spool, outcome, problems)
    if problems:
        return problems
    _finish(world, problems)
    with _opened(world) as spool:
        problems.unless(spool is not None, "no spool in the end")
        if spool is not None:
            _check_rest(world, spool, problems)
            _check_end(world, spool, outcome, fault, problems)
    return problems


def _ids(outcome: Outcome) -> list[str]:
    return [line for line in outcome.out.split("\n") if is_id(line)]


@contextlib.contextmanager
def _opened(world: World) -> Iterator[Spool | None]:
    """The spool, None while there is none that is complete: looking at it must not complete it."""
    if FORMAT_FILE not in world.lies("") or not (world.spool / FORMAT_FILE).read_bytes():
        yield None
        return
    store = world.mail().store
    try:
        yield store  # type: ignore[misc]
    finally:
        store.close()  # type: ignore[attr-defined]


# --- what it said ---


def _check_words(world: World, outcome: Outcome, fault: Fault | None, problems: Problems) -> None:
    """The exit code is one that the contract has for it, it says why, and nothing is called a bug of ours."""
    for bad in ("Traceback", "internal error", "Exception ignored", "never retrieved", "never awaited"):
        problems.unless(bad not in outcome.err, f"stderr: {bad}")
    if fault is not None and fault.kind == KILL:
        problems.unless(outcome.code == -SIGKILL, f"exit {outcome.code}, and it was killed")
        return
    command = world.scenario.command
    problems.unless(outcome.code in CODES[command], f"exit {outcome.code}")
    if command == "submit" and fault is not None and fault.call.name in SYNCS:
        words = {word for call in outcome.hit(fault) for word in re.split(r"\W", call.text)}
        told = {id for id in _ids(outcome) if len(world.scenario.given) == 1 or id in words}
        problems.unless(not told, f"{told} is told, and not known to be on the disk")
    if outcome.code != OK and not _mute(fault):
        problems.unless(re.search(r"^error: .", outcome.err, re.M), f"exit {outcome.code} without an error")


def _mute(fault: Fault | None) -> bool:
    """Whether it could not say anything, either."""
    return fault is not None and fault.kind == ON and fault.call.name == "write"


# --- what is visible ---


def _check_visible(
    world: World, outcome: Outcome, fault: Fault | None, told: list[str], problems: Problems
) -> None:
    """Each message is in one state; what was accepted is there; what was refused is not."""
    places = {id: [s for s in (*STATES, CORRUPT) if id in world.lies(s)] for id in _all(world)}
    for id, states in places.items():
        problems.unless(len(states) == 1, f"{id} is in {', '.join(states)}")
        problems.unless(CORRUPT not in states, f"{id} was set aside")
    for id in (*world.accepted, *told):
        problems.unless(id in places, f"{id} was accepted and is lost")
    new = places.keys() - world.accepted.keys()
    given = world.scenario.given
    killed = fault is not None and fault.kind == KILL
    if outcome.code == OK:
        problems.unless(len(new) == len(given), f"exit 0, and {len(new)} of {len(given)} are stored")
        problems.unless(len(told) == len(given) or _mute(fault), f"exit 0, and {len(told)} ids")
    elif not killed and not _stuck(outcome, fault):
        stored = {*told, *re.findall(r"stored as (\w+)", outcome.err)}
        problems.unless(new <= stored, f"exit {outcome.code}, and not told that {new - stored} is visible")
    if given and not killed and not (fault is not None and fault.kind == ON):
        left = world.lies(TMP)
        problems.unless(not left, f"left in tmp/: {left}")


def _all(world: World) -> set[str]:
    return {id for state in (*STATES, CORRUPT) for id in world.lies(state)}


def _stuck(outcome: Outcome, fault: Fault | None) -> bool:
    """Exception (d) of the table of states: the disk let the intake publish, and not take back."""
    renames = [call for call in outcome.calls if call.injected and call.name.startswith("rename")]
    return fault is not None and fault.kind == ON and len(renames) > 1


# --- what is on record ---


def _check_rest(world: World, spool: Spool, problems: Problems) -> None:
    """Every visible message is whole, unlocked and scheduled, and no record says more than the server."""
    scheduled = {item.id: item.due for item in spool.scheduled()}
    taken = set(world.sink.delivered())
    for id in sorted(_all(world)):
        try:
            entry = spool.read(id)
            with spool.open_message(id) as message:
                octets = message.read()
        except Exception as error:
            problems.append(f"{id} cannot be read: {error}")
            continue
        letter = _letter(world, entry)
        problems.unless(octets == letter.octets, f"{id} is not what was given")
        lies = next(state for state in STATES if id in world.lies(state))
        problems.unless(entry.state == lies or lies in UNFINISHED, f"{id} is {entry.state}, in {lies}/")
        if entry.state in UNFINISHED:
            latest = time.time() + max(CRASH_GUARD, BACK_OFF) + 1
            problems.unless(scheduled.get(id, latest + 1) <= latest, f"{id} is not scheduled")
        for recipient in entry.recipients:
            if recipient.status == DELIVERED:
                had = (recipient.address, letter.message_id) in taken
                problems.unless(had, f"{id}: {recipient.address} is on record as delivered, and was not")
        lease = spool.lease(id)
        problems.unless(lease is not None, f"{id} is locked")
        if lease is not None:
            lease._close()  # gives the lock back, and puts nothing right


def _letter(world: World, entry: Entry) -> Letter:
    (letter,) = [x for x in world.scenario.letters if x.message_id == entry.envelope.message_id]
    return letter


def _check_told(world: World, spool: Spool, outcome: Outcome, problems: Problems) -> None:
    """A pass that leaves work undone says so: only what a server deferred is no news."""
    if world.scenario.command == "submit" or outcome.code != OK:
        return
    silent = not re.search(r"\berror: ", outcome.err)
    for id in world.accepted:
        for recipient in spool.read(id).recipients:
            told = recipient.attempts or recipient.text  # attempted, or put off with a reason
            problems.unless(told or not silent, f"{id}: {recipient.address} was not tried")


# --- the next run ---


def _finish(world: World, problems: Problems) -> None:
    """Run again, without faults: submit what is not there, and deliver all that there is."""
    if not world.scenario.up:
        world.sink.start()
    given = world.scenario.given
    if given:
        keyed = "--key" in world.scenario.words
        before = _all(world)
        with _opened(world) as spool:
            there = {_letter(world, spool.read(id)) for id in before} if spool else set()
        missing = tuple(letter for letter in given if keyed or letter not in there)
        if missing:
            done = world.call(world.scenario.words, missing)
            ids = done.stdout.split()
            problems.unless(done.returncode == OK, f"the next submit: exit {done.returncode} {done.stderr}")
            problems.unless(len(ids) == len(missing), f"the next submit: {done.stdout!r}")
            problems.unless(not keyed or before <= set(ids), "the next submit under the key: another id")
    for _ in range(2):  # what is greylisted takes two
        if any(world.lies(state) for state in UNFINISHED):
            world.flush()


def _check_end(world: World, spool: Spool, outcome: Outcome, fault: Fault | None, problems: Problems) -> None:
    """Everything has become what it should, once; and nothing is left."""
    entries = {id: spool.read(id) for id in _all(world)}
    for letter in world.scenario.letters:
        known = [e for e in entries.values() if e.envelope.message_id == letter.message_id]
        problems.unless(len(known) == 1, f"{letter.name}: {len(known)} messages in the end")
        for entry in known:
            problems.unless(
                entry.state in FINAL and entry.id in world.lies(entry.state), f"{letter.name} waits"
            )
            for r in entry.recipients:
                problems.unless(r.status == letter.ends(r.address), f"{r.address}: {r.status} {r.text}")
    delivered = world.sink.delivered()
    excused = _excused(world, outcome, fault)
    for letter in world.scenario.letters:
        for recipient in letter.to:
            times = delivered.count((recipient, letter.message_id))
            wanted = 1 if letter.ends(recipient) == DELIVERED else 0
            problems.unless(times >= wanted, f"{recipient} never got {letter.name}")
            more = times <= wanted or (times == 2 and letter.name in excused)
            problems.unless(more, f"{recipient} got {letter.name} {times} times")
    for transaction in world.sink.transactions:
        if transaction.accepted:
            (letter,) = [x for x in world.scenario.letters if x.message_id == transaction.message_id]
            problems.unless(transaction.body == letter.octets, f"{letter.name} arrived changed")
    problems.unless(not world.sink.violations, f"the server says {world.sink.violations}")
    spool.sweep(time.time() + 2 * HOUR, 0, 0)
    problems.unless(not world.lies(TMP), f"left in tmp/, and not swept: {world.lies(TMP)}")


def _excused(world: World, outcome: Outcome, fault: Fault | None) -> set[str]:
    """The letters that may have arrived twice: what ended or failed was between the server's reply and the
    line on record. Where the disk failed once, a `run` is not excused: it remembers, and writes it again."""
    if fault is None:
        return set()
    struck = set(outcome.hit(fault))
    if world.scenario.command == "run" and fault.kind == ONCE and not fault.call.place.startswith(SERVER):
        return set()
    doubtful = in_doubt(outcome.calls, world.accepted)
    return {world.accepted[id].name for id, calls in doubtful.items() if struck & set(calls)}
