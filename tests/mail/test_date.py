"""Dates: what is right, what is out of use, and what cannot be."""

from __future__ import annotations

import email.utils
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstrom_cli.mail.date import FORM, OBSOLETE, SYNTAX, date_fault


@pytest.mark.parametrize(
    "text",
    [
        "Tue, 24 Nov 2026 02:43:00 +0000",
        "24 Nov 2026 02:43 -0330",
        "tue, 24 nov 2026 23:59:60 +0000 (leap (second))",
        "Thu, 29 Feb 2024 00:00:00 +1400",
        "Tue,\t24\r\n Nov 2026 02:43:00 +0000",
        "Sat,  1 Jan 2000 00:00:00 -0000",
        "1 Jan 10000 00:00:00 +0000",
    ],
)
def test_a_date_that_is_right(text: str) -> None:
    assert date_fault(text) is None


@pytest.mark.parametrize(
    ("text", "says", "rule"),
    [
        ("Tue, 24 Nov 2026 02:43:00 GMT", "`GMT`", OBSOLETE),
        ("Tue, 24 Nov 26 02:43:00 +0000", "four digits", OBSOLETE),
        ("24 Nov 126 02 : 43 +0000", "four digits", OBSOLETE),
        ("Mon, 24 Nov 2026 02:43:00 +0000", "is a Tue, not a Mon", SYNTAX),
        ("Tue, 24 Nov 2026 02:43:00", "no time zone", SYNTAX),
        ("31 Feb 2026 02:43:00 +0000", "no such day", SYNTAX),
        ("29 Feb 2100 02:43:00 +0000", "no such day", SYNTAX),
        ("0 Jan 2026 02:43:00 +0000", "no such day", SYNTAX),
        ("1 Jan 1899 02:43:00 +0000", "no such day", SYNTAX),
        ("1 Jan 999999999 02:43:00 +0000", "no such day", SYNTAX),
        ("24 Nov 2026 24:00:00 +0000", "no such time", SYNTAX),
        ("24 Nov 2026 2:43:00 +0000", "no such time", SYNTAX),
        ("24 Nov 2026 02:43:00 +00:00", "time zone is not", SYNTAX),
        ("24 Nov 2026 02:43:00 +0060", "time zone is not", SYNTAX),
        ("2026-11-24T02:43:00Z", FORM, SYNTAX),
        ("Dienstag, 24 Nov 2026 02:43:00 +0000", FORM, SYNTAX),
        ("24 Okt 2026 02:43:00 +0000", FORM, SYNTAX),
        ("24 Nov 2026 02:43:00 Europe/Paris", FORM, SYNTAX),
        ("²4 Nov 2026 02:43:00 +0000", FORM, SYNTAX),
        ("24 Nov 2026 02:43:00 +0000 (", FORM, SYNTAX),
        ("", FORM, SYNTAX),
        ("x", FORM, SYNTAX),
    ],
)
def test_a_date_that_is_not(text: str, says: str, rule: str) -> None:
    fault = date_fault(text)
    assert fault is not None
    assert says in fault[0]
    assert fault[1] == rule


@given(
    st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(9998, 1, 1)),
    st.integers(-14 * 60, 14 * 60),
)
@settings(max_examples=300, deadline=None)
def test_every_date_of_the_standard_library_is_right(when: datetime, minutes: int) -> None:
    text = email.utils.format_datetime(when.replace(tzinfo=timezone(timedelta(minutes=minutes))))
    assert date_fault(text) is None


@given(st.text("0123456789 :,+-()TueNovGMT\\\r\n²", max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_text_has_a_verdict(text: str) -> None:
    date_fault(text)
