"""What is wrong with what was read of a spool: pure verdicts."""

from __future__ import annotations

import pytest

from mailstrom_cli.mail.envelope import Envelope, Recipient
from mailstrom_cli.mail.status import STATES
from mailstrom_cli.store import verdict
from mailstrom_cli.store.entry import DamagedEntry, apply, first_line, fold
from mailstrom_cli.store.fault import Fault, settle
from mailstrom_cli.store.schedule import DISTANT, HELD, index_of
from mailstrom_cli.store.verdict import ERROR, NOTE, WARNING, Finding

from .samples import NOW, ONE, TWO, event, results

ID = "06h0rpp74b86vs85"
LINE = first_line(ID, NOW, Envelope("a@example.org", (Recipient(ONE),), "<1@example.org>", 5, at=NOW + 300))
ENTRIES = {
    "queued": fold([LINE]),
    "deferred": fold([LINE, results(NOW, b=NOW + 300)]),
    "held": fold([LINE, event("held", NOW)]),
    "delivered": fold([LINE, results(NOW, b="delivered")]),
    "failed": fold([LINE, event("cancelled", NOW)]),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_an_index_that_follows_the_sidecar_is_right(name: str) -> None:
    entry = ENTRIES[name]
    mtime = index_of(entry, 0.0)
    for rounded in (mtime, mtime - mtime % 1_000_000_000, mtime + 1_999_000_000):
        assert list(verdict.misplaced("x", entry.state, rounded, entry, NOW)) == []


@pytest.mark.parametrize(
    ("name", "mtime", "severity"),
    [
        ("queued", NOW + 300, None),
        ("queued", NOW + 3600, None),  # an attempt was postponed
        ("queued", NOW + DISTANT - 1, None),
        ("queued", NOW + DISTANT + 1, ERROR),
        ("queued", NOW + 200, NOTE),
        ("queued", HELD, ERROR),
        ("deferred", NOW - 1, NOTE),
        ("deferred", HELD, ERROR),
        ("held", NOW, NOTE),
        ("held", NOW + 2 * DISTANT, NOTE),
        ("delivered", NOW + 3, WARNING),
        ("delivered", NOW - 3, WARNING),
        ("failed", HELD, WARNING),
    ],
)
def test_an_index_that_does_not(name: str, mtime: float, severity: str | None) -> None:
    entry = ENTRIES[name]
    found = list(verdict.misplaced("x", entry.state, int(mtime * 1e9), entry, NOW))
    assert [f.severity for f in found] == ([] if severity is None else [severity])
    assert all(f.repair for f in found)


def test_what_is_due_in_either_case_is_not_told() -> None:
    for mtime in (NOW - 500, NOW, NOW + 200):
        assert not list(verdict.misplaced("x", "queued", int(mtime * 1e9), ENTRIES["queued"], NOW + 300))


def test_a_far_time_that_a_file_system_cannot_hold_is_not_told() -> None:
    entry = fold([{**LINE, "at": NOW + 1e12}])
    assert not list(verdict.misplaced("x", "queued", int(15e9 * 1e9), entry, NOW))


@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.parametrize("state", STATES)
def test_a_message_in_the_wrong_state(name: str, state: str) -> None:
    entry = ENTRIES[name]
    found = list(verdict.misplaced("x", state, index_of(entry, 0.0), entry, NOW))
    if state == entry.state:
        assert found == []
        return
    waits, is_final = entry.state in ("queued", "deferred"), state in ("delivered", "failed")
    severity = ERROR if waits and is_final else WARNING if is_final else NOTE
    assert [(f.severity, f.repair) for f in found] == [(severity, f"moved to {entry.state}/")]


def test_of_two_copies_the_one_that_the_other_goes_on_from_is_stale() -> None:
    assert verdict.stale(b"ab", b"a") is False
    assert verdict.stale(b"a", b"ab") is True
    assert verdict.stale(b"ab", b"ac") is None


def test_every_kind_of_event_that_is_known_is_one_that_the_fold_knows() -> None:
    """The fold passes an unknown kind over, whatever it holds."""
    entry = ENTRIES["queued"]
    assert apply(entry, {"event": "x"}) is entry
    for kind in verdict.EVENTS:
        if kind == "released":
            entry = ENTRIES["held"]
        with pytest.raises(DamagedEntry):
            apply(entry, {"event": kind})


def test_all_that_mailstrom_writes_is_known() -> None:
    envelope = Envelope(
        "", (Recipient(ONE, ("success", "failure", "delay"), "rfc822;x"), Recipient(TWO, ("never",))),
        "<1@example.org>", 5, "8bitmime", True, NOW, NOW + 9, "key", "digest", "envid", "hdrs", "ann",
    )  # fmt: skip
    lines = [
        first_line(ID, NOW, envelope),
        {**results(NOW, b=NOW, c="delivered"), "transcript": ""},
        {"event": "postponed", "time": NOW, "recipients": [ONE], "next": NOW + 1, "reason": "x"},
        *(event(kind, NOW) for kind in ("held", "released", "cancelled")),
        event("retried", NOW, recipients=[ONE]),
    ]
    assert list(verdict.unknown("x", lines, fold(lines))) == []


@pytest.mark.parametrize("held", [None, 7, [], {}, "x" * 1_000_000, [[0] * 100_000]])
def test_an_event_of_whatever_kind_is_told_in_a_line(held: object) -> None:
    lines = [LINE, {"event": held}]
    (found,) = verdict.unknown("x", lines, fold(lines))
    assert (found.severity, len(found.what) < 200) == (NOTE, True)


@pytest.mark.parametrize("when", [0, 1e15, 1e300, -1e300, float("inf")])
def test_every_time_can_be_told(when: float) -> None:
    assert verdict.moment(when)


def test_a_finding_is_left_until_it_is_repaired_unless_it_is_a_note() -> None:
    for severity in verdict.SEVERITIES:
        finding = Finding(severity, "x", "y", "z")
        assert finding.left is (severity != NOTE)
        assert finding.failed("why").left is (severity != NOTE)
        assert not finding.done().left


class Broken:
    """Something with faults, each mended by name, or not at all."""

    def __init__(self, *faults: str) -> None:
        self.faults = list(faults)
        self.looks = 0

    def look(self) -> list[Fault]:
        self.looks += 1
        return [self.fault(name) for name in self.faults if name != "hidden" or "cover" not in self.faults]

    def fault(self, name: str) -> Fault:
        def mend() -> None:
            if name == "stuck":
                raise OSError(30, "Read-only file system")
            if name != "stays":
                self.faults.remove(name)

        if name == "for a person":
            return Fault(Finding(ERROR, "x", name, hint="do it"))
        return Fault(Finding(ERROR, "x", name, "mends it"), mend)

    def settled(self, *, repair: bool) -> list[tuple[str, bool, str, str]]:
        return [(f.what, f.repaired, f.repair, f.hint) for f in settle(self.look, repair=repair)]


def test_without_repair_nothing_is_mended_and_one_look_is_enough() -> None:
    broken = Broken("a", "for a person")
    assert broken.settled(repair=False) == [
        ("a", False, "mends it", ""),
        ("for a person", False, "", "do it"),
    ]
    assert (broken.faults, broken.looks) == (["a", "for a person"], 1)


def test_with_repair_another_look_says_what_was_mended() -> None:
    broken = Broken("a", "stuck", "stays", "for a person", "cover", "hidden")
    assert broken.settled(repair=True) == [
        ("a", True, "mends it", ""),
        ("stuck", False, "", "not repaired: Read-only file system"),
        ("stays", False, "", "not repaired: it is as it was"),
        ("for a person", False, "", "do it"),
        ("cover", True, "mends it", ""),
        ("hidden", True, "mends it", ""),
    ]
