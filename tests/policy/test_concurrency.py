"""The window of a next hop follows what it answers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailstrom_cli.policy import concurrency


def test_it_begins_at_five_or_at_a_lower_limit() -> None:
    assert concurrency.initial(20) == 5
    assert concurrency.initial(2) == 2


@given(st.integers(1, 100), st.lists(st.booleans(), max_size=200))
def test_it_moves_by_one_and_stays_between_one_and_the_limit(limit: int, answers: list[bool]) -> None:
    window = concurrency.initial(limit)
    for success in answers:
        after = concurrency.after_success(window, limit) if success else concurrency.after_failure(window)
        assert after == min(max(window + (1 if success else -1), 1), limit)
        window = after
