"""Rate limits: no period of that length sees more, whenever it begins, and little less in the long run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailstrom_cli.config.schema import Rate
from mailstrom_cli.policy import rate as policy

RATES = st.builds(Rate, st.integers(1, 40), st.sampled_from([1, 60, 3600]))


def times(rate: Rate, pauses: list[float]) -> list[float]:
    """When messages leave that come after these pauses, each as soon as it may."""
    now, spread, left = 1000.0, 0.0, []
    for pause in pauses:
        now += pause
        now += policy.wait(spread, now, rate)
        assert policy.wait(spread, now + 1e-6, rate) == 0
        spread = policy.taken(spread, now, rate)
        left.append(now)
    return left


@given(RATES, st.lists(st.floats(0, 2).map(lambda f: 0.0 if f < 1.5 else f - 1.5), max_size=200))
def test_no_period_sees_more_than_the_limit(rate: Rate, pauses: list[float]) -> None:
    left = times(rate, [pause * rate.seconds for pause in pauses])
    for first, last in zip(left, left[rate.count :], strict=False):
        assert last - first >= rate.seconds * (1 - 1e-9)


@given(RATES)
def test_a_tenth_leaves_at_once_and_all_in_the_long_run(rate: Rate) -> None:
    left = times(rate, [0.0] * (20 * rate.count))
    assert sum(when - left[0] < 1e-6 for when in left) == policy.burst(rate) == max(1, rate.count // 10)
    assert left[-1] - left[0] <= 20 * rate.seconds / 0.9


def test_a_clock_that_was_wrong_stops_nothing() -> None:
    rate = Rate(5, 60)
    assert policy.wait(1e9, 1000.0, rate) == 0
    assert policy.taken(1e9, 1000.0, rate) < 1100
