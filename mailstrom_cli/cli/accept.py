"""What `submit` does, without click: options and files in, ids out.

Of many messages each stands alone: a bad one is told with its name, the others are stored, a group at a
time, and the exit code is that of the first bad one.
"""

from __future__ import annotations

import os
import sys
import time

from mailstrom_cli.api import Request, Submitted
from mailstrom_cli.cli import report
from mailstrom_cli.cli.opening import open_mail
from mailstrom_cli.cli.options import NO_LIMIT
from mailstrom_cli.cli.source import IN_MEMORY, STDIN, read_mbox, read_message
from mailstrom_cli.config.text import plain
from mailstrom_cli.errors import OK, TEMPORARY, UNAVAILABLE, USAGE, MailstromError
from mailstrom_cli.mail.status import DELIVERED, FAILED
from mailstrom_cli.store.registry import is_spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any, TypeVar

    from mailstrom_cli.api import Mailstrom
    from mailstrom_cli.store.entry import Entry

    Data = bytes | mmap.mmap
    Group = list[tuple[str | None, Data | MailstromError]]  # messages by their names, or why they are none
    Names = list[str | None]
    Outcome = Submitted | MailstromError
    T = TypeVar("T")

GROUP = 100  # messages that share one commit; bounded, so that ids appear while a long list is stored
GROUP_SIZE = 16 * IN_MEMORY
_ASKED = ("key", "notify", "ret", "envid", "at", "expires")  # options by their names in a Request


def run(options: Mapping[str, Any], files: Sequence[str]) -> int:
    """Submit stdin, or the files, or what is in mbox files; the exit code."""
    refuse_controls(options)
    check_verbosity(options)
    now = time.time()
    request = make_request(options, now)
    seconds = parse_wait(options["wait"])
    if options["check"] and options["wait"] is not None:
        raise MailstromError("--check stores nothing to --wait for", "leave one of them out")
    if options["key"] is not None and (len(files) > 1 or options["mbox"]):
        raise MailstromError("--key names one message, and more are given", "submit them one by one")
    mail = open_mail(options["config"], options["spool"], options["via"], create=True)
    messages = _messages(files, options, mail.settings.limits.message_size)
    if options["check"]:
        from mailstrom_cli.cli.check import check_all

        return check_all(mail, messages, request, as_json=options["json"], quiet=options["quiet"])
    return submit_all(mail, messages, request, options, seconds)


def submit_all(
    mail: Mailstrom,
    messages: Iterator[tuple[str | None, Data | MailstromError]],
    request: Request,
    options: Mapping[str, Any],
    seconds: float | None,
) -> int:
    """Store each message and tell of it; with --wait, wait at most so many seconds. The exit code."""
    code, ids = OK, []

    def store(group: Group, now: float) -> list[Outcome]:
        return _submit(mail, group, request, now)

    def tell(names: Names, outcomes: list[Outcome]) -> None:
        nonlocal code
        for name, outcome in zip(names, outcomes, strict=True):
            if isinstance(outcome, MailstromError):
                error = mistaken_wait(_as_typed(outcome), name, options["wait"])
                told = report.failed(error, name)
                code = code or told
            else:
                ids.append(outcome.id)
                _tell(outcome, name, options)

    groups = _groups(messages)
    for group, more in groups:
        if more and is_spool(mail.settings.spool):
            from mailstrom_cli.cli.share import store_all

            store_all(group, groups, store, tell)
        else:
            tell([name for name, _ in group], store(group, time.time()))
    if options["wait"] is not None and ids:
        waited = outcome_code(mail.attempt(ids, seconds), quiet=options["quiet"])
        code = code or waited
    return code


# --- options ---


def refuse_controls(options: Mapping[str, Any]) -> None:
    """Refuse a control character in any option: nothing may end a line of SMTP, of a header or of a log."""
    for name, given in options.items():
        for text in given if isinstance(given, tuple) else (given,):
            if isinstance(text, str):
                try:
                    plain(text)
                except ValueError as error:
                    raise MailstromError(f"--{name}: the value {error}", None, USAGE) from None


def check_verbosity(options: Mapping[str, Any]) -> None:
    """Refuse -v with -q."""
    if options["verbose"] and options["quiet"]:
        raise MailstromError("-v and -q exclude each other", "leave one of them out")


def parse_wait(text: str | None) -> float | None:
    """The seconds of --wait=SECONDS; None for no bound (or no --wait)."""
    if text is None or text == NO_LIMIT:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise MailstromError(f"--wait: {text!r} is not a number of seconds", "write --wait or --wait=30")
    return seconds


def _as_typed(error: MailstromError) -> MailstromError:
    """An error with the options it speaks of as they are typed: `--envid: ...`."""
    lines = [f"--{ln}" if ln.partition(":")[0] in _ASKED else ln for ln in error.message.split("\n")]
    return MailstromError("\n".join(lines), error.hint, error.exit_code)


def mistaken_wait(error: MailstromError, name: str | None, wait: str | None) -> MailstromError:
    """The error about a name, with a better hint where the name is the SECONDS of a --wait without `=`."""
    if wait == NO_LIMIT and name is not None and name.isdecimal():
        return MailstromError(error.message, f"write --wait={name} to wait so many seconds", error.exit_code)
    return error


def make_request(options: Mapping[str, Any], now: float) -> Request:
    """What the options ask for. Raises MailstromError."""
    from_ = options["from"]
    at = _option("--at", _time, options["at"], now)
    expires = _option("--expires", _duration, options["expires"], now if at is None else max(at, now))
    notify = _option("--notify", _notify, options["notify"]) or ()
    for name in ("key", "envid"):
        if options[name] == "":
            raise MailstromError(f"--{name} is empty", "leave it out")
    if from_ == "":
        raise MailstromError("--from is empty", "write '<>' for the null reverse-path")
    return Request(
        reverse_path="" if from_ == "<>" else from_,
        recipients=tuple(options["to"]) or None,
        at=at,
        expires=expires,
        key=options["key"],
        notify=notify,
        ret=options["ret"],
        envid=options["envid"],
        requiretls=options["require_tls"],
        submitter=login(),
    )


def _option(name: str, parse: Callable[..., T], text: str | None, *more: float) -> T | None:
    if text is None:
        return None
    try:
        return parse(text, *more)
    except ValueError as error:
        raise MailstromError(f"{name}: {error}") from None


def _time(text: str, now: float) -> float:
    from mailstrom_cli.cli.times import parse_time

    return parse_time(text, now)


def _duration(text: str, start: float) -> float:
    from mailstrom_cli.config.kinds import CENTURY, parse_duration

    try:
        seconds = parse_duration(text)
    except ValueError as error:
        if error.args:
            raise
        seconds = 0
    if not 0 < seconds <= CENTURY:
        raise ValueError(f"{text!r} is not a duration longer than 0; write 90s, 5m, 2h or 5d")
    return start + seconds


def _notify(text: str) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(text.lower().split(",")))
    if words != ("never",) and not set(words) <= {"success", "failure", "delay"}:
        raise ValueError(f"{text!r} is neither `never` nor a list of success, failure and delay")
    return words


def login() -> str:
    """The login name of who runs this, or the number of the user."""
    uid = os.getuid()
    try:
        import pwd

        return pwd.getpwuid(uid).pw_name
    except (ImportError, KeyError):
        return str(uid)


# --- messages ---


def _messages(
    files: Sequence[str], options: Mapping[str, Any], limit: int
) -> Iterator[tuple[str | None, Data | MailstromError]]:
    """Each message with its name (None for stdin), or why it cannot be read."""
    if not files and not options["mbox"]:
        if not options["quiet"] and sys.stdin is not None and sys.stdin.isatty():
            report.tell("note", "reading the message from the terminal; Ctrl-D ends it")
        files = (STDIN,)
    for name in files:
        try:
            yield None if name == STDIN else name, read_message(name, limit)
        except MailstromError as error:
            yield None if name == STDIN else name, error
    for name in options["mbox"]:
        try:
            yield from read_mbox(name, limit)
        except MailstromError as error:
            yield None if name == STDIN else name, error


def _groups(messages: Iterator[tuple[str | None, Data | MailstromError]]) -> Iterator[tuple[Group, bool]]:
    """The messages in groups, each with whether there are more."""
    group: Group = []
    size = 0
    for name, data in messages:
        if len(group) >= GROUP or size >= GROUP_SIZE:
            yield group, True
            group, size = [], 0
        group.append((name, data))
        size += 0 if isinstance(data, MailstromError) else len(data)
    if group:
        yield group, False


def _submit(mail: Mailstrom, group: Group, request: Request, now: float) -> list[Outcome]:
    """What became of each message of a group, in order."""
    good = [(data, request) for _, data in group if not isinstance(data, MailstromError)]
    outcomes = iter(_store(mail, good, now))
    return [data if isinstance(data, MailstromError) else next(outcomes) for _, data in group]


def _store(mail: Mailstrom, messages: list[tuple[Data, Request]], now: float | None) -> list[Outcome]:
    """What became of each. When there was no room for all of them at once, there may be for some."""
    try:
        return mail.submit_many(messages, now)
    except MailstromError as error:
        if error.exit_code != TEMPORARY:
            raise
        return [error] if len(messages) == 1 else [_store(mail, [one], None)[0] for one in messages]


# --- telling ---


def _tell(done: Submitted, name: str | None, options: Mapping[str, Any]) -> None:
    """The id on stdout. What is stored stays stored when stdout cannot be written to, so that is no failure:
    a caller that sees one would submit the message again."""
    if options["verbose"]:
        for fix in done.fixes:
            report.tell("note", f"{name}: {fix}" if name else fix)
    line = done.id
    if options["json"]:
        import json

        fields = {
            "id": done.id,
            "message_id": done.message_id,
            "fixes": list(done.fixes),
            "recipients": list(done.recipients),
            "file": name,
        }
        line = json.dumps(fields)
    try:
        report.write_out(line + "\n")
    except OSError as error:
        about = f"{name}: " if name else ""
        report.tell("warning", f"{about}stored as {done.id}, but stdout: {error.strerror}")
        report.forget_stdout()


def outcome_code(entries: Sequence[Entry], *, quiet: bool) -> int:
    """Tell on stderr which recipients are not delivered; the exit code of --wait for these messages."""
    code = OK
    for entry in entries:
        for recipient in entry.recipients:
            if recipient.status == DELIVERED:
                continue
            code = UNAVAILABLE if code == UNAVAILABLE or recipient.status == FAILED else TEMPORARY
            if not quiet:
                reply = " ".join(str(p) for p in (recipient.code, recipient.enhanced, recipient.text) if p)
                report.tell(recipient.status, f"{entry.id} {recipient.address} {reply}".rstrip())
    return code
