"""What servers write to be seen as something else: each is to be shown as one short plain line."""

from __future__ import annotations

NAMED = {
    "ANSI escapes": b"\x1b[2J\x1b[1;31mred\x1b[0m \x1b]0;title\x07",
    "C1": b"\xc2\x9b31m \xc2\x90q \xc2\x85next",
    "C1 octets": b"\x9b31m \x90 \x85",
    "bidi": "\u202egnp.exe \u2066x\u2069 \u200f\u061c".encode(),
    "line ends": "one\rtwo\x0bthree\x0cfour\u2028five\u2029six\x1c".encode(),
    "a log line": b"x\r2026-11-24T00:00:00.000Z info: 0123: from=<a@b> to=<c@d> status=delivered",
    "JSON": b'"}, {"status": "delivered"}\\',
    "NUL": b"a\x00b\x00\x00c",
    "Latin-1": b"Gr\xfc\xdfe aus K\xf6ln",
    "UTF-8": "Grüße aus Köln, 世界 \U0001f4e7".encode(),
    "half of UTF-8": "世".encode()[:2] + b" \xed\xa0\x80 \xf8\x88\x80\x80\x80",
    "invisible": "a\u200bb\u2060c\ufeffd\u00ade\U000e0041".encode(),
    "markup": b"[bold red]x[/] %s %(text)s {0} $HOME `id`",
    "long": b"x" * 1900,
    "nothing": b"",
}
"""Without LF, which ends a reply."""
BEGIN = {"ANSI escapes": r"\x1b[2J", "C1": r"\x9b31m", "C1 octets": r"\x9b31m", "bidi": r"\u202egnp.exe",
       "line ends": r"one\rtwo\x0bthree\x0cfour\u2028five\u2029six\x1c",
       "NUL": r"a\x00b", "Latin-1": r"Gr\xfc\xdfe",
       "UTF-8": "Grüße aus Köln, 世界", "invisible": r"a\u200bb", "markup": "[bold red]x[/] %s"}  # fmt: skip
"""How some of them begin where they are shown."""


def harmless(line: str) -> bool:
    return line.isprintable()
