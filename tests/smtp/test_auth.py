"""PLAIN, LOGIN, CRAM-MD5, OAuth tokens, and which is chosen; secrets are seen on the wire only."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import pytest

from mailstrom_cli.smtp.auth import Credentials, LoginFailed, authenticate
from mailstrom_cli.smtp.dialog import Opening, Read, Write
from mailstrom_cli.smtp.wire import plain

from .driving import Driven

TIM = Credentials("tim", "tanstaaftanstaaf")  # RFC 4616, 4


def log_in(offered: tuple[str, ...], *replies: str, credentials: Credentials = TIM, **given: Any) -> Driven:
    return Driven(authenticate(credentials, offered, Write, Read("auth")), *replies, **given)


def base64(text: str) -> str:
    return b64encode(text.encode()).decode()


def test_plain_as_in_rfc_4616() -> None:
    done = log_in(("PLAIN",), "235 in")
    assert done.written == ["AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm"]
    assert (done.result[0], done.result[1].code) == ("PLAIN", 235)


def test_plain_is_utf_8() -> None:
    done = log_in(("PLAIN",), "235 in", credentials=Credentials("jürgen", "pä$$"))
    assert b64decode(done.written[0].split()[-1]).decode() == "\0jürgen\0pä$$"


def test_login_gives_name_and_password_when_asked() -> None:
    done = log_in(("LOGIN",), "334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 in")
    assert done.written == ["AUTH LOGIN", "dGlt", "dGFuc3RhYWZ0YW5zdGFhZg=="]


@pytest.mark.parametrize("replies", [("504 ?",), ("334 ?", "535 ?"), ("235 in",)])
def test_login_stops_where_the_server_does_not_ask(replies: tuple[str, ...]) -> None:
    done = log_in(("LOGIN",), *replies)
    assert done.result[1].code == int(replies[-1][:3])
    assert len(done.written) == len(replies)


@pytest.mark.parametrize(
    ("offered", "mechanism", "begins"),
    [
        (("LOGIN", "PLAIN"), "auto", "AUTH PLAIN "),
        (("LOGIN", "CRAM-MD5", "PLAIN"), "auto", "AUTH CRAM-MD5"),
        (("CRAM-MD5", "SCRAM-SHA-1"), "auto", "AUTH SCRAM-SHA-1 "),
        (("SCRAM-SHA-1", "PLAIN", "SCRAM-SHA-256"), "auto", "AUTH SCRAM-SHA-256 "),
        (("SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"), "auto", "AUTH SCRAM-SHA-256 "),
        (("SCRAM-SHA-1", "PLAIN"), "plain", "AUTH PLAIN "),
        (("XOAUTH2", "OAUTHBEARER", "LOGIN"), "auto", "AUTH LOGIN"),
        (("LOGIN", "PLAIN"), "login", "AUTH LOGIN"),
        (("LOGIN", "PLAIN"), "plain", "AUTH PLAIN "),
    ],
)
def test_the_mechanism_that_is_chosen(offered: tuple[str, ...], mechanism: str, begins: str) -> None:
    done = log_in(offered, "535 no", credentials=Credentials("tim", "x", mechanism))
    assert done.written[0].startswith(begins)


@pytest.mark.parametrize(
    ("offered", "mechanism"),
    [
        ((), "auto"),
        (("GSSAPI",), "auto"),
        (("LOGIN",), "plain"),
        (("PLAIN",), "cram-md5"),
        (("XOAUTH2", "OAUTHBEARER"), "auto"),
        (("SCRAM-SHA-256-PLUS",), "scram-sha-256"),
    ],
)
def test_nothing_is_said_when_no_mechanism_serves(offered: tuple[str, ...], mechanism: str) -> None:
    done = log_in(offered, credentials=Credentials("tim", "x", mechanism))
    assert done.result is None
    assert done.effects == []


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_a_secret_is_in_no_repr(mechanism: str) -> None:
    replies = ("235 in",) if mechanism == "PLAIN" else ("334 ?", "334 ?", "235 in")
    done = log_in((mechanism,), *replies)
    shown = repr((TIM, Opening("h", "verify", credentials=TIM), done.effects))
    assert "Write(...)" in shown
    for secret in ("tanstaaf", "dGFuc3RhYWZ0YW5zdGFhZg", "AHRpbQB0"):
        assert secret not in shown


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_every_write_of_a_secret_names_it_in_both_forms(mechanism: str) -> None:
    replies = ("235 in",) if mechanism == "PLAIN" else ("334 ?", "334 ?", "235 in")
    last = [e for e in log_in((mechanism,), *replies).effects if isinstance(e, Write)][-1]
    assert TIM.password in last.secrets
    assert any(s in last.data.decode() for s in last.secrets)


def test_a_password_with_what_is_not_seen_is_hidden_as_it_would_be_shown() -> None:
    secret = "pass\u200bword\xa0"
    done = log_in(("PLAIN",), "235 in", credentials=Credentials("tim", secret))
    (write,) = [e for e in done.effects if isinstance(e, Write)]
    shown = plain(f"you said {secret}".encode())
    assert r"pass\u200bword" in shown
    assert any(part in shown for part in write.secrets)


# --- CRAM-MD5 ---

RESTON = "334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+"


def test_cram_md5_as_in_rfc_2195() -> None:
    done = log_in(("CRAM-MD5",), RESTON, "235 in")
    assert done.written == ["AUTH CRAM-MD5", "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw"]
    last = [e for e in done.effects if isinstance(e, Write)][-1]
    assert {TIM.password, "b913a602c7eda7a495b4e6e7334d3890"} <= set(last.secrets)
    assert done.written[1] in last.secrets


def test_cram_md5_stops_where_the_server_does_not_ask() -> None:
    assert log_in(("CRAM-MD5",), "535 no").written == ["AUTH CRAM-MD5"]
    with pytest.raises(LoginFailed, match="CRAM-MD5: the server's challenge is no base64"):
        log_in(("CRAM-MD5",), "334 no/base64!")


@pytest.mark.parametrize("refusal", ["504 5.5.4 Not known", "534 5.7.9 Too weak"])
def test_a_mechanism_that_is_refused_as_such_is_followed_by_the_next(refusal: str) -> None:
    done = log_in(("CRAM-MD5", "PLAIN"), refusal, "235 in")
    assert [line.split()[1] for line in done.written] == ["CRAM-MD5", "PLAIN"]
    assert done.result[0] == "PLAIN"


@pytest.mark.parametrize("refusal", ["535 5.7.8 Wrong", "454 4.7.0 Later", "501 What?"])
def test_a_refusal_of_the_user_is_not_tried_in_another_way(refusal: str) -> None:
    assert len(log_in(("CRAM-MD5", "PLAIN"), refusal).written) == 1


# --- tokens ---

TOKEN = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="  # RFC 7628, 4
BEARER = Credentials("user@example.com", TOKEN, oauth=True, host="server.example.com", port=587)


def test_oauthbearer_as_in_rfc_7628() -> None:
    done = log_in(("XOAUTH2", "OAUTHBEARER", "PLAIN"), "235 in", credentials=BEARER)
    assert done.written == [
        (
            "AUTH OAUTHBEARER bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9NTg3"
            "AWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
        )
    ]


def test_a_refused_token_as_in_rfc_7628() -> None:
    error = (
        "334 eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NoZW1lcyI6ImJlYXJlciBtYWMiLCJzY29wZSI6Imh0dHBzOi8vbWFpbC5l"
        "eGFtcGxlLmNvbS8ifQ=="
    )
    done = log_in(("OAUTHBEARER",), error, "535 5.7.8 Refused", credentials=BEARER)
    assert done.written[1:] == ["AQ=="]
    assert done.result[1].code == 535


def test_xoauth2_and_its_refusal() -> None:
    done = log_in(("XOAUTH2", "PLAIN"), "334 eyJzdGF0dXMiOiI0MDEifQ==", "535 no", credentials=BEARER)
    first = b64decode(done.written[0].split()[2]).decode()
    assert first == f"user=user@example.com\x01auth=Bearer {TOKEN}\x01\x01"
    assert done.written[1:] == [""]
    assert done.result[1].code == 535


def test_a_name_with_what_gs2_cannot_hold_is_escaped() -> None:
    done = log_in(("OAUTHBEARER",), "235 in", credentials=Credentials("a,b=c", "t", oauth=True))
    assert b64decode(done.written[0].split()[2]) == b"n,a=a=2Cb=3Dc,\x01auth=Bearer t\x01\x01"


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2", "PLAIN"])
def test_what_is_too_long_for_a_command_waits_until_it_is_asked_for(mechanism: str) -> None:
    credentials = Credentials("tim", "t" * 600, mechanism.lower(), oauth=mechanism != "PLAIN")
    done = log_in((mechanism,), "334", "235 in", credentials=credentials)
    assert done.written[0] == f"AUTH {mechanism}"
    assert b"t" * 600 in b64decode(done.written[1])
    assert not done.effects[0].secrets and done.written[1].rstrip("=") in done.effects[2].secrets
    done = log_in((mechanism,), "535 no", credentials=credentials)
    assert done.written == [f"AUTH {mechanism}"]


def test_the_longest_command_is_512_octets() -> None:
    for length in range(350, 380):
        credentials = Credentials("tim", "t" * length)
        wire = len(f"AUTH PLAIN {base64(chr(0) + 'tim' + chr(0) + 't' * length)}\r\n")
        replies = ("235 in",) if wire <= 512 else ("334", "235 in")
        done = log_in(("PLAIN",), *replies, credentials=credentials)
        assert max(len(e.data) for e in done.effects[:1]) <= 512


def test_a_token_with_an_explicit_mechanism_needs_no_oauth() -> None:
    done = log_in(("PLAIN", "XOAUTH2"), "235 in", credentials=Credentials("tim", "t", "xoauth2"))
    assert done.written[0].startswith("AUTH XOAUTH2 ")
