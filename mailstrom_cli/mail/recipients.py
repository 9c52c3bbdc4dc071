"""The recipients of a message: bare local names replaced by their aliases or completed, each address once."""

from __future__ import annotations

from mailstrom_cli.mail.address import (
    AddressError,
    Mailbox,
    complete,
    parse_name_or_mailbox,
    shown,
    unbracketed,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mailstrom_cli.mail.finding import Findings
    from mailstrom_cli.mail.request import Context


class Recipients:
    """Gathers them in order. `orcpt` is kept of a bare name that an alias replaced: a notification then says
    whom the sender meant, as far as that name makes an address (RFC 3461, 4.2)."""

    def __init__(self, context: Context, findings: Findings) -> None:
        self._origin = context.origin
        self._aliases = context.aliases
        self._findings = findings
        self._found: dict[str, tuple[str, str | None]] = {}
        self._replaced: set[str] = set()

    def __len__(self) -> int:
        return len(self._found)

    def all(self) -> tuple[tuple[str, str | None], ...]:
        """(address, orcpt) of each."""
        return tuple(self._found.values())

    def add(self, box: Mailbox, *, bare: bool) -> None:
        """Adds a mailbox; `bare`: it came without a domain. Raises AddressError when it gets none."""
        name = box.local.lower()
        if not bare or name not in self._aliases:
            self._keep(box if box.domain else complete(box.local, self._origin), None)
        elif name not in self._replaced:
            self._replaced.add(name)
            self._replace(box.local, name)

    def add_text(self, text: str) -> None:
        """Adds an address as it was asked for. Raises AddressError."""
        box = parse_name_or_mailbox(unbracketed(text))
        self.add(box, bare=not box.domain)

    def _replace(self, local: str, name: str) -> None:
        orcpt = None
        if self._origin:
            original = str(complete(local, self._origin))
            orcpt = f"{'rfc822' if original.isascii() else 'utf-8'};{original}"
        try:
            for box in expanded(name, self._aliases):
                self._keep(box if box.domain else complete(box.local, self._origin), orcpt)
        except AddressError as error:
            self._findings.refuse(f"the alias {shown(name)}: {error}", option="recipient")

    def _keep(self, box: Mailbox, orcpt: str | None) -> None:
        address = str(box)
        # Of all local parts, postmaster alone is the same in capitals and small letters (RFC 5321, 4.1.1.3).
        key = address.lower() if box.local.lower() == "postmaster" else address
        self._found.setdefault(key, (address, orcpt))


def expanded(name: str, aliases: Mapping[str, tuple[str, ...]]) -> Iterator[Mailbox]:
    """What an alias stands for in the end, through other aliases; a bare name that is none has no domain.
    An alias that names itself means the local name, as in aliases(5). Raises AddressError for a longer
    circle."""
    open_: dict[str, Iterator[str]] = {name: iter(aliases[name])}
    done: set[str] = set()
    while open_:
        owner, targets = next(reversed(open_.items()))
        text = next(targets, None)
        if text is None:
            del open_[owner]
            done.add(owner)
            continue
        box = parse_name_or_mailbox(unbracketed(text))
        key = box.local.lower()
        if box.domain or key not in aliases or key == owner:
            yield box
        elif key in open_:
            raise AddressError(f"it leads to {shown(key)}, which leads back to it")
        elif key not in done:
            open_[key] = iter(aliases[key])
