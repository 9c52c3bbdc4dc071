"""Hostile words through the whole command: status, queue, log and JSON; and through one flush, all stages."""

from __future__ import annotations

import json
import re

import pytest

from ..peers.answers import Raw
from ..peers.scripted import Script
from .words import BEGIN, NAMED

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (info|warning|error|debug): ")
KINDS = {"failed": b"550 5.7.1 ", "deferred": b"450 4.7.1 ", "delivered": b"250 2.0.0 ", "malformed": b"?"}
STATUS = {"malformed": "deferred"}


def address(name: str) -> str:
    return f"{name.replace(' ', '-').lower()}@example.net"


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_server_writes_is_one_short_line_everywhere(mailstrom, scripted, kind: str) -> None:
    stage = "dot" if kind == "delivered" else "rcpt"
    said = {
        address(name): Raw(KINDS[kind] + text + b"\r\n", reply=KINDS[kind][:3].decode())
        for name, text in NAMED.items()
    }

    def answer(moment):  # of the message, or of its only recipient
        return said[moment.text]

    server = scripted(Script(replies={stage: answer}, keep_bodies=False), strict=False)
    relay = f'via = "smtp://127.0.0.1:{server.port}"'
    later = '[retry]\nbase_delay = "1h"'
    ids = {}
    mailstrom.configure(relay, later)
    for name in NAMED:
        ids[name] = mailstrom.submit("-f", "ann@example.org", "-t", address(name))
    mailstrom.start()
    mailstrom.wait_until(lambda: mailstrom.log().count("status=") >= len(NAMED), 20, "each to be tried")
    mailstrom.stop_all()
    status = STATUS.get(kind, kind)

    lines = mailstrom.log().split("\n")[:-1]
    assert all(LINE.match(line) and line.isprintable() for line in lines), lines
    told = [line for line in lines if "status=" in line]
    assert len(told) == len(NAMED)
    assert all(f" status={status} " in line for line in told)

    table = mailstrom("status", *ids.values(), expect=None).stdout
    assert table.count("\n") == len(NAMED) + 1
    listed = mailstrom("queue", "--all", expect=None).stdout
    verbose = mailstrom("status", "-v", *ids.values(), expect=None).stdout
    for shown in (table, listed, verbose):
        assert all(line.isprintable() for line in shown.split("\n"))
        assert max(map(len, shown.split("\n"))) < 600
    objects = json.loads(mailstrom("status", "--json", *ids.values(), expect=None).stdout)
    texts = {o["recipients"][0]["address"]: o["recipients"][0]["text"] for o in objects}
    assert len(texts) == len(NAMED)
    assert all(text.isprintable() and len(text) <= 1000 for text in texts.values())
    assert {o["recipients"][0]["status"] for o in objects} == {status}
    for line in mailstrom("queue", "--all", "--json", expect=None).stdout.split("\n")[:-1]:
        assert json.loads(line)
    for name, begin in BEGIN.items():
        assert begin in texts[address(name)], name
        assert begin in verbose or kind == "delivered"


def test_a_log_of_json_is_json_and_what_flush_says_is_lines(mailstrom, scripted) -> None:
    said = {address(name): Raw(b"450 4.7.1 " + text + b"\r\n", reply="450") for name, text in NAMED.items()}
    server = scripted(Script(replies={"rcpt": lambda moment: said[moment.text]}), strict=False)
    mailstrom.configure(f'via = "smtp://127.0.0.1:{server.port}"', '[log]\nformat = "json"')
    mailstrom.submit("-f", "ann@example.org", *(w for name in NAMED for w in ("-t", address(name))))
    flushed = mailstrom("-v", "flush", "--all", expect=None).stderr.split("\n")[:-1]
    assert len([line for line in flushed if line.startswith("deferred: ")]) == len(NAMED)
    assert all(line.isprintable() for line in flushed)
    mailstrom.start()
    mailstrom.wait_until(lambda: mailstrom.log().count("status=") >= len(NAMED), 20, "each to be tried")
    mailstrom.stop_all()
    objects = [json.loads(line) for line in mailstrom.log().split("\n")[:-1]]
    assert sum(" status=deferred " in o["text"] for o in objects) == len(NAMED)
    assert all(set(o) == {"time", "level", "text"} and o["text"].isprintable() for o in objects)
