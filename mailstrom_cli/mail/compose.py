"""A MIME message from a text, HTML and files (RFC 2045 to 2049).

The structure, the transfer encodings and the writing are those of the standard library's `email`. Fields are
written in `written`: of Python's own, an encoded name may lose its quotes or gain a blank, what looks like an
encoded-word is decoded, and no file has a name that old readers know.

Nothing is random here: the same draft gives the same octets, so that a repeated key finds its message.
"""

from __future__ import annotations

from email.message import MIMEPart
from email.policy import EmailPolicy
from hashlib import sha256

from mailstrom_cli.mail.content import MAX_LINE
from mailstrom_cli.mail.header import split_header
from mailstrom_cli.mail.written import address_field, attached, content_type, other_field, text_field
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from collections.abc import Sequence
    from typing import Any

    from mailstrom_cli.mail.written import Named

    Data = bytes | mmap.mmap
    Part = MIMEPart[Any, Any]

MESSAGE = "message/rfc822"
BINARY = "application/octet-stream"
BASE64_LINE = 57  # octets that a line of base64 holds (RFC 2045, 6.8)
NOBODY_NAMED = "undisclosed-recipients:;"


@value
class Attachment:
    """name: of the file, without folders.  type: such as "application/pdf"; message/rfc822 is attached as a
    message, where lines and octets permit it.  data: as it is to arrive."""

    name: str
    type: str
    data: Data


@value
class Draft:
    """What a message is to say. text, html: None for no such part; a message with neither is empty.
    headers: (name, value) of further fields.  Recipients that no field names are no part of it."""

    author: Named
    subject: str = ""
    to: tuple[Named, ...] = ()
    cc: tuple[Named, ...] = ()
    reply_to: tuple[Named, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    text: str | None = None
    html: str | None = None
    attachments: tuple[Attachment, ...] = ()


class _AsWritten(EmailPolicy):
    """The policy of SMTP, but fields are what they were set to."""

    def header_store_parse(self, name: str, value: Any) -> tuple[str, Any]:
        return name, value

    def header_fetch_parse(self, name: str, value: Any) -> Any:
        return value

    def fold_binary(self, name: str, value: str) -> bytes:
        return f"{name}: {value}\r\n".encode()


# A line of quoted-printable or base64 has 76 octets at most (RFC 2045, 6.7 and 6.8).
AS_WRITTEN = _AsWritten(linesep="\r\n", max_line_length=76)


class _AsItStands(MIMEPart):
    """A part that is written octet for octet: of a message within, the generator would make a new one."""

    def get_content_maintype(self) -> str:
        return "text"


def compose(draft: Draft) -> bytes:
    """The message, with CRLF lines; Date and Message-ID are given to it when it is submitted. Raises
    MailstromError, or AddressError for a control character in what is to stand in a field."""
    message: Part = MIMEPart(AS_WRITTEN)
    message["From"] = address_field("From", (draft.author,))
    for name, named in (("Reply-To", draft.reply_to), ("To", draft.to), ("Cc", draft.cc)):
        if named:
            message[name] = address_field(name, named)
    if not draft.to and not draft.cc:
        message["To"] = NOBODY_NAMED
    if draft.subject.strip(" "):
        message["Subject"] = text_field("Subject", draft.subject)
    for name, text in draft.headers:
        message[name] = other_field(name, text)
    message["MIME-Version"] = "1.0"
    content = _content(draft)
    for name, text in content.items():
        message[name] = text
    message.set_payload(content.get_payload())
    return message.as_bytes()


def encoded_size(octets: int, type: str) -> int:
    """How many octets an attachment of so many takes in the message, without its fields."""
    return octets if type == MESSAGE else -(-octets // 3) * 4 + -(-octets // BASE64_LINE) * 2


def _content(draft: Draft) -> Part:
    mark = _mark(draft)
    given = ((draft.text, "plain"), (draft.html, "html"))
    texts = [_text(text, kind) for text, kind in given if text is not None] or [_text("", "plain")]
    body = _multipart("alternative", texts, mark) if len(texts) > 1 else texts[0]
    if not draft.attachments:
        return body
    return _multipart("mixed", [body, *map(_attached, draft.attachments)], mark)


def _text(text: str, kind: str) -> Part:
    part: Part = MIMEPart(AS_WRITTEN)
    part.set_content(text, kind, cte=_encoding(text.encode()))
    return part


def _encoding(text: bytes) -> str:
    """As it is where every server takes it; else base64 only where most of it is beyond ASCII."""
    if text.isascii() and max(map(len, text.splitlines()), default=0) <= MAX_LINE:
        return "7bit"
    beyond = len(text) - len(text.decode().encode("ascii", "ignore"))
    return "quoted-printable" if beyond * 2 <= len(text) else "base64"


def _attached(attachment: Attachment) -> Part:
    data, type, charset = attachment.data, attachment.type, ""
    if type == MESSAGE and _fits(data):
        part: Part = _AsItStands(AS_WRITTEN)
        text = data[:].decode("ascii", "surrogateescape")
        part["Content-Type"] = MESSAGE
        part["Content-Transfer-Encoding"] = "7bit" if text.isascii() else "8bit"
        part.set_payload(text)
    else:
        type = BINARY if type == MESSAGE else type
        charset = _charset(data) if type.startswith("text/") else ""
        part = MIMEPart(AS_WRITTEN)
        part.set_content(memoryview(data), *type.split("/", 1))
    part.replace_header("Content-Type", content_type(type, charset, attachment.name))
    part["Content-Disposition"] = attached(attachment.name)
    return part


def _fits(data: Data) -> bool:
    """Whether a message can be a part as it is: no encoding may help it, and its header is ASCII (RFC 2046,
    5.2.1)."""
    if data.find(b"\0") >= 0 or not split_header(data).octets.isascii():
        return False
    return max(map(len, data[:].splitlines()), default=0) <= MAX_LINE


def _charset(data: Data) -> str:
    """UTF-8 for what is; of ASCII and of all else the reader knows as much as is known here."""
    try:
        return "" if str(data, "utf-8").isascii() else "utf-8"
    except UnicodeDecodeError:
        return ""


def _multipart(kind: str, parts: Sequence[Part], mark: str) -> Part:
    whole: Part = MIMEPart(AS_WRITTEN)
    whole["Content-Type"] = f'multipart/{kind};\r\n boundary="=_{kind}_{mark}"'
    if any(part["Content-Transfer-Encoding"] == "8bit" for part in parts):
        whole["Content-Transfer-Encoding"] = "8bit"  # RFC 2045, 6.4
    for part in parts:
        whole.attach(part)
    return whole


def _mark(draft: Draft) -> str:
    """What makes a boundary that stands in none of the parts: no text holds its own digest."""
    digest = sha256()
    for text in (draft.text, draft.html):
        digest.update(repr(text).encode("utf-8", "backslashreplace"))
    for attachment in draft.attachments:
        digest.update(repr((attachment.name, attachment.type, len(attachment.data))).encode())
        digest.update(attachment.data)
    return digest.hexdigest()[:32]
