"""`mailstrom check-spool`: what is wrong with a spool, and put right with --repair."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mailstrom_cli.cli import output, report
from mailstrom_cli.cli.base import command
from mailstrom_cli.cli.options import Option
from mailstrom_cli.errors import DATA, OK

if TYPE_CHECKING:
    from mailstrom_cli.cli.base import Given
    from mailstrom_cli.store.verdict import Finding

REPAIRED = "repaired"
KINDS = ("error", "warning", "note", REPAIRED)


@command(
    "check-spool",
    Option(("--repair",), "Put right what can be; without it nothing is changed."),
    Option(("--json",), "One JSON object a line: severity, where, what, repair, hint, repaired."),
)
def check_spool(given: Given, repair: bool, json: bool) -> int:
    """Tell what is wrong with the spool, a line a finding, and how much there is; safe beside `run`.

    An error keeps mail waiting, or lets others get at it; a warning is what mailstrom did not make so; a note
    is what a crash left, which mailstrom clears up by itself, or what lies in corrupt/ and why. The exit code
    is 65 while errors or warnings are left. With -q only those are told that are left.

    --repair sets modes, makes what is missing, puts a message into the state and at the time that its sidecar
    says, cuts off torn lines, removes what crashed writers and gone messages left behind, and sets aside in
    corrupt/, with the reason, what is damaged or is not of mailstrom's making. No mail is removed: what lies
    in corrupt/ is yours to submit again or to remove.
    """
    check = given.open().check_spool(repair)
    found: Counter[str] = Counter()
    left = 0
    for finding in check:
        found[REPAIRED if finding.repaired else finding.severity] += 1
        left += finding.left
        if json:
            output.print_json(_object(finding))
        elif finding.left or not given.quiet:
            output.print_text(report.one_line(_line(finding)))
    if not (json or given.quiet):
        counted = [*([] if left else ["ok"]), *(_counted(kind, found[kind]) for kind in KINDS if found[kind])]
        output.print_text(f"{_counted('message', check.messages)} in {check.path}: {', '.join(counted)}")
    return DATA if left else OK


def _counted(kind: str, number: int) -> str:
    return f"{number} {kind}" + ("" if number == 1 or kind == REPAIRED else "s")


def _line(finding: Finding) -> str:
    """`severity: where: what (repaired: how; what a person can do)`"""
    repaired = REPAIRED if finding.repaired else "with --repair"
    remedies = [f"{repaired}: {finding.repair}" if finding.repair else "", finding.hint]
    more = "; ".join(filter(None, remedies))
    return f"{finding.severity}: {finding.where}: {finding.what}" + (f" ({more})" if more else "")


def _object(finding: Finding) -> dict[str, object]:
    return {
        "severity": finding.severity,
        "where": finding.where,
        "what": finding.what,
        "repair": finding.repair or None,
        "hint": finding.hint or None,
        "repaired": finding.repaired,
    }
