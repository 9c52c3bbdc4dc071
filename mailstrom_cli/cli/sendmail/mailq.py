"""What `mailq` and `sendmail -bp` print: the text of Postfix, which monitoring and people read."""

from __future__ import annotations

import time

from mailstrom_cli.cli.report import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mailstrom_cli.store.entry import Entry, RecipientState

# Postfix's formats for long queue ids (showq).
ROW = "{:<17} {:>8} {:<19} {}"
HEADING = "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------"
REASON_ENDS = 78  # the column where a reason ends, in its parentheses
NULL_SENDER = "MAILER-DAEMON"
HOLD = "!"
EMPTY = "Mail queue is empty"


def listing(entries: Iterable[Entry]) -> Iterator[str]:
    """The lines for messages of the queue, without their line ends; local time."""
    count = octets = 0
    for entry in entries:
        if not count:
            yield HEADING
        count += 1
        octets += entry.envelope.size
        yield ROW.format(
            entry.id + (HOLD if entry.held else ""),
            entry.envelope.size,
            time.ctime(entry.submitted)[:19],
            one_line(entry.envelope.reverse_path) or NULL_SENDER,
        )
        told = ""
        for recipient in entry.recipients:
            if recipient.final:
                continue
            reason = one_line(_reason(recipient))
            if reason and reason != told:
                yield f"({reason})".rjust(REASON_ENDS)
            told = reason
            yield ROW.format("", "", "", one_line(recipient.address))
        yield ""
    if count:
        yield f"-- {octets // 1024} Kbytes in {count} Request{'s' if count > 1 else ''}."
    else:
        yield EMPTY


def _reason(recipient: RecipientState) -> str:
    """Why the recipient waits, as Postfix words it; "" before the first attempt."""
    said = " ".join(str(part) for part in (recipient.code, recipient.enhanced, recipient.text) if part)
    if recipient.code and recipient.host:
        return f"host {recipient.host} said: {said}"
    return said
