"""The command line: every option in each of its forms becomes the call it means, or an error of usage."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstrom_cli.cli.sendmail.grammar import (
    FLAGS,
    FLUSH,
    LIST,
    NOTHING,
    NOW,
    QUEUE,
    SEND,
    SMTP,
    VALUED,
    VERIFY,
    Call,
    parse,
)
from mailstrom_cli.errors import USAGE, MailstromError
from mailstrom_cli.values import replace

POSTFIX = "A:B:C:F:GIL:N:O:R:UV:X:b:ce:f:h:imno:p:r:q:tvx"
DEFAULT = Call(addresses=("b@example.net",))


def called(line: list[str], name: str = "sendmail") -> Call:
    return parse(name, [*line, "b@example.net"])


def test_the_letters_are_those_of_postfix() -> None:
    valued = {letter for letter, after in pairwise(POSTFIX) if after == ":"}
    assert set(VALUED) == valued
    assert set(FLAGS) == set(POSTFIX) - valued - {":"}


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        ([], {}),
        (["-t"], {"from_header": True}),
        (["-i"], {"dot_ends": False}),
        (["-oi"], {"dot_ends": False}),
        (["-oitrue"], {"dot_ends": False}),
        (["-o", "i"], {"dot_ends": False}),
        (["-ti"], {"from_header": True, "dot_ends": False}),
        (["-it"], {"from_header": True, "dot_ends": False}),
        (["-vti"], {"from_header": True, "dot_ends": False, "verbose": True}),
        (["-fa@example.org"], {"sender": "a@example.org"}),
        (["-f", "a@example.org"], {"sender": "a@example.org"}),
        (["-tfa@example.org"], {"from_header": True, "sender": "a@example.org"}),
        (["-ra@example.org"], {"sender": "a@example.org"}),
        (["-r", "a@example.org"], {"sender": "a@example.org"}),
        (["-f", ""], {"sender": ""}),
        (["-f", "<>"], {"sender": ""}),
        (["-f<>"], {"sender": ""}),
        (["-f", "-t"], {"sender": "-t"}),
        (["-FCron Daemon"], {"full_name": "Cron Daemon"}),
        (["-F", "Cron Daemon"], {"full_name": "Cron Daemon"}),
        (["-F", ""], {"full_name": ""}),
        (["-N", "never"], {"notify": ("never",)}),
        (["-Nsuccess,DELAY,success"], {"notify": ("success", "delay")}),
        (["-R", "hdrs"], {"ret": "hdrs"}),
        (["-RFULL"], {"ret": "full"}),
        (["-V", "id-1"], {"envid": "id-1"}),
        (["-V" + "x" * 100], {"envid": "x" * 100}),
        (["-O", "requiretls=yes"], {"requiretls": True}),
        (["-ORequireTLS=YES"], {"requiretls": True}),
        (["-O", "requiretls=yes", "-O", "requiretls=no"], {"requiretls": False}),
        (["-O", "DeliveryMode=b"], {}),
        (["-XV"], {"verp": "+="}),
        (["-XV-="], {"verp": "-="}),
        (["-X", "V"], {"verp": "+="}),
        (["-odi"], {"delivery": NOW}),
        (["-odf"], {"delivery": NOW}),
        (["-odq"], {"delivery": QUEUE}),
        (["-odd"], {"delivery": QUEUE}),
        (["-odb"], {}),
        (["-odi", "-odb"], {}),
        (["-odx"], {}),
        (["-bm"], {"mode": SEND}),
        (["-bs"], {"mode": SMTP}),
        (["-bp"], {"mode": LIST}),
        (["-bv"], {"mode": VERIFY}),
        (["-bi"], {"mode": NOTHING}),
        (["-I"], {"mode": NOTHING}),
        (["-b", "p"], {"mode": LIST}),
        (["-bs", "-bm"], {"mode": SEND}),
        (["-q"], {"mode": FLUSH}),
        (["-v", "-q"], {"mode": FLUSH, "verbose": True}),
        (["-qI06h0"], {"mode": FLUSH, "pick": ("id", "06h0")}),
        (["-qI", "06h0"], {"mode": FLUSH, "pick": ("id", "06h0")}),
        (["-qRexample.net"], {"mode": FLUSH, "pick": ("recipient", "example.net")}),
        (["-qSa@example.org"], {"mode": FLUSH, "pick": ("sender", "a@example.org")}),
        (["-C", "/etc/c.toml"], {"config": "/etc/c.toml"}),
        (["-C/etc/c.toml"], {"config": "/etc/c.toml"}),
        (["-v"], {"verbose": True}),
        (["--"], {}),
    ],
    ids=lambda item: " ".join(item) if isinstance(item, list) else "",
)
def test_what_is_acted_on(line: list[str], changes: dict[str, object]) -> None:
    assert called(line) == replace(DEFAULT, **changes)


@pytest.mark.parametrize(
    "line",
    [
        *([["-" + letter] for letter in "GUmncx"]),
        ["-Am"], ["-Ac"], ["-A", "m"], ["-h", "3"], ["-h3"], ["-L", "tag"], ["-Ltag"], ["-p", "esmtp:host"],
        ["-d"], ["-d0.1"], ["-d8.99,38.99"], ["-e", "m"], *([["-e" + mode] for mode in "mpqwe"]),
        ["-oe"], ["-oem"], ["-oee"], ["-oep"], ["-om"], ["-o7"], ["-o8"], ["-or5m"], ["-oZ"], ["-oQ/var/q"],
        ["-q15m"], ["-q1h30m"], ["-B7BIT"], ["-B8BITMIME"], ["-B", "8BITMIME"], ["-BBINARY"],
        ["-O", "requiretls=no"], ["-O", "smtputf8=yes"], ["-Osmtputf8=no"], ["-O", "QueueDirectory=/tmp"],
        ["-X", "/tmp/log"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_is_ignored(line: list[str]) -> None:
    assert called(line) == DEFAULT


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (["-Z"], "-Z"),
        (["-tz"], "-z"),
        (["--help"], "--"),
        (["-1"], "-1"),
        (["-bd"], "-bd"),
        (["-bD"], "-bD"),
        (["-ba"], "-ba"),
        (["-b", ""], "-b"),
        (["-N", "sometimes"], "-N sometimes"),
        (["-N", "never,delay"], "-N never,delay"),
        (["-R", "half"], "-R half"),
        (["-V", ""], "-V"),
        (["-V", "x" * 101], "100"),
        (["-V", "naïve"], "ASCII"),
        (["-O", "requiretls=maybe"], "-O requiretls=maybe"),
        (["-O", "requiretls"], "-O requiretls"),
        (["-XV*="], "-XV*="),
        (["-XV+"], "-XV+"),
        (["-f", "a\r\nRCPT TO:<c@example.net>"], "carriage return"),
        (["-F", "a\nBcc: c@example.net"], "line feed"),
        (["-Fa\x00"], "NUL"),
        (["-F\udcff"], "UTF-8"),
    ],
    ids=lambda item: repr(item),
)
def test_what_is_refused(line: list[str], told: str) -> None:
    with pytest.raises(MailstromError) as caught:
        called(line)
    assert caught.value.exit_code == USAGE
    assert told in caught.value.message


@pytest.mark.parametrize("letter", VALUED)
def test_a_value_that_is_missing_is_told(letter: str) -> None:
    if letter == "q":
        assert parse("sendmail", ["-q"]).mode == FLUSH
        letter = "qI"
    with pytest.raises(MailstromError, match=f"-{letter} needs a value"):
        parse("sendmail", ["-" + letter])


def test_options_end_at_the_first_address() -> None:
    assert parse("sendmail", ["-i", "a@example.org", "b@example.net"]).addresses == (
        "a@example.org",
        "b@example.net",
    )
    with pytest.raises(MailstromError, match="after an address") as caught:
        parse("sendmail", ["a@example.org", "-f", "b@example.net"])
    assert caught.value.exit_code == USAGE


def test_two_dashes_end_the_options() -> None:
    call = parse("sendmail", ["-i", "--", "-f", "b@example.net"])
    assert call == Call(addresses=("-f", "b@example.net"), dot_ends=False)


def test_a_control_character_in_an_address_is_refused() -> None:
    with pytest.raises(MailstromError, match="line feed"):
        parse("sendmail", ["a@example.org\nb@example.net"])


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("sendmail", SEND),
        ("send-mail", SEND),
        ("mailstrom-sendmail", SEND),
        ("mailq", LIST),
        ("newaliases", NOTHING),
    ],
)
def test_the_name_decides_what_is_done(name: str, mode: str) -> None:
    assert parse(name, []).mode == mode


def test_mailq_takes_the_options_of_others() -> None:
    assert parse("mailq", ["-v", "-Ac"]) == Call(mode=LIST, verbose=True)


@given(st.lists(st.text("-tifFoqbIRSNVXdev@a.+=<> ", max_size=5), max_size=5))
@settings(max_examples=500)
def test_any_words_are_a_call_or_an_error_of_usage(words: list[str]) -> None:
    try:
        call = parse("sendmail", words)
    except MailstromError as error:
        assert error.exit_code == USAGE
        return
    assert call.mode in (SEND, SMTP, LIST, VERIFY, FLUSH, NOTHING)
    assert set(call.addresses) <= set(words)
