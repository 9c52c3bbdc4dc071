"""Variable envelope return paths (-XV): a reverse-path for each recipient, with its address in it, so that
whoever reads a bounce knows whose it is."""

from __future__ import annotations

from mailstrom_cli.errors import DATA, MailstromError
from mailstrom_cli.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailstrom_cli.mail.envelope import Envelope
    from mailstrom_cli.mail.request import Request


def one_each(request: Request, envelope: Envelope, delimiters: str) -> list[Request]:
    """A request for every recipient: `list@example.org` sends to `a@example.net` as
    `list+a=example.net@example.org`. Raises MailstromError for a quoted local part."""
    requests = []
    local, _, domain = envelope.reverse_path.rpartition("@")
    for recipient in envelope.recipients:
        if '"' in envelope.reverse_path + recipient.address:
            raise MailstromError("-XV: an address with a quoted local part has no VERP form", None, DATA)
        verp = f"{local}{delimiters[0]}{recipient.address.replace('@', delimiters[1])}@{domain}"
        requests.append(replace(request, reverse_path=verp, recipients=(recipient.address,)))
    return requests
