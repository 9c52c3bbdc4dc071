"""The parts of a message are where the RFCs have them, and what is broken is one part; in linear time."""

from __future__ import annotations

import mmap
import sys
import time
from email import message_from_bytes
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstrom_cli.mail import mime

from .mime_samples import messages

if TYPE_CHECKING:
    from collections.abc import Callable


def shape(data: bytes) -> list[tuple[int, str, bytes]]:
    """Each part's depth, type and body; of a multipart its delimiters too."""
    parts = mime.parse(data)

    def depth(part: mime.Part) -> int:
        count = 0
        while part.parent is not None:
            part, count = part.parent, count + 1
        return count

    return [(depth(p), p.type, data[p.body : p.end]) for p in parts]


def multipart(*parts: bytes, kind: bytes = b"mixed", boundary: bytes = b"b", header: bytes = b"") -> bytes:
    head = b"Content-Type: multipart/%s; boundary=%s\r\n%s\r\n" % (kind, boundary, header)
    return head + b"".join(b"--%s\r\n%s\r\n" % (boundary, p) for p in parts) + b"--%s--\r\n" % boundary


def leaves(data: bytes) -> list[tuple[str, bytes]]:
    return [(p.type, data[p.body : p.end]) for p in mime.parse(data) if p.is_leaf]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", [("text/plain", b"")]),
        (b"Subject: x\r\n", [("text/plain", b"")]),
        (b"Subject: x\r\n\r\nHi\r\n", [("text/plain", b"Hi\r\n")]),
        (b"Subject: x\n\nHi\n", [("text/plain", b"Hi\n")]),
        (b"no field\r\n\r\nx", [("text/plain", b"no field\r\n\r\nx")]),
        (b"From a Mon\r\nContent-Type: image/png\r\n\r\nx", [("image/png", b"x")]),
        (b"CONTENT-type : Image/PNG (y); a=b\r\n\r\nx", [("image/png", b"x")]),
        (b"Content-Type:\r\n image\r\n /png\r\n\r\nx", [("image/png", b"x")]),
        (b"Content-Type: nonsense\r\n\r\nx", [("text/plain", b"x")]),
        (b"Content-Type: a/b\r\nContent-Type: c/d\r\n\r\nx", [("a/b", b"x")]),
        (multipart(b"\r\none", b"\r\ntwo\r\n"), [("text/plain", b"one"), ("text/plain", b"two\r\n")]),
        (multipart(b"\r\none").replace(b"\r\n", b"\n"), [("text/plain", b"one")]),
        (multipart(b"\r\na", boundary=b'"x \\"y"').replace(b'--"x \\"y"', b'--x "y'), [("text/plain", b"a")]),
        (multipart(b"\r\none").replace(b"--b\r", b"--b \t\r"), [("text/plain", b"one")]),
        (multipart(b"\r\n--bb\r\n--b-\r\n --b"), [("text/plain", b"--bb\r\n--b-\r\n --b")]),
        (multipart(b"\r\none").replace(b"boundary", b"BOUNDARY"), [("text/plain", b"one")]),
        (multipart(b"X: y"), [("text/plain", b"")]),
        (multipart(b"--x: y\r\nContent-Type: a/b\r\n\r\none"), [("a/b", b"one")]),
        (
            b'Content-Type: multipart/x; boundary="b: x"\r\n\r\n--b: x\r\n--b: x\r\n\r\none\r\n--b: x--',
            [("text/plain", b""), ("text/plain", b"one")],
        ),
        (multipart(b"no field"), [("text/plain", b"no field")]),
        (multipart(b""), [("text/plain", b"")]),
        (multipart(b"\r\none").removesuffix(b"\r\n--b--\r\n"), [("text/plain", b"one")]),
        (multipart(b"\r\none").removesuffix(b"\r\n"), [("text/plain", b"one")]),
        # A delimiter of an outer multipart ends the inner ones (RFC 2046, 5.1.2).
        (
            multipart(b"Content-Type: multipart/x; boundary=c\r\n\r\n--c\r\n\r\n1", b"\r\n2"),
            [("text/plain", b"1"), ("text/plain", b"2")],
        ),
        (
            multipart(multipart(b"\r\n1", boundary=b"c") + b"epilogue", b"\r\n2"),
            [("text/plain", b"1"), ("text/plain", b"2")],
        ),
        (multipart(multipart(b"\r\n1"), b"\r\n2")[:-9], [("text/plain", b"1"), ("text/plain", b"2")]),
        (multipart(b"\r\nSubject: x\r\n\r\nHi", kind=b"digest"), [("text/plain", b"Hi")]),
        (
            multipart(b"Content-Type: message/rfc822\r\n\r\n" + multipart(b"\r\n1", boundary=b"c")),
            [("text/plain", b"1")],
        ),
        (
            b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ==",
            [("message/rfc822", b"YQ==")],
        ),
        # What is broken is one part.
        (b"Content-Type: multipart/mixed\r\n\r\n--b\r\n", [("multipart/mixed", b"--b\r\n")]),
        (b"Content-Type: multipart/mixed; boundary=\r\n\r\n--\r\n", [("multipart/mixed", b"--\r\n")]),
        (b"Content-Type: multipart/mixed; boundary=b\r\n\r\nx", [("multipart/mixed", b"x")]),
        (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b--", [("multipart/mixed", b"--b--")]),
        (
            b"Content-Type: multipart/mixed; boundary=\xfc\r\n\r\n--\xfc\r\n",
            [("multipart/mixed", b"--\xfc\r\n")],
        ),
    ],
)
def test_the_leaves(data: bytes, expected: list[tuple[str, bytes]]) -> None:
    assert leaves(data) == expected


def test_the_tree_and_what_a_part_says_of_itself() -> None:
    data = multipart(
        b"Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\nContent-Transfer-Encoding: 8BIT\r\n\r\n"
        b"1\r\n--s\r\n\r\n2\r\n--s--",
        b"Content-Type: message/rfc822\r\n\r\nDKIM-Signature: x\r\nMIME-Version: 1.0\r\n\r\n3",
        header=b"MIME-Version: 1.0\r\n",
    )
    root, signed, one, two, holder, inner = mime.parse(data)
    assert [p.parent for p in (root, signed, one, two, holder, inner)] == [
        *(None, root, signed, signed, root, holder)
    ]
    assert [p.signed for p in (root, signed, one, two, holder, inner)] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]
    assert [p.dkim for p in (root, signed, one, two, holder, inner)] == [False] * 5 + [True]
    assert [p.is_message for p in (root, signed, one, two, holder, inner)] == [True] + [False] * 4 + [True]
    assert (one.encoding, two.encoding) == ("8bit", "7bit")
    assert root.declared == {b"mime-version", b"content-type"}
    assert inner.declared == {b"mime-version"}
    assert root.close == root.end == len(data)
    assert data[root.body : root.first] == b""
    assert (inner.start, inner.end) == (holder.body, holder.end)


def test_preamble_and_epilogue() -> None:
    data = b"Content-Type: multipart/x; boundary=b\r\n\r\nbefore\r\n--b\r\n\r\nx\r\n--b--\r\nafter\r\n--b\r\n"
    root, _ = mime.parse(data)
    assert data[root.body : root.first] == b"before"
    assert data[root.close : root.end] == b"after\r\n--b\r\n"


def test_the_fields_of_a_header_are_all_of_it() -> None:
    data = b"From x\r\nA: 1\r\n\t2\r\nb :3\r\nno field\r\n\r\n"
    assert [(name, data[a:b]) for name, a, b in mime.fields(data, 0, len(data))] == [
        (b"", b"From x\r\n"),
        (b"a", b"A: 1\r\n\t2\r\n"),
        (b"b", b"b :3\r\n"),
        (b"", b"no field\r\n"),
        (b"", b"\r\n"),
    ]


@given(st.binary(max_size=200) | messages())
@settings(max_examples=800, deadline=None)
def test_parts_of_any_octets_lie_in_one_another(data: bytes) -> None:
    for part in mime.parse(data):
        assert 0 <= part.start <= part.body <= part.end <= len(data)
        if part.parent is not None:
            assert part.parent.body <= part.start
            assert part.end <= part.parent.end
        if part.children and part.first is not None:
            assert part.body <= part.first
            assert part.close is None or part.first < part.close <= part.end


@given(messages())
@settings(max_examples=500, deadline=None)
def test_the_standard_library_sees_the_same_leaves(data: bytes) -> None:
    ours = [(p.type, p.encoding) for p in mime.parse(data) if p.is_leaf]
    theirs = [
        (p.get_content_type(), str(p.get("content-transfer-encoding", "7bit")).lower())
        for p in message_from_bytes(data).walk()
        if not p.is_multipart()
    ]
    assert ours == theirs


def nested(depth: int) -> bytes:
    return b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(depth)
    )


DEEP: dict[str, Callable[[int], bytes]] = {
    "nested multiparts": nested,
    "nested and closed": lambda n: (
        nested(n) + b"\r\nx" + b"".join(b"\r\n--b%d--" % i for i in range(n)[::-1])
    ),
    "nested messages": lambda n: b"Content-Type: message/rfc822\r\n\r\n" * n,
    "the same boundary": lambda n: b"Content-Type: multipart/x; boundary=b\r\n\r\n--b\r\n" * n,
    "parts": lambda n: b"Content-Type: multipart/x; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * n,
    "no delimiters": lambda n: b"Content-Type: multipart/x; boundary=b\r\n\r\n" + b"--\n" * n,
    "a long no delimiter": lambda n: b"Content-Type: multipart/x; boundary=b\r\n\r\n" + b"\n--" + b"-" * n,
    "fields": lambda n: b"A: b\r\n" * n,
    "types": lambda n: b"Content-Type: text/plain\r\n" * n,
    "folds": lambda n: b"Content-Type: text/plain" + b"\r\n " * n,
    "parameters": lambda n: b"Content-Type: multipart/x" + b";\r\n a=b" * n,
    "open quotes": lambda n: b"Content-Type: multipart/x" + b';\r\n a="\\"' * n,
    "semicolons": lambda n: b"Content-Type: multipart/x" + b";\r\n " * n,
    "names": lambda n: b"Content-Type: multipart/x;" + b"a" * n,
    "blanks": lambda n: b"Content-Type: multipart/x;a" + b" " * n,
}


@pytest.mark.parametrize("name", DEEP)
def test_parsing_takes_linear_work(name: str) -> None:
    def work(n: int) -> int:
        data, count = DEEP[name](n), 0

        def trace(frame: object, event: str, argument: object) -> object:
            nonlocal count
            count += event == "line"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            mime.parse(data)
        finally:
            sys.settrace(before)
        return count

    assert work(2000) <= 2.1 * work(1000) + 200


@pytest.mark.parametrize("name", DEEP)
def test_nothing_below_the_interpreter_is_quadratic_either(name: str) -> None:
    data = DEEP[name](20_000)
    began = time.perf_counter()
    mime.parse(data)
    assert time.perf_counter() - began < 10


def test_depth_and_number_of_parts() -> None:
    assert len(mime.parse(nested(2000))) == 2001
    assert len(mime.parse(DEEP["parts"](20_000))) == 20_001


def test_too_many_parts_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mime, "MAX_PARTS", 5)
    assert len(mime.parse(DEEP["parts"](4))) == 5
    for name in ("parts", "nested multiparts", "nested messages"):
        (only,) = mime.parse(DEEP[name](6))
        assert only.is_leaf


def test_a_file_in_memory_is_as_good_as_octets(tmp_path) -> None:
    data = multipart(b"\r\none", multipart(b"\r\n1", boundary=b"c"))
    path = tmp_path / "message"
    path.write_bytes(data)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert shape(mapped) == shape(data)  # type: ignore[arg-type]
