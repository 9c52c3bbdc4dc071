"""What is asked for beside the message, and what the surroundings of its submission are."""

from __future__ import annotations

from mailstrom_cli.mail.address import shown
from mailstrom_cli.values import fields, value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailstrom_cli.mail.finding import Findings

MAX_ENVID = 100  # characters (RFC 3461, 4.4)


@value
class Request:
    """What a submitter asks for; None and () leave it to the message or to the default.

    reverse_path: an address, "" or "<>" for the null reverse-path; None takes it from the header.
    recipients: addresses; None takes them from the header.
    at, expires, key, notify, ret, envid, requiretls, submitter: as in `Envelope`; notify is for every
    recipient.
    add_from: the value of a From field for a message without one. With it, an absent header is no fault, and
    a line that is no field ends the header, as a sendmail has to take it.
    """

    reverse_path: str | None = None
    recipients: tuple[str, ...] | None = None
    at: float | None = None
    expires: float | None = None
    key: str | None = None
    notify: tuple[str, ...] = ()
    ret: str | None = None
    envid: str | None = None
    requiretls: bool = False
    submitter: str | None = None
    add_from: str | None = None


@value
class Context:
    """What a pure function cannot know.

    now: seconds since the epoch.  token: random letters and digits, for a Message-ID.  host: this host's full
    name.
    origin: the domain of bare local names, "" for none.  timezone: seconds east of UTC.
    message_size: the most octets of a message as it is sent.  recipients: the most of them.
    aliases: what bare local names of recipients, in lower case, stand for: addresses or other such names.
    """

    now: float
    token: str
    host: str = ""
    origin: str = ""
    timezone: int = 0
    message_size: int = 50 << 20
    recipients: int = 10_000
    aliases: Mapping[str, tuple[str, ...]] = {}


def check_options(request: Request, findings: Findings) -> None:
    """Refuses what no message can be submitted with. Addresses are looked at where they are parsed."""
    for name in fields(request):
        text = getattr(request, name)
        if name in ("key", "envid", "submitter", "add_from") and text is not None and not text.isprintable():
            findings.refuse(f"{shown(text)} has a character in it that cannot be seen", option=name)
    if request.envid is not None and not (request.envid.isascii() and 0 < len(request.envid) <= MAX_ENVID):
        findings.refuse(f"it must be 1 to {MAX_ENVID} ASCII characters", "RFC 3461, 4.4", option="envid")
    if request.ret not in (None, "full", "hdrs"):
        findings.refuse(f"{shown(str(request.ret))} is neither full nor hdrs", "RFC 3461, 4.3", option="ret")
    wanted = set(request.notify)
    if wanted - {"never", "success", "failure", "delay"} or ("never" in wanted and len(wanted) > 1):
        findings.refuse(
            f"{shown(','.join(request.notify))} is neither never nor some of success, failure and delay",
            "RFC 3461, 4.1",
            option="notify",
        )
