"""LMTP over TCP and over a Unix socket: an answer for each recipient after the end of data (RFC 2033)."""

from __future__ import annotations

import pytest

from ..peers.answers import Close, Moment
from ..peers.scripted import Script, ScriptedServer
from .sending import MESSAGE, statuses


@pytest.fixture(params=["TCP", "Unix socket"])
def lmtp(request, scripted, tmp_path):
    """lmtp(**script) -> (server, its URL), both ways."""

    def start(**script) -> tuple[ScriptedServer, str]:
        made = Script(lmtp=True, **script)
        if request.param == "TCP":
            server = scripted(made)
            return server, f"lmtp://127.0.0.1:{server.port}"
        server = scripted(made, path=str(tmp_path / "lmtp"))
        return server, f"lmtp://{server.path}"

    return start


@pytest.mark.parametrize("pipelining", [True, False])
def test_each_recipient_has_its_own_answer_after_the_dot(lmtp, sender, pipelining: bool) -> None:
    server, via = lmtp(pipelining=pipelining)
    names = ["good", "dotdefer", "reject", "dotreject", "good2"]
    told = sender().send(via, *(f"{n}@example.test" for n in names))
    assert statuses(told) == [
        ("delivered", 250, "2.0.0"),
        ("deferred", 451, "4.3.0"),
        ("failed", 550, "5.1.1"),
        ("failed", 554, "5.6.0"),
        ("delivered", 250, "2.0.0"),
    ]
    assert "LHLO client.example.org" in server.commands
    assert [a for a, _ in server.delivered()] == ["good2@example.test", "good@example.test"]
    assert server.message() == MESSAGE


def test_a_session_is_used_again(lmtp, sender) -> None:
    server, via = lmtp()
    out = sender()
    for _ in range(5):
        assert [r.status for r in out.send(via, "a@example.test", "dotdefer@example.test")] == [
            "delivered",
            "deferred",
        ]
    assert len(server.sessions) == 1


def test_all_recipients_refused(lmtp, sender) -> None:
    server, via = lmtp()
    out = sender()
    assert statuses(out.send(via, "reject@example.test")) == [("failed", 550, "5.1.1")]
    assert out.send(via)[0].status == "delivered"
    assert len(server.sessions) == 1


def test_a_connection_lost_between_two_answers_leaves_the_rest_undecided(lmtp, sender) -> None:
    def second(moment: Moment) -> object:
        return Close("250 2.0.0 Ok") if moment.text.startswith("one") else None

    server, via = lmtp(replies={"dot": second})
    told = sender().send(via, "one@example.test", "two@example.test")
    assert [(r.status, r.maybe_delivered) for r in told] == [("delivered", False), ("deferred", True)]
    assert [a for a, _ in server.delivered()] == ["one@example.test"]


def test_a_socket_has_no_tls_whatever_level_is_set(scripted, sender, tmp_path) -> None:
    server = scripted(Script(lmtp=True), path=str(tmp_path / "lmtp"))
    (told,) = sender(tls_level="verify").send(f"lmtp://{server.path}")
    assert (told.status, told.tls, told.host) == ("delivered", None, server.path)


def test_a_socket_that_is_not_there_defers(sender, tmp_path) -> None:
    (told,) = sender().send(f"lmtp://{tmp_path}/nobody")
    assert (told.status, told.enhanced, told.unreachable) == ("deferred", "4.4.1", True)
    assert told.text == "No such file or directory"


def test_an_smtp_server_at_an_lmtp_address_defers(scripted, sender) -> None:
    server = scripted(strict=False)
    (told,) = sender().send(f"lmtp://127.0.0.1:{server.port}")
    assert (told.status, told.unreachable) == ("deferred", True)
