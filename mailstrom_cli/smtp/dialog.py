"""The dialogue of a client as generators: they yield effects, get replies, and return what came of it.

Nothing here opens a socket, reads a clock or decides what a reply means for a message: `net.driver` performs
the effects, `policy.classify` decides. A driver that loses the connection throws SessionFailed in.

    session = yield from open_session(...)     greeting, EHLO, STARTTLS, EHLO again, AUTH

What follows, message by message, is in `smtp.transaction`.
"""

from __future__ import annotations

from mailstrom_cli.smtp import stages
from mailstrom_cli.smtp.auth import LoginFailed, authenticate
from mailstrom_cli.smtp.wire import command
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from typing import TypeAlias

    from mailstrom_cli.mail.reply import Reply
    from mailstrom_cli.smtp.auth import Binding, Credentials, Derive, Nonce


# --- effects ---


@value
class Write:
    """Send these bytes. secrets: what of them is shown nowhere, not even where the server repeats it."""

    data: bytes
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "Write(...)" if self.secrets else f"Write({self.data!r})"


@value
class Read:
    """Wait for one reply, as long as this stage allows."""

    stage: str


@value
class SendMessage:
    """Send the message: dot-stuffed and with the end of data, or as it is. Gives the reply of a server that
    spoke and hung up before the end, else None. A dialogue whose server knows PIPELINING writes nothing after
    it, so that the next one on this connection may begin."""

    stuffed: bool = True


@value
class StartTls:
    """Begin the TLS handshake on this connection."""


if TYPE_CHECKING:
    Effect: TypeAlias = Write | Read | SendMessage | StartTls | Nonce | Binding | Derive


# --- what can go wrong ---

DNSSEC_INVALID, VALIDATION_FAILURE = "dnssec-invalid", "validation-failure"


@value
class Failure:
    """Why a session cannot go on.

    kind: "refused" (the reply says so), "lost", "timeout", "malformed" (no SMTP reply), "no-tls" (not
    offered, or refused), "tls" (a failed handshake or verification), "policy" (what TLS has to be like cannot
    be found out, or a policy does not list the host), "unreachable" (no connection), "local" (this machine
    cannot, e.g. no file descriptor or no password: nobody's fault but ours).
    fault: of "tls" and "policy", what the server, or the DNS, has not proved, in the words of RFC 8460, 4.3;
    else "".
    """

    kind: str
    stage: str
    text: str
    reply: Reply | None = None
    fault: str = ""


class SessionFailed(Exception):
    """The session is over; `failure` says why.  sender: our address in it, "" where there was none."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure
        self.sender = ""


@value
class Answer:
    """What one recipient got: the reply that decides for it and its stage, or the failure that came first."""

    stage: str
    reply: Reply | None = None
    failure: Failure | None = None


# --- opening ---


@value
class Capabilities:
    """What the server offered in this session, keywords in upper case (RFC 5321, 4.1.1.1)."""

    keywords: Mapping[str, str]

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.keywords

    def without(self, keyword: str) -> Capabilities:
        """The same, but for one."""
        return Capabilities({k: rest for k, rest in self.keywords.items() if k != keyword})

    @property
    def size(self) -> int | None:
        """The limit that SIZE declares, in octets; None when there is none (RFC 1870, 3)."""
        limit = self.keywords.get("SIZE", "")
        return int(limit) if limit.isascii() and limit.isdigit() and int(limit) else None

    @property
    def auth(self) -> tuple[str, ...]:
        return tuple(self.keywords.get("AUTH", "").upper().split())


@value
class Opening:
    """How to open a session.

    helo_name: the name in EHLO, HELO or LHLO.  lmtp: RFC 2033.
    tls: "none" (never), "may" (if offered), "encrypt" or "verify" (only so); "on" from the start.
    credentials: to authenticate with, or None.
    """

    helo_name: str
    tls: str
    lmtp: bool = False
    credentials: Credentials | None = None


def open_session(opening: Opening) -> Generator[Effect, Reply, Capabilities]:
    """Greeting to AUTH. Raises SessionFailed when the server does not let us in."""
    greeting = yield Read(stages.GREETING)
    if greeting.code != 220:
        raise refused(stages.GREETING, greeting)
    session = yield from _hello(opening)
    if opening.tls in ("may", "encrypt", "verify"):
        session = yield from _start_tls(opening, session)
    if opening.credentials is not None:
        yield from _log_in(opening.credentials, session)
    return session


def refused(stage: str, reply: Reply) -> SessionFailed:
    return SessionFailed(Failure("refused", stage, reply.text, reply))


def _log_in(credentials: Credentials, session: Capabilities) -> Generator[Effect, Reply, None]:
    try:
        told = yield from authenticate(credentials, session.auth, Write, Read(stages.AUTH))
    except LoginFailed as error:
        kind = "local" if error.ours else "refused"
        raise SessionFailed(Failure(kind, stages.AUTH, f"no login with {error}")) from None
    if told is None:
        text = f"the server offers no mechanism to log in with (only {' '.join(session.auth) or 'none'})"
        raise SessionFailed(Failure("refused", stages.AUTH, text))
    mechanism, reply = told
    if reply.code < 400 and not reply.positive:  # the words are a challenge
        text = f"no login with {mechanism}: the server asks for more than that has to say"
        raise SessionFailed(Failure("refused", stages.AUTH, text))
    if not reply.positive:
        text = f"login refused ({mechanism}): {reply.text}"
        raise SessionFailed(Failure("refused", stages.AUTH, text, reply))


def _hello(opening: Opening) -> Generator[Effect, Reply, Capabilities]:
    yield Write(command("LHLO" if opening.lmtp else "EHLO", opening.helo_name))
    reply = yield Read(stages.EHLO)
    if reply.positive:
        words = (line.partition(" ") for line in reply.lines[1:])
        return Capabilities({word.upper(): rest.strip() for word, _, rest in words if word})
    if reply.permanent and not opening.lmtp:
        yield Write(command("HELO", opening.helo_name))
        reply = yield Read(stages.EHLO)
        if reply.positive:
            return Capabilities({})
    raise refused(stages.EHLO, reply)


def _start_tls(opening: Opening, session: Capabilities) -> Generator[Effect, Reply, Capabilities]:
    required = opening.tls != "may"
    if "STARTTLS" not in session:
        if required:
            text = "TLS is required, and the server does not offer it"
            raise SessionFailed(Failure("no-tls", stages.STARTTLS, text))
        return session
    yield Write(command("STARTTLS"))
    reply = yield Read(stages.STARTTLS)
    if reply.code != 220:
        raise SessionFailed(Failure("no-tls", stages.STARTTLS, f"STARTTLS refused: {reply.text}", reply))
    yield StartTls()
    # RFC 3207, 4.2: what the server said before TLS is forgotten.
    return (yield from _hello(opening))
