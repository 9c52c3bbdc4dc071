"""`mailstrom status`: what became of a message, recipient by recipient."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from mailstrom_cli.cli import output, report
from mailstrom_cli.cli.accept import mistaken_wait, outcome_code, parse_wait
from mailstrom_cli.cli.base import command
from mailstrom_cli.cli.options import Option
from mailstrom_cli.cli.times import ahead, iso, local, span, told
from mailstrom_cli.cli.view import reply, status_json
from mailstrom_cli.errors import OK, USAGE, MailstromError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from mailstrom_cli.api import Mailstrom
    from mailstrom_cli.cli.base import Given
    from mailstrom_cli.store.entry import Entry, RecipientState

HEADING = ("ID", "STATUS", "RECIPIENT", "ATTEMPTS", "NEXT", "HOST", "TLS", "REPLY")


@command(
    "status",
    Option(
        ("--wait",),
        "Wait until every recipient is final, at most SECONDS; exit 69 if one failed, 75 if one still waits.",
        "SECONDS",
        optional=True,
    ),
    Option(("--recent",), "All that are unfinished, and those finished since the last --recent."),
    Option(("--json",), "One JSON object, or a list of them for several messages."),
)
@click.argument("ids", metavar="[ID]...", nargs=-1)
def status(given: Given, ids: tuple[str, ...], wait: str | None, recent: bool, json: bool) -> int:
    """Tell what became of each message, for every recipient: status, attempts, next attempt, the host and TLS
    of the last attempt and the reply with its enhanced code.

    ID is a queue id, the beginning or end of one (4 or more characters, if it is the only one), or a
    Message-ID. With -v the SMTP transcript of each attempt that did not deliver to everybody follows.
    """
    if recent == bool(ids):
        raise MailstromError("name a message, or ask for --recent", "`mailstrom queue` lists ids", USAGE)
    if recent and wait is not None:
        raise MailstromError("--recent and --wait exclude each other", "leave one of them out", USAGE)
    seconds = parse_wait(wait)
    mail = given.open()
    code, asked = OK, time.time()
    if recent:
        entries = mail.recent(report.warn)
    else:
        entries, code = find_each(mail, ids, wait)
        if wait is not None and entries:
            entries = mail.wait([entry.id for entry in entries], seconds)
            waited = outcome_code(entries, quiet=True)
            code = code or waited
    if json:
        objects = [status_json(e, *_transcripts_json(mail, e.id, given.verbose)) for e in entries]
        if len(ids) != 1:
            objects = [f"[{', '.join(objects)}]"]
        report.write_lines(objects)
    else:
        _print(entries)
        if given.verbose:
            for entry in entries:
                _print_transcripts(mail, entry.id)
    if recent:
        mail.seen(asked)  # only now: what could not be printed is told the next time
    return code


def find_each(mail: Mailstrom, names: Sequence[str], wait: str | None = None) -> tuple[list[Entry], int]:
    """The messages of these names; what cannot be found is told, and the first one's exit code given.
    wait: the value of --wait, which may have become the name of a message."""
    entries, code = [], OK
    store = mail.store
    for name in names:
        try:
            entries.append(store.read(store.find(name)))
        except (MailstromError, OSError) as error:
            told = report.failed(mistaken_wait(report.known(error), name, wait))
            code = code or told
    return entries, code


def _print(entries: Sequence[Entry]) -> None:
    if output.on_terminal():
        terminal = output.console()
        for entry in entries:
            _print_rich(terminal, entry, time.time())
    else:
        report.write_lines(output.plain_table(HEADING, _rows(entries)))


def _rows(entries: Sequence[Entry]) -> Iterator[Sequence[str]]:
    for entry in entries:
        for r in entry.recipients:
            next_attempt = "held" if entry.held and not r.final else iso(r.next_attempt) or ""
            yield (
                entry.id,
                r.status,
                r.address,
                str(r.attempts),
                next_attempt,
                r.host or "",
                (r.tls or "").replace(" ", "-"),
                reply(r),
            )


def _print_rich(terminal: Console, entry: Entry, now: float) -> None:
    from rich.table import Table
    from rich.text import Text

    title = Text.assemble((entry.id, "bold"), "  ", output.cell(entry.state))
    if entry.held:
        title.append("  held", "magenta")
    terminal.print(title)
    about = f"from {entry.envelope.reverse_path or '<>'}, {size(entry.envelope.size)}, "
    about += f"submitted {local(entry.submitted)} ({span(now - entry.submitted)} ago)"
    terminal.print(output.cell(about, "dim"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("RECIPIENT", overflow="fold", ratio=None, max_width=32)
    table.add_column("STATUS", no_wrap=True)
    table.add_column("TRIES", justify="right", no_wrap=True)
    table.add_column("NEXT", no_wrap=True)
    table.add_column("LAST REPLY", overflow="fold")
    for r in entry.recipients:
        waits = "" if r.final else "held" if entry.held else ahead(r.next_attempt, now)
        last = output.cell(reply(r) or "-")
        if where := ", ".join(part for part in (r.host, r.tls, r.tls_cipher, r.tls_by) if part):
            last.append("\n").append_text(output.cell(where, "dim"))
        table.add_row(
            output.cell(r.address), output.cell(r.status), str(r.attempts), output.cell(waits), last
        )
    terminal.print(table)
    terminal.print()


def _transcripts(mail: Mailstrom, id: str) -> Iterator[tuple[str | None, str]]:
    """When each attempt was that left a transcript, and the transcript."""
    for event in mail.events(id):
        transcript = event.get("transcript")
        if isinstance(transcript, str):
            yield told(event.get("time")), transcript


def _transcripts_json(mail: Mailstrom, id: str, wanted: bool) -> Iterator[str]:
    if wanted:
        import json

        told = [{"time": when, "text": text} for when, text in _transcripts(mail, id)]
        yield f'"transcripts": {json.dumps(told)}'


def _print_transcripts(mail: Mailstrom, id: str) -> None:
    for when, transcript in _transcripts(mail, id):
        output.print_text(f"transcript of {id}, {when}")
        for line in transcript.split("\n"):
            output.print_text("  " + report.one_line(line, output.LONGEST_CELL))


def size(octets: int) -> str:
    """Octets for people: 812 B, 1.2 KiB, 3.4 MiB."""
    if octets < 1000:
        return f"{octets} B"
    number = float(octets)
    for unit in ("KiB", "MiB"):
        number /= 1024
        if number < 1000:
            return f"{number:.1f} {unit}"
    return f"{number / 1024:.1f} GiB"


def last_reply(state: RecipientState) -> str:
    """The last reply and the host that gave it, on one line."""
    text = reply(state)
    return f"{text} ({state.host})" if text and state.host else text
