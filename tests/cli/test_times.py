"""Times as people write and read them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstrom_cli.cli.times import ahead, iso, parse_time, span

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1795488180.0  # 2026-11-24T02:43:00Z, 03:43 in Berlin


@pytest.fixture(autouse=True)
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("+5m", NOW + 300),
        ("+1h30m", NOW + 5400),
        ("@1795488181.5", NOW + 1.5),
        ("2026-11-24T02:43:00Z", NOW),
        ("2026-11-24T03:43:00+01:00", NOW),
        ("2026-11-24 03:43", NOW),
        ("03:44", NOW + 60),
        ("3:44", NOW + 60),
        ("03:43", NOW + 86400),
        ("00:00", NOW + 86400 - 3 * 3600 - 43 * 60),
    ],
)
def test_a_time_is_understood(text: str, when: float) -> None:
    assert parse_time(text, NOW) == when


def test_a_clock_time_over_the_end_of_summer_time() -> None:
    noon_before = 1792834200.0  # 2026-10-24T09:30:00Z, 11:30 there; the night has 25 hours
    assert iso(parse_time("11:00", noon_before)) == "2026-10-25T10:00:00Z"


@pytest.mark.parametrize(
    "text", ["", "tomorrow", "+", "@", "@nan", "@-1", "24:00", "1x:00", "9:3", ":30", "+999999999999d"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        parse_time(text, NOW)


def test_a_time_from_now_has_a_unit() -> None:
    with pytest.raises(ValueError, match='"5" has no unit'):
        parse_time("+5", NOW)


@given(st.floats(0, 1e14) | st.integers(0, 10**14))
def test_a_time_is_that_of_the_c_library(when: float) -> None:
    assert iso(when) == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (0.4, "0s"), (40, "40s"), (60, "1m"), (89, "89s"), (90, "2m"), (3600, "1h"), (200000, "2d")],
)  # fmt: skip
def test_a_span_is_short(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_when_the_next_attempt_is() -> None:
    assert [ahead(when, NOW) for when in (None, NOW - 9, NOW, NOW + 300)] == ["", "now", "now", "in 5m"]
