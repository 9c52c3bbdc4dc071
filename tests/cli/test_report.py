"""Errors become lines on stderr and exit codes; text from elsewhere becomes one harmless line."""

from __future__ import annotations

import errno
import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstrom_cli.cli.report import guarded, one_line
from mailstrom_cli.errors import MailstromError


def raising(error: BaseException) -> int:
    def work() -> int:
        raise error

    return guarded(work, [])


def system(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MailstromError("no", "yes", 66), 66),
        (KeyboardInterrupt(), 130),
        (MemoryError(), 75),
        (system(errno.ENOSPC), 75),
        (system(errno.EMFILE), 75),
        (system(errno.EACCES), 77),
        (system(errno.EISDIR), 78),
        (ZeroDivisionError("x"), 70),
    ],
)
def test_every_error_has_its_code(error: BaseException, code: int, capfd: pytest.CaptureFixture[str]) -> None:
    assert raising(error) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert all(line.startswith(("error: ", "hint: ")) for line in err.splitlines())


def test_an_error_is_told_with_its_hint(capsys: pytest.CaptureFixture[str]) -> None:
    raising(MailstromError("first\nsecond", "do this"))
    assert capsys.readouterr().err == "error: first\nerror: second\nhint: do this\n"


def test_a_bug_is_one_line_and_v_adds_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    raising(ZeroDivisionError("boom"))
    err = capsys.readouterr().err
    assert err.splitlines()[0] == "error: internal error, ZeroDivisionError: boom"
    assert "Traceback" not in err
    guarded(lambda: 1 // 0, ["queue", "-v"])
    assert "Traceback" in capsys.readouterr().err


@given(st.text(max_size=300))
def test_one_line_shows_nothing_that_a_terminal_obeys(text: str) -> None:
    shown = one_line(text)
    assert shown.isprintable()
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Grüße 日本", "Grüße 日本"),
        ("a\r\nerror: forged", r"a\r\nerror: forged"),
        ("\x1b[2J\x9b31m", r"\x1b[2J\x9b31m"),
        ("abc\u202etxt.exe", r"abc\u202etxt.exe"),
        ("x" * 2000, "x" * 999 + "…"),
    ],
)
def test_what_is_escaped_and_cut(text: str, shown: str) -> None:
    assert one_line(text) == shown
