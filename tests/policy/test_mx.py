"""Which hosts and which of their addresses, in which order."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstrom_cli.policy.mx import (
    MAX_ADDRESSES,
    MxRecord,
    Target,
    choose,
    in_order,
    is_null_mx,
    wanted_families,
)


def records(*told: tuple[int, str]) -> list[MxRecord]:
    return [MxRecord(*one) for one in told]


def test_the_lowest_preference_is_first() -> None:
    assert in_order(records((30, "c"), (10, "a"), (20, "b")), Random(1)) == [["a"], ["b"], ["c"]]


def test_equals_are_shuffled_among_themselves_only() -> None:
    rng, first = Random(1), Counter[str]()
    for _ in range(600):
        order = in_order(records((10, "a1"), (10, "a2"), (10, "a3"), (20, "b")), rng)
        assert order[1] == ["b"]
        first[order[0][0]] += 1
    assert set(first) == {"a1", "a2", "a3"}
    assert min(first.values()) > 150


def test_a_host_named_twice_is_tried_once_at_its_best() -> None:
    assert in_order(records((10, "MX"), (5, "other"), (20, "mx")), Random(1)) == [["other"], ["mx"]]


def test_null_mx_is_a_single_root() -> None:
    assert is_null_mx(records((0, "")))
    assert is_null_mx(records((10, "")))
    assert not is_null_mx(records((0, ""), (10, "mx")))
    assert not is_null_mx(records((0, "mx")))
    assert not is_null_mx([])


def test_a_root_among_real_hosts_is_passed_over() -> None:
    assert in_order(records((0, ""), (10, "mx")), Random(1)) == [["mx"]]


def targets(*addresses: str) -> list[Target]:
    return [Target("mx", address, 25) for address in addresses]


FOUR = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6"]
SIX = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4", "2001:db8::5", "2001:db8::6"]


@pytest.mark.parametrize(
    ("given_", "chosen"),
    [
        (FOUR[:2], FOUR[:2]),
        (FOUR, FOUR[:5]),
        (FOUR[:3] + SIX[:3], FOUR[:3] + SIX[:2]),
        (FOUR + SIX, FOUR[:4] + SIX[:1]),
        (SIX + FOUR, SIX[:4] + FOUR[:1]),
        ([], []),
    ],
)
def test_five_addresses_and_both_families_among_them(given_: list[str], chosen: list[str]) -> None:
    assert choose(targets(*given_)) == targets(*chosen)


@given(st.lists(st.sampled_from(FOUR + SIX), max_size=14, unique=True))
def test_choosing_keeps_order_and_never_loses_a_family(addresses: list[str]) -> None:
    chosen = [t.address for t in choose(targets(*addresses))]
    assert len(chosen) == min(len(addresses), MAX_ADDRESSES)
    assert chosen == [a for a in addresses if a in chosen]
    assert {":" in a for a in chosen} == {":" in a for a in addresses}


def test_families_to_look_up() -> None:
    assert wanted_families("both") == ("A", "AAAA")
    assert wanted_families("ipv4") == ("A",)
    assert wanted_families("ipv6") == ("AAAA",)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (Target("mx.example.org", "192.0.2.1", 25), "mx.example.org[192.0.2.1]:25"),
        (Target("mx.example.org", "2001:db8::1", 26), "mx.example.org[2001:db8::1]:26"),
        (Target("192.0.2.1", "192.0.2.1", 25), "[192.0.2.1]:25"),
        (Target("/run/lmtp", "/run/lmtp", None), "/run/lmtp"),
    ],
)
def test_how_a_target_is_shown(target: Target, text: str) -> None:
    assert str(target) == text
