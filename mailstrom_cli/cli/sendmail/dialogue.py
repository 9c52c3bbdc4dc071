"""The SMTP dialogue of `sendmail -bs` as a state machine without I/O: a command line in, a reply out.

Mail programs that speak SMTP with a program in place of a server use it. It is a server for one local user:
whoever speaks may send to anybody, names without a domain are completed, and nothing is announced that is not
kept. Whoever drives it reads the message after a 354 and tells with `stored` or `refused` what became of it.
"""

from __future__ import annotations

from mailstrom_cli.cli.report import one_line
from mailstrom_cli.errors import DATA, USAGE, MailstromError
from mailstrom_cli.mail.address import AddressError, parse_mailbox, parse_reverse_path
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

LONGEST_LINE = 4096  # octets of a command with its line end (RFC 5321, 4.5.3.1.4: at least 512)
LONGEST_REPLY = 400  # characters of a text from elsewhere (4.5.3.1.5: 512 octets for the line)
BODIES = ("7BIT", "8BITMIME")


@value
class Transaction:
    """One message's paths (RFC 5321, 3.3). reverse_path: "" is the null one.  recipients: as given."""

    reverse_path: str
    recipients: tuple[str, ...]


class Dialogue:
    """One session. receiving: a message follows.  ended: nothing does."""

    def __init__(self, host: str, origin: str, message_size: int, recipients: int) -> None:
        self.host, self.origin = host, origin
        self.message_size, self.most = message_size, recipients
        self.receiving = False
        self.ended = False
        self._reverse_path: str | None = None
        self._recipients: list[str] = []
        self._commands: dict[str, Callable[[str], str]] = {
            "HELO": self._helo, "EHLO": self._ehlo, "MAIL": self._mail, "RCPT": self._rcpt,
            "DATA": self._data, "RSET": self._rset, "NOOP": lambda _: "250 2.0.0 Ok", "QUIT": self._quit,
            "VRFY": lambda _: "252 2.5.0 Send to it, and see",
            "HELP": lambda _: "214 2.0.0 HELO EHLO MAIL RCPT DATA RSET NOOP VRFY QUIT",
        }  # fmt: skip

    def greeting(self) -> str:
        return f"220 {self.host} ESMTP mailstrom"

    def command(self, line: bytes) -> str:
        """The reply to a command line, without line ends; of several lines, with LF between them."""
        if len(line) > LONGEST_LINE:
            return "500 5.5.2 The line is too long"
        try:
            text = line.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            return "500 5.5.2 The line is not UTF-8"
        if not text.isprintable():
            return "500 5.5.2 The line has a control character in it"
        verb, _, rest = text.strip(" ").partition(" ")
        answer = self._commands.get(verb.upper())
        return answer(rest.strip(" ")) if answer else "502 5.5.1 The command is not known here"

    @property
    def transaction(self) -> Transaction:
        """What the message that follows is for."""
        return Transaction(self._reverse_path or "", tuple(self._recipients))

    def stored(self, id: str) -> str:
        """The reply to a message that is stored."""
        self._reset()
        return f"250 2.0.0 Ok: queued as {id}"

    def too_large(self) -> str:
        """The reply to a message that has passed the limit."""
        self._reset()
        return f"552 5.3.4 {self.message_size} octets are the most"

    def refused(self, error: MailstromError) -> str:
        """The reply to a message that is not stored."""
        self._reset()
        code = "554 5.6.0" if error.exit_code in (DATA, USAGE) else "451 4.3.0"
        return f"{code} {one_line(' '.join(error.message.split()), LONGEST_REPLY)}"

    # --- commands ---

    def _helo(self, _: str) -> str:
        self._reset()
        return f"250 {self.host}"

    def _ehlo(self, _: str) -> str:
        self._reset()
        extensions = (
            "PIPELINING",
            f"SIZE {self.message_size}",
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
        )
        lines = [self.host, *extensions]
        return "\n".join(f"250{' ' if line is lines[-1] else '-'}{line}" for line in lines)

    def _mail(self, rest: str) -> str:
        if self._reverse_path is not None:
            return "503 5.5.1 There is a transaction already; RSET ends it"
        path, parameters, fault = _path(rest, "FROM:")
        if fault:
            return fault
        for parameter in parameters:
            name, _, text = parameter.upper().partition("=")
            if name == "SIZE" and text.isascii() and text.isdigit() and len(text) <= 20:
                if int(text) > self.message_size:
                    return f"552 5.3.4 {self.message_size} octets are the most"
            elif parameter.upper() != "SMTPUTF8" and not (name == "BODY" and text in BODIES):
                return "555 5.5.4 A parameter of MAIL is not supported"
        try:
            self._reverse_path = parse_reverse_path(path, self.origin)
        except AddressError as error:
            return f"501 5.1.7 {error}"
        return "250 2.1.0 Ok"

    def _rcpt(self, rest: str) -> str:
        if self._reverse_path is None:
            return "503 5.5.1 MAIL comes first"
        path, parameters, fault = _path(rest, "TO:")
        if fault:
            return fault
        if parameters:
            return "555 5.5.4 RCPT takes no parameters here"
        if len(self._recipients) >= self.most:
            return f"452 4.5.3 {self.most} recipients are the most"
        try:
            parse_mailbox(path, self.origin)
        except AddressError as error:
            return f"501 5.1.3 {error}"
        self._recipients.append(path)
        return "250 2.1.5 Ok"

    def _data(self, rest: str) -> str:
        if rest:
            return "501 5.5.4 DATA takes no parameters"
        if not self._recipients:
            return "503 5.5.1 RCPT comes first"
        self.receiving = True
        return "354 End the message with a line of one dot"

    def _rset(self, _: str) -> str:
        self._reset()
        return "250 2.0.0 Ok"

    def _quit(self, _: str) -> str:
        self.ended = True
        return "221 2.0.0 Bye"

    def _reset(self) -> None:
        self.receiving = False
        self._reverse_path = None
        self._recipients = []


def _path(rest: str, word: str) -> tuple[str, list[str], str]:
    """The address in `FROM:<address> PARAMETER ...`, its parameters, and the reply to another form."""
    if rest[: len(word)].upper() != word:
        return "", [], f"501 5.5.4 {word}<address> is wanted"
    rest = rest[len(word) :].lstrip(" ")
    if not rest.startswith("<"):
        address, *parameters = rest.split(" ") if rest else [""]
        fault = "" if address else f"501 5.5.4 {word}<address> is wanted"
        return address, [p for p in parameters if p], fault
    quoted, at = False, 1
    while at < len(rest) and (quoted or rest[at] != ">"):
        quoted ^= rest[at] == '"'
        at += 2 if quoted and rest[at] == "\\" else 1
    if at >= len(rest):
        return "", [], "501 5.5.4 The address has no closing bracket"
    path = rest[1:at]
    if path.startswith("@") and ":" in path:  # a source route, which is passed over (RFC 5321, 4.1.1.3)
        path = path[path.index(":") + 1 :]
    return path, rest[at + 1 :].split(), ""


def content(lines: Iterable[bytes], ends: bytes) -> Iterator[bytes]:
    """The message in the lines after DATA, without the dots that were put before some of them (RFC 5321,
    4.5.2), up to the line that is a dot and `ends`: CRLF, or LF for a client that ends its commands so.
    Raises EOFError when the lines end before."""
    before = ends  # the end of what came before; a long line comes in parts
    for line in lines:
        if before.endswith(ends) and line.startswith(b"."):
            if line == b"." + ends:
                return
            line = line[1:]
        before = (before + line)[-2:]
        yield line
    raise EOFError
