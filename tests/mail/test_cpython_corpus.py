"""Every file that the interpreter's own tests of `email` have: prepared as promised, or refused for good."""

from __future__ import annotations

import re

import pytest

from mailstrom_cli.errors import MailstromError
from mailstrom_cli.mail.prepare import Context, Request, prepare

from ..peers.needs import need_files
from .corpus import FILES, FOLDER, promised, read

CONTEXT = Context(now=0.0, token="abc", host="mail.example.org")
EXPLICIT = Request(reverse_path="s@example.org", recipients=("r@example.net",))
DATE, MESSAGE_ID = b"Thu, 1 Jan 1970 00:00:00 +0000", b"<abc.0@mail.example.org>"


def test_the_files_are_there() -> None:
    need_files(FOLDER)


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
    assert b"".join(made.chunks()) == promised(data, DATE, MESSAGE_ID)
    assert made.envelope.recipients


@pytest.mark.skipif(not FILES, reason=f"this interpreter comes without {FOLDER}")
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
