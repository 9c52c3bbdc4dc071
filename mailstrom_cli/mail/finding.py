"""What was found in a message, to be told to the person who submits it."""

from __future__ import annotations

from mailstrom_cli.errors import DATA, USAGE, MailstromError
from mailstrom_cli.values import value

REFUSED = "refused"  # the message is not accepted
FIXED = "fixed"  # the message was changed
NOTED = "noted"  # the message is accepted as it is

RFC5322_FIELDS = "RFC 5322, 3.6"


@value
class Finding:
    """severity: "refused", "fixed" or "noted".  line: of the input, from 1.  field: a field's name.
    option: what was asked for beside the message, such as "recipient".  what: a sentence.  rfc: "RFC 5322,
    3.6.2"."""

    severity: str
    what: str
    line: int | None = None
    field: str | None = None
    rfc: str = ""
    option: str | None = None

    def __str__(self) -> str:
        place = [f"line {self.line}"] if self.line is not None else []
        if self.field is not None:
            place.append(f"field `{self.field}`")
        if self.option is not None:
            place.append(self.option)
        rule = f" ({self.rfc})" if self.rfc else ""
        return ": ".join([*place, self.what]) + rule


class Findings:
    """Collects findings. `hint`: what to do about the first refusal that has a hint."""

    def __init__(self) -> None:
        self.all: list[Finding] = []
        self.refused = False
        self.hint: str | None = None

    def refuse(
        self,
        what: str,
        rfc: str = "",
        *,
        line: int | None = None,
        field: str | None = None,
        option: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.all.append(Finding(REFUSED, what, line, field, rfc, option))
        self.refused = True
        self.hint = self.hint or hint

    def fix(self, what: str, rfc: str = "", *, line: int | None = None, field: str | None = None) -> None:
        self.all.append(Finding(FIXED, what, line, field, rfc))

    def note(self, what: str, rfc: str = "", *, line: int | None = None, field: str | None = None) -> None:
        self.all.append(Finding(NOTED, what, line, field, rfc))

    def in_order(self) -> tuple[Finding, ...]:
        """By line; what concerns no line comes first."""
        return tuple(sorted(self.all, key=lambda finding: finding.line or 0))

    def error(self) -> MailstromError:
        """All refusals, one a line. Exit code 65, or 64 when nothing but options was refused."""
        refusals = [f for f in self.in_order() if f.severity == REFUSED]
        code = USAGE if all(f.option is not None for f in refusals) else DATA
        return MailstromError("\n".join(map(str, refusals)), self.hint, code)
