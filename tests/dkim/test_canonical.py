"""The relaxed canonicalisation against dkimpy's, for every input and however a body is cut."""

from __future__ import annotations

from hashlib import sha256

import pytest
from dkim.canonicalization import Relaxed
from hypothesis import given
from hypothesis import strategies as st

from mailstrom_cli.dkim.canonical import LINE_ENDS, RelaxedBody, relaxed_field

from .signing import cut

PIECES = [b"a", b".", b" ", b"  ", b"\t", b" \t ", b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"\xfc", b"text"]
bodies = st.lists(st.sampled_from(PIECES), max_size=25).map(b"".join)


def digest(*chunks: bytes) -> bytes:
    body = RelaxedBody()
    for chunk in chunks:
        body.update(chunk)
    assert body.digest() == body.digest()
    return body.digest()


def expected(body: bytes) -> bytes:
    whole = body if body.endswith(b"\r\n") else body + b"\r\n"
    return sha256(Relaxed.canonicalize_body(whole)).digest()


@given(bodies, st.lists(st.integers(0, 100)))
def test_a_body_however_it_is_cut(body: bytes, places: list[int]) -> None:
    assert digest(*cut(body, places)) == expected(body)


@given(bodies)
def test_a_body_in_single_octets(body: bytes) -> None:
    assert digest(*[body[i : i + 1] for i in range(len(body))]) == expected(body)


@pytest.mark.parametrize("body", [b"", b"\r\n", b"\r\n\r\n", b" \t\r\n \r\n", b"  "])
def test_a_body_of_nothing_is_empty(body: bytes) -> None:
    assert digest(body) == sha256(b"").digest()


def test_the_example_of_the_rfc() -> None:
    """RFC 6376, 3.4.5."""
    assert digest(b" C \r\nD \t E\r\n\r\n\r\n") == sha256(b" C\r\nD E\r\n").digest()
    assert relaxed_field("A", b" X\r\n") == b"a:X\r\n"
    assert relaxed_field("B ".strip(), b" Y\t\r\n\tZ  \r\n") == b"b:Y Z\r\n"


@pytest.mark.parametrize(
    ("run", "inside"),
    [(b" ", b" "), (b"\t", b" "), (b"\r\n", None), (b"\r", None), (b"\n", None)],
    ids=["blanks", "tabs", "CRLF", "CR", "LF"],
)
@pytest.mark.parametrize("end", [b"", b"x\r\n"], ids=["at the end", "before a text"])
def test_runs_longer_than_any_block(run: bytes, inside: bytes | None, end: bytes) -> None:
    """inside: what is left of it; None for all of it. (dkimpy would take minutes for the blanks.)"""
    long = run * (3 * LINE_ENDS // len(run) + 1)
    left = long if inside is None else inside
    if not end and run in (b" ", b"\t", b"\r\n"):
        left = b""
    body = b"x" + long + end
    blocks = [body[i : i + 65_537] for i in range(0, len(body), 65_537)]
    assert digest(*blocks) == sha256(b"x" + left + (end or b"\r\n")).digest()


def test_of_a_run_nothing_is_kept() -> None:
    body = RelaxedBody()
    for _ in range(100):
        body.update(b" \t" * 1000)
    assert len(body._held) == 1


@given(
    st.sampled_from(["Subject", "from", "X-y"]),
    st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n ", b"\r\n\t", b":", b"\xc3\xbc"]), max_size=15),
)
def test_a_field_however_it_is_folded(name: str, parts: list[bytes]) -> None:
    value = b"".join(parts) + b"\r\n"
    ((key, canonical),) = Relaxed.canonicalize_headers([(name.encode(), value)])
    assert relaxed_field(name, value) == key + b":" + canonical
