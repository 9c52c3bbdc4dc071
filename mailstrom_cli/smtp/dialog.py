"""The dialogue of a client as generators: they yield effects, get replies, and return what came of it.

Nothing here opens a socket, reads a clock or decides what a reply means for a message: `net.driver` performs
the effects, `policy.classify` decides. A driver that loses the connection throws SessionFailed in.

    session = yield from open_session(...)     greeting, EHLO, STARTTLS, EHLO again, AUTH
    answers = yield from transaction(...)      MAIL, RCPT ..., DATA, the message: one Answer a recipient
"""

from __future__ import annotations

from mailstrom_cli.smtp import stages
from mailstrom_cli.smtp.auth import authenticate
from mailstrom_cli.smtp.wire import END_OF_DATA, command
from mailstrom_cli.values import replace, value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from typing import TypeAlias

    from mailstrom_cli.mail.envelope import Envelope, Recipient
    from mailstrom_cli.mail.reply import Reply
    from mailstrom_cli.smtp.auth import Credentials


DATA = b"DATA\r\n"
RSET = b"RSET\r\n"

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
    Effect: TypeAlias = Write | Read | SendMessage | StartTls


# --- what can go wrong ---


@value
class Failure:
    """Why a session cannot go on.

    kind: "refused" (the reply says so), "lost", "timeout", "malformed" (no SMTP reply), "no-tls" (not
    offered, or refused), "tls" (a failed handshake or verification), "unreachable" (no connection), "local"
    (this machine cannot, e.g. no file descriptor or no password: nobody's fault but ours).
    """

    kind: str
    stage: str
    text: str
    reply: Reply | None = None


class SessionFailed(Exception):
    """The session is over; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


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
        reply = yield from authenticate(opening.credentials, session.auth, Write, Read(stages.AUTH))
        if reply is None:
            text = f"the server offers no mechanism to log in with (only {' '.join(session.auth) or 'none'})"
            raise SessionFailed(Failure("refused", stages.AUTH, text))
        if not reply.positive:
            raise refused(stages.AUTH, reply)
    return session


def refused(stage: str, reply: Reply) -> SessionFailed:
    return SessionFailed(Failure("refused", stage, reply.text, reply))


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


# --- one message ---


def transaction(
    session: Capabilities,
    envelope: Envelope,
    recipients: Sequence[Recipient],
    *,
    lmtp: bool = False,
    ahead: bool = False,
    reset: bool = False,
) -> Generator[Effect, Reply, list[Answer]]:
    """Hand one message over: one Answer for each of `recipients`, in their order, whatever happens.

    With PIPELINING the envelope goes out as one write, which DATA ends (RFC 2920, 3.1). With CHUNKING the
    message follows as one chunk (RFC 3030, 2), and with `ahead` so does it before anything is answered (RFC
    3030, 4.2). reset: begin with RSET, since the transaction before may have failed with its sender still
    set. Afterwards the session is ready for the next transaction, unless SessionFailed or a 421 came in, of
    which the driver knows.
    """
    told = _Told([None] * len(recipients))
    commands = [_mail(session, envelope), *(command(f"RCPT TO:<{r.address}>") for r in recipients)]
    if reset:
        commands.insert(0, RSET)
    try:
        if "PIPELINING" not in session:
            yield from _step_by_step(session, envelope, commands, told, lmtp=lmtp, reset=reset)
        elif "CHUNKING" in session and ahead and not lmtp:  # how many replies LMTP has, the envelope decides
            yield from _at_once(envelope, commands, told, reset=reset)
        else:
            yield from _in_two_steps(session, envelope, commands, told, lmtp=lmtp, reset=reset)
    except SessionFailed as end:
        stage = stages.DOT if told.sent else end.failure.stage
        told.rest(Answer(stage, failure=replace(end.failure, stage=stage)))
    return [answer for answer in told.answers if answer is not None]


class _Told:
    """What is known of each recipient of a transaction. None: nothing was refused yet.  sent: the message is
    on its way to the end, so that a silence says nothing of whether it was delivered."""

    def __init__(self, answers: list[Answer | None]) -> None:
        self.answers = answers
        self.sent = False

    @property
    def waiting(self) -> list[int]:
        return [i for i, answer in enumerate(self.answers) if answer is None]

    def rest(self, answer: Answer) -> None:
        """What all get who were not refused before."""
        self.answers = [told or answer for told in self.answers]


def _step_by_step(
    session: Capabilities,
    envelope: Envelope,
    commands: list[bytes],
    told: _Told,
    *,
    lmtp: bool,
    reset: bool,
) -> Generator[Effect, Reply, None]:
    """Each command waits for its reply."""
    if reset:
        yield Write(commands.pop(0))
        yield Read(stages.RSET)
    yield Write(commands[0])
    mail = yield Read(stages.MAIL)
    if not mail.positive:
        told.rest(Answer(stages.MAIL, mail))
        return
    for i, rcpt in enumerate(commands[1:]):
        yield Write(rcpt)
        told.answers[i] = _rcpt_answer((yield Read(stages.RCPT)))
    if told.waiting and "CHUNKING" not in session:
        yield Write(DATA)
        yield from _data((yield Read(stages.DATA)), told, lmtp=lmtp)
    elif told.waiting:
        yield from _chunk(envelope, told, lmtp=lmtp)
    else:
        yield from _reset()


def _in_two_steps(
    session: Capabilities,
    envelope: Envelope,
    commands: list[bytes],
    told: _Told,
    *,
    lmtp: bool,
    reset: bool,
) -> Generator[Effect, Reply, None]:
    """The envelope, and when its replies are there, the message."""
    chunking = "CHUNKING" in session
    yield Write(b"".join(commands) + (b"" if chunking else DATA))
    mail = yield from _envelope(told, reset=reset)
    if not chunking:
        data = yield Read(stages.DATA)
        yield from _data(data, told, lmtp=lmtp, undo=mail.positive)
    elif told.waiting:
        yield from _chunk(envelope, told, lmtp=lmtp)
    elif mail.positive:
        yield from _reset()


def _at_once(
    envelope: Envelope, commands: list[bytes], told: _Told, *, reset: bool
) -> Generator[Effect, Reply, None]:
    """The envelope and the message, then all replies. Whatever was refused, the server takes the whole chunk
    and answers it (RFC 3030, 2)."""
    yield Write(b"".join(commands) + _bdat(envelope))
    early = yield SendMessage(stuffed=False)
    told.sent = True
    if early is None:
        yield from _envelope(told, reset=reset)
    if told.waiting:
        yield from _replies(told, early, lmtp=False)
    else:
        yield Read(stages.DOT)


def _envelope(told: _Told, *, reset: bool) -> Generator[Effect, Reply, Reply]:
    """The replies to an envelope that was sent in one piece; the one to MAIL."""
    if reset and (reply := (yield Read(stages.RSET))).code == 421:
        told.rest(Answer(stages.MAIL, reply))  # nothing of this message was looked at
    mail = yield Read(stages.MAIL)
    if not mail.positive:
        told.rest(Answer(stages.MAIL, mail))
    for i, before in enumerate(told.answers):
        reply = yield Read(stages.RCPT)
        told.answers[i] = before or _rcpt_answer(reply)
    return mail


def _data(data: Reply, told: _Told, *, lmtp: bool, undo: bool = True) -> Generator[Effect, Reply, None]:
    """After the reply to DATA: the message, or the end. undo: a sender is set, which an end leaves behind."""
    if data.code != 354:
        told.rest(Answer(stages.DATA, data))
        if undo:
            yield from _reset()
    elif told.waiting:
        early = yield SendMessage()
        told.sent = True
        yield from _replies(told, early, lmtp=lmtp)
    else:
        yield Write(END_OF_DATA)  # RFC 2920, 3.1: nobody was accepted, yet the server waits for data
        if not lmtp:
            yield Read(stages.DOT)


def _chunk(envelope: Envelope, told: _Told, *, lmtp: bool) -> Generator[Effect, Reply, None]:
    yield Write(_bdat(envelope))
    early = yield SendMessage(stuffed=False)
    told.sent = True
    yield from _replies(told, early, lmtp=lmtp)


def _replies(told: _Told, early: Reply | None, *, lmtp: bool) -> Generator[Effect, Reply, None]:
    """After the message: what those get who wait for it; of LMTP each a reply of their own."""
    reply, stage = early, stages.BLOCK if early is not None else stages.DOT
    for i in told.waiting:
        if reply is None or (lmtp and early is None):
            reply = yield Read(stage)
        told.answers[i] = Answer(stage, reply)


def _reset() -> Generator[Effect, Reply, None]:
    yield Write(RSET)
    yield Read(stages.RSET)


def _bdat(envelope: Envelope) -> bytes:
    return command("BDAT", str(envelope.size), "LAST")


def _mail(session: Capabilities, envelope: Envelope) -> bytes:
    words = [f"MAIL FROM:<{envelope.reverse_path}>"]
    if "SIZE" in session:
        words.append(f"SIZE={envelope.size}")
    if "8BITMIME" in session and envelope.body == "8bitmime":
        words.append("BODY=8BITMIME")
    if "SMTPUTF8" in session and envelope.smtputf8:
        words.append("SMTPUTF8")
    return command(*words)


def _rcpt_answer(reply: Reply) -> Answer | None:
    """None for a recipient that was accepted and waits for the end of data."""
    return None if reply.positive else Answer(stages.RCPT, reply)
