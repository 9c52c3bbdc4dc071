"""Every file that the interpreter's own tests of `email` have: prepared as promised, or refused for good."""

from __future__ import annotations

import os
import re
import sysconfig

import pytest

from mailstrom_cli.errors import MailstromError
from mailstrom_cli.mail.prepare import Context, Request, prepare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = os.path.join(sysconfig.get_path("stdlib"), "test", "test_email", "data")
FILES = sorted(os.listdir(FOLDER)) if os.path.isdir(FOLDER) else []
CONTEXT = Context(now=0.0, token="abc", host="mail.example.org")
EXPLICIT = Request(reverse_path="s@example.org", recipients=("r@example.net",))
REMOVED = (b"bcc", b"resent-bcc", b"return-path")

pytestmark = pytest.mark.skipif(not FILES, reason=f"this interpreter comes without {FOLDER}")


def read(name: str) -> bytes:
    with open(os.path.join(FOLDER, name), "rb") as file:
        return file.read()


def fields(lines: list[bytes]) -> Iterator[list[bytes]]:
    """The header of a message given in lines, a field at a time with its continuations."""
    field: list[bytes] = []
    for line in lines:
        if not line:
            break
        if field and line[:1] not in (b" ", b"\t"):
            yield field
            field = []
        field.append(line)
    if field:
        yield field


def promised(data: bytes) -> bytes:
    """What must leave, worked out line by line without any of what is tested."""
    lines = re.split(rb"\r\n|\r|\n", data)
    if lines[-1] == b"":
        lines.pop()
    if re.match(rb"From [^:]*$|From \S+@\S+ ", lines[0]):
        lines.pop(0)
    header = list(fields(lines))
    body = lines[sum(map(len, header)) :]
    names = [field[0].split(b":")[0].strip().lower() for field in header]
    kept = [field for field, name in zip(header, names, strict=True) if name not in REMOVED]
    if b"date" not in names:
        kept.append([b"Date: Thu, 1 Jan 1970 00:00:00 +0000"])
    if b"message-id" not in names:
        kept.append([b"Message-ID: <abc.0@mail.example.org>"])
    return b"".join(line + b"\r\n" for field in kept for line in field) + b"".join(
        line + b"\r\n" for line in body
    )


@pytest.mark.parametrize("request_", [EXPLICIT, Request()], ids=["explicit", "from the header"])
@pytest.mark.parametrize("name", FILES)
def test_each_file_leaves_as_promised_or_is_refused_for_a_reason(name: str, request_: Request) -> None:
    data = read(name)
    try:
        made = prepare(data, request_, CONTEXT)
    except MailstromError as error:
        for line in error.message.split("\n"):
            assert line.isprintable()
            assert re.match(r"line \d+: |field `|the message ", line), line
        return
    assert b"".join(made.chunks()) == promised(data)
    assert made.envelope.recipients


def test_of_the_messages_most_are_accepted_and_of_the_pictures_and_sounds_none() -> None:
    def accepted(name: str) -> bool:
        try:
            prepare(read(name), EXPLICIT, CONTEXT)
        except MailstromError:
            return False
        return True

    messages = [name for name in FILES if name.startswith("msg_")]
    assert sum(map(accepted, messages)) >= 0.7 * len(messages)
    assert not any(map(accepted, set(FILES) - set(messages)))
