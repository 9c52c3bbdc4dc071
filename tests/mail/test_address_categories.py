"""Every category that public tests of address validators know, with an example of our own for each.

What RFC 5321 allows in an envelope is taken there, and nothing else: there is no deliberate disagreement. A
header may have what RFC 5322 allows on top: comments, folding, blanks, and the obsolete forms.
"""

from __future__ import annotations

import pytest

from mailstrom_cli.mail.address import AddressError, parse_mailbox
from mailstrom_cli.mail.address_list import parse_address_list

LONG_LABELS = ".".join(["b" * 63] * 4)
HERE = "ann@example.org"

# category: the text; what it is in an envelope, and what in a header, None where it is refused
CATEGORIES: dict[str, tuple[str, str | None, str | None]] = {
    # valid in SMTP
    "plain": ("ann@mail.example.org", "ann@mail.example.org", "ann@mail.example.org"),
    "top-level domain": ("ann@example", "ann@example", "ann@example"),
    "numeric top-level domain": ("ann@example.123", "ann@example.123", "ann@example.123"),
    "quoted string": ('"ann lee"@example.org', '"ann lee"@example.org', '"ann lee"@example.org'),
    "empty quoted string": ('""@example.org', '""@example.org', '""@example.org'),
    "quoted pair": (r'"a\"n"@example.org', r'"a\"n"@example.org', r'"a\"n"@example.org'),
    "address literal": ("ann@[192.0.2.7]", "ann@[192.0.2.7]", "ann@[192.0.2.7]"),
    "IPv6 literal": ("ann@[IPv6:2001:db8::7]", "ann@[IPv6:2001:db8::7]", "ann@[IPv6:2001:db8::7]"),
    "general literal": ("ann@[x-new:7]", "ann@[x-new:7]", "ann@[x-new:7]"),
    # RFC 4291 lets `::` stand for one group, RFC 5321 does not.
    "IPv6 with :: for one group": ("ann@[IPv6:1:2:3:4:5:6::8]", None, None),
    # comments, folding white space: in headers only
    "comment": ("ann(lee)@example.org", None, HERE),
    "folding white space": (" ann\r\n @example.org ", None, HERE),
    # obsolete: in headers only
    "obsolete local part": ('ann."lee".x@example.org', None, "ann.lee.x@example.org"),
    "obsolete folding": ("ann\r\n \r\n @example.org", None, HERE),
    "obsolete comment place": ("ann@(lee)example.org", None, HERE),
    "obsolete text in a comment": ("ann(\x07)@example.org", None, HERE),
    "blanks near the @": ("ann @ example.org", None, HERE),
    "line ends around": ("ann\r\n\r\n @example.org\r\n", None, HERE),
    "source route": ("<@relay.example:ann@example.org>", None, HERE),
    # A local part with a control character can be in no SMTP command, so it is refused in headers too.
    "obsolete text in quotes": ('"ann\x07"@example.org', None, None),
    "obsolete quoted pair": ('"ann\\\x07"@example.org', None, None),
    # what RFC 5322 has room for, and no server
    "domain that is no host name": ("ann@ex_ample.org", None, None),
    "domain literal of anything": ("ann@[nonsense]", None, None),
    "obsolete domain literal": ("ann@[\\x]", None, None),
    "too long": (f"{'a' * 64}@{'.'.join(['b' * 60] * 4)}", None, None),
    "local part too long": (f"{'a' * 65}@example.org", None, None),
    "domain too long": (f"a@{LONG_LABELS}", None, None),
    "label too long": (f"a@{'b' * 64}.example", None, None),
    "IPv6 group count": ("ann@[IPv6:1:2:3]", None, None),
    "IPv6 with two ::": ("ann@[IPv6:1::2::3]", None, None),
    "IPv6 with a wrong character": ("ann@[IPv6:1::g]", None, None),
    "IPv6 with too many groups": ("ann@[IPv6:1:2:3:4:5:6:7::8]", None, None),
    "IPv6 that starts with a colon": ("ann@[IPv6::1:2:3:4:5:6:7:8]", None, None),
    "IPv6 that ends with a colon": ("ann@[IPv6:1:2:3:4:5:6:7:8:]", None, None),
    # errors
    "bracket in a literal": ("ann@[[7]", None, None),
    "no local part": ("@example.org", None, None),
    "no domain": ("ann@", None, None),
    "no @": ("ann", None, None),
    "nothing": ("", None, ""),
    "consecutive dots": ("ann..lee@example.org", None, None),
    "text after white space": ("ann lee@example.org", None, None),
    "text after a quoted string": ('"ann"lee@example.org', None, None),
    "text after a literal": ("ann@[192.0.2.7]x", None, None),
    "backslash before what is not ASCII": ('"ann\\é"@example.org', None, "anné@example.org"),
    "special out of place": ("ann>@example.org", None, None),
    "NUL in quotes": ('"ann\0"@example.org', None, None),
    "backslash at the end": ('"ann\\', None, None),
    "backslash outside quotes": ("an\\n@example.org", None, None),
    "dot at the start": (".ann@example.org", None, None),
    "dot at the end": ("ann.@example.org", None, None),
    "dot at the end of the domain": ("ann@example.org.", None, None),
    "domain starts with a hyphen": ("ann@-example.org", None, None),
    "domain ends with a hyphen": ("ann@example-.org", None, None),
    "unclosed quoted string": ('"ann@example.org', None, None),
    "unclosed comment": ("ann(lee@example.org", None, None),
    "unclosed literal": ("ann@[192.0.2.7", None, None),
}


@pytest.mark.parametrize("category", CATEGORIES)
def test_an_envelope_takes_what_rfc_5321_allows(category: str) -> None:
    text, envelope, _ = CATEGORIES[category]
    if envelope is None:
        with pytest.raises(AddressError):
            parse_mailbox(text)
    else:
        assert str(parse_mailbox(text)) == envelope


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_header_takes_what_rfc_5322_allows_as_far_as_it_can_be_sent_to(category: str) -> None:
    text, _, header = CATEGORIES[category]
    if header is None:
        with pytest.raises(AddressError):
            parse_address_list(text)
    else:
        assert ", ".join(map(str, parse_address_list(text).mailboxes)) == header
