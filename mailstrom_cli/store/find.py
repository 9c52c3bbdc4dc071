"""Finding a message by what a person has of it: its id, a part of its id, or its Message-ID."""

from __future__ import annotations

from mailstrom_cli.errors import MailstromError, NoSuchMessage
from mailstrom_cli.store.entry import DamagedEntry
from mailstrom_cli.store.ids import SHORTEST_PART, is_id, matching
from mailstrom_cli.store.sidecar import encode, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SHOWN = 5  # candidates named in an error


def find(
    name: str,
    exists: Callable[[str], bool],
    ids: Callable[[], Iterable[str]],
    first_line: Callable[[str], bytes],
) -> str:
    """The id of the message that a store knows by this name.

    exists: whether an id is in the store; ids: all of them; first_line: of an id's sidecar, b"" when it has
    none. Raises NoSuchMessage, or MailstromError when it may be several.
    """
    if "@" in name or name.startswith("<"):
        return _by_message_id(name, sorted(ids(), reverse=True), first_line)
    part = name.lower()
    if is_id(part):
        if exists(part):
            return part
        raise NoSuchMessage(name)
    candidates = matching(part, ids())
    if len(candidates) > 1:
        shown = ", ".join(candidates[:SHOWN]) + (" ..." if len(candidates) > SHOWN else "")
        raise MailstromError(f"{name!r} may be {len(candidates)} messages: {shown}", "give more of the id")
    if candidates:
        return candidates[0]
    if 0 < len(part) < SHORTEST_PART:
        raise NoSuchMessage(name, f"give at least {SHORTEST_PART} characters of an id")
    raise NoSuchMessage(name)


def _by_message_id(name: str, newest_first: list[str], first_line: Callable[[str], bytes]) -> str:
    message_id = name if name.startswith("<") else f"<{name}>"
    wanted = encode({"message_id": message_id})[
        1:-2
    ]  # as `encode` puts it into a line; spares parsing the others
    for id in newest_first:
        line = first_line(id)
        if wanted in line:
            try:
                lines, _ = parse(line)
            except DamagedEntry:
                continue
            if lines and lines[0].get("message_id") == message_id:
                return id
    raise NoSuchMessage(name)
