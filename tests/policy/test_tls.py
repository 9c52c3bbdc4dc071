"""How much TLS a connection needs."""

from __future__ import annotations

import pytest

from mailstrom_cli.policy.tls import level, plain_text_instead

LEVELS = ("none", "may", "encrypt", "verify")


@pytest.mark.parametrize("asked", LEVELS)
@pytest.mark.parametrize("implicit", [False, True])
def test_a_login_is_verified_whatever_was_asked(asked: str, implicit: bool) -> None:
    assert level(asked, implicit=implicit, login=True) == "verify"


@pytest.mark.parametrize("asked", LEVELS)
def test_without_a_login_what_was_asked_counts(asked: str) -> None:
    assert level(asked, implicit=False, login=False) == asked


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [("none", "encrypt"), ("may", "encrypt"), ("encrypt", "encrypt"), ("verify", "verify")],
)
def test_tls_from_the_first_octet_is_never_left_out(asked: str, wanted: str) -> None:
    assert level(asked, implicit=True, login=False) == wanted


@pytest.mark.parametrize("asked", LEVELS)
@pytest.mark.parametrize("attempts", [0, 1, 5])
def test_plain_text_instead_only_for_may_and_from_the_second_attempt_on(asked: str, attempts: int) -> None:
    assert plain_text_instead(asked, attempts) is (asked == "may" and attempts > 0)
