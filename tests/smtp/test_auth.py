"""SASL PLAIN and LOGIN; the secrets are seen nowhere but on the wire."""

from __future__ import annotations

from base64 import b64decode

import pytest

from mailstrom_cli.smtp.auth import Credentials, authenticate
from mailstrom_cli.smtp.dialog import Opening, Read, Write
from mailstrom_cli.smtp.wire import plain

from .driving import Driven

TIM = Credentials("tim", "tanstaaftanstaaf")  # RFC 4616, 4


def log_in(offered: tuple[str, ...], *replies: str, credentials: Credentials = TIM) -> Driven:
    return Driven(authenticate(credentials, offered, Write, Read("auth")), *replies)


def test_plain_as_in_rfc_4616() -> None:
    done = log_in(("PLAIN",), "235 in")
    assert done.written == ["AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm"]
    assert done.result.code == 235


def test_plain_is_utf_8() -> None:
    done = log_in(("PLAIN",), "235 in", credentials=Credentials("jürgen", "pä$$"))
    assert b64decode(done.written[0].split()[-1]).decode() == "\0jürgen\0pä$$"


def test_login_gives_name_and_password_when_asked() -> None:
    done = log_in(("LOGIN",), "334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 in")
    assert done.written == ["AUTH LOGIN", "dGlt", "dGFuc3RhYWZ0YW5zdGFhZg=="]


@pytest.mark.parametrize("replies", [("504 ?",), ("334 ?", "535 ?"), ("235 in",)])
def test_login_stops_where_the_server_does_not_ask(replies: tuple[str, ...]) -> None:
    done = log_in(("LOGIN",), *replies)
    assert done.result.code == int(replies[-1][:3])
    assert len(done.written) == len(replies)


@pytest.mark.parametrize(
    ("offered", "mechanism", "begins"),
    [
        (("LOGIN", "PLAIN"), "auto", "AUTH PLAIN "),
        (("CRAM-MD5", "LOGIN"), "auto", "AUTH LOGIN"),
        (("LOGIN", "PLAIN"), "login", "AUTH LOGIN"),
        (("LOGIN", "PLAIN"), "plain", "AUTH PLAIN "),
    ],
)
def test_the_mechanism_that_is_chosen(offered: tuple[str, ...], mechanism: str, begins: str) -> None:
    done = log_in(offered, "535 no", credentials=Credentials("tim", "x", mechanism))
    assert done.written[0].startswith(begins)


@pytest.mark.parametrize(
    ("offered", "mechanism"),
    [((), "auto"), (("GSSAPI",), "auto"), (("LOGIN",), "plain"), (("CRAM-MD5",), "cram-md5")],
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
