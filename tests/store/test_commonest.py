"""The short way through a sidecar ends where the long one does, whatever the sidecar holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailstrom_cli.mail.envelope import Envelope, Recipient
from mailstrom_cli.store import commonest
from mailstrom_cli.store.commonest import entry_of
from mailstrom_cli.store.entry import DamagedEntry, Entry, first_line, fold
from mailstrom_cli.store.sidecar import encode, parse

from .samples import NOW, event, results

if TYPE_CHECKING:
    from collections.abc import Callable

ID = "06h0rpp74b86vs85"
ADDRESS = "b@example.net"
# Each has every optional part of what a submit writes, and none.
FULL = Envelope("a@example.org", (Recipient(ADDRESS),), "<1@example.org>", 94, "8bitmime",
                at=NOW + 60, expires=NOW + 1e5 + 0.25, submitter="ann")  # fmt: skip
BARE = Envelope("", (Recipient(ADDRESS),), "<1@example.org>", 0)
LINES = [encode(first_line(ID, NOW + 0.125, envelope)) for envelope in (FULL, BARE)]
EVENTS = [
    event("held", NOW + 1),
    event("released", NOW + 5),
    results(NOW + 9, b=NOW + 300),
    results(NOW + 10, b="delivered"),
    event("retried", NOW + 11, recipients=[ADDRESS]),
    event("results", NOW + 12),  # of the wrong shape
]

times = st.floats(0, 1e15, exclude_max=True) | st.integers(0, 10**15 - 1) | st.sampled_from([-1, 1e15, 1e300])
texts = st.text(st.sampled_from('a@\\"/ ~!\t\x7f\xe9\n'), max_size=4) | st.just("<1@example.org>")
envelopes = st.builds(
    Envelope,
    reverse_path=texts,
    recipients=st.lists(
        st.builds(Recipient, texts, st.sampled_from([(), ("never",)]), st.none() | texts), max_size=2
    ).map(tuple),
    message_id=texts,
    size=st.integers(-1, 1 << 41),
    body=texts,
    smtputf8=st.booleans(),
    at=st.none() | times,
    expires=st.none() | times,
    key=st.none() | texts,
    submitter=st.none() | texts,
)


def outcome(read: Callable[[bytes], Entry], sidecar: bytes) -> Entry | str:
    try:
        return read(sidecar)
    except DamagedEntry as error:
        return str(error)


def long_way(sidecar: bytes) -> Entry:
    return fold(parse(sidecar)[0])


@settings(max_examples=300)
@given(envelopes, st.text(max_size=3) | st.just(ID), times, st.lists(st.sampled_from(EVENTS), max_size=3))
def test_what_is_written_reads_as_the_fold_reads_it(
    envelope: Envelope, id: str, submitted: float, events: list[dict[str, Any]]
) -> None:
    sidecar = b"".join(map(encode, (first_line(id, submitted, envelope), *events)))
    assert outcome(entry_of, sidecar) == outcome(long_way, sidecar)


PIECES = [b"", b"0", b"00", b"-", b".", b"1.", b"e9", b"99999999999999", b"\\", b'\\"', b'"', b"\n",
          b"\r", b"\0", b" ", b"\x7f", b"\xc3\xa9", b"\xb2", b"}", b"{", b",", b'"at":5,', b'"format":2,',
          b"true", b"null"]  # fmt: skip


@settings(max_examples=1000)
@given(st.sampled_from(LINES), st.integers(0, 300), st.integers(0, 3), st.sampled_from(PIECES))
@example(LINES[0], LINES[0].index(b'"at":') + 5, 0, b"0")
@example(LINES[0], LINES[0].index(b'"size":') + 7, 2, b"00")
@example(LINES[0], LINES[0].index(b'"size":') + 7, 2, b"1099511627776")
def test_a_line_with_anything_in_any_place_reads_as_the_fold_reads_it(
    line: bytes, place: int, cut: int, piece: bytes
) -> None:
    changed = line[:place] + piece + line[place + cut :]
    for sidecar in (changed, changed + encode(EVENTS[0]), changed + b'{"event":"hel'):
        assert outcome(entry_of, sidecar) == outcome(long_way, sidecar)


def test_an_error_tells_the_line_of_the_sidecar() -> None:
    assert outcome(entry_of, LINES[0] + encode(EVENTS[0]) + b"{]\n").startswith("line 3 ")
    assert outcome(entry_of, b"") == "the sidecar is empty"


@pytest.mark.parametrize("line", LINES)
def test_what_a_submit_writes_goes_the_short_way(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [long_way(line), long_way(line + encode(EVENTS[2]))]
    monkeypatch.setattr(commonest, "fold", lambda _: pytest.fail("the long way"))
    assert [entry_of(line), entry_of(line + encode(EVENTS[2]))] == expected
