"""The server's side of one SMTP or LMTP session (RFC 5321, RFC 2033), strict about what it hears."""

from __future__ import annotations

import contextlib
import re
import ssl
from typing import TYPE_CHECKING, TypeVar

from . import sasl
from .answers import AFTER_DOT, BY_LOCAL_PART, Hangup
from .record import Recipient, Transaction, body_faults
from .wire import Left, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

PATH = re.compile(r'(?:FROM|TO):<((?:"(?:\\.|[^"\\])*"|[^">])*)>(?: (\S.*))?', re.IGNORECASE)
NEEDS = {"BODY": "8BITMIME", "RET": "DSN", "ENVID": "DSN", "NOTIFY": "DSN", "ORCPT": "DSN"}
T = TypeVar("T")


class Secured(ssl.SSLSocket):
    """Closes itself where wrap_socket fails: Python leaves it open when the client has reset just before."""

    def __del__(self) -> None:
        self.close()


class Connection(Wire):
    """Serves one client until one of the two ends it."""

    def serve(self) -> None:
        """Talk until one side ends it."""
        try:
            self._converse()
        except Hangup:
            self.session.end = "server"
        except Left:
            self.session.end = "closed"
        except OSError as error:
            self.session.end = "lost"
            self.session.log.append(f"S: [{error}]")
        finally:
            self.socket.close()

    def _converse(self) -> None:
        script = self.server.script
        self.answer("connect", "")
        if script.implicit_tls:
            self._handshake()
        kind = "LMTP" if script.lmtp else "ESMTP"
        serving = self.answer("greeting", f"220 {script.hostname} {kind}").startswith("2")
        handlers: Mapping[str, Callable[[str], None]] = {
            "LHLO" if script.lmtp else "EHLO": self._ehlo, "HELO": self._helo, "STARTTLS": self._starttls,
            "AUTH": self._auth, "MAIL": self._mail, "RCPT": self._rcpt, "DATA": self._data,
            "BDAT": self._bdat, "RSET": self._rset, "NOOP": self._noop, "VRFY": self._vrfy,
        }  # fmt: skip
        while True:
            verb, _, text = self.line().partition(" ")
            if verb.upper() == "QUIT":
                self.session.end = "quit"
                self.answer("quit", "221 2.0.0 Bye")
                self._close_notify()
                return
            handler = handlers.get(verb.upper())
            if handler is None:
                self.violation("unknown command")
                self.say("500 5.5.2 Unknown command")
            elif not serving:
                self.say("503 5.5.1 No service here")
            else:
                handler(text)

    def _misplaced(self, what: str) -> None:
        self.violation(what)
        self.say(f"503 5.5.1 {what}")

    def _ehlo(self, text: str) -> None:
        script = self.server.script
        secure = self.session.tls is not None
        auth = script.mechanisms and (secure or script.plaintext_auth)
        offers = [
            (script.pipelining, "PIPELINING"),
            (script.eight_bit, "8BITMIME"),
            (script.size is not None, f"SIZE {script.size}" if script.size else "SIZE"),
            (script.smtputf8, "SMTPUTF8"),
            (script.enhanced, "ENHANCEDSTATUSCODES"),
            (script.chunking, "CHUNKING"),
            (script.dsn, "DSN"),
            (script.tls is not None and not secure, "STARTTLS"),
            (script.requiretls and secure, "REQUIRETLS"),
            (auth, "AUTH " + " ".join(script.mechanisms)),
        ]
        lines = [
            f"250 {script.hostname} greets {text}",
            *(name for yes, name in offers if yes),
            *script.extensions,
        ]
        usual = "\n".join(lines) if script.esmtp else "502 5.5.1 Command not implemented"
        if not text:
            self.violation("no name in the greeting")
        self.offered = set()
        self.transaction = None
        reply = self.answer(self.command.lower(), usual, text)
        if reply.startswith("2"):
            self.session.helo, self.session.extended = text, True
            self.offered = {line.split()[0].upper() for line in reply.split("\n")[1:] if line.strip()}

    def _helo(self, text: str) -> None:
        self.offered = set()
        self.transaction = None
        if self.answer("helo", f"250 {self.server.script.hostname}", text).startswith("2"):
            self.session.helo, self.session.extended = text, False

    def _starttls(self, _: str) -> None:
        if "STARTTLS" not in self.offered:
            return self._misplaced("STARTTLS was not offered")
        if self.answer("starttls", "220 2.0.0 Ready to start TLS").startswith("220"):
            self.buffer.clear()
            self.answer("tls", "")
            self._handshake()
            self.offered, self.session.helo, self.transaction = set(), "", None
        return None

    def _handshake(self) -> None:
        context = self.server.script.tls
        assert context is not None, "the script has no TLS context"

        def remember(_: object, name: str | None, __: object) -> None:
            self.session.server_name = name

        context.sni_callback = remember
        context.sslsocket_class = Secured
        secured = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.socket = secured
        secured.do_handshake()
        self.session.tls = secured.version()

    def _close_notify(self) -> None:
        if isinstance(self.socket, ssl.SSLSocket):
            self.socket.settimeout(0)  # say it, but do not wait for the client's
            with contextlib.suppress(OSError):
                self.socket.unwrap()

    def _auth(self, text: str) -> None:
        mechanism, _, initial = text.partition(" ")
        script, length = self.server.script, len(f"AUTH {text}")
        if self.session.tls is None and not script.plaintext_auth:
            self.violation("AUTH without TLS")
            self.say("538 5.7.11 Encryption required")
            return
        if mechanism.upper() not in script.mechanisms or "AUTH" not in self.offered:
            self.violation("AUTH was not offered so")
            self.say("504 5.5.4 Unrecognized authentication type")
            return
        if length > 510:
            self.violation("an initial response that makes the line longer than 512 octets")
        user, usual = "", "235 2.7.0 Authentication successful"
        try:
            given = None if not initial else b"" if initial == "=" else sasl.decoded(initial)
            user = sasl.Exchange(script, self._ask, given).run(mechanism.upper())
        except sasl.Refused as refused:
            usual = "535 5.7.8 Authentication credentials invalid"
            if refused.fault:
                self.violation(f"{mechanism}: {refused.fault}")

        def remember(reply: str) -> None:
            if reply.startswith("235"):
                self.session.auth = user

        self.answer("auth", usual, user, remember)

    def _ask(self, challenge: str) -> bytes:
        self.say(f"334 {challenge}")
        line = self.line()
        self.command = "AUTH"
        return sasl.decoded(line)

    # the transaction

    def _arguments(self, text: str) -> tuple[str, tuple[str, ...]] | None:
        """Path and parameters of MAIL or RCPT; None, and a reply given, when they are wrong."""
        found = PATH.fullmatch(text)
        if found is None:
            self.violation(f"syntax of {text!r}")
            self.say("501 5.5.4 Syntax error in parameters")
            return None
        parameters = tuple(found[2].split(" ")) if found[2] else ()
        for name in (p.partition("=")[0].upper() for p in parameters):
            if NEEDS.get(name, name) not in self.offered:
                self.violation(f"parameter {name} without its extension")
                self.say(f"555 5.5.4 {name} not recognized")
                return None
        transaction = parameters if self.transaction is None else self.transaction.parameters
        if self.transaction is None and any(p.upper().startswith("REQUIRETLS=") for p in parameters):
            self.violation("REQUIRETLS takes no value")
        if not found[1].isascii() and "SMTPUTF8" not in (p.upper() for p in transaction):
            self.violation("8-bit address in a transaction without SMTPUTF8")
        return found[1], parameters

    def _mail(self, text: str) -> None:
        script = self.server.script
        if not self.session.helo or self.transaction is not None:
            return self._misplaced("MAIL out of order")
        arguments = self._arguments(text)
        if arguments is None:
            return None
        transaction = Transaction(*arguments)
        declared = next((int(p[5:]) for p in arguments[1] if p.upper().startswith("SIZE=")), 0)
        usual = "250 2.1.0 Sender ok"
        if script.require_tls and self.session.tls is None:
            usual = "530 5.7.0 Must issue a STARTTLS command first"
        elif script.require_auth and self.session.auth is None:
            usual = "530 5.7.0 Authentication required"
        elif script.size and declared > script.size:
            usual = "552 5.3.4 Message size exceeds fixed maximum message size"

        def begin(reply: str) -> None:
            if reply.startswith("2"):
                self.transaction = transaction
                self.session.transactions.append(transaction)

        self.answer("mail", usual, arguments[0], begin)
        return None

    def _rcpt(self, text: str) -> None:
        transaction, script = self.transaction, self.server.script
        if transaction is None:
            self.say("503 5.5.1 Need MAIL first")  # no violation: it may be pipelined behind a refused MAIL
            return
        arguments = self._arguments(text)
        if arguments is None:
            return
        address = arguments[0]
        usual = _choose(BY_LOCAL_PART, address) or "250 2.1.5 Recipient ok"
        if sum(r.accepted for r in transaction.recipients) >= script.max_recipients:
            usual = "452 4.5.3 Too many recipients"
        elif address.lower().startswith("greylist"):
            with self.server.changed:
                if address.lower() in self.server.greylisted:
                    usual = "250 2.1.5 Recipient ok"
                self.server.greylisted.add(address.lower())

        def remember(reply: str) -> None:
            transaction.recipients.append(Recipient(address, arguments[1], reply))

        self.answer("rcpt", usual, address, remember, own=_choose(script.recipients, address))

    def _accepted(self) -> list[Recipient]:
        return [] if self.transaction is None else [r for r in self.transaction.recipients if r.accepted]

    def _data(self, _: str) -> None:
        if not self._accepted():
            self.say(
                "503 5.5.1 Need MAIL first" if self.transaction is None else "554 5.5.1 No valid recipients"
            )
            return
        if not self.answer("data", "354 End data with <CR><LF>.<CR><LF>").startswith("354"):
            self.transaction = None
            return
        self.answer("body", "")
        wire = self.until_dot()
        if re.search(rb"(?:\A|\r\n)\.(?!\.)", wire):
            self.violation("a line begins with a dot that is not doubled")
        self.command = "."
        self._finish((b"\r\n" + wire).replace(b"\r\n.", b"\r\n")[2:], wire)

    def _bdat(self, text: str) -> None:
        count, _, last = text.partition(" ")
        self.answer("body", "")
        self.fill(int(count))
        chunk = bytes(self.buffer[: int(count)])
        del self.buffer[: int(count)]
        if "CHUNKING" not in self.offered:
            return self._misplaced("CHUNKING was not offered")
        transaction = self.transaction
        if transaction is None or not self._accepted():
            self.say("503 5.5.1 Need RCPT first")
            return None
        transaction.chunks += 1
        whole = (transaction.body or b"") + chunk
        if last.upper() == "LAST":
            self._finish(whole, whole)
        elif self.answer("bdat", f"250 2.0.0 {count} octets", count).startswith("2"):
            transaction.body = whole
        return None

    def _finish(self, body: bytes, wire: bytes) -> None:
        """The message is here: check it, remember it, and answer for it."""
        transaction, script = self.transaction, self.server.script
        assert transaction is not None
        for fault in body_faults(wire, any(p.upper().startswith("BODY=8") for p in transaction.parameters)):
            self.violation(fault)
        transaction.take(body, script.keep_bodies)
        accepted = self._accepted()
        usual = "250 2.0.0 Ok: queued"
        if script.size and len(body) > script.size:
            usual = "552 5.3.4 Message too big"
        finals = [_final(r.address, script.finals) or usual for r in accepted]
        if script.lmtp:
            for recipient, final in zip(accepted, finals, strict=True):
                self._final([recipient], final)
        else:
            self._final(accepted, next((f for f in finals if f != usual), usual))
        self.transaction = None

    def _final(self, recipients: Iterable[Recipient], usual: str) -> None:
        def settle(reply: str) -> None:
            for recipient in recipients:
                recipient.final = reply

        self.answer("dot", usual, " ".join(r.address for r in recipients), settle)

    def _rset(self, _: str) -> None:
        self.transaction = None
        self.answer("rset", "250 2.0.0 Ok")

    def _noop(self, _: str) -> None:
        self.answer("noop", "250 2.0.0 Ok")

    def _vrfy(self, text: str) -> None:
        self.answer("vrfy", "252 2.0.0 Cannot verify", text)


def _choose(rules: Mapping[str, T], address: str) -> T | None:
    """The rule for an address: the address itself, else the longest beginning of its local part."""
    if address in rules:
        return rules[address]
    local = address.rpartition("@")[0].lower()
    fitting = [key for key in rules if local.startswith(key.lower())]
    return rules[max(fitting, key=len)] if fitting else None


def _final(address: str, rules: Mapping[str, str]) -> str:
    return _choose(rules, address) or _choose(AFTER_DOT, address) or ""
