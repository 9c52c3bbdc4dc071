"""`submit --check`: everything that is found, and nothing stored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from .conftest import MESSAGE, Done

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., Done]
    Write = Callable[..., str]

BAD = (
    b"From: a@example.org, b@\nTo: <c@example.net> <d@example.net>\nDate: yesterday\n"
    b"Subject: \xfc\nBcc: e@example.net\n\nx\0y\n"
)


def test_all_findings_are_told_by_line(here: Run, eml: Write, tmp_path: Path, spool: Path) -> None:
    bad, good = eml("bad.eml", BAD), eml("good.eml", MESSAGE)
    done = here("submit", "--check", bad, good, str(tmp_path / "missing.eml"))
    assert done.code == 65
    told = done.out.replace(bad, "BAD").replace(good, "GOOD").splitlines()
    assert [line[:60] for line in told] == [
        line[:60]
        for line in (
            "BAD: fixed: field `Message-ID`: added (RFC 5322, 3.6)",
            "BAD: line 1: refused: field `From`: there is no domain after the @ at",
            "BAD: line 2: refused: field `To`: `<` at character 21 follows an address",
            "BAD: line 3: noted: field `Date`: it is no date-time such as",
            "BAD: line 4: refused: field `Subject`: octet 0xFC is neither ASCII",
            "BAD: line 5: fixed: field `Bcc`: removed (RFC 5322, 3.6.3)",
            "BAD: line 7: refused: a NUL octet is in the body (RFC 5322, 4)",
            "GOOD: fixed: field `Date`: added (RFC 5322, 3.6)",
            "GOOD: fixed: field `Message-ID`: added (RFC 5322, 3.6)",
        )
    ]
    assert "hint: write header text as UTF-8" in done.err
    assert "missing.eml: cannot be read" in done.err
    assert not spool.exists()


def test_json_has_an_object_for_each_message(here: Run, eml: Write) -> None:
    bad, good = eml("bad.eml", BAD), eml("good.eml", MESSAGE)
    done = here("submit", "--check", "--json", bad, good)
    assert (done.code, done.err) == (65, "")
    first, second = map(json.loads, done.lines)
    keys = ["id", "message_id", "fixes", "recipients", "file", "findings"]
    assert list(first) == list(second) == keys
    assert (first["id"], first["message_id"], first["recipients"], first["file"]) == (None, None, [], bad)
    assert second["recipients"] == ["b@example.net"]
    assert all(isinstance(fix, str) for fix in second["fixes"])
    assert second["fixes"]
    assert [f["severity"] for f in first["findings"]].count("refused") == 4
    assert first["findings"][1] == {
        "severity": "refused",
        "line": 1,
        "field": "From",
        "what": "there is no domain after the @ at character 23",
        "rfc": "RFC 5322, 3.4",
        "hint": None,
    }


@pytest.mark.parametrize(("option", "lines"), [("-q", 4), ("-v", 7)])
def test_quiet_tells_the_refusals_alone(here: Run, eml: Write, option: str, lines: int) -> None:
    assert len(here("submit", option, "--check", eml("bad.eml", BAD)).lines) == lines


def test_a_wrong_option_is_a_usage_error(process: Run) -> None:
    done = process("submit", "--check", "--to", "a b@example.org", input=MESSAGE)
    assert done.code == 64
    assert "stdin: refused: recipient: `a b@example.org` has a space at character 2" in done.out
