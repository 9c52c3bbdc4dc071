"""Servers that do not keep what they offer, or say what cannot be meant; what each recipient is told."""

from __future__ import annotations

import pytest

from ..peers.answers import Raw
from ..peers.scripted import Script
from ..transport.sending import MESSAGE, Names
from .actions import Deaf

NAMES = Names({"example.test": [(10, "a"), (20, "b")]}, {"a": ["127.0.0.1"], "b": ["127.0.0.2"]})
DELIVERED = ("delivered", 250, "2.0.0", False)
CHUNKING = {"chunking": True}
ONE_BY_ONE = {"pipelining": False}
ALL = ("mail", "rcpt", "data", "dot", "rset")


def malformed(maybe: bool = False) -> tuple[str, None, str, bool]:
    return ("deferred", None, "4.5.0", maybe)


# What the script says, what both recipients are told, and whether the next server is asked.
LIES = {
    "250 to everything": ({"replies": dict.fromkeys(ALL, "250 Ok")}, malformed(), True),
    "250 to everything, one by one": (
        {"replies": dict.fromkeys(ALL, "250 Ok"), **ONE_BY_ONE},
        malformed(),
        True,
    ),
    "354 to everything": ({"replies": dict.fromkeys(ALL, "354 Go"), **ONE_BY_ONE}, malformed(), True),
    "220 to EHLO's commands": ({"replies": {"mail": "220 hi", "rcpt": "220 hi"}}, DELIVERED, False),
    "251 and 252 to RCPT": ({"replies": {"rcpt": ["251 Forwarded", "252 Perhaps"]}}, DELIVERED, False),
    "354 to BDAT": ({**CHUNKING, "replies": {"dot": "354 Go"}}, malformed(maybe=True), False),
    "354 to the dot": ({"replies": {"dot": "354 Go"}}, malformed(maybe=True), False),
    "334 to the dot": ({"replies": {"dot": "334 Go"}}, malformed(maybe=True), False),
    "251 to DATA": ({"replies": {"data": "251 Ok"}}, malformed(), True),
    "2xx with 5.x": ({"replies": {"dot": "250 5.7.1 Rejected"}}, DELIVERED, False),
    "5xx with 2.x": ({"replies": {"rcpt": "550 2.1.5 Fine"}}, ("failed", 550, "5.0.0", False), False),
    "4xx with 5.x": ({"replies": {"rcpt": "450 5.1.1 Who?"}}, ("deferred", 450, "4.0.0", False), True),
    "one reply of two codes": (
        {"replies": {"rcpt": Raw(b"250-2.1.5 Fine\r\n550 5.1.1 Who?\r\n", reply="550")}},
        ("failed", 550, "5.1.1", False),
        False,
    ),
    "CHUNKING is offered and not known": (
        {**CHUNKING, "replies": {"dot": "500 5.5.2 Unknown command"}},
        ("failed", 500, "5.5.2", False),
        False,
    ),
    "PIPELINING is offered and not kept": (
        {"replies": {"mail": Deaf()}},
        ("deferred", None, "4.4.2", False),
        True,
    ),
    "CHUNKING is offered, and what follows MAIL is lost": (
        {**CHUNKING, "replies": {"mail": Deaf()}},
        ("deferred", None, "4.4.2", True),
        False,
    ),
    "SIZE is not kept": ({"replies": {"dot": "552 5.3.4 Too big"}}, ("failed", 552, "5.3.4", False), False),
    "SIZE 0": ({"extensions": ("SIZE 0",)}, DELIVERED, False),
    "SIZE of nothing": ({"extensions": ("SIZE -1", "SIZE many", "SIZE 1 2")}, DELIVERED, False),
    "SIZE of 1500 digits": ({"extensions": ("SIZE " + "9" * 1500,)}, DELIVERED, False),
    "8BITMIME is not kept": (
        {"replies": {"mail": "555 5.5.4 BODY?"}},
        ("failed", 555, "5.5.4", False),
        False,
    ),
    "200 extensions nobody knows": (
        {"extensions": tuple(f"X{n} \x1b" for n in range(200))},
        DELIVERED,
        False,
    ),
    "421 to MAIL, and it goes on": (
        {"replies": {"mail": "421 4.3.2 Bye"}},
        ("deferred", 421, "4.3.2", False),
        True,
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie(scripted, sender, lie: str) -> None:
    script, wanted, asked = LIES[lie]
    hostile = scripted(Script(**script), strict=False)  # what it does not know of, it calls a violation
    good = scripted(host="127.0.0.2", port=hostile.port)
    both = ("one@example.test", "two@example.test")
    quick = {f"smtp_timeout_{stage}": 0.4 for stage in ("rcpt", "data", "dot")}
    out = sender(NAMES, smtp_port=hostile.port, **quick)
    alone = out.send(f"smtp://127.0.0.1:{hostile.port}", *both)
    assert [(r.status, r.code, r.enhanced, r.maybe_delivered) for r in alone] == [wanted] * 2
    assert all(r.text.isprintable() and r.text for r in alone)
    out.run(out.smtp.close())
    paired = sender(NAMES, smtp_port=hostile.port, **quick).send("mx:", *both, message=MESSAGE)
    if asked:
        assert [(r.status, (r.host or "")[0]) for r in paired] == [("delivered", "b")] * 2
    else:
        assert [(r.status, r.code, r.enhanced, r.maybe_delivered) for r in paired] == [wanted] * 2
    assert bool(good.sessions) is asked
    assert len(good.delivered()) == 2 * asked
