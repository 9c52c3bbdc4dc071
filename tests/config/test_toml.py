"""What a text says and the line of every key, in every way that TOML has to write one."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstrom_cli.config.render import template
from mailstrom_cli.config.toml import lines, read, read_plain

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


@pytest.mark.parametrize("rest", ["b = [", "b = 'c", "b = " + "[" * 9999], ids=["end", "quote", "depth"])
def test_what_is_beyond_the_scan_has_no_line(rest: str) -> None:
    found = lines(f"a = 1\n{rest}\n[c]")
    assert (found["a",], found["b",], found.get(("c",))) == (1, 2, None)


def test_what_is_not_plain_is_what_tomllib_says() -> None:
    assert read_plain(TEXT) is None
    assert read(TEXT) == (tomllib.loads(TEXT), EXPECTED)


# --- the plain kind, without tomllib ---

PLAIN = r"""# comment with "quotes",	a tab and é
helo_name = "mail.example.org"   # = [
via = ["smtp://a#b",  # ] not the end
  'mx:', ]
smtp.port= 25
smtp . "ip" = 'it is "ipv4"'
aliases = { root = "ops@example.org", "b c".d = ["x", [ -7, +0, 1.50, -0.25 ], {}] }
[ auth . "smtp.example.org" ]
"" = ''
'C:\x' = '\\'
[retry] # more
  1-a_B = true
[retry.inner]
retries = false
[[route]]
via = []
[route.deep.er]
n = 1
[[route]]
deep.n = 2
[[route.list]]
[[route.list]]
n = 999999999999999
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_plain_kind_is_read_without_tomllib(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = PLAIN.replace("\n", end)
    expected, located = tomllib.loads(text), lines(text)
    monkeypatch.setattr(tomllib, "loads", None)
    assert read(text) == (expected, located)
    assert set(located) == paths(expected)
    assert (located["route", 1, "deep", "n"], located["aliases", "b c", "d", 1, 3]) == (20, 7)


def test_a_file_with_every_setting_is_plain() -> None:
    text = template()
    assert read_plain(text) == (tomllib.loads(text), lines(text))
    text = "\n".join(line.removeprefix("#") for line in text.splitlines() if not line.startswith("# "))
    assert read_plain(text) == (tomllib.loads(text), lines(text))
    assert ("smtp", "timeout", "connect") in lines(text)


UNUSUAL = [
    # words
    *(r'a = "\""', 'a = """b"""', "a = '''b'''", r'"\u0061" = 1', 'a = """\nb\\\n  c"""', "a = 0x1f"),
    *("a = 1_000", "a = 1e3", "a = inf", "a = 1979-05-27", "a = 07:32:00", f"a = {'9' * 16}", 'a = "\xa0"'),
    # tables
    *("[a.b]\nc = 1\n[a]\nd = 2", "[[a.b]]\n[a]\nd = 2", "# \u2028", "- = 1"),
]
WRONG = [
    # names
    *("a", "a =", "= 1", "a.=1", ".a=1", "a..b=1", "é = 1", "a b = 1", "a\n= 1", "'a\n' = 1", "'''a''' = 1"),
    *("[]", "[a", "[a]]", "[[a]", "[[a] ]", "[[a]]]", "[ [a]]", "[a.]", "[a] b", "[a] b = 1", "\ufeffa = 1"),
    # tables
    *("[a]\n[a]", "[[a]]\n[a]", "[a]\n[[a]]", "[a]\n[a.b]\n[a]", "[a.b]\n[[a]]", "[[a]]\nb = 1\n[a.b]"),
    *(
        "a = 1\na = 2",
        "a = 1\na.b = 2",
        "a.b = 1\na = 2",
        "a.b = 1\n[a]",
        "[a]\nb.c = 1\n[a.b]",
        "a = {}\n[a]",
    ),
    *("a = {}\na.b = 1", "a = {}\n[a.b]", "a = []\n[[a]]", "a = [{}]\n[a.b]", "[a]\nb = 1\n[[a.b]]"),
    # words
    *("a = 01", "a = +-1", "a = 1.", "a = .5", "a = 00.5", "a = ٣", "a = True", "a = 1 2", "a = x", "a = -"),
    *("a = 1,", 'a = "b', "a = 'b", 'a = "b" c', 'a = "b\nc"', 'a = ""b"', 'a = "\x01"', "a = 1 # \x7f"),
    *("a = 1\rb = 2", "\x00", "a = 1 b = 2"),
    # lists and inline tables
    *("a = [", "a = [1", "a = [1,", "a = [,]", "a = [1,,2]", "a = [1 2]", "a = [1}", "a = [1]]"),
    *("a = {", "a = {b = 1", "a = {b = 1,}", "a = {,}", "a = {b}", "a = {b = 1 c = 2}", "a = {b = 1]"),
    *("a = {\n}", "a = {b = 1\n}", "a = {b = 1,\nc = 2}", "a = {b = 1 # c\n}", "a = {} {}"),
    *("a = {b = 1, b = 2}", "a = {b = {}, b.c = 1}", "a = " + "[" * 9999),
]


@pytest.mark.parametrize("text", UNUSUAL)
def test_what_is_unusual_is_left_to_tomllib(text: str) -> None:
    assert read_plain(text) is None
    assert read(text) == (tomllib.loads(text), lines(text))
    assert set(lines(text)) == paths(tomllib.loads(text))


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:30])
def test_what_is_wrong_is_left_to_tomllib(text: str) -> None:
    assert read_plain(text) is None
    with pytest.raises((tomllib.TOMLDecodeError, RecursionError)):
        read(text)


SHORT = [text for text in (*UNUSUAL, *WRONG) if len(text) < 99]
PARTS = ["1", "-0", "0.5", "true", '""', "'b'", "[]", "[\n1, # c\n]", "[1, 2]", "{}", "{ a = 1, b.c = [{}] }"]
some_keys = st.sampled_from(["a", "b", "a.b", "b . a", "a.b.c", '"a"', "'b'", '"a.b"', "a-1", "1", "é", ""])
some_words = st.sampled_from([*PARTS, *(text[4:] for text in SHORT if text.startswith("a = "))])
statements = st.one_of(
    st.builds("{} = {}".format, some_keys, some_words),
    st.builds("[{}]".format, some_keys),
    st.builds("[[{}]]".format, some_keys),
    st.sampled_from(["", "  # c", *(line for text in SHORT for line in text.split("\n"))]),
)
any_text = st.text("ab=[]{}.,\"'#\n \t\\1", max_size=20)


@given(st.one_of(st.lists(statements, max_size=7).map("\n".join), any_text))
@settings(max_examples=1000, deadline=None)
def test_what_is_read_as_plain_is_what_tomllib_reads(text: str) -> None:
    plain = read_plain(text)
    try:
        expected = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        assert plain is None
        return
    assert set(lines(text)) == paths(expected)
    if plain is not None:
        assert repr(plain[0]) == repr(expected)  # with the order of keys, the types of numbers, and -0.0
        assert plain[1] == lines(text)


# --- lines ---

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
