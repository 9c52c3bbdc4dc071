"""Messages for hypothesis: MIME of every shape, put together without anything that is tested."""

from __future__ import annotations

from base64 import encodebytes
from quopri import encodestring
from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

TYPES = [b"", b"text/plain", b"text/plain; charset=utf-8", b"text/html; charset=iso-8859-1", b"image/png"]
TYPES += [b'application/octet-stream; name="a b"']
ENCODINGS = [b"", b"7bit", b"8bit", b"binary", b"8BIT"]

lines = st.one_of(
    st.sampled_from([b"", b"plain", b"Gr\xc3\xbc\xc3\x9fe", b"\xfc", b"a=b =", b"blank ", b"tab\t", b"."]),
    st.sampled_from([b"From x", b"--", b"--x", b"=3D", b"x" * 75, b"x" * 76, b"\xc3\xbc" * 60, b"y" * 1200]),
    st.binary(max_size=20).map(lambda octets: octets.translate(None, b"\r\n\0")),
)
texts = st.lists(lines, max_size=5).map(b"\r\n".join)


@st.composite
def leaf(draw: DrawFn) -> bytes:
    text = draw(texts)
    kind, encoding = draw(st.sampled_from(TYPES)), draw(st.sampled_from(ENCODINGS))
    how = draw(st.sampled_from(["identity", "identity", "identity", "quoted-printable", "base64"]))
    if how == "base64":
        text, encoding = encodebytes(text).replace(b"\n", b"\r\n"), b"base64"
    elif how == "quoted-printable":
        text = encodestring(text.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
        encoding = b"quoted-printable"
    fields = [b"Content-Type: " + kind] if kind else []
    fields += [b"Content-Transfer-Encoding: " + encoding] if encoding else []
    return b"".join(f + b"\r\n" for f in draw(st.permutations(fields))) + b"\r\n" + text


@st.composite
def multipart(draw: DrawFn, inside: SearchStrategy[bytes]) -> bytes:
    parts = draw(st.lists(inside, min_size=1, max_size=3))
    boundary = b"b%d" % sum(map(len, parts))  # no multipart inside has the same
    encoding = draw(st.sampled_from([b"", b"Content-Transfer-Encoding: 8bit\r\n"]))
    kind = draw(st.sampled_from([b"mixed", b"alternative", b"signed"] if draw(st.booleans()) else [b"mixed"]))
    made = b"Content-Type: multipart/%s;\r\n boundary=%s\r\n%s\r\n" % (kind, boundary, encoding)
    made += draw(st.sampled_from([b"", b"", b"preamble\r\n", b"pr\xc3\xa4ambel\r\n"]))
    for part in parts:
        made += b"--%s\r\n%s\r\n" % (boundary, part)
    made += draw(st.sampled_from([b"--%s--\r\n" % boundary] * 3 + [b""]))
    return made + draw(st.sampled_from([b"", b"", b"epilogue", b"\xfc\r\n"]))


@st.composite
def holder(draw: DrawFn, inside: SearchStrategy[bytes]) -> bytes:
    encoding = draw(st.sampled_from([b"", b"Content-Transfer-Encoding: 8bit\r\n"]))
    return b"Content-Type: message/rfc822\r\n%s\r\nSubject: inner\r\n%s" % (encoding, draw(inside))


def messages() -> SearchStrategy[bytes]:
    """Whole messages; the last line may lack its end."""
    entity = st.recursive(leaf(), lambda inside: multipart(inside) | holder(inside), max_leaves=6)
    heads = st.sampled_from([b"From: a@example.org\r\n", b"From: a@example.org\r\nMIME-Version: 1.0\r\n"])
    return st.builds(
        lambda head, made, end: head + made + end, heads, entity, st.sampled_from([b"", b"\r\n"])
    )
