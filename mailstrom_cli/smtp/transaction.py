"""The dialogue for one message: MAIL, RCPT ..., DATA or BDAT, the message; one Answer a recipient.

How much is sent before something is answered depends on what the server offers (RFC 2920, RFC 3030).
"""

from __future__ import annotations

from mailstrom_cli.smtp import stages
from mailstrom_cli.smtp.dialog import Answer, Read, SendMessage, SessionFailed, Write
from mailstrom_cli.smtp.wire import END_OF_DATA, command
from mailstrom_cli.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from mailstrom_cli.mail.envelope import Envelope, Recipient
    from mailstrom_cli.mail.reply import Reply
    from mailstrom_cli.smtp.dialog import Capabilities, Effect

DATA = b"DATA\r\n"
RSET = b"RSET\r\n"


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
    if "REQUIRETLS" in session and envelope.requiretls:
        words.append("REQUIRETLS")
    return command(*words)


def _rcpt_answer(reply: Reply) -> Answer | None:
    """None for a recipient that was accepted and waits for the end of data."""
    return None if reply.positive else Answer(stages.RCPT, reply)
