"""The short parser of `submit` agrees with click wherever it answers at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstrom_cli.cli import accept, app
from mailstrom_cli.cli.options import GLOBAL, NO_LIMIT, SUBMIT, parse_submit
from mailstrom_cli.errors import MailstromError

if TYPE_CHECKING:
    from collections.abc import Sequence

WORDS = [
    "a.eml",
    "-",
    "full",
    "hdrs",
    "a@example.org",
    "<>",
    "",
    "x=y",
    "30",
    "submit",
    "--",
    "-vq",
    "-fx",
    "--nope",
]
NAMES = [name for option in (*GLOBAL, *SUBMIT) for name in option.names]
TOKENS = st.sampled_from([*WORDS, *NAMES, *(f"{name}=v" for name in NAMES if name.startswith("--"))])


def by_click(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    seen: list[tuple[dict[str, Any], list[str]]] = []

    def note(options: dict[str, Any], files: Sequence[str]) -> int:
        seen.append((options, list(files)))
        return 0

    with patch.object(accept, "run", note):
        app.run(arguments)
    return seen[0]


@given(before=st.lists(TOKENS, max_size=3), after=st.lists(TOKENS, max_size=6))
def test_the_short_way_and_click_understand_the_same(before: list[str], after: list[str]) -> None:
    arguments = [*before, "submit", *after]
    parsed = parse_submit(arguments)
    if parsed is None:
        return
    values, files = parsed
    try:
        clicked, clicked_files = by_click(arguments)
    except MailstromError as error:
        assert "exclude each other" in error.message  # -v with -q, which `accept.run` refuses for both
        return
    assert files == clicked_files
    assert {**values, "verbose": 0, "quiet": 0} == {**clicked, "verbose": 0, "quiet": 0}
    assert bool(values["verbose"]) == bool(clicked["verbose"])


@pytest.mark.parametrize(
    "line",
    [
        "submit",
        "submit a.eml b.eml",
        "--spool /s -v submit -f a@example.org -t b@example.net -t c@example.net --wait --json",
        "submit --wait=5 --ret=full --at +5m -- -strange-name",
        "--via smtp://a.test --via smtp://b.test submit -",
    ],
)
def test_plain_lines_take_the_short_way(line: str) -> None:
    assert parse_submit(line.split()) == by_click(line.split())


@pytest.mark.parametrize(
    "line",
    ["", "queue", "submit --help", "submit -fa@example.org", "submit --ret some", "submit -f",
     "submit --fro a", "submit --json=yes", "--via", "-- submit", "submit -t -x"],
)  # fmt: skip
def test_odd_lines_are_left_to_click(line: str) -> None:
    assert parse_submit(line.split()) is None


def test_wait_takes_no_word_of_its_own() -> None:
    values, files = by_click(["submit", "-fa@example.org", "--wait", "30"])
    assert (values["wait"], files) == (NO_LIMIT, ["30"])
