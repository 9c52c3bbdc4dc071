"""What is known of each recipient of a job while one server after the other is asked."""

from __future__ import annotations

from mailstrom_cli.mail.status import DELIVERED, FINAL
from mailstrom_cli.policy import classify
from mailstrom_cli.transport.base import result
from mailstrom_cli.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailstrom_cli.mail.envelope import Recipient
    from mailstrom_cli.mail.status import Result
    from mailstrom_cli.net.tls import Secured
    from mailstrom_cli.policy.classify import Verdict
    from mailstrom_cli.transport.base import Job


class Outcome:
    """What is known of each recipient of a job so far, and who is still undecided."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.undecided: tuple[Recipient, ...] = job.recipients
        self._told: dict[str, tuple[Verdict, Result]] = {}
        self._reported: set[str] = set()
        self.lacking: set[str] = set()  # extensions that a host did not offer which the message did not suit

    def tell(
        self, recipients: Sequence[Recipient], verdicts: Sequence[Verdict], host: str, tls: Secured | None
    ) -> None:
        for recipient, verdict in zip(recipients, verdicts, strict=True):
            before = self._told.get(recipient.address)
            kept = classify.more_telling(before[0] if before else None, verdict)
            if before is None or kept is verdict:
                self._told[recipient.address] = verdict, result(recipient.address, verdict, host, tls)
        ended = {r.address for r, v in zip(recipients, verdicts, strict=True) if not (v.next_host or v.again)}
        self.undecided = tuple(r for r in self.undecided if r.address not in ended)

    def tell_rest(self, verdict: Verdict, host: str) -> None:
        """All who are still undecided."""
        self.tell(self.undecided, [verdict] * len(self.undecided), host, None)

    def final(self) -> list[Result]:
        """Of those who are decided and were not told before."""
        new = [
            told
            for address, (_, told) in self._told.items()
            if address not in self._reported
            and told.status in FINAL
            and all(r.address != address for r in self.undecided)
        ]
        self._reported.update(told.address for told in new)
        return new

    def results(self, transcript: str | None) -> list[Result]:
        told = [self._told[r.address][1] for r in self.job.recipients]
        if transcript and any(r.status != DELIVERED for r in told):
            told[0] = replace(told[0], transcript=transcript)
        return told
