"""Mailboxes as SMTP carries them (RFC 5321, 4.1.2 and 4.1.3; with UTF-8, RFC 6531, 3.3).

A Mailbox holds its local part without quotes, so that `"bob"@example.org` and `bob@example.org` are the same
value; `str()` gives the canonical form, quoted only where it must be. Whatever is accepted here has no
control character in it and may go into an SMTP command or a header as it is. All of it takes linear time.
"""

from __future__ import annotations

from mailstrom_cli.values import value

# Octets (RFC 5321, 4.5.3.1.1 to 4.5.3.1.3; a path of 256 has two angle brackets).
MAX_LOCAL = 64
MAX_DOMAIN = 255
MAX_ADDRESS = 254
MAX_LABEL = 63

ALPHANUMERIC = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
ATEXT = ALPHANUMERIC + "!#$%&'*+-/=?^_`{|}~"
JOINERS = "\u200c\u200d"  # unseen, yet part of Persian and Indic words (RFC 5892, A.1 and A.2)


class AddressError(ValueError):
    """Not an address; the text is a sentence that says what is wrong and where, free of control characters.

    at: where in the text that was parsed, in characters from 0, as far as that is told.
    """

    def __init__(self, text: str, at: int = 0) -> None:
        super().__init__(text)
        self.at = at


@value
class Mailbox:
    """local: unquoted.  domain: canonical, a literal with its brackets; "" of a bare local name.
    `str()`: as to be sent."""

    local: str
    domain: str

    def __str__(self) -> str:
        local = quoted_if_needed(self.local)
        return f"{local}@{self.domain}" if self.domain else local


def needs_smtputf8(address: str) -> bool:
    """Whether a server must offer SMTPUTF8 to be given this address (RFC 6531, 3.1)."""
    return not address.isascii()


def parse_mailbox(text: str, origin: str = "") -> Mailbox:
    """The mailbox that `text` is, with nothing around it. A bare local name gets `origin` for its domain,
    where that is given; `postmaster` too, as there is no host here that it could be bare at (RFC 5321,
    4.5.1). Raises AddressError (RFC 5321, 4.1.2)."""
    box = parse_name_or_mailbox(text)
    return box if box.domain else complete(box.local, origin)


def parse_name_or_mailbox(text: str) -> Mailbox:
    """As `parse_mailbox`, but a bare local name is left without a domain."""
    check_characters(text)
    if text.startswith('"'):
        local, end = _quoted(text)
        if end < len(text) and text[end] != "@":
            raise AddressError(f"{shown(text)} goes on after the closing quote, at character {end + 1}")
    else:
        end = text.find("@")
        if end < 0:
            end = len(text)
        local = text[:end]
        _check_dot_atom(text, local)
    return Mailbox(local, "") if end == len(text) else mailbox(local, text[end + 1 :])


def parse_reverse_path(text: str, origin: str = "") -> str:
    """The canonical reverse-path for an address, with or without its angle brackets; "" for `<>` and for
    nothing at all, the null reverse-path (RFC 5321, 4.5.5). Raises AddressError."""
    inner = unbracketed(text)
    return str(parse_mailbox(inner, origin)) if inner else ""


def unbracketed(text: str) -> str:
    """An address without the one pair of angle brackets and the blanks that may stand around it."""
    text = text.strip(" ")
    return text[1:-1] if text.startswith("<") and text.endswith(">") else text


def complete(local: str, origin: str) -> Mailbox:
    """The mailbox of a bare local name at `origin`. Raises AddressError when there is no origin."""
    if not local:
        raise AddressError("the address is empty")
    if not origin:
        raise AddressError(f"{shown(local)} has no domain, and no `origin` is configured to complete it")
    return mailbox(local, origin)


def mailbox(local: str, domain: str) -> Mailbox:
    """A mailbox from an unquoted local part and a domain or address literal, checked. Raises AddressError."""
    check_characters(local)
    box = Mailbox(local, canonical_domain(domain))
    address = str(box)
    sent = len(address.encode())
    octets = sent - 1 - len(box.domain)
    if octets > MAX_LOCAL:
        raise AddressError(
            f"the local part of {shown(address)} has {octets} octets; {MAX_LOCAL} are the most"
        )
    if sent > MAX_ADDRESS:
        raise AddressError(f"{shown(address)} has {sent} octets; {MAX_ADDRESS} are the most")
    return box


def quoted_if_needed(local: str) -> str:
    """A local part as a dot-atom if it is one, else as a quoted string (RFC 5321, 4.1.2)."""
    if is_dotted(local, ATEXT) or (local and all(not _strange(atom) and atom for atom in local.split("."))):
        return local
    escaped = local.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def check_characters(text: str) -> None:
    """Raises AddressError for a control character or any other that cannot be seen."""
    if text.isprintable():
        return
    for at, character in enumerate(text, 1):
        if not character.isprintable() and character not in JOINERS:
            raise AddressError(f"{shown(text)} has the character U+{ord(character):04X} at position {at}")


def shown(text: str) -> str:
    """A text as an error message may show it: in backquotes, capped, unseen characters escaped."""
    text = text if len(text) <= 80 else text[:77] + "..."
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return f"`{text}`"


def is_dotted(text: str, characters: str) -> bool:
    """Whether a text is nothing but words of these characters with single dots between them."""
    return text.strip(characters + ".") == "" != text and text[0] != "." != text[-1] and ".." not in text


# --- local part ---


def _strange(atom: str) -> str:
    """What is left of an atom when all that may be in one is taken from its ends: "" if it is one."""
    rest = atom.strip(ATEXT)
    return rest if rest.isascii() else "".join(c for c in rest if c.isascii() and c not in ATEXT)


def _check_dot_atom(text: str, local: str) -> None:
    atoms = local.split(".")
    if all(atoms) and not any(map(_strange, atoms)):
        return
    for atom in atoms:
        if strange := _strange(atom):
            at = local.index(strange[0]) + 1
            if "<" in text and text.endswith(">"):
                raise AddressError(
                    f"{shown(text)} has more than an address; give what is between < and > alone"
                )
            name = "a space" if strange[0] == " " else shown(strange[0])
            raise AddressError(
                f"{shown(text)} has {name} at character {at}, which only a quoted local part may have"
            )
    if not local:
        raise AddressError(f"{shown(text)} has nothing before the @" if text else "the address is empty")
    fault = (
        "starts with a dot"
        if not atoms[0]
        else "ends with a dot"
        if not atoms[-1]
        else "has two dots in a row"
    )
    raise AddressError(f"the local part of {shown(text)} {fault}")


def _quoted(text: str) -> tuple[str, int]:
    """The content of the quoted string at the start of `text`, and where it ends."""
    content: list[str] = []
    at = 1
    while at < len(text):
        character = text[at]
        if character == '"':
            return "".join(content), at + 1
        if character == "\\":
            at += 1
            if at == len(text):
                break
            character = text[at]
            if not character.isascii():
                raise AddressError(f"{shown(text)} has a backslash before {shown(character)}")
        content.append(character)
        at += 1
    raise AddressError(f"{shown(text)} has an opening quote and no closing one")


# --- domain ---


def canonical_domain(domain: str) -> str:
    """A domain in lower case and in A-labels, or an address literal in its shortest form, checked. So two
    spellings of one domain are equal, and no domain needs SMTPUTF8. Raises AddressError (RFC 5321, 4.1.2 and
    4.1.3; RFC 5890, 2.3.2.1)."""
    if domain.startswith("["):
        return _literal(domain)
    if not domain:
        raise AddressError("there is nothing after the @")
    ascii_form = domain
    if not domain.isascii():
        from mailstrom_cli.mail.idna import to_a_labels

        ascii_form = to_a_labels(domain)
    if not is_dotted(ascii_form, ALPHANUMERIC) or len(ascii_form) > MAX_LABEL:  # few have more to look at
        for label in ascii_form.split("."):
            _check_label(label, domain)
    if len(ascii_form) > MAX_DOMAIN:
        raise AddressError(
            f"the domain {shown(domain)} has {len(ascii_form)} octets; {MAX_DOMAIN} are the most"
        )
    return ascii_form.lower()


def _check_label(label: str, domain: str) -> None:
    if not label:
        fault = "ends with a dot" if domain.endswith(".") else "has a dot at its start or two in a row"
        raise AddressError(f"the domain {shown(domain)} {fault}")
    if label.strip(ALPHANUMERIC + "-"):
        strange = next(c for c in label if c not in ALPHANUMERIC and c != "-")
        name = "a space" if strange == " " else "a second @" if strange == "@" else shown(strange)
        raise AddressError(f"the domain {shown(domain)} has {name} in it")
    if label.startswith("-") or label.endswith("-"):
        raise AddressError(f"the domain {shown(domain)} has a label that starts or ends with a hyphen")
    if len(label) > MAX_LABEL:
        raise AddressError(f"the domain {shown(domain)} has a label of more than {MAX_LABEL} characters")


def _literal(text: str) -> str:
    """A literal for an IPv4 address, an IPv6 address, or what a tag yet unknown may say (RFC 5321, 4.1.3)."""
    inner = text[1:-1]
    if (
        not text.endswith("]")
        or not inner.isascii()
        or any(c in "[]\\ " for c in inner)
        or not inner.isprintable()
    ):
        raise AddressError(f"the address literal {shown(text)} is not of the form [address]")
    tag, colon, content = inner.partition(":")
    if not colon or _ipv6(inner):
        four = _ipv4(inner)
        if not four:
            raise AddressError(f"{shown(text)} is not an IPv4 address; an IPv6 address is written [IPv6:...]")
        return f"[{four}]"
    if tag.lower() == "ipv6":
        six = _ipv6(content)
        if not six:
            raise AddressError(f"the address literal {shown(text)} is not an IPv6 address")
        return f"[IPv6:{six}]"
    if not content or not tag or tag.strip(ALPHANUMERIC + "-") or tag.endswith("-"):
        raise AddressError(f"the address literal {shown(text)} is not of the form [tag:address]")
    return text


def _ipv4(text: str) -> str:
    """The address without leading zeros, which RFC 5321 takes for decimal; "" if it is none."""
    parts = text.split(".")
    fits = len(parts) == 4 and all(p.isdigit() and len(p) <= 3 and int(p) <= 255 for p in parts)
    return ".".join([str(int(p)) for p in parts]) if fits else ""


def _ipv6(text: str) -> str:
    """The address in its canonical form (RFC 5952, 4); "" if it is none. `::` stands for two groups or more
    (RFC 5321, 4.1.3)."""
    head, elided, tail = text.partition("::")
    halves = [half.split(":") if half else [] for half in (head, tail)]
    last = halves[1] if elided else halves[0]
    if last and "." in last[-1]:
        four = _ipv4(last.pop())
        if not four:
            return ""
        a, b, c, d = map(int, four.split("."))
        last += [f"{a << 8 | b:x}", f"{c << 8 | d:x}"]
    known = len(halves[0]) + len(halves[1])
    if known > 6 if elided else known != 8:
        return ""
    groups = [*halves[0], *["0"] * (8 - known), *halves[1]]
    if any(not 1 <= len(group) <= 4 or group.strip("0123456789abcdefABCDEF") for group in groups):
        return ""
    padded = "".join([f":{int(group, 16):x}" for group in groups]) + ":"
    for zeros in range(8, 1, -1):
        run = ":" + "0:" * zeros
        at = padded.find(run)
        if at >= 0:
            return f"{padded[1:at]}::{padded[at + len(run) : -1]}"
    return padded[1:-1]
