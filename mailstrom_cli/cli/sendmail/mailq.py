"""What `mailq` and `sendmail -bp` print: the text of Postfix, which monitoring and people read."""

from __future__ import annotations

import time

from mailstrom_cli.cli.report import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mailstrom_cli.cli.listing import Part
    from mailstrom_cli.store.entry import Entry, RecipientState

# Postfix's formats for long queue ids (showq).
ROW = "%-17s %8d %-19s %s"
RECIPIENT = " " * 47 + "%s"
HEADING = "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------"
REASON_ENDS = 78  # the column where a reason ends, in its parentheses
NULL_SENDER = "MAILER-DAEMON"
HOLD = "!"
EMPTY = "Mail queue is empty"


def whole(parts: Iterable[Part]) -> Iterator[str]:
    """The heading, what `about` makes of each message, and the last line."""
    count = octets = 0
    for lines, messages, size in parts:
        yield lines if count else f"{HEADING}\n{lines}"
        count += messages
        octets += size
    if count:
        yield f"-- {octets // 1024} Kbytes in {count} Request{'s' if count > 1 else ''}."
    else:
        yield EMPTY


def about(entry: Entry) -> str:
    """The lines of a message, without the last line end; local time."""
    id = f"{entry.id}{HOLD}" if entry.held else entry.id
    sender = one_line(entry.envelope.reverse_path) or NULL_SENDER
    lines = [ROW % (id, entry.envelope.size, time.ctime(entry.submitted)[:19], sender)]
    told = ""
    for recipient in entry.recipients:
        if recipient.final:
            continue
        reason = one_line(_reason(recipient))
        if reason and reason != told:
            lines.append(f"({reason})".rjust(REASON_ENDS))
        told = reason
        lines.append(RECIPIENT % one_line(recipient.address))
    lines.append("")
    return "\n".join(lines)


def _reason(recipient: RecipientState) -> str:
    """Why the recipient waits, as Postfix words it; "" before the first attempt."""
    said = " ".join(str(part) for part in (recipient.code, recipient.enhanced, recipient.text) if part)
    if recipient.code and recipient.host:
        return f"host {recipient.host} said: {said}"
    return said
