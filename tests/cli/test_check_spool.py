"""`check-spool`: what it prints, in a pipe and as JSON, and its exit codes."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.api import Mailstrom, Request
from mailstrom_cli.store.entry import fold
from mailstrom_cli.store.layout import DIRECTORIES
from mailstrom_cli.store.schedule import index_of
from mailstrom_cli.store.sidecar import encode

from .conftest import MESSAGE
from .samples import NOW, SIDECARS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Done

    Run = Callable[..., Done]
    Golden = Callable[[str, str], None]

QUEUED, MANY, HELD, DEFERRED, DELIVERED, FAILED = SIDECARS


@pytest.fixture
def damaged(spool: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The spool of the samples, with faults, looked at at a fixed time."""
    Mailstrom.open().store  # noqa: B018  (makes it)
    for id, lines in SIDECARS.items():
        entry = fold(lines)
        path = spool / entry.state / id
        path.mkdir(mode=0o700)
        for name, octets in (("message.eml", b""), ("message.jsonl", b"".join(map(encode, lines)))):
            (path / name).write_bytes(octets)
            (path / name).chmod(0o600)
        os.truncate(path / "message.eml", entry.envelope.size)
        os.utime(path, ns=(index_of(entry, 0.0),) * 2)
    monkeypatch.setattr("mailstrom_cli.api.time", SimpleNamespace(time=lambda: NOW))
    spool.chmod(0o777)
    (spool / "trigger").unlink()
    (spool / "queued" / "letter \x1b[2J.txt").touch()
    os.truncate(spool / "queued" / QUEUED / "message.eml", 1000)
    (spool / "deferred" / MANY / "message.eml").chmod(0o644)
    (spool / "deferred" / DEFERRED).rename(spool / "delivered" / DEFERRED)
    os.utime(spool / "queued" / HELD, (NOW + 1e6, NOW + 1e6))
    with (spool / "failed" / FAILED / "message.jsonl").open("a") as sidecar:
        sidecar.write('{"event":"ret')
    (spool / "corrupt" / ("0" * 16)).mkdir()
    (spool / "corrupt" / ("0" * 16) / "reason").write_text("the sidecar is empty\n")
    (spool / "corrupt" / ("0" * 16) / "reason").chmod(0o600)
    return spool


def test_in_a_pipe(damaged: Path, here: Run, golden: Golden) -> None:
    done = here("check-spool")
    assert (done.code, done.err) == (65, "")
    assert all(c.isprintable() or c == "\n" for c in done.out)
    golden("check-spool.pipe", done.out.replace(str(damaged), "SPOOL"))
    assert here("check-spool") == done  # nothing was changed


def test_repaired(damaged: Path, here: Run, golden: Golden) -> None:
    done = here("check-spool", "--repair")
    assert (done.code, done.err) == (65, "")
    golden("check-spool-repair.pipe", done.out.replace(str(damaged), "SPOOL"))
    (letter,) = (damaged / "queued").glob("letter*")
    letter.unlink()
    done = here("check-spool")
    assert (done.code, done.lines[-1]) == (0, f"5 messages in {damaged}: ok, 2 notes")
    assert here("check-spool", "-q") == (0, "", "")
    assert here("status", DEFERRED).code == 0


def test_as_json(damaged: Path, here: Run, golden: Golden) -> None:
    done = here("check-spool", "--json")
    assert (done.code, done.err) == (65, "")
    told = [json.loads(text) for text in done.lines]
    golden("check-spool.json", "".join(json.dumps(one, indent=1) + "\n" for one in told))
    assert {tuple(one) for one in told} == {("severity", "where", "what", "repair", "hint", "repaired")}
    repaired = [json.loads(text) for text in here("check-spool", "--json", "--repair").lines]
    assert [one["where"] for one in repaired] == [one["where"] for one in told]
    assert [one["repaired"] for one in repaired] == [one["repair"] is not None for one in told]


def test_quiet_tells_what_is_left(damaged: Path, here: Run) -> None:
    done = here("check-spool", "-q")
    assert done.code == 65
    assert {line.partition(":")[0] for line in done.lines} == {"error", "warning"}
    done = here("check-spool", "-q", "--repair")
    assert [line[:30] for line in done.lines] == ["warning: queued/letter \\x1b[2J"]


def test_a_sound_spool(here: Run, spool: Path) -> None:
    mail = Mailstrom.open()
    assert (here("check-spool").code, spool.exists()) == (66, False)
    mail.submit(MESSAGE, Request())
    assert here("check-spool") == (0, f"1 message in {spool}: ok\n", "")
    assert here("check-spool", "--repair") == (0, f"1 message in {spool}: ok\n", "")
    assert here("check-spool", "--json") == (0, "", "")


def test_notes_are_no_faults(here: Run, spool: Path) -> None:
    id = Mailstrom.open().submit(MESSAGE, Request()).id
    with (spool / "queued" / id / "message.jsonl").open("a") as sidecar:
        sidecar.write("{")
    done = here("check-spool")
    assert (done.code, done.lines[-1]) == (0, f"1 message in {spool}: ok, 1 note")
    assert here("check-spool", "--repair").lines[-1] == f"1 message in {spool}: ok, 1 repaired"


@pytest.mark.parametrize("name", ["format", *DIRECTORIES])
def test_a_spool_that_lost_a_part_is_one_again(here: Run, spool: Path, name: str) -> None:
    Mailstrom.open().store  # noqa: B018  (makes it)
    path = spool / name
    path.rmdir() if path.is_dir() else path.unlink()
    done = here("check-spool")
    assert (done.code, done.out.count("is missing")) == (0 if name == "notes" else 65, 1)
    assert here("check-spool", "--repair").code == 0
    assert here("check-spool").code == here("queue").code == here("flush").code == 0


def test_what_cannot_be_checked(here: Run, spool: Path) -> None:
    for url in ("memory:", "postgres://x"):
        assert here("--spool", url, "check-spool").code == 78
    Mailstrom.open().store  # noqa: B018  (makes it)
    (spool / "format").write_text("mailstrom spool 7\n")
    done = here("check-spool", "--repair")
    assert (done.code, "'mailstrom spool 7'" in done.err) == (78, True)
    assert here("check-spool", "more").code == 64
