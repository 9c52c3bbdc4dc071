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
CONTEXTUAL = "\u00b7\u0375\u05f3\u05f4\u30fb" + JOINERS  # in U-labels beside letters (RFC 5892, 2.6)


class AddressError(ValueError):
    """Not an address; the text is a sentence that says what is wrong and where, free of control characters.

    at: where in the text that was parsed, in characters from 0, as far as that is told.
    """

    def __init__(self, text: str, at: int = 0) -> None:
        super().__init__(text)
        self.at = at


@value
class Mailbox:
    """local: unquoted.  domain: lower case, a literal with its brackets.  `str()`: as to be sent."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{quoted_if_needed(self.local)}@{self.domain}"


def needs_smtputf8(address: str) -> bool:
    """Whether a server must offer SMTPUTF8 to be given this address (RFC 6531, 3.1)."""
    return not address.isascii()


def parse_mailbox(text: str, origin: str = "") -> Mailbox:
    """The mailbox that `text` is, with nothing around it. A bare local name gets `origin` for its domain,
    where that is given. Raises AddressError (RFC 5321, 4.1.2)."""
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
    if end == len(text):
        return complete(local, origin)
    return mailbox(local, text[end + 1 :])


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
    octets = sent - 1 - len(box.domain.encode())
    if octets > MAX_LOCAL:
        raise AddressError(
            f"the local part of {shown(address)} has {octets} octets; {MAX_LOCAL} are the most"
        )
    if sent > MAX_ADDRESS:
        raise AddressError(f"{shown(address)} has {sent} octets; {MAX_ADDRESS} are the most")
    return box


def quoted_if_needed(local: str) -> str:
    """A local part as a dot-atom if it is one, else as a quoted string (RFC 5321, 4.1.2)."""
    if local and all(not _strange(atom) and atom for atom in local.split(".")):
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
    """A domain in lower case, or an address literal, checked. Raises AddressError (RFC 5321, 4.1.2 and 4.1.3;
    U-labels RFC 6531, 3.3)."""
    if domain.startswith("["):
        domain = _literal(domain)
    else:
        domain = domain.lower()
        if not domain:
            raise AddressError("there is nothing after the @")
        for label in domain.split("."):
            _check_label(label, domain)
    octets = len(domain.encode())
    if octets > MAX_DOMAIN:
        raise AddressError(f"the domain {shown(domain)} has {octets} octets; {MAX_DOMAIN} are the most")
    return domain


def _check_label(label: str, domain: str) -> None:
    if not label:
        fault = "ends with a dot" if domain.endswith(".") else "has a dot at its start or two in a row"
        raise AddressError(f"the domain {shown(domain)} {fault}")
    rest = label.strip(ALPHANUMERIC + "-")
    if rest:
        from unicodedata import category

        for character in label:
            kind = category(character)
            if character.isascii():
                fits = character in ALPHANUMERIC or character == "-"
            else:
                fits = kind[0] in "LM" or kind == "Nd" or character in CONTEXTUAL
            if not fits:
                name = (
                    "a space" if character == " " else "a second @" if character == "@" else shown(character)
                )
                raise AddressError(f"the domain {shown(domain)} has {name} in it")
    if label.startswith("-") or label.endswith("-"):
        raise AddressError(f"the domain {shown(domain)} has a label that starts or ends with a hyphen")
    if len(label) > MAX_LABEL:
        raise AddressError(f"the domain {shown(domain)} has a label of more than {MAX_LABEL} characters")


def _literal(text: str) -> str:
    inner = text[1:-1]
    if (
        not text.endswith("]")
        or not inner.isascii()
        or any(c in "[]\\ " for c in inner)
        or not inner.isprintable()
    ):
        raise AddressError(f"the address literal {shown(text)} is not of the form [address]")
    tag, colon, content = inner.partition(":")
    if not colon or _is_ipv6(inner):
        if not _is_ipv4(inner):
            raise AddressError(f"{shown(text)} is not an IPv4 address; an IPv6 address is written [IPv6:...]")
        return text
    if tag.lower() == "ipv6":
        if not _is_ipv6(content):
            raise AddressError(f"the address literal {shown(text)} is not an IPv6 address")
        return f"[IPv6:{content.lower()}]"
    if not content or not tag or tag.strip(ALPHANUMERIC + "-") or tag.endswith("-"):
        raise AddressError(f"the address literal {shown(text)} is not of the form [tag:address]")
    return text


def _is_ipv4(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 4 and all(p.isdigit() and len(p) <= 3 and int(p) <= 255 for p in parts)


def _is_ipv6(text: str) -> bool:
    """IPv6-addr of RFC 5321, 4.1.3: `::` stands for two groups or more."""
    head, elided, tail = text.partition("::")
    groups = [g for half in (head, tail) if half for g in half.split(":")]
    room = 6 if elided else 8
    if groups and "." in groups[-1] and not text.endswith("::"):
        if not _is_ipv4(groups.pop()):
            return False
        room -= 2
    fits = len(groups) <= room if elided else len(groups) == room
    return fits and all(1 <= len(g) <= 4 and not g.strip("0123456789abcdefABCDEF") for g in groups)
