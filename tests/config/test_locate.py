"""The line of every key, in every way that TOML has to write one."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstrom_cli.config.locate import lines

TEXT = '''# comment with "quotes" and [brackets]
via = [   # a list
  "mx:",  # ] not the end
  'smtp://a[b]#c',
]
a.b . "c.d" = 1

text = """
[not.a.table]
key = "x" \\""" still
"""
literal = \'\'\'
x = 1''\'\'\'
[tls]
level = "may"   # = [
[smtp.timeout]
  connect = 5
[auth."smtp.example.org"]
username = "a#b\\"]"
[auth.'imap.example.org']
username = 'a\\'
[[route]]
sender = "x"
[[route]]   # second
recipient = "y"
  [route.inner]
  key = 1
  [[route.deep]]
  n = 1
  [[route.deep]]
  n = 2
[inline]
t = { a = 1, "b c" = [ { d = 2 }, { e = [
  3 ] } ], f.g = "}" }
date = 1979-05-27T07:32:00Z
"\\u00e9" = true
last = 5'''

EXPECTED = {
    ("via",): 2,
    ("via", 0): 3,
    ("via", 1): 4,
    ("a",): 6,
    ("a", "b"): 6,
    ("a", "b", "c.d"): 6,
    ("text",): 8,
    ("literal",): 12,
    ("tls",): 14,
    ("tls", "level"): 15,
    ("smtp",): 16,
    ("smtp", "timeout"): 16,
    ("smtp", "timeout", "connect"): 17,
    ("auth",): 18,
    ("auth", "smtp.example.org"): 18,
    ("auth", "smtp.example.org", "username"): 19,
    ("auth", "imap.example.org"): 20,
    ("auth", "imap.example.org", "username"): 21,
    ("route",): 22,
    ("route", 0): 22,
    ("route", 0, "sender"): 23,
    ("route", 1): 24,
    ("route", 1, "recipient"): 25,
    ("route", 1, "inner"): 26,
    ("route", 1, "inner", "key"): 27,
    ("route", 1, "deep"): 28,
    ("route", 1, "deep", 0): 28,
    ("route", 1, "deep", 0, "n"): 29,
    ("route", 1, "deep", 1): 30,
    ("route", 1, "deep", 1, "n"): 31,
    ("inline",): 32,
    ("inline", "t"): 33,
    ("inline", "t", "a"): 33,
    ("inline", "t", "b c"): 33,
    ("inline", "t", "b c", 0): 33,
    ("inline", "t", "b c", 0, "d"): 33,
    ("inline", "t", "b c", 1): 33,
    ("inline", "t", "b c", 1, "e"): 33,
    ("inline", "t", "b c", 1, "e", 0): 34,
    ("inline", "t", "f"): 34,
    ("inline", "t", "f", "g"): 34,
    ("inline", "date"): 35,
    ("inline", "é"): 36,
    ("inline", "last"): 37,
}


def paths(held: Any, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    found = {path} - {()}
    items = held.items() if isinstance(held, dict) else enumerate(held) if isinstance(held, list) else ()
    for name, item in items:
        found |= paths(item, (*path, name))
    return found


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_path_of_the_document_has_its_line(end: str) -> None:
    found = lines(TEXT.replace("\n", end))
    assert {path: found.get(path) for path in EXPECTED} == EXPECTED
    assert set(found) == paths(tomllib.loads(TEXT)) == set(EXPECTED)


def test_nothing_has_no_lines() -> None:
    assert lines("") == lines("\n# nothing\n") == {}


names = st.text("ab.\"'# =[]é\\", min_size=1, max_size=4)
scalars = st.one_of(st.integers(0, 9), st.text("ab\"'#[]{}=\n,\\", max_size=8), st.booleans())
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=4)


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def written(held: Any, style: int) -> str:
    if isinstance(held, list):
        between = ",\n  # ] comment\n" if style % 2 else ", "
        return f"[{between.join(written(item, style) for item in held)}]"
    if isinstance(held, str):
        if style % 3 == 1 and "'" not in held and "\n" not in held:
            return f"'{held}'"
        if style % 3 == 2:
            return '"""\n' + held.replace("\\", "\\\\").replace('"', '\\"') + '"""'
        return quoted(held)
    return str(held).lower()


@given(st.lists(st.tuples(names, st.dictionaries(names, values, max_size=3)), max_size=4), st.integers(0, 5))
@settings(max_examples=200, deadline=None)
def test_any_document_is_located_completely(tables: list[tuple[str, dict[str, Any]]], style: int) -> None:
    text, expected = "", {}
    for index, (table, keys) in enumerate(tables):
        header = quoted(f"{index}{table}")
        text += f"\n[{header}] # [x]\n"
        expected[(f"{index}{table}",)] = text.count("\n")
        for name, held in keys.items():
            expected[(f"{index}{table}", name)] = text.count("\n") + 1
            text += f"{quoted(name)} = {written(held, style)}\n"
    found = lines(text)
    assert set(found) == paths(tomllib.loads(text))
    assert {path: found[path] for path in expected} == expected
