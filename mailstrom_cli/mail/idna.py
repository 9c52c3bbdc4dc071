"""Domains beyond ASCII as the A-labels that the DNS and every server know (IDNA 2008: RFC 5890 to 5893).

The standard library's own codec is of IDNA 2003, which makes `strasse` of `straße`: another domain, perhaps
of another owner. Here a label is mapped as people type it (RFC 5895), must be one that could be looked up
(RFC 5891, 5.4), and only then is put into Punycode. What is left to the registries are the rules of context
for middle dots and the like; a joiner between Arabic letters is taken without looking how these join.
"""

from __future__ import annotations

from unicodedata import bidirectional, category, combining, decomposition, normalize

from mailstrom_cli.mail.address import JOINERS, MAX_LABEL, AddressError, shown

DOTS = "\u3002\uff0e\uff61"  # ideographic and wide full stops (RFC 5895, 2; IDNA 2003)

# RFC 5892, 2.6: what its general rules would get wrong.
VALID = "\u00df\u03c2\u06fd\u06fe\u0f0b\u3007\u00b7\u0375\u05f3\u05f4\u30fb"
INVALID = "\u0640\u07fa\u302e\u302f\u3031\u3032\u3033\u3034\u3035\u303b\u19da"
# RFC 5892, 2.3 to 2.5 and 2.9: letters and marks that are ignored, of music or symbols, or old Hangul.
IGNORED = (
    *((0x034F, 0x034F), (0x1100, 0x11FF), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x20D0, 0x20FF)),
    *((0xA960, 0xA97F), (0xD7B0, 0xD7FF), (0xFE00, 0xFE0F), (0x1D100, 0x1D24F), (0xE0100, 0xE01EF)),
)
LETTERS_AND_DIGITS = ("Ll", "Lu", "Lo", "Lm", "Mn", "Mc", "Nd")
VIRAMA = 9  # combining class of the marks that take the vowel from a consonant


def to_a_labels(domain: str) -> str:
    """A domain with every U-label in it as its A-label, mapped to lower case and composed first. ASCII labels
    are left alone. Raises AddressError."""
    labels = _mapped(domain).split(".")
    return ".".join([label if label.isascii() else _a_label(label, domain) for label in labels])


def _mapped(domain: str) -> str:
    """What people type as what is looked up (RFC 5895, 2); letter by letter, as no sigma is final here, and
    not where the capital is the stable form (Cherokee)."""
    parts = []
    for character in domain:
        if character in DOTS:
            character = "."
        elif decomposition(character).startswith(("<wide>", "<narrow>")):
            character = normalize("NFKC", character)
        parts.append(character if character.casefold() == character else character.lower())
    return normalize("NFC", "".join(parts))


def _a_label(label: str, domain: str) -> str:
    if len(label) > MAX_LABEL:
        raise _too_long(domain)
    for at, character in enumerate(label):
        fits = _joins(label, at) if character in JOINERS else character.isascii() or _is_valid(character)
        if not fits:
            raise AddressError(f"the domain {shown(domain)} has {shown(character)} in it")
    if category(label[0]).startswith("M"):
        raise AddressError(f"the domain {shown(domain)} has a label that starts with a combining mark")
    if label.startswith("-") or label.endswith("-"):
        raise AddressError(f"the domain {shown(domain)} has a label that starts or ends with a hyphen")
    if label[2:4] == "--":
        raise AddressError(f"the domain {shown(domain)} has a label with hyphens as its third and fourth")
    _check_direction(label, domain)
    encoded = "xn--" + label.encode("punycode").decode("ascii")
    if len(encoded) > MAX_LABEL:
        raise _too_long(domain)
    return encoded


def _too_long(domain: str) -> AddressError:
    return AddressError(f"the domain {shown(domain)} has a label of more than {MAX_LABEL} characters")


def _is_valid(character: str) -> bool:
    """Whether RFC 5892, 3, derives PVALID or CONTEXTO for a character beyond ASCII."""
    if character in VALID:
        return True
    point = ord(character)
    if character in INVALID or any(first <= point <= last for first, last in IGNORED):
        return False
    stable = normalize("NFKC", normalize("NFKC", character).casefold()) == character
    return stable and category(character) in LETTERS_AND_DIGITS


def _joins(label: str, at: int) -> bool:
    """Whether a joiner stands where it may: after a virama, or (ZWNJ) between letters that may join
    (RFC 5892, A.1 and A.2)."""
    if at and combining(label[at - 1]) == VIRAMA:
        return True
    before = next((c for c in reversed(label[:at]) if category(c) != "Mn"), "")
    after = next((c for c in label[at + 1 :] if category(c) != "Mn"), "")
    return label[at] == JOINERS[0] and all(c and bidirectional(c) == "AL" for c in (before, after))


def _check_direction(label: str, domain: str) -> None:
    """The rule for a label with letters that are written from right to left (RFC 5893, 2)."""
    kinds = [bidirectional(c) for c in label]
    if not {"R", "AL", "AN"}.intersection(kinds):
        return
    last = next(kind for kind in reversed(kinds) if kind != "NSM")
    fits = (
        kinds[0] in ("R", "AL")
        and last in ("R", "AL", "EN", "AN")
        and {"R", "AL", "AN", "EN", "ES", "CS", "ET", "ON", "BN", "NSM"}.issuperset(kinds)
        and not {"EN", "AN"}.issubset(kinds)
    )
    if not fits:
        raise AddressError(f"the domain {shown(domain)} mixes directions of writing in a label")
