"""`mailstrom show`: the message itself, or what is recorded of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mailstrom_cli.cli import output
from mailstrom_cli.cli.base import command
from mailstrom_cli.cli.options import Option
from mailstrom_cli.cli.report import escaped, one_line, write_octets, write_out
from mailstrom_cli.cli.times import told
from mailstrom_cli.cli.view import sidecar_object
from mailstrom_cli.errors import USAGE, MailstromError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from mailstrom_cli.cli.base import Given
    from mailstrom_cli.store.entry import Event

BLOCK = 1 << 16


@command(
    "show",
    Option(("--headers",), "Only the header section."),
    Option(("--sidecar",), "What is recorded of the message, as one JSON object."),
    Option(("--log",), "What happened to it, a line an event."),
)
@click.argument("id", metavar="ID")
def show(given: Given, id: str, headers: bool, sidecar: bool, log: bool) -> None:
    """Print the message byte for byte as it will be sent; on a terminal, control characters are escaped."""
    if headers + sidecar + log > 1:
        raise MailstromError("--headers, --sidecar and --log exclude each other", "choose one", USAGE)
    mail = given.open()
    if sidecar:
        output.print_json(sidecar_object(mail.entry(id), mail.events(id)))
    elif log:
        for event in mail.events(id):
            for line in _log_lines(event):
                output.print_text(line)
    else:
        with mail.message(id) as message:
            for piece in _header(message) if headers else iter(lambda: message.read(BLOCK), b""):
                _write(piece)


def _header(message: BinaryIO) -> Iterator[bytes]:
    for line in message:
        if line in (b"\r\n", b"\n"):
            return
        yield line


def _write(piece: bytes) -> None:
    if not output.on_terminal():
        write_octets(piece)
        return
    text = piece.decode("utf-8", "replace").replace("\r\n", "\n")
    write_out("".join(c if c.isprintable() or c in "\n\t" else escaped(c) for c in text))


def _plain(held: object) -> str:
    return ",".join(map(str, held)) if isinstance(held, list) else str(held)


def _log_lines(event: Event) -> Iterator[str]:
    """An event for people: when, what, and for results a line a recipient."""
    when = told(event.get("time", event.get("submitted")))
    kind = event.get("event", "submitted")
    if kind == "results":
        for r in event["recipients"]:
            parts = (when, r["status"], r["address"], r.get("code"), r.get("enhanced"), r.get("text"))
            host = f"({r['host']})" if r.get("host") else None
            yield one_line(" ".join(str(part) for part in (*parts, host) if part))
        return
    if kind == "submitted":
        details = [event["reverse_path"] or "<>", "to", *(r["address"] for r in event["recipients"])]
    else:
        details = [f"{k}={_plain(v)}" for k, v in event.items() if k not in ("event", "time")]
    yield one_line(" ".join(str(part) for part in (when, kind, *details)))
