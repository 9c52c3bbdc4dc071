"""`mailstrom queue`: what is not yet final, oldest first."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from mailstrom_cli.cli import output, report
from mailstrom_cli.cli.base import command
from mailstrom_cli.cli.listing import listing
from mailstrom_cli.cli.options import Option
from mailstrom_cli.cli.output import EMPTY
from mailstrom_cli.cli.status import last_reply, size
from mailstrom_cli.cli.times import ahead, iso, span
from mailstrom_cli.cli.view import NULL_SENDER, queue_json
from mailstrom_cli.mail.status import DELIVERED, STATES, UNFINISHED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mailstrom_cli.api import Mailstrom
    from mailstrom_cli.cli.base import Given
    from mailstrom_cli.cli.listing import Part
    from mailstrom_cli.cli.output import Screen
    from mailstrom_cli.store.entry import Entry, RecipientState

HEADING = ("ID", "STATUS", "SUBMITTED", "SIZE", "NEXT", "SENDER", "RECIPIENT", "REPLY")
ROW = "%-16s  %-9s  %-20s  %-8s  %-20s  %-28s  %-28s  %s"
TERMINAL = "{:16}  {:>4}  {:>9}  {:9}  {:7}  {}"
TERMINAL_HEADING = ("ID", "AGE", "SIZE", "STATUS", "NEXT", "SENDER")
INDENT = 4
SHOWN = 3  # recipients of one message on a terminal


@command(
    "queue",
    Option(
        ("--state",),
        "Only these states; repeatable (default: queued and deferred).",
        "STATE",
        many=True,
        choices=(*STATES, "all"),
    ),
    Option(("--count",), "Print how many there are; with --json as an object."),
    Option(("--json",), "One JSON object a line, with the keys of `postqueue -j` beside those of status."),
)
def queue(given: Given, state: tuple[str, ...], count: bool, json: bool) -> int | None:
    """List the messages that are neither delivered nor failed, oldest first.

    On a terminal each message is shown with its recipients; in a pipe each has one line of aligned columns,
    with the recipient that is due next, or else one that failed, and how many more are not delivered.
    """
    states = STATES if "all" in state else tuple(dict.fromkeys(state)) or UNFINISHED
    mail = given.open()
    if count:
        number = mail.store.count(states)
        output.print_json({"count": number}) if json else output.print_text(str(number))
        return None
    if json:
        report.write_lines(lines for lines, _, _ in listing(mail, states, queue_json))
    elif output.on_terminal():
        screen = output.Screen()
        heading = screen.lines(TERMINAL.format(*TERMINAL_HEADING), "bold")
        parts = listing(mail, states, partial(_paragraph, screen, time.time()))
        if not report.write_lines(_table(heading, parts)) and not given.quiet:
            report.tell("note", "there is no message in these states" if state else "the queue is empty")
    else:
        report.write_lines(_table(ROW % HEADING, listing(mail, states, _line)))
    _tell_damaged(mail, quiet=given.quiet)
    return None


def _tell_damaged(mail: Mailstrom, *, quiet: bool) -> None:
    count, where = mail.store.damaged()
    if count and not quiet:
        them = (
            "1 message could not be read and is"
            if count == 1
            else f"{count} messages could not be read and are"
        )
        report.tell("warning", f"{them} set aside in {where}")


def _waiting(entry: Entry) -> Sequence[RecipientState]:
    """The recipients worth showing: those that wait, the next one first, and those that failed; or all."""
    if len(entry.recipients) == 1:
        return entry.recipients
    left = [r for r in entry.recipients if r.status != DELIVERED] or list(entry.recipients)
    return sorted(left, key=lambda r: (r.final, r.next_attempt or 0.0))


def _next(entry: Entry, told: str) -> str:
    return "held" if entry.held and entry.next_attempt is not None else told


def _table(heading: str, parts: Iterable[Part]) -> Iterator[str]:
    """The heading, with the first of the lines, and the others."""
    for lines, _, _ in parts:
        yield f"{heading}\n{lines}" if heading else lines
        heading = ""


def _line(entry: Entry) -> str:
    waiting = _waiting(entry)
    first, others = waiting[0], len(waiting) - 1
    cells = (
        entry.id,
        entry.state,
        iso(entry.submitted) or EMPTY,
        str(entry.envelope.size),
        _next(entry, iso(entry.next_attempt) or EMPTY),
        entry.envelope.reverse_path or NULL_SENDER,
        f"{first.address}+{others}" if others else first.address,
        last_reply(first) or EMPTY,
    )
    return output.plain_row(ROW, cells)


def _paragraph(screen: Screen, now: float, entry: Entry) -> str:
    """A line for a message, and below it, indented, whom it waits for and why."""
    cells = (
        entry.id,
        span(now - entry.submitted),
        size(entry.envelope.size),
        entry.state,
        _next(entry, ahead(entry.next_attempt, now)),
        entry.envelope.reverse_path or NULL_SENDER,
    )
    shown = [screen.lines(TERMINAL.format(*cells), output.STYLES.get(entry.state, ""))]
    shown += [screen.lines(text, style, INDENT) for text, style in _about(entry)]
    return "\n".join(shown)


def _about(entry: Entry) -> Iterator[tuple[str, str]]:
    waiting = _waiting(entry)
    for recipient in waiting[:SHOWN]:
        text = last_reply(recipient)
        yield f"{recipient.address}: {text}" if text else recipient.address, ""
    if len(waiting) > SHOWN:
        yield f"and {len(waiting) - SHOWN} more", "dim"
