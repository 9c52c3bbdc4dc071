"""What sendmail does, by what it is asked: a message stored, SMTP spoken, the queue listed or flushed.

Exit code 0 means that the message is stored and synced, whatever happens to it later. When nothing could be
stored just now it is [sendmail] not_stored_exit, 71 by default: some callers take the usual 75 for success.
"""

from __future__ import annotations

import os
import sys
import time

from mailstrom_cli.api import Request
from mailstrom_cli.cli import report
from mailstrom_cli.cli.opening import open_mail
from mailstrom_cli.cli.sendmail import caller
from mailstrom_cli.cli.sendmail.grammar import (
    FLUSH,
    LIST,
    NOTHING,
    NOW,
    SMTP,
    VERIFY,
    Call,
    parse,
    usage,
)
from mailstrom_cli.errors import CANT_CREATE, OK, OS_ERROR, TEMPORARY, MailstromError
from mailstrom_cli.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailstrom_cli.cli.sendmail.dialogue import Transaction
    from mailstrom_cli.cli.source import Data

PATIENCE = 60.0  # seconds that -odi waits for a `run` that is at work


def main() -> int:
    """The program `mailstrom-sendmail`, and every link to it."""
    return run(os.path.basename(sys.argv[0]), sys.argv[1:])


def run(
    name: str,
    words: Sequence[str],
    config: str | None = None,
    spool: str | None = None,
    via: Sequence[str] = (),
) -> int:
    """Run a command line under the name by which the program was called; the exit code."""
    front = Front(config, spool, via)
    code = report.guarded(lambda: front.run(name, words), ())
    return front.not_stored_exit if code in (TEMPORARY, CANT_CREATE) else code


class Front:
    """One call, with the settings once they are known."""

    def __init__(self, config: str | None, spool: str | None, via: Sequence[str]) -> None:
        self.config, self.spool, self.via = config, spool, via
        self.not_stored_exit = OS_ERROR
        self.login = caller.login(os.environ)

    def run(self, name: str, words: Sequence[str]) -> int:
        call = parse(name, words)
        if call.mode == NOTHING:
            return OK
        self._open(call)
        if call.mode == LIST:
            self._list()
        elif call.mode == FLUSH:
            self._flush(call)
        elif call.mode == SMTP:
            self._serve(call)
        elif call.mode == VERIFY:
            return self._verify(call)
        else:
            self._send(call)
        return OK

    def _open(self, call: Call) -> None:
        self.mail = mail = open_mail(call.config or self.config, self.spool, self.via, create=True)
        settings = mail.settings
        self.not_stored_exit = settings.sendmail.not_stored_exit
        # Other than `submit`, sendmail always has a domain for a bare name.
        origin = settings.origin or settings.helo_name or _host_name()
        mail.settings = replace(settings, origin=origin)
        self.origin = origin

    # --- a message ---

    def _send(self, call: Call) -> None:
        if not call.from_header and not call.addresses:
            raise usage("no recipient", "name addresses, or give -t, which takes them from the header")
        data = self._read(call)
        try:
            ids = self._store(call, data)
        except Exception:
            self._save(call, data)
            raise
        if call.verbose:
            report.tell("note", f"stored as {' '.join(ids)}")
        self._attempt(call, ids)

    def _read(self, call: Call) -> Data:
        """The message on stdin, within the size limit."""
        from mailstrom_cli.cli.sendmail.letter import until_dot
        from mailstrom_cli.cli.source import gather, pieces

        given = pieces(0)
        return gather(until_dot(given) if call.dot_ends else given, self.mail.settings.limits.message_size)

    def _store(self, call: Call, data: Data) -> list[str]:
        request = self._request(call, self._recipients(call, data))
        requests = [request]
        if call.verp and request.reverse_path:
            from mailstrom_cli.cli.sendmail.verp import one_each

            envelope = self.mail.check(data, request).envelope
            requests = one_each(request, envelope, call.verp)
            for one in requests:
                self.mail.check(data, one)
        ids = []
        for done in self.mail.submit_many([(data, one) for one in requests]):
            if isinstance(done, MailstromError):
                raise done
            ids.append(done.id)
            if call.verbose:
                for fix in done.fixes:
                    report.tell("note", fix)
        return ids

    def _recipients(self, call: Call, data: Data) -> tuple[str, ...]:
        """The addresses to send to. Raises MailstromError with exit code 64 when there are none."""
        if not call.from_header:
            return call.addresses
        named = self.mail.addressees(data)
        if self.mail.settings.sendmail.t_args == "add":
            found = (*named, *call.addresses)
        else:
            from mailstrom_cli.mail.address import parse_mailbox, unbracketed

            spared = {str(parse_mailbox(unbracketed(text), self.origin)) for text in call.addresses}
            found = tuple(address for address in named if address not in spared)
        if not found:
            raise usage("no recipient: To, Cc and Bcc of the message name nobody", None)
        return found

    def _request(self, call: Call, recipients: tuple[str, ...], sender: str | None = None) -> Request:
        if sender is None:
            sender = self.login if call.sender is None else call.sender
        name = caller.full_name(os.environ) if call.full_name is None else call.full_name
        return Request(
            reverse_path=sender,
            recipients=recipients,
            notify=call.notify,
            ret=call.ret,
            envid=call.envid,
            requiretls=call.requiretls,
            submitter=self.login,
            add_from=caller.from_value(name, sender, self.login, self.origin),
        )

    def _save(self, call: Call, data: Data) -> None:
        """Keep a message that could not be stored in dead.letter; and say so."""
        from mailstrom_cli.cli.sendmail import deadletter

        if len(data) == 0:
            return
        folder = deadletter.home()
        try:
            path = deadletter.save(data, call.sender or self.login, time.time(), folder)
        except (OSError, MemoryError) as error:
            reason = getattr(error, "strerror", None) or "out of memory"
            report.tell("warning", f"{os.path.join(folder, deadletter.NAME)}: {reason}; the message is lost")
        else:
            report.tell("note", f"the message is kept in {path}")

    def _attempt(self, call: Call, ids: Sequence[str]) -> None:
        """With -odi, try at once; whatever comes of it, the message is stored."""
        if call.delivery != NOW or not ids:
            return
        from mailstrom_cli.cli import log

        log.start(self.mail.settings.log, "error")
        try:
            self.mail.attempt(ids, PATIENCE)
        except KeyboardInterrupt:
            pass
        except Exception as error:
            report.tell("warning", f"stored, and not tried yet: {error}")

    # --- the rest ---

    def _serve(self, call: Call) -> None:
        from mailstrom_cli.cli.sendmail.dialogue import Dialogue
        from mailstrom_cli.cli.sendmail.serve import serve

        settings = self.mail.settings
        limits = settings.limits
        ids: list[str] = []

        def store(data: Data, asked: Transaction) -> str:
            request = self._request(call, asked.recipients, asked.reverse_path)
            ids.append(self.mail.submit(data, request).id)
            return ids[-1]

        host = settings.helo_name or _host_name()
        serve(Dialogue(host, self.origin, limits.message_size, limits.recipients), store)
        self._attempt(call, ids)

    def _verify(self, call: Call) -> int:
        """Say of every address where mail for it would go; the exit code of the first that cannot be."""
        if call.from_header:
            data = self._read(call)
            asked = [(data, self._request(call, self._recipients(call, data)))]
        elif call.addresses:
            asked = [(b"\n", self._request(call, (address,))) for address in call.addresses]
        else:
            raise usage("no recipient", "name addresses, or give -t, which takes them from the header")
        from mailstrom_cli.policy.routing import next_hop

        code = OK
        for data, request in asked:
            try:
                envelope = self.mail.check(data, request).envelope
            except MailstromError as error:
                failed = report.failed(error)
                code = code or failed
                continue
            for recipient in envelope.recipients:
                hop = next_hop(self.mail.settings, envelope.reverse_path, recipient.address)
                report.write_out(f"{recipient.address}... deliverable: {hop}\n")
        return code

    def _list(self) -> None:
        from mailstrom_cli.cli.listing import listing
        from mailstrom_cli.cli.sendmail.mailq import about, whole
        from mailstrom_cli.mail.status import UNFINISHED

        report.write_lines(whole(listing(self.mail, UNFINISHED, about)))

    def _flush(self, call: Call) -> None:
        from mailstrom_cli.cli import log

        log.start(self.mail.settings.log, "warning")
        if call.pick is None:
            self.mail.flush(everything=True)
            return
        kind, text = call.pick
        ids = [text] if kind == "id" else self._matching(kind, text.lower())
        if ids:
            self.mail.flush(ids)

    def _matching(self, kind: str, text: str) -> list[str]:
        """Messages with the text in their sender, or in a recipient that waits."""
        found = []
        for entry in self.mail.queue():
            waiting = [r.address for r in entry.recipients if not r.final]
            looked_at = waiting if kind == "recipient" else [entry.envelope.reverse_path]
            if any(text in address.lower() for address in looked_at):
                found.append(entry.id)
        return found


def _host_name() -> str:
    from mailstrom_cli.config.places import host_name

    return host_name()
