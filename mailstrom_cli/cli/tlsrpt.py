"""`mailstrom tlsrpt`: the daily reports on TLS, to the domains that ask for them (RFC 8460)."""

from __future__ import annotations

import calendar
import time
from typing import TYPE_CHECKING
from urllib.parse import unquote

from mailstrom_cli.api import Request
from mailstrom_cli.cli import report
from mailstrom_cli.cli.base import command
from mailstrom_cli.cli.options import Option
from mailstrom_cli.config.places import host_name
from mailstrom_cli.errors import CONFIG, DATA, OK, TEMPORARY, USAGE, MailstromError
from mailstrom_cli.mail.address import AddressError, parse_mailbox
from mailstrom_cli.mail.tlsreport import MEDIA_TYPE, file_name, packed, report_mail
from mailstrom_cli.policy import tlsrpt as policy
from mailstrom_cli.store.base import Note
from mailstrom_cli.values import value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailstrom_cli.api import Mailstrom
    from mailstrom_cli.cli.base import Given
    from mailstrom_cli.config.schema import Settings
    from mailstrom_cli.mail.tlsreport import Report
    from mailstrom_cli.policy.tlsrpt import Seen

    Counts = dict[str, dict[Seen, int]]  # by domain

SENT = "tlsrpt-sent"  # the kind of the notes of what was sent
SENT_SECONDS = 30 * 86_400.0
OPTIONS = (
    Option(("--day",), "The day to report on, of UTC, such as 2026-11-24 (default: yesterday).", "DATE"),
    Option(("--dry-run",), "Only tell what would be sent."),
    Option(("--json",), "One JSON object a line, with the report in it."),
)


@value
class Maker:
    """What all reports of a day have in common. day: "2026-11-24".  begin: of it, in seconds since the
    epoch.  submitter: this host."""

    day: str
    begin: int
    submitter: str
    organization: str
    contact: str


@command("tlsrpt", *OPTIONS)
def tlsrpt(given: Given, day: str | None, dry_run: bool, json: bool) -> int:
    """Report on yesterday's TLS sessions to each domain that wants to know (RFC 8460).

    `run` and `flush` count what came of TLS with MX hosts once [tlsrpt] contact is set. A domain wants
    reports when it has a TXT record at _smtp._tls.DOMAIN: they are submitted as mail, which should be signed
    with DKIM, or sent by HTTPS. To be run once a day, after midnight UTC, or several times: what was sent is
    not sent again, and what could not be sent is (exit code 75). Prints a line for each report.
    """
    from mailstrom_cli.net.tlsreport import records

    mail = given.open()
    settings = mail.settings
    maker = _maker(settings, day, time.time())
    counts = _counts(mail, maker.day)
    code = OK
    for domain, (told, found) in records(settings, sorted(counts)).items():
        if told.kind in ("failed", "local"):
            report.tell("error", f"{domain}: {told.text}")
            code = TEMPORARY
        for uri in policy.addresses(found):
            sent = f"{maker.day} {domain} {uri}"
            if mail.store.note(SENT, sent) is not None:
                continue
            made = _report(maker, domain, counts[domain])
            try:
                id = None if dry_run else _send(mail, maker, domain, uri, made)
            except MailstromError as error:
                report.tell("error", f"{domain}: {uri}: {error.message}")
                code = TEMPORARY if error.exit_code == TEMPORARY else code
                continue
            if not dry_run:
                mail.store.set_note(SENT, sent, Note("", time.time() + SENT_SECONDS))
            _tell(domain, uri, id, made if json else None)
    return code


def _maker(settings: Settings, day: str | None, now: float) -> Maker:
    if not settings.tlsrpt.contact:
        raise MailstromError(
            "there are no reports, since [tlsrpt] contact is not set",
            'name the address that they come from: contact = "tlsrpt@example.org"',
            CONFIG,
        )
    day = policy.day_of(now - 86_400) if day is None else day
    try:
        begin = calendar.timegm(time.strptime(day, "%Y-%m-%d"))
    except ValueError:
        begin = -1
    if begin < 0 or policy.day_of(begin) != day:
        raise MailstromError(f"--day: {day!r} is no date", "write it as 2026-11-24", USAGE)
    if begin + 86_400 > now:
        raise MailstromError(f"--day: {day} is not over yet", "reports are on whole days of UTC", USAGE)
    host = settings.helo_name or host_name()
    return Maker(day, begin, host, settings.tlsrpt.organization or host, settings.tlsrpt.contact)


def _counts(mail: Mailstrom, day: str) -> Counts:
    """What all processes have counted on a day."""
    counts: Counts = {}
    for name, note in mail.store.notes(policy.KIND):
        if name.startswith(f"{day} "):
            for seen, count in policy.from_text(note.text):
                held = counts.setdefault(seen.domain, {})
                held[seen] = held.get(seen, 0) + count
    return counts


def _report(maker: Maker, domain: str, counts: Mapping[Seen, int]) -> Report:
    return policy.report(
        counts.items(),
        day=maker.day,
        organization=maker.organization,
        contact=maker.contact,
        report_id=_report_id(maker, domain),
    )


def _report_id(maker: Maker, domain: str) -> str:
    """The same for the same report, so that whoever gets it twice sees that."""
    return f"{maker.day}.{domain}@{maker.submitter}"


def _send(mail: Mailstrom, maker: Maker, domain: str, uri: str, made: Report) -> str | None:
    """The id of the mail; None by HTTPS. Raises MailstromError, with exit code 75 where another try may do
    better."""
    octets = packed(made)
    if uri.lower().startswith("https:"):
        from mailstrom_cli.net.https import NoAnswer, deliver

        try:
            status = deliver(uri, octets, MEDIA_TYPE, mail.settings.tls.ca_file)
        except NoAnswer as error:
            raise MailstromError(str(error), None, TEMPORARY) from None
        if not 200 <= status < 300:
            raise MailstromError(f"HTTP status {status}", None, TEMPORARY)
        return None
    try:
        to = str(parse_mailbox(unquote(uri.partition(":")[2].partition("?")[0])))
    except AddressError as error:
        raise MailstromError(str(error), None, DATA) from None
    message = report_mail(
        octets,
        author=maker.contact,
        to=to,
        domain=domain,
        submitter=maker.submitter,
        report_id=_report_id(maker, domain),
        name=file_name(maker.submitter, domain, maker.begin),
    )
    # The key keeps two that run at the same time from sending it twice.
    key = f"tlsrpt {maker.day} {domain} {to}"
    return mail.submit(message, Request(reverse_path=maker.contact, recipients=(to,), key=key)).id


def _tell(domain: str, uri: str, id: str | None, made: Report | None) -> None:
    if made is not None:
        from json import dumps

        report.write_out(dumps({"domain": domain, "uri": uri, "id": id, "report": made}) + "\n")
    else:
        report.write_out(report.one_line(f"{domain} {uri} {id or '-'}") + "\n")
