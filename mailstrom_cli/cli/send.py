"""`mailstrom send`: a message from options, files and the text on stdin, submitted as `submit` does."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from mailstrom_cli.cli import accept, report
from mailstrom_cli.cli.base import command
from mailstrom_cli.cli.options import SEND, VERBOSITY
from mailstrom_cli.cli.source import STDIN, read_message
from mailstrom_cli.errors import DATA, MailstromError
from mailstrom_cli.mail.address import AddressError, quoted_if_needed
from mailstrom_cli.mail.compose import BINARY, MESSAGE, Attachment, Draft, compose, encoded_size
from mailstrom_cli.mail.structure import OWN
from mailstrom_cli.mail.written import parse_named
from mailstrom_cli.values import replace

if TYPE_CHECKING:
    import mmap
    from collections.abc import Container, Mapping, Sequence
    from typing import Any

    from mailstrom_cli.cli.base import Given
    from mailstrom_cli.config.schema import Settings
    from mailstrom_cli.mail.written import Named

LONGEST_NAME = 60
OPTION_OF = {
    "to": "--to",
    "cc": "--cc",
    "bcc": "--bcc",
    "from": "--from",
    "return-path": "--from",
    "reply-to": "--reply-to",
    "subject": "--subject",
}
OWN_STRUCTURE = "its structure follows from --attach and --html; `mailstrom submit` takes a whole message"
RESENDING = "`mailstrom submit` takes a whole message"


@command("send", *(option for option in SEND if option not in VERBOSITY))
def send(given: Given, /, **options: Any) -> int:
    """Write a message with the text on stdin, and submit it: spool it durably and print its id.

    Text, names, subject and names of files may have any characters. With --html, the text on stdin is what a
    reader without HTML shows, and may be empty. A file is attached unaltered, its type told by its name; an
    .eml file is attached as a message. Without --from, the author is the login name at `origin`.
    """
    options.update(vars(given))
    accept.refuse_controls(options)
    seconds = accept.parse_wait(options["wait"])
    mail = given.open(create=True)
    draft, recipients = _draft(options, mail.settings)
    request = accept.make_request({**options, "from": None, "to": recipients}, time.time())
    draft = _with_contents(draft, options, _Room(mail.settings.limits.message_size))
    return accept.submit_all(mail, iter([(None, compose(draft))]), request, options, seconds)


# --- fields ---


def _draft(options: Mapping[str, Any], settings: Settings) -> tuple[Draft, tuple[str, ...]]:
    """What the options say of the message, without its contents; and its recipients."""
    if options["subject"] is None:
        raise MailstromError("--subject is missing", "--subject '' sends a message without one")
    origin, aliases = settings.origin, settings.aliases
    to, cc, bcc = (_named(f"--{name}", options[name], origin, aliases) for name in ("to", "cc", "bcc"))
    if not (to or cc or bcc):
        raise MailstromError("the message has no recipients", "name them with --to, --cc or --bcc")
    draft = Draft(
        author=_author(options["from"], origin),
        subject=options["subject"],
        to=to,
        cc=cc,
        reply_to=_named("--reply-to", options["reply_to"], origin),
        headers=_headers(options["header"]),
    )
    # A bare name is left bare: it may have an alias.
    asked = [quoted_if_needed(n.box.local) if n.bare else str(n.box) for n in (*to, *cc, *bcc)]
    return draft, tuple(asked)


def _named(option: str, texts: Sequence[str], origin: str, known: Container[str] = ()) -> tuple[Named, ...]:
    try:
        return tuple(named for text in texts for named in parse_named(text, origin, known))
    except AddressError as error:
        raise MailstromError(
            f"{option}: {error}", "write ADDRESS or 'NAME <ADDRESS>', a NAME with a comma or an @ in quotes"
        ) from None


def _author(text: str | None, origin: str) -> Named:
    if text is not None:
        authors = _named("--from", (text,), origin)
        if len(authors) > 1:
            raise MailstromError("--from: a message has one author here", "the others may go into --reply-to")
        return authors[0]
    login = accept.login()
    try:
        return parse_named(login, origin)[0]
    except AddressError as error:
        raise MailstromError(
            f"there is no --from, and the login name makes no address: {error}",
            "name the author with --from ADDRESS, or set `origin`",
        ) from None


def _headers(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Further fields. Raises MailstromError for those that other options make, and for one too many."""
    found: list[tuple[str, str]] = []
    for text in texts:
        name, colon, value = text.partition(":")
        key = name.lower()
        if not (colon and name.isascii() and 0 < len(name) <= LONGEST_NAME) or " " in name:
            raise MailstromError(
                f"--header: {text!r} has no field name before a colon", "write 'NAME: VALUE'"
            )
        if not value.strip(" "):
            raise MailstromError(f"--header: the field `{name}` has no value", "leave it out")
        hint = OPTION_OF.get(key)
        if hint is not None:
            raise MailstromError(f"--header: `{name}` is not set here", f"use {hint}")
        if key == "mime-version" or key.startswith("content-"):
            raise MailstromError(f"--header: `{name}` is not set here", OWN_STRUCTURE)
        if key.startswith("resent-"):
            raise MailstromError(f"--header: `{name}` is not set here", RESENDING)
        if key in OWN and any(key == other.lower() for other, _ in found):
            raise MailstromError(f"--header: a message has `{name}` once", "leave one of them out")
        found.append((name, value))
    return tuple(found)


# --- contents ---


class _Room:
    """What is left of the octets that a message may have."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.left = limit

    def take(self, octets: int, place: str) -> None:
        """Raises MailstromError with exit code 65 when there are not so many."""
        self.left -= octets
        if self.left < 0:
            what = f"{place}: with it the message has more than {self.limit} octets"
            raise MailstromError(what, "[limits] message_size sets how large a message may be", DATA)

    def read(self, path: str, place: str) -> bytes | mmap.mmap:
        """A file, or stdin for "-", of which not much more is read than there is room for."""
        try:
            return read_message(path, self.left)
        except MailstromError as error:
            if error.exit_code == DATA:
                self.take(self.left + 1, place)
            raise MailstromError(f"{place}: {error.message}", error.hint, error.exit_code) from None


def _with_contents(draft: Draft, options: Mapping[str, Any], room: _Room) -> Draft:
    """The draft with what is in the files and on stdin."""
    attachments = tuple([_attachment(path, room) for path in options["attach"]])
    path = options["html"]
    html = _text(path, f"--html {path}", room) if path not in (None, STDIN) else None
    if not options["quiet"] and sys.stdin is not None and sys.stdin.isatty():
        report.tell("note", "reading the text from the terminal; Ctrl-D ends it")
    text: str | None = _text(STDIN, "stdin", room)
    if path == STDIN:
        html, text = text, None
    elif html is not None and not text:
        text = None
    return replace(draft, text=text, html=html, attachments=attachments)


def _attachment(path: str, room: _Room) -> Attachment:
    from mimetypes import guess_type

    if path == STDIN:
        raise MailstromError("--attach: stdin holds the text", "write ./- for a file of that name")
    name = os.path.basename(path)
    type, packed = guess_type(f"./{name}")  # a bare name might be taken for a URL
    if packed is not None:
        type = "application/gzip" if packed == "gzip" else BINARY
    elif type is None or type.startswith(("message/", "multipart/")):
        type = MESSAGE if name.lower().endswith(".eml") else BINARY
    place = f"--attach {path}"
    data = room.read(path, place)
    room.take(encoded_size(len(data), type), place)
    return Attachment(name, type, data)


def _text(path: str, place: str, room: _Room) -> str:
    data = room.read(path, place)
    room.take(len(data), place)
    try:
        text = str(data, "utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise MailstromError(
            f"{place}: line {line} is not UTF-8",
            "convert it, as `iconv -f latin1 -t utf-8` does, or send it with --attach",
            DATA,
        ) from None
    if "\0" in text:
        raise MailstromError(f"{place}: a NUL is in it, so it is no text", "send it with --attach", DATA)
    return text
