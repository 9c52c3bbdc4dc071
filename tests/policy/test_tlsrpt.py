"""Reports on TLS: who wants one, how counts are kept, and what the report says (RFC 8460)."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstrom_cli.policy.dane import Tlsa
from mailstrom_cli.policy.tlsrpt import (
    FAULTS,
    NO_POLICY,
    STS,
    TLSA,
    Policy,
    Seen,
    addresses,
    day_of,
    from_text,
    report,
    tlsa_policy,
    to_text,
)
from mailstrom_cli.values import replace

GOLDEN = Path(__file__).parent / "golden" / "tlsrpt.json"
A, B = "mailto:a@example.org", "https://b.example/v1?x=1"

# --- the record ---


@pytest.mark.parametrize(
    ("records", "found"),
    [
        ([], ()),
        # RFC 8460, A.1 and A.2
        (["v=TLSRPTv1;rua=mailto:reports@example.com"], ("mailto:reports@example.com",)),
        (
            ["v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt"],
            ("https://reporting.example.com/v1/tlsrpt",),
        ),
        ([f"v=TLSRPTv1; rua={A},{B}"], (A, B)),
        ([f"v=TLSRPTv1 ;\trua={A} , {B} ;"], (A, B)),
        ([f"v=TLSRPTv1;rua={A},{A}"], (A,)),
        ([f"v=TLSRPTv1; ext=1; rua={A}; more=x"], (A,)),
        ([f"v=TLSRPTv1; rua=ftp://x,{A},http://y"], (A,)),
        (["v=TLSRPTv1; rua=HTTPS://x.example"], ("HTTPS://x.example",)),
        ([f"v=TLSRPTv1;rua={A}", "v=spf1 -all"], (A,)),
        # of several records of ours none counts, nor of several fields
        ([f"v=TLSRPTv1;rua={A}", f"v=TLSRPTv1;rua={B}"], ()),
        ([f"v=TLSRPTv1;rua={A};rua={B}"], ()),
        ([f"v=TLSRPTv2;rua={A}"], ()),
        ([f"v=TLSRPTv10;rua={A}"], ()),
        ([f" v=TLSRPTv1;rua={A}"], ()),
        ([f"rua={A};v=TLSRPTv1"], ()),
        (["v=TLSRPTv1"], ()),
        (["v=TLSRPTv1;"], ()),
        (["v=TLSRPTv1;rua="], ()),
        (["v=TLSRPTv1;rua"], ()),
        (["v=TLSRPTv1;rua=mailto:a b@example.org"], ()),
        (["v=TLSRPTv1;rua=mailto:a\r\nX: y"], ()),
        (["v=TLSRPTv1;rua=mailto:\ufffd@example.org"], ()),
    ],
)
def test_where_reports_go(records: list[str], found: tuple[str, ...]) -> None:
    assert addresses(records) == found


def test_a_record_makes_no_flood() -> None:
    assert len(addresses(["v=TLSRPTv1;rua=" + ",".join(f"mailto:{n}@example.org" for n in range(500))])) == 10


@given(st.lists(st.text().map("v=TLSRPTv1;rua={}".format) | st.text()))
def test_whatever_is_published_gives_addresses_or_none(records: list[str]) -> None:
    for uri in addresses(records):
        assert uri.lower().startswith(("mailto:", "https:")) and uri.isprintable()


# --- counts ---

texts = st.text(max_size=20)
policies = st.builds(
    Policy,
    st.sampled_from((NO_POLICY, TLSA, STS)),
    texts,
    st.lists(texts, max_size=3).map(tuple),
    st.lists(texts, max_size=3).map(tuple),
)
seens = st.builds(Seen, texts, policies, st.sampled_from(("", *FAULTS)), texts, texts, texts, texts)
tables = st.dictionaries(seens, st.integers(1, 1 << 40))


@given(tables, st.integers(1, 2000))
def test_counts_read_back_from_texts_that_are_not_too_long(counts: dict[Seen, int], most: int) -> None:
    made = to_text(counts, most)
    assert dict(pair for text in made for pair in from_text(text)) == counts
    assert all(len(text.encode()) <= most or len(json.loads(text)) == 1 for text in made)


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_whatever_somebody_wrote_there_is_counts_or_nothing(text: str) -> None:
    assert all(isinstance(seen, Seen) and count > 0 for seen, count in from_text(text))


GOOD: list[Any] = [3, "d.test", TLSA, "mx.d.test", ["3 1 1 ab"], [], "", "", "", "", ""]


@pytest.mark.parametrize(
    "change",
    [
        {0: 0},
        {0: -1},
        {0: True},
        {0: "3"},
        {0: 1 << 60},
        {1: None},
        {2: "other"},
        {4: "x"},
        {4: [1]},
        {6: "no"},
    ],
)
def test_a_planted_row_is_passed_over(change: dict[int, Any]) -> None:
    row = [change.get(i, held) for i, held in enumerate(GOOD)]
    assert list(from_text(json.dumps([row, GOOD]))) == list(from_text(json.dumps([GOOD])))
    assert sum(count for _, count in from_text(json.dumps([GOOD]))) == 3


def test_a_day_is_one_of_utc() -> None:
    assert (day_of(1_795_564_799), day_of(1_795_564_800)) == ("2026-11-24", "2026-11-25")


# --- the report ---


def check_schema(made: Any) -> None:
    """RFC 8460, 4.4: what has to be there, what may, and of which types; and that the sums are right."""
    assert set(made) == {"organization-name", "date-range", "contact-info", "report-id", "policies"}
    assert set(made["date-range"]) == {"start-datetime", "end-datetime"}
    for held in (*made["date-range"].values(), made["contact-info"], made["report-id"]):
        assert isinstance(held, str)
    for one in made["policies"]:
        assert {"policy", "summary"} <= set(one) <= {"policy", "summary", "failure-details"}
        policy, summary = one["policy"], one["summary"]
        assert {"policy-type", "policy-domain"} <= set(policy)
        assert set(policy) <= {"policy-type", "policy-domain", "policy-string", "mx-host"}
        assert policy["policy-type"] in ("tlsa", "sts", "no-policy-found")
        for name in ("policy-string", "mx-host"):
            assert all(isinstance(held, str) for held in policy.get(name, []))
        names = {"total-successful-session-count", "total-failure-session-count"}
        assert set(summary) == names and all(type(n) is int and n >= 0 for n in summary.values())
        details = one.get("failure-details", [])
        for detail in details:
            assert {"result-type", "failed-session-count"} <= set(detail) <= {
                "result-type", "sending-mta-ip", "receiving-mx-hostname", "receiving-mx-helo", "receiving-ip",
                "failed-session-count", "additional-information", "failure-reason-code",
            }  # fmt: skip
            assert detail["result-type"] in FAULTS and detail["failed-session-count"] > 0
        assert sum(d["failed-session-count"] for d in details) == summary["total-failure-session-count"]


def made(counts: Any, day: str = "2016-04-01") -> dict[str, Any]:
    return report(
        counts,
        day=day,
        organization="Company-X",
        contact="sts-reporting@company-x.example",
        report_id="5065427c-23d3-47ca-b6e0-946ea0e8c4be",
    )


def test_the_example_of_the_rfc() -> None:
    """RFC 8460, appendix B, without the additional information that we have none of."""
    strings = ("version: STSv1", "mode: testing", "mx: *.mail.company-y.example", "max_age: 86400")
    sts = Policy(STS, "company-y.example", strings, ("*.mail.company-y.example",))
    domain = "company-y.example"
    counts = [
        (Seen(domain, sts), 5326),
        (
            Seen(domain, sts, "starttls-not-supported", "mx2.mail.company-y.example", "203.0.113.56",
                 "2001:db8:abcd:0013::1"),
            200,
        ),
        (
            Seen(domain, sts, "validation-failure", "mx-backup.mail.company-y.example", "203.0.113.58",
                 "198.51.100.62", "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED"),
            3,
        ),
        (
            Seen(domain, sts, "certificate-expired", "mx1.mail.company-y.example", "",
                 "2001:db8:abcd:0012::1"),
            100,
        ),
    ]  # fmt: skip
    assert made(counts) == json.loads(GOLDEN.read_text())
    check_schema(made(counts))


def test_policies_are_apart_and_each_is_whose_it_is() -> None:
    tlsa = tlsa_policy("mx.d.test", [Tlsa(3, 1, 1, b"\xab\xcd"), Tlsa(2, 0, 1, b"\x01")])
    told = made([(Seen("d.test", Policy()), 2), (Seen("d.test", tlsa), 3), (Seen("d.test", Policy()), 5)])
    assert [one["policy"] for one in told["policies"]] == [
        {"policy-type": "no-policy-found", "policy-domain": "d.test"},
        {"policy-type": "tlsa", "policy-string": ["2 0 1 01", "3 1 1 abcd"], "policy-domain": "mx.d.test"},
    ]
    assert [one["summary"]["total-successful-session-count"] for one in told["policies"]] == [7, 3]


@given(tables)
def test_every_report_is_of_the_schema_and_counts_each_session_once(table: dict[Seen, int]) -> None:
    counts: Counter[Seen] = Counter()
    for seen, count in table.items():
        counts[replace(seen, domain="d.test")] += count  # a report is on one domain
    told = made(counts.items())
    check_schema(told)
    sums = [n for one in told["policies"] for n in one["summary"].values()]
    assert sum(sums) == sum(counts.values())
    assert made(reversed(list(counts.items()))) == told
