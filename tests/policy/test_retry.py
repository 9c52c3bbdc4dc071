"""Whole schedules: when a message and when a next hop is tried again."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstrom_cli.config.schema import Retry
from mailstrom_cli.policy import retry
from mailstrom_cli.values import replace

EXACT = replace(Retry(), jitter=0.0)


class Extreme(Random):
    """Always the one end."""

    def __init__(self, end: float) -> None:
        super().__init__()
        self.end = end

    def uniform(self, a: float, b: float) -> float:
        return a if self.end < 0 else b


def delays(settings: Retry, count: int, rng: Random | None = None) -> list[float]:
    return [retry.delay(settings, n, rng or Random(1)) for n in range(1, count + 1)]


def attempts(settings: Retry, most: int = 50) -> int:
    """How many attempts a message gets that is deferred each time."""
    done = 1
    while not retry.exhausted(settings, done) and done < most:
        done += 1
    return done


def test_the_delays_grow_to_the_longest_and_stay_there() -> None:
    assert delays(EXACT, 6) == [300, 1800, 10800, 21600, 21600, 21600]


def test_jitter_keeps_within_its_share() -> None:
    assert delays(Retry(), 3, Extreme(-1)) == pytest.approx([270, 1620, 9720])
    assert delays(Retry(), 3, Extreme(+1)) == pytest.approx([330, 1980, 11880])


def test_jitter_spreads() -> None:
    rng = Random(7)
    assert len({retry.delay(Retry(), 1, rng) for _ in range(50)}) == 50


@given(st.integers(1, 10**9), st.integers(0, 2**32))
def test_however_often_a_delay_is_finite_and_bounded(n: int, seed: int) -> None:
    for settings in (Retry(), replace(Retry(), factor=1000.0, base_delay=10**6)):
        assert 0 < retry.delay(settings, n, Random(seed)) <= settings.max_delay * 1.1
        assert 0 < retry.host_delay(settings, n, Random(seed)) <= 3600 * 1.1


@pytest.mark.parametrize(("retries", "wanted"), [(3, 4), (0, 1), (1, 2), (-1, 50)])
def test_how_many_attempts_there_are(retries: int, wanted: int) -> None:
    assert attempts(replace(Retry(), retries=retries)) == wanted


def test_a_next_hop_out_of_reach_is_left_alone_ever_longer() -> None:
    assert [retry.host_delay(EXACT, n, Random(1)) for n in range(1, 10)] == [
        60, 120, 240, 480, 960, 1920, 3600, 3600, 3600,
    ]  # fmt: skip


def test_no_back_off_is_longer_than_the_longest_delay() -> None:
    assert retry.host_delay(replace(EXACT, max_delay=90.0), 5, Random(1)) == 90


def test_short_delays_make_a_short_crash_guard() -> None:
    assert retry.crash_guard(Retry()) == 60
    assert retry.crash_guard(replace(Retry(), base_delay=5.0)) == 5


@pytest.mark.parametrize(
    ("due", "looked"),
    [
        (1000.0, True),
        (1000.0005, True),  # rounded up on record
        (1001.0, False),
        (1000.0 + retry.longest(EXACT), False),
        (1001.0 + retry.longest(EXACT), True),  # a clock was wrong, or the submitter asked for it
    ],
)
def test_what_a_pass_looks_at(due: float, looked: bool) -> None:
    assert retry.to_look_at(due, 1000.0, EXACT) is looked
