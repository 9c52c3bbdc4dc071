"""What `submit --check` tells: all that is found in each message, a line for each finding, or in JSON."""

from __future__ import annotations

from mailstrom_cli.cli import report
from mailstrom_cli.errors import OK, MailstromError
from mailstrom_cli.mail.finding import REFUSED, refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterable, Sequence

    from mailstrom_cli.api import Mailstrom, Request
    from mailstrom_cli.mail.finding import Finding
    from mailstrom_cli.mail.prepare import Prepared

    Messages = Iterable[tuple[str | None, bytes | mmap.mmap | MailstromError]]

STDIN = "stdin"


def check_all(mail: Mailstrom, messages: Messages, request: Request, *, as_json: bool, quiet: bool) -> int:
    """Tell on stdout what is found in each message; the exit code of the first that is refused. `quiet`: only
    the refusals."""
    code = OK
    for name, data in messages:
        if isinstance(data, MailstromError):
            told = report.failed(data, name)
            code = code or told
            continue
        prepared, findings = mail.examine(data, request)
        if as_json:
            report.write_out(_json(name, prepared, findings) + "\n")
        else:
            shown = [f for f in findings if f.severity == REFUSED or not quiet]
            report.write_out("".join([f"{_line(name or STDIN, finding)}\n" for finding in shown]))
        error = refusal(findings)
        if error is not None:
            if error.hint and not as_json:
                report.tell("hint", error.hint)
            code = code or error.exit_code
    return code


def _line(name: str, finding: Finding) -> str:
    place = f"{name}: line {finding.line}" if finding.line is not None else name
    return report.one_line(f"{place}: {finding.severity}: {finding.told}")


def _json(name: str | None, prepared: Prepared | None, findings: Sequence[Finding]) -> str:
    import json

    envelope = prepared.envelope if prepared is not None else None
    return json.dumps(
        {
            "id": None,
            "message_id": envelope and envelope.message_id,
            "fixes": [str(fix) for fix in prepared.fixes] if prepared is not None else [],
            "recipients": [r.address for r in envelope.recipients] if envelope is not None else [],
            "file": name,
            "findings": [
                {
                    "severity": f.severity,
                    "line": f.line,
                    "field": f.field if f.option is None else f.option,
                    "what": f.what,
                    "rfc": f.rfc or None,
                    "hint": f.hint or None,
                }
                for f in findings
            ],
        }
    )
