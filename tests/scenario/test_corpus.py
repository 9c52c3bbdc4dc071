"""Every message file that CPython's own tests ship, through the real command to a real socket."""

from __future__ import annotations

import json
import os
import re

from ..mail.corpus import FILES, FOLDER, promised, read
from ..peers.needs import need_files


def test_each_file_arrives_as_promised_or_is_refused_in_words_for_people(mailstrom, scripted) -> None:
    need_files(FOLDER)
    server = scripted()
    mailstrom.configure(f'via = "smtp://127.0.0.1:{server.port}"')
    paths = [os.path.join(FOLDER, name) for name in FILES]
    done = mailstrom("submit", "--json", "-f", "s@example.org", "-t", "r@example.net", *paths, expect=65)

    refused = set(re.findall(rf"^error: {re.escape(FOLDER)}/(\S+): ", done.stderr, re.MULTILINE))
    accepted = [name for name in FILES if name not in refused]
    stored = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(stored) == len(accepted) >= 30
    for line in done.stderr.splitlines():
        assert re.match(r"(error: .*: (line \d+: |field `|the message )|hint: )", line), line

    mailstrom("flush")
    bodies = [t.body for t in server.transactions if t.accepted]
    assert len(bodies) == len(accepted)
    for name, told in zip(accepted, stored, strict=True):
        assert mailstrom.status(told["id"])["status"] == "delivered", name
        stamps = {d[1] for body in bodies if (d := re.search(rb"(?im)^Date: (.*)\r$", body))}
        identifier = told["message_id"].encode()
        assert any(promised(read(name), stamp, identifier) in bodies for stamp in stamps), name
