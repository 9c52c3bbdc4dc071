"""What was found in a message, to be told to the person who submits it."""

from __future__ import annotations

from mailstrom_cli.errors import DATA, USAGE, MailstromError
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

REFUSED = "refused"  # the message is not accepted
FIXED = "fixed"  # the message was changed
NOTED = "noted"  # the message is accepted as it is

SAME_NOTES = 3  # of those that say the same, so many are told one by one


@value
class Finding:
    """severity: "refused", "fixed" or "noted".  line: of the input, from 1.  field: a field's name.
    option: what was asked for beside the message, such as "recipient".  what: a sentence.  rfc: "RFC 5322,
    3.6.2".  hint: what to do about a refusal, or ""."""

    severity: str
    what: str
    line: int | None = None
    field: str | None = None
    rfc: str = ""
    option: str | None = None
    hint: str = ""

    def __str__(self) -> str:
        place = [f"line {self.line}"] if self.line is not None else []
        return ": ".join([*place, self.told])

    @property
    def told(self) -> str:
        """All of it but the line."""
        place = [f"field `{self.field}`"] if self.field is not None else []
        if self.option is not None:
            place.append(self.option)
        rule = f" ({self.rfc})" if self.rfc else ""
        return ": ".join([*place, self.what]) + rule


class Findings:
    """Collects findings."""

    def __init__(self) -> None:
        self.all: list[Finding] = []
        self.refused = False
        self._notes: dict[tuple[str, str], int] = {}

    def refuse(
        self,
        what: str,
        rfc: str = "",
        *,
        line: int | None = None,
        field: str | None = None,
        option: str | None = None,
        hint: str = "",
    ) -> None:
        self.all.append(Finding(REFUSED, what, line or None, field, rfc, option, hint))
        self.refused = True

    def fix(self, what: str, rfc: str = "", *, line: int | None = None, field: str | None = None) -> None:
        self.all.append(Finding(FIXED, what, line or None, field, rfc))

    def note(self, what: str, rfc: str = "", *, line: int | None = None, field: str | None = None) -> None:
        """Of what is said again and again, the first few are told, and then how many more there are."""
        self._notes[what, rfc] = times = self._notes.get((what, rfc), 0) + 1
        if times <= SAME_NOTES:
            self.all.append(Finding(NOTED, what, line or None, field, rfc))

    def in_order(self) -> tuple[Finding, ...]:
        """By line; what concerns no line comes first."""
        more = [
            Finding(NOTED, f"{what}: so do {times - SAME_NOTES} more", None, None, rfc)
            for (what, rfc), times in self._notes.items()
            if times > SAME_NOTES
        ]
        return tuple(sorted(self.all + more, key=lambda finding: finding.line or 0))

    def error(self) -> MailstromError:
        """All that was refused; see `refusal`."""
        return refusal(self.in_order()) or MailstromError("nothing was refused")


def refusal(findings: Sequence[Finding]) -> MailstromError | None:
    """All that was refused as one error, a line for each, with the first hint; None when nothing was. Exit
    code 65, or 64 when nothing but options was refused."""
    refused = [f for f in findings if f.severity == REFUSED]
    if not refused:
        return None
    code = USAGE if all(f.option is not None for f in refused) else DATA
    hint = next((f.hint for f in refused if f.hint), None)
    return MailstromError("\n".join(map(str, refused)), hint, code)
