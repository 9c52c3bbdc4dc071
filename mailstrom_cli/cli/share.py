"""A long list of messages shared out among processes, so that every core prepares some and none waits for the
disk.

They need nothing of each other, since a spool takes any number of submits at once. When the first is killed,
each of the others comes to the end of the group it has, which is stored and told to nobody. That is what a
kill between a commit and its telling does to the group of one process, too, and no promise is broken: who was
told an id has the message, whoever was told nothing has it whole or not at all.
"""

from __future__ import annotations

import marshal
import os
import select
import time
from itertools import chain

from mailstrom_cli.api import Submitted
from mailstrom_cli.cli import report
from mailstrom_cli.errors import SOFTWARE, MailstromError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from mailstrom_cli.cli.accept import Group, Names, Outcome

AFTER = 0.002  # seconds between two groups, whose ids are to sort as they came, by the millisecond
MOST = 3  # processes beside this one, each with a group in its memory


def processes() -> int:
    """How many are worth it beside this one: one for each other core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores - 1, MOST)


def store_all(
    first: Group,
    rest: Iterator[tuple[Group, bool]],
    store: Callable[[Group, float], list[Outcome]],
    tell: Callable[[Names, list[Outcome]], None],
) -> None:
    """Store the first group and the rest, each of which says whether there are more, and tell what became of
    them in this order. What is stored is told, whatever ends this early. Raises what storing and telling
    raise.

    store: given a group and when it was submitted.
    """
    most, now = processes(), 0.0
    waiting: list[tuple[Names, Here | Share]] = []

    def tell_next() -> None:
        waiting[0][1].ready(None)  # here an interrupt may come, and the group is not forgotten
        names, share = waiting.pop(0)
        tell(names, share.outcomes())

    def begun(group: Group, *, more: bool) -> Here | Share:
        if more and sum(share.runs for _, share in waiting) < most:
            try:
                return Share(lambda: store(group, now))
            except OSError:
                pass  # no process is to be had now
        return Here(store(group, now))

    try:
        for group, more in chain([(first, True)], rest):
            while waiting and waiting[0][1].ready(0):
                tell_next()
            now = max(time.time(), now + AFTER)
            waiting.append(([name for name, _ in group], begun(group, more=more)))
        while waiting:
            tell_next()
    finally:
        while waiting:
            try:
                tell_next()
            except MailstromError:
                pass  # the error that came first is the one that is told


class Here:
    """A group that this process has stored."""

    runs = False

    def __init__(self, outcomes: list[Outcome]) -> None:
        self._outcomes = outcomes

    def ready(self, seconds: float | None) -> bool:
        """Whether it is known what became of it; `seconds` are waited for that, without end if None."""
        return True

    def outcomes(self) -> list[Outcome]:
        """What became of each message. Raises MailstromError for what hindered them all."""
        return self._outcomes


class Share:
    """A group that another process stores from now on. Raises OSError when there is none to be had."""

    runs = True

    def __init__(self, store: Callable[[], list[Outcome]]) -> None:
        parent = os.getpid()
        self._answer, told = os.pipe()
        try:
            self._child = os.fork()
            if not self._child:
                os._exit(report.guarded(lambda: _answer(store, told), ()))
        except BaseException:
            if os.getpid() != parent:
                os._exit(SOFTWARE)  # an interrupt, and only one of us goes on from here
            os.close(self._answer)
            raise
        finally:
            os.close(told)

    def ready(self, seconds: float | None) -> bool:
        """As of `Here`."""
        poll = select.poll()  # select() knows no descriptor above 1023
        poll.register(self._answer, select.POLLIN)
        return bool(poll.poll(None if seconds is None else seconds * 1000))

    def outcomes(self) -> list[Outcome]:
        """As of `Here`."""
        with open(self._answer, "rb") as answer:
            held = answer.read()
        code = os.waitstatus_to_exitcode(os.waitpid(self._child, 0)[1])
        if code:
            raise MailstromError(
                f"a process that stored messages ended early ({code})",
                "look what is in `mailstrom queue` before they are submitted again",
                SOFTWARE,
            )
        told = marshal.loads(held)  # noqa: S302  (it comes from a process of ours)
        if isinstance(told, tuple):
            raise MailstromError(*told)
        return [MailstromError(*one) if len(one) == 3 else Submitted(*one) for one in told]


def _answer(store: Callable[[], list[Outcome]], told: int) -> int:
    answer: Any
    try:
        answer = [_plain(outcome) for outcome in store()]
    except (MailstromError, OSError) as error:
        answer = _plain(report.known(error))
    with open(told, "wb") as out:
        out.write(marshal.dumps(answer))
    return 0


def _plain(outcome: Outcome) -> tuple[Any, ...]:
    if isinstance(outcome, MailstromError):
        return outcome.message, outcome.hint, outcome.exit_code
    return outcome.id, outcome.message_id, outcome.fixes, outcome.recipients
