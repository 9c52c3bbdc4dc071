"""RFC 5322 address lists: every mailbox found, whatever stands around it, and errors with their place."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailstrom_cli.mail.address import AddressError
from mailstrom_cli.mail.address_list import decoded, parse_address_list


def addresses(text: str, origin: str = "") -> list[str]:
    return [str(box) for box in parse_address_list(text, origin).mailboxes]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  \r\n ", []),
        ("a@b.example", ["a@b.example"]),
        ("a@b.example, c@d.example", ["a@b.example", "c@d.example"]),
        ("Bob <a@b.example>", ["a@b.example"]),
        ("<a@b.example>", ["a@b.example"]),
        ('"Last, First" <a@b.example>', ["a@b.example"]),
        ('"a \\" <x@y> b" <a@b.example>', ["a@b.example"]),
        ("=?utf-8?q?J=C3=BCrgen?= <a@b.example>", ["a@b.example"]),
        ("Jürgen <ü@bücher.example>", ["ü@xn--bcher-kva.example"]),
        ("John Q. Public <a@b.example>", ["a@b.example"]),
        ("(c) a (c) @ (c) b (c) . (c) example (c)", ["a@b.example"]),
        ("(a (nested (very)) \\) comment) a@b.example", ["a@b.example"]),
        ("Bob (the builder, or <x@y>) <a@b.example>", ["a@b.example"]),
        ("a . b @ c . example", ["a.b@c.example"]),
        ("a\r\n @b.example,\r\n\tc@d.example", ["a@b.example", "c@d.example"]),
        (",, a@b.example ,\r\n ,c@d.example,", ["a@b.example", "c@d.example"]),
        ("<@x.example,@y.example:a@b.example>", ["a@b.example"]),
        ("undisclosed-recipients:;", []),
        ("undisclosed recipients: ;", []),
        ("Friends: a@b.example, C <c@d.example>;", ["a@b.example", "c@d.example"]),
        ("G: a@b.example;, x@y.example", ["a@b.example", "x@y.example"]),
        ("A: a@b.example;, B: c@d.example;", ["a@b.example", "c@d.example"]),
        ('"A: B": a@b.example;', ["a@b.example"]),
        ('"a"@b.example', ["a@b.example"]),
        ('"a b"@c.example', ['"a b"@c.example']),
        ('"a b".c@d.example', ['"a b.c"@d.example']),
        ("a@[192.0.2.1]", ["a@[192.0.2.1]"]),
        ("a@[ IPv6:2001:db8::1 ]", ["a@[IPv6:2001:db8::1]"]),
        ('"a\r\n b"@c.example', ['"a b"@c.example']),
        ("a@b.example (comment", None),
        ("a@B.Example", ["a@b.example"]),
    ],
)
def test_every_mailbox_of_a_field_is_found(text: str, expected: list[str] | None) -> None:
    if expected is None:
        with pytest.raises(AddressError):
            addresses(text)
    else:
        assert addresses(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("bob", "`bob` has no domain"),
        ("Bob Builder", "`Bob Builder` is no address: it has no @"),
        ("a@b.example c@d.example", "`c` at character 13 follows an address without a comma"),
        ("a@b.example; c@d.example", "addresses are separated by commas"),
        ("a@b.example <", "the `<` at character 13 has no `>`"),
        ("<a@b.example> <c@d.example>", "display name with an @ in it must be in quotes"),
        ("<a@b.example", "the `<` at character 1 has no `>`"),
        ("x <a@b.example, c@d.example>", "`,` at character 15 stands where a `>` should"),
        ("a@b.example>", "`>` at character 12 follows"),
        ("a>", "`>` at character 2 stands where it has no meaning"),
        ("<>", "no address between `<` and `>`"),
        ("Bob <>", "no address between `<` and `>` at character 5"),
        ("a@", "no domain after the @ at character 2"),
        ("@b.example", "nothing before the @ at character 1"),
        ("a..b@c.example", "a dot is out of place in the local part at character 3"),
        (".a@c.example", "a dot is out of place in the local part at character 1"),
        ("a.@c.example", "ends with a dot at character 2"),
        ("a b@c.example", "second word `b` stands in the local part"),
        ("a@b..example", "ends with a dot"),
        ("(a", "the comment at character 1 has no closing parenthesis"),
        ("a@b.example, (a (b) ", "the comment at character 14"),
        ('"a', "the quote at character 1 has no closing one"),
        ('"a\\', "the quote at character 1 has no closing one"),
        ("a@[192.0.2.1", "no closing bracket"),
        ("[192.0.2.1]", "stands where it has no meaning"),
        ("a\\b@c.example", "`\\` at character 2"),
        ("a)@c.example", "`)` at character 2"),
        ("G: a@b.example", "the group at character 2 is not ended by a semicolon"),
        ("G: H: a@b.example;;", "a group starts at character 5 inside another"),
        (": a@b.example;", "the group at character 1 has no name"),
        ("G: a@b.example; c@d.example", "follows a group without a comma"),
        ("<@x.example a@b.example>", "the source route at character 1 is not ended by a colon"),
        ("a\x01@b.example", "U+0001"),
        ("a@b.example,\r\n c@d e", "`e` at character 6 follows"),
    ],
)
def test_an_error_tells_what_is_wrong_and_where(text: str, says: str) -> None:
    with pytest.raises(AddressError) as caught:
        addresses(text)
    assert says in str(caught.value)
    assert str(caught.value).isprintable()


def test_an_error_knows_its_place_in_the_text() -> None:
    with pytest.raises(AddressError) as caught:
        addresses("a@b.example,\r\n c d")
    assert "a@b.example,\r\n c d"[caught.value.at :] == "d"


def test_bare_names_are_completed_and_their_ends_told() -> None:
    text = 'root, Bob <admin>, a@b.example, G: "x y" (c);'
    parsed = parse_address_list(text, "example.org")
    assert [str(box) for box in parsed.mailboxes] == [
        "root@example.org",
        "admin@example.org",
        "a@b.example",
        '"x y"@example.org',
    ]
    assert [text[:end] for _, end in parsed.bare] == [text[:4], text[:16], text[:40]]


def test_octets_are_utf8_or_an_error() -> None:
    assert decoded("ü".encode()) == "ü"
    with pytest.raises(AddressError, match="octet 0xFC is neither ASCII nor part of UTF-8") as caught:
        decoded("ü".encode() + b"x\xfc")
    assert caught.value.at == 2


@pytest.mark.parametrize("depth", [200_000])
def test_deep_comments_need_no_recursion(depth: int) -> None:
    assert addresses("(" * depth + ")" * depth + "a@b.example") == ["a@b.example"]
    with pytest.raises(AddressError):
        addresses("(" * depth)


PIECES = [
    "a",
    "b.c",
    "@",
    "<",
    ">",
    ",",
    ";",
    ":",
    "(",
    ")",
    '"',
    "\\",
    "[",
    "]",
    ".",
    " ",
    "\r\n ",
    "d.example",
    "ü",
]


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
@settings(max_examples=800, deadline=None)
def test_any_text_is_a_list_or_an_address_error(text: str) -> None:
    for origin in ("", "example.org"):
        try:
            parsed = parse_address_list(text, origin)
        except AddressError as error:
            assert str(error).isprintable()
            assert 0 <= error.at <= len(text)
        else:
            again = ", ".join(map(str, parsed.mailboxes))
            assert parse_address_list(again).mailboxes == parsed.mailboxes


@given(st.lists(st.sampled_from(["a@b.example", '"x y"@c.example', "d@[192.0.2.1]"]), max_size=5), st.data())
@settings(max_examples=100, deadline=None)
def test_dressing_up_an_address_changes_nothing(plain: list[str], data: st.DataObject) -> None:
    dresses = [
        "{}",
        "<{}>",
        "N <{}>",
        '"N, <x@y>" <{}>',
        "(c, d) {} (e)",
        "=?utf-8?q?x?= <{}>",
        "G: {};",
        "\r\n {}",
    ]
    dressed = [data.draw(st.sampled_from(dresses)).format(address) for address in plain]
    assert addresses(data.draw(st.sampled_from([",", ", ", ",\r\n\t", ",,"])).join(dressed)) == plain


def test_an_address_before_one_in_brackets_is_its_name() -> None:
    found = parse_address_list("c@d.example, a@b_b.example <a@b.example>, x@y.example")
    assert [str(box) for box in found.mailboxes] == ["c@d.example", "a@b.example", "x@y.example"]
    assert (found.names, found.unquoted) == (((13, 26),), (13,))
    assert parse_address_list("Bob a@b.example <a@b.example>").mailboxes == found.mailboxes[1:2]


@given(
    st.lists(
        st.sampled_from(
            ["Ann", "J.", "=?x?=", " ", "\r\n ", "<", "a.b@c.example", "d@e-.f", ">", "@", "ü", ";"]
        ),
        max_size=6,
    ).map("".join)
)
@example("  Ann J. Doe \r\n <a.b@c.example> ")
@example("\ta.b@c.example\r\n")
@example("G:<a.b@c.example>")
@example("a.b@[192.0.2. 1]")
@settings(max_examples=500, deadline=None)
def test_a_field_with_one_address_is_read_as_a_list_is(text: str) -> None:
    """What most fields hold is looked at first; a comma behind it makes the parser walk through it."""
    try:
        alone = parse_address_list(text)
    except AddressError:
        with pytest.raises(AddressError):
            parse_address_list(text + ",")
    else:
        assert parse_address_list(text + ",") == alone
