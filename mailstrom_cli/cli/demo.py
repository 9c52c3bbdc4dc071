"""`mailstrom demo`: the whole path on this machine: a throw-away spool, and a small server on loopback."""

from __future__ import annotations

import signal
import tempfile
import time
from typing import TYPE_CHECKING

from mailstrom_cli.api import Mailstrom, Request
from mailstrom_cli.cli import output
from mailstrom_cli.cli.base import command
from mailstrom_cli.cli.status import last_reply
from mailstrom_cli.cli.times import ahead
from mailstrom_cli.cli.view import reply
from mailstrom_cli.config.schema import build
from mailstrom_cli.config.via import parse_via
from mailstrom_cli.mail.status import FINAL
from mailstrom_cli.net.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.table import Table

    from mailstrom_cli.cli.base import Given
    from mailstrom_cli.mail.status import Result
    from mailstrom_cli.store.entry import Entry

    Tell = Callable[[Entry, list[Result]], None]

LONGEST = 20.0  # seconds; a demo that takes longer is broken
MESSAGES = (
    ("Welcome", "good@example.net"),
    ("Receipt", "good-customer@example.com, unknown@example.com"),
    ("Newsletter", "good-reader@example.org, greylisted@example.org, busy@example.org"),
    ("Alarm", "greylisted-operator@example.net"),
    ("Minutes", "good-member@example.org, good-guest@example.com"),
)
SETTINGS = {
    "helo_name": "demo.test",
    "tls.level": "none",
    "retry.retries": 2,
    "retry.base_delay": 0.8,
    "retry.factor": 1.5,
    "retry.jitter": 0.0,
}
NEXT = """
That was the real thing: submit, spool, SMTP and retries; only the server was a
stand-in. Where to go next:

  mailstrom config init                       write a configuration to edit
  mailstrom submit --check < message.eml      is this message fit to be sent?
  mailstrom submit -t ADDRESS < message.eml   spool it
  mailstrom run                               deliver, now and from now on
  mailstrom status ID                         what became of it
"""


@command("demo")
def demo(given: Given) -> None:
    """Submit several messages into a throw-away spool and deliver them to a small server on this machine that
    accepts, defers and refuses by recipient; then tell what became of each. Needs no network and no set-up,
    takes a few seconds and leaves nothing behind.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    with tempfile.TemporaryDirectory(prefix="mailstrom-demo-") as folder, Receiver() as receiver:
        host, port = receiver.address
        via = parse_via(f"smtp://{host}:{port}")
        mail = Mailstrom(build({**SETTINGS, "spool": f"{folder}/spool", "via": (via,)}))
        subjects = {
            mail.submit(_message(subject, to), Request(reverse_path="demo@example.org")).id: subject
            for subject, to in MESSAGES
        }
        if output.on_terminal():
            _live(mail, subjects)
        else:
            _plainly(mail, subjects)
    if not given.quiet:
        output.print_text(NEXT.rstrip())


def _stop(number: int, frame: object) -> None:
    """Leave by way of every `with`, so that nothing stays behind."""
    raise SystemExit(128 + number)


def _message(subject: str, to: str) -> bytes:
    return (
        f"From: demo@example.org\nTo: {to}\nSubject: {subject}\n\nThis is the {subject.lower()}.\n".encode()
    )


def _deliver(mail: Mailstrom, ids: Sequence[str], tell: Tell, pause: Callable[[float], None]) -> list[Entry]:
    """Flush what is due, and again when the next is due, until every recipient is final."""
    end = time.monotonic() + LONGEST
    while True:
        mail.flush(on_result=tell)
        entries = [mail.entry(id) for id in ids]
        due = [e.next_attempt for e in entries if e.next_attempt is not None]
        if not due or time.monotonic() > end:
            return entries
        pause(max(0.02, min(due) - time.time()))


# --- in a pipe ---


def _plainly(mail: Mailstrom, subjects: Mapping[str, str]) -> None:
    gone: list[OSError] = []

    def tell(entry: Entry, results: list[Result]) -> None:
        for r in results:
            try:
                output.print_text(f"{subjects[entry.id]} for {r.address}: {r.status}, {r.code} {r.text}")
            except OSError as error:
                gone.append(error)  # no fault of the delivery that is under way

    def pause(seconds: float) -> None:
        if gone:
            raise gone[0]
        time.sleep(seconds)

    for id, subject in subjects.items():
        output.print_text(f"{subject} is spooled as {id}")
    entries = _deliver(mail, list(subjects), tell, pause)
    output.print_text("")
    rows = [
        (subjects[e.id], r.address, r.status, str(r.attempts), last_reply(r))
        for e in entries
        for r in e.recipients
    ]
    for line in output.plain_table(("MESSAGE", "RECIPIENT", "STATUS", "ATTEMPTS", "REASON"), rows):
        output.print_text(line)


# --- on a terminal ---


def _live(mail: Mailstrom, subjects: Mapping[str, str]) -> None:
    from rich.live import Live

    def look() -> Table:
        return _table([mail.entry(id) for id in subjects], subjects)

    with Live(look(), console=output.console(), auto_refresh=False) as live:

        def tell(entry: Entry, results: list[Result]) -> None:
            live.update(look(), refresh=True)

        def pause(seconds: float) -> None:
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0:
                live.update(look(), refresh=True)
                time.sleep(min(left, 0.1))

        _deliver(mail, list(subjects), tell, pause)
        live.update(look(), refresh=True)


def _table(entries: Sequence[Entry], subjects: Mapping[str, str]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("MESSAGE", "RECIPIENT", "STATUS"):
        table.add_column(heading, no_wrap=True)
    table.add_column("TRIES", justify="right", no_wrap=True)
    table.add_column("REASON", overflow="fold")
    for entry in entries:
        subject = subjects[entry.id]
        for r in entry.recipients:
            waits = (
                "" if r.status in FINAL or not r.attempts else f", again {ahead(r.next_attempt, time.time())}"
            )
            table.add_row(
                output.cell(subject, "bold"),
                output.cell(r.address),
                output.cell(r.status),
                str(r.attempts),
                output.cell(reply(r) + waits),
            )
            subject = ""
    return table
