"""Domains beyond ASCII have one form, which is that of IDNA 2008."""

from __future__ import annotations

import unicodedata

import idna as oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from idna.idnadata import codepoint_classes
from idna.intranges import intranges_contain

from mailstrom_cli.mail.address import AddressError, canonical_domain
from mailstrom_cli.mail.idna import _is_valid

CONTEXT = "\u00b7\u0375\u05f3\u05f4\u30fb\u0660\u06f0"  # whose rules are left to the registries
LETTERS = "aé1-.ÄßςΣ漢डक्षאب\u0301\u200c\u200dｆ。"


@pytest.mark.parametrize(
    ("domain", "a_labels"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.Example", "xn--bcher-kva.example"),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("ΟΔΟΣ.example", "xn--pxavbq.example"),
        ("οδος.example", "xn--pxavbm.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("ｆｕｌｌ.example", "full.example"),
        ("می\u200cخواهم.example", "xn--mgbn2ecje63gr19l.example"),
        ("क्\u200dष.example", "xn--11b2ezcw70k.example"),
        ("אבג.example", "xn--4dbcd.example"),
        ("Ꭰ.example", "xn--58d.example"),
    ],
)
def test_what_is_one_domain_has_one_form(domain: str, a_labels: str) -> None:
    assert canonical_domain(domain) == a_labels


@pytest.mark.parametrize(
    ("domain", "says"),
    [
        ("exam☃ple.org", "`☃` in it"),
        ("ab\u200cé.example", "`\\u200c` in it"),
        ("é\u200d.example", "`\\u200d` in it"),
        ("\u0301x.example", "starts with a combining mark"),
        ("éx--.example", "starts or ends with a hyphen"),
        ("éx--y.example", "hyphens as its third and fourth"),
        ("éxy--z.example", None),
        ("aé--y.example", "hyphens as its third and fourth"),
        ("אבa.example", "mixes directions"),
        ("1אב.example", "mixes directions"),
        ("é" * 64 + ".example", "more than 63"),
        ("é" * 60 + "ü漢.example", "more than 63"),
        ("é..example", "two in a row"),
        (".".join(["é" * 40] * 6), "255 are the most"),
        ("ℵ.example", "in it"),
        ("ﬁ.example", "in it"),
        ("é_.example", "in it"),
    ],
)
def test_what_could_not_be_looked_up_is_no_domain(domain: str, says: str | None) -> None:
    if says is None:
        assert canonical_domain(domain).startswith("xn--")
        return
    with pytest.raises(AddressError, match="the domain") as caught:
        canonical_domain(domain)
    assert says in str(caught.value)
    assert str(caught.value).isprintable()


def test_every_character_has_the_class_that_the_tables_give_it() -> None:
    for point in range(0x80, 0x30000):
        character = chr(point)
        if unicodedata.category(character) in ("Cn", "Cs", "Co"):
            continue
        told = any(intranges_contain(point, codepoint_classes[kind]) for kind in ("PVALID", "CONTEXTO"))
        assert _is_valid(character) == told, f"U+{point:04X}"


@given(st.text(LETTERS, min_size=1, max_size=8).map(lambda text: f"{text}é.example"))
@settings(max_examples=800, deadline=None)
def test_the_idna_package_says_the_same(domain: str) -> None:
    try:
        expected = oracle.encode(domain, uts46=True).decode()
    except oracle.IDNAError:
        expected = None
    try:
        found: str | None = canonical_domain(domain)
    except AddressError:
        found = None
    assert found == expected
