"""Reports on TLS for the domains that ask for them (RFC 8460): who wants one, and what is in it.

counted     by session: what came of TLS, with which host, under which policy      Seen
kept        beside the messages, as text                                           to_text, from_text
reported    once a day for a domain: one JSON object                               report
"""

from __future__ import annotations

import json
import time

from mailstrom_cli.policy.tls import NO_POLICY, STS, TLSA
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from mailstrom_cli.policy import sts
    from mailstrom_cli.policy.dane import Tlsa

    Counts = Mapping["Seen", int]

VERSION = "v=TLSRPTv1"
SCHEMES = ("mailto:", "https:")
MOST_ADDRESSES = 10
NO_STARTTLS, OTHER = "starttls-not-supported", "validation-failure"
FAULTS = (
    NO_STARTTLS, "certificate-host-mismatch", "certificate-expired", "certificate-not-trusted", OTHER,
    "tlsa-invalid", "dnssec-invalid", "dane-required",
    "sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid",
)  # fmt: skip
"""Result types (RFC 8460, 4.3)."""
LONGEST = 200  # characters of a reason
KIND = "tlsrpt"
"""Of the notes that counts are kept in; the name of each begins with the day."""


def addresses(records: Iterable[str]) -> tuple[str, ...]:
    """Where reports go: the URIs of the one TXT record at `_smtp._tls` that is of this version, those of
    other schemes left out; () where there is none, or more than one (RFC 8460, 3)."""
    ours = [r for r in records if r.startswith(VERSION) and r[len(VERSION) :].lstrip(" \t").startswith(";")]
    if len(ours) != 1:
        return ()
    fields = [field.strip(" \t").partition("=") for field in ours[0].split(";")[1:]]
    found = [given for name, equals, given in fields if equals and name == "rua"]
    if len(found) != 1:
        return ()
    uris = [uri.strip(" \t") for uri in found[0].split(",")]
    good = [
        u for u in uris if u.lower().startswith(SCHEMES) and u.isascii() and u.isprintable() and " " not in u
    ]
    return tuple(dict.fromkeys(good))[:MOST_ADDRESSES]


# --- counting ---


@value
class Policy:
    """What a session was held to. kind: NO_POLICY, TLSA or STS.  domain: whose it is; of TLSA records the
    name that has them.  strings: it, as it is published.  mx_hosts: the patterns of an STS policy."""

    kind: str = NO_POLICY
    domain: str = ""
    strings: tuple[str, ...] = ()
    mx_hosts: tuple[str, ...] = ()


@value
class Seen:
    """What came of TLS in a session. domain: of the recipient, which is told of it.  fault: one of FAULTS, ""
    when all went well, and then the rest is "".  host, ip: the server's.  sender: our address.
    reason: in words."""

    domain: str
    policy: Policy
    fault: str = ""
    host: str = ""
    ip: str = ""
    sender: str = ""
    reason: str = ""


def tlsa_policy(base: str, records: Sequence[Tlsa]) -> Policy:
    """That of TLSA records, in their usual notation."""
    strings = [f"{r.usage} {r.selector} {r.mtype} {r.data.hex()}" for r in records]
    return Policy(TLSA, base, tuple(sorted(strings)))


def sts_policy(domain: str, held: sts.Policy) -> Policy:
    """That of MTA-STS, in its usual lines (RFC 8461, 3.2)."""
    mx = [f"mx: {pattern}" for pattern in held.mx]
    strings = ("version: STSv1", f"mode: {held.mode}", *mx, f"max_age: {held.max_age}")
    return Policy(STS, domain, strings, held.mx)


def day_of(when: float) -> str:
    """The day of a time in seconds since the epoch, of UTC: "2026-11-24"."""
    return time.strftime("%Y-%m-%d", time.gmtime(when))


def to_text(counts: Counts, most: int) -> list[str]:
    """The counts as texts of no more than so many octets each, that is, of one row at least."""
    texts: list[str] = []
    rows: list[str] = []
    size = 2
    for seen, count in counts.items():
        p = seen.policy
        row = json.dumps(
            [count, seen.domain, p.kind, p.domain, p.strings, p.mx_hosts,
             seen.fault, seen.host, seen.ip, seen.sender, seen.reason],
            separators=(",", ":"),
        )  # fmt: skip
        if rows and size + len(row) + 1 > most:
            texts.append(f"[{','.join(rows)}]")
            rows, size = [], 2
        rows.append(row)
        size += len(row) + 1
    if rows:
        texts.append(f"[{','.join(rows)}]")
    return texts


def from_text(text: str) -> Iterator[tuple[Seen, int]]:
    """What such a text holds; what is not of this shape is passed over."""
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError):
        return
    for row in rows if isinstance(rows, list) else ():
        if (seen := _row(row)) is not None:
            yield seen, row[0]


def _row(row: Any) -> Seen | None:
    if not (isinstance(row, list) and len(row) == 11 and type(row[0]) is int and 0 < row[0] < 1 << 48):
        return None
    _, domain, kind, base, strings, hosts, *rest = row
    lists = isinstance(strings, list) and isinstance(hosts, list)
    if not lists or not all(isinstance(held, str) for held in (domain, kind, base, *strings, *hosts, *rest)):
        return None
    if kind not in (NO_POLICY, TLSA, STS) or (rest[0] and rest[0] not in FAULTS):
        return None
    return Seen(domain, Policy(kind, base, tuple(strings), tuple(hosts)), *rest)


# --- reporting ---


def report(
    counts: Iterable[tuple[Seen, int]], *, day: str, organization: str, contact: str, report_id: str
) -> dict[str, Any]:
    """The report on one domain (RFC 8460, 4.4). day: such as "2026-11-24", of UTC."""
    by_policy: dict[Policy, dict[Seen, int]] = {}
    for seen, count in counts:
        held = by_policy.setdefault(seen.policy, {})
        held[seen] = held.get(seen, 0) + count
    ordered = sorted(by_policy.items(), key=lambda item: repr(item[0]))
    return {
        "organization-name": organization,
        "date-range": {"start-datetime": f"{day}T00:00:00Z", "end-datetime": f"{day}T23:59:59Z"},
        "contact-info": contact,
        "report-id": report_id,
        "policies": [_policy(policy, held) for policy, held in ordered],
    }


def _policy(policy: Policy, held: Counts) -> dict[str, Any]:
    described: dict[str, Any] = {"policy-type": policy.kind}
    if policy.strings:
        described["policy-string"] = list(policy.strings)
    described["policy-domain"] = policy.domain or next(iter(held)).domain
    if policy.mx_hosts:
        described["mx-host"] = list(policy.mx_hosts)
    failed = {seen: count for seen, count in held.items() if seen.fault}
    told: dict[str, Any] = {
        "policy": described,
        "summary": {
            "total-successful-session-count": sum(held.values()) - sum(failed.values()),
            "total-failure-session-count": sum(failed.values()),
        },
    }
    if failed:
        told["failure-details"] = [_failure(seen, failed[seen]) for seen in sorted(failed, key=repr)]
    return told


def _failure(seen: Seen, count: int) -> dict[str, Any]:
    known = {
        "result-type": seen.fault,
        "sending-mta-ip": seen.sender,
        "receiving-mx-hostname": seen.host,
        "receiving-ip": seen.ip,
        "failed-session-count": count,
        "failure-reason-code": seen.reason,
    }
    return {name: held for name, held in known.items() if held != ""}
