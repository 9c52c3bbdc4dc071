"""An SMTP reply as a value (RFC 5321, 4.2; enhanced codes RFC 3463 and RFC 2034)."""

from __future__ import annotations

from mailstrom_cli.values import value


@value
class Reply:
    """code: 3 digits.  enhanced: "4.2.0" or None.  lines: the text of each line, enhanced code taken off."""

    code: int
    enhanced: str | None = None
    lines: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All lines as one."""
        return " ".join(line for line in self.lines if line)

    @property
    def positive(self) -> bool:
        """Done (RFC 5321, 4.2.1: a positive completion reply); 334 and 354 only ask for more."""
        return 200 <= self.code < 300

    @property
    def transient(self) -> bool:
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        return 500 <= self.code < 600
