"""The Store and Lease protocols: all that the rest of mailstrom knows of message state.

A third-party store is a package that names a function `(url: str) -> Store` under the entry-point group
`mailstrom.stores`; the entry point's name is the URL scheme (`--spool myscheme://...`). Every store passes
`tests/store/contract.py`.
"""

from __future__ import annotations

from mailstrom_cli.errors import NO_INPUT, MailstromError, NoSuchMessage
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import BinaryIO, Protocol

    from mailstrom_cli.mail.envelope import Envelope
    from mailstrom_cli.store.entry import Entry, Event
else:
    Protocol = object


class DamagedMessage(MailstromError):
    """A message that is there and cannot be read. `Store.lease` sets it aside, so that it is met once."""

    def __init__(self, id: str, reason: str, where: str) -> None:
        super().__init__(f"message {id} is damaged: {reason}", f"what is left of it is in {where}", NO_INPUT)
        self.id = id
        self.reason = reason


@value
class Submission:
    """What `intake` stores: the envelope, and the message exactly as it will be sent, in chunks (CRLF
    lines)."""

    envelope: Envelope
    chunks: Iterable[bytes]


SWEPT = "swept"  # the mark of the last sweep
RATE = "rate "  # so begin the marks of rate limits, which are of no use a day after their time


@value
class Scheduled:
    """One unfinished message in the index: when it is next due, in seconds since the epoch."""

    id: str
    due: float


@value
class HostState:
    """A next hop that could not be reached: nothing is sent to it before `until` (seconds since the
    epoch)."""

    failures: int
    until: float
    reason: str


NOTE_OCTETS = 131_072  # of the text of a note, as UTF-8


@value
class Note:
    """A text that is kept beside messages until nobody can need it any more: `until`, in seconds since the
    epoch."""

    text: str
    until: float


class Lease(Protocol):
    """The sole right to attempt and to change one message, until released or until this process ends.

    A context manager; leaving it releases. One thread at a time may use it.
    """

    entry: Entry  # as folded when the lease was taken, then after each `record`

    def open_message(self) -> BinaryIO:
        """The message exactly as it will be sent."""

    def postpone(self, due: float) -> None:
        """Schedule the message no earlier than `due`, without an event: done before dialling, so that a
        crash in the attempt is not followed by another at once. It holds beyond the lease, and until an event
        after which no recipient is overdue."""

    def record(self, event: Event) -> Entry:
        """Append an event; the state and the schedule follow from it. Raises OSError when it could not be
        written, and then nothing of it is kept; DamagedEntry when it is no event."""

    def release(self) -> None:
        """Give the lease back, the schedule in order. A second time does nothing."""

    def __enter__(self) -> Lease: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Store(Protocol):
    """Where messages live. Methods may block for a disk, and none for another process (but `intake` for a few
    seconds while another one has a key). Any thread may call them.

    OSError from any of them: the system's trouble, not the message's; worth another try later. Methods that
    take an id raise NoSuchMessage, and DamagedMessage when it cannot be read.
    """

    def intake(self, submissions: Sequence[Submission], now: float) -> list[str]:
        """Store all of them durably, or none, and wake who listens: their ids, in order, which new ones
        ascend in. What `key` repeats is not stored again: its id is given once more, or MailstromError (exit
        code 65) is raised when another message has the key. Raises MailstromError with exit code 75 when
        there is no room now."""

    def scheduled(self) -> Iterator[Scheduled]:
        """Every unfinished message that is not held, in no order, without opening any; one that is moved
        meanwhile may come twice. What is due may still turn out, when leased, to be final, held or due later:
        the lease's entry is right."""

    def ids(self, states: Sequence[str]) -> Iterator[str]:
        """The ids of all messages in these states, oldest first."""

    def count(self, states: Sequence[str]) -> int: ...

    def entries(self, ids: Iterable[str]) -> Iterator[Entry | DamagedMessage | OSError]:
        """What `read` gives of each of many messages, or in its place the error that it raises; what is not
        there is passed over. Each is read when it is asked for."""

    def read(self, id: str) -> Entry: ...

    def events(self, id: str) -> list[Event]:
        """The sidecar as it is: the envelope's line, then the events, which may be of unknown kinds and hold
        anything."""

    def open_message(self, id: str) -> BinaryIO:
        """The message exactly as it will be sent."""

    def find(self, name: str) -> str:
        """The id for an id, an unambiguous prefix or suffix of 4 or more characters, or a Message-ID (with or
        without its angle brackets; the newest of several). Raises MailstromError naming the candidates."""

    def damaged(self) -> tuple[int, str]:
        """How many messages were set aside as damaged, and where a person finds them."""

    def lease(self, id: str) -> Lease | None:
        """None while somebody else has it. A damaged message is set aside, and DamagedMessage raised."""

    def finished_since(self, since: float) -> Iterator[str]:
        """The ids of final messages that became so at or after `since`, in the order in which they did."""

    def purge(self, id: str) -> None:
        """Forget a final message. Raises MailstromError when it is not final, or leased."""

    def sweep(self, now: float, delivered_before: float, failed_before: float) -> int:
        """Remove what crashed writers left behind and messages that became final before these times: how
        many. Also puts right schedules that a clock or a hand got wrong. To be called now and then."""

    def host(self, next_hop: str) -> HostState | None:
        """The back-off state of a next hop, if it has any."""

    def set_host(self, next_hop: str, state: HostState | None) -> None: ...

    def note(self, kind: str, name: str) -> Note | None:
        """What was noted, such as the MTA-STS policy of a domain; also past its `until`, before the next
        `sweep`."""

    def set_note(self, kind: str, name: str, note: Note | None) -> None:
        """Note something, or forget it. Of several that do so at once the last one counts. Raises ValueError
        for a text of more than NOTE_OCTETS."""

    def notes(self, kind: str) -> Iterator[tuple[str, Note]]:
        """All of one kind, each with its name, in no order."""

    def mark(self, name: str, when: float | None = None) -> float | None:
        """A named time kept with the store (SWEPT is one): what it was, after which it is `when`, unless
        None."""

    def wake(self, line: str) -> bool:
        """Tell a listening flusher, with an id or a command of one line; False when nobody was told."""

    def listen(self) -> int:
        """A file descriptor that becomes readable when `wake` is called; its lines are what was told."""

    def run_lock(self) -> RunLock:
        """The lock of which each store has one: held by the long-running flusher."""


def one_by_one(
    ids: Iterable[str], read: Callable[[str], Entry]
) -> Iterator[Entry | DamagedMessage | OSError]:
    """`Store.entries` for a store that reads each of them by itself."""
    for id in ids:
        try:
            entry = read(id)
        except NoSuchMessage:
            continue
        except (DamagedMessage, OSError) as error:
            yield error
        else:
            yield entry


class RunLock(Protocol):
    """`acquire` gives None when it is ours now, else who holds it (`pid 123, since 2026-11-24T02:43:00Z`)."""

    def acquire(self) -> str | None: ...

    def release(self) -> None: ...
