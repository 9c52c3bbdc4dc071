"""The mailboxes in an address field of a message's header (RFC 5322, 3.4; with UTF-8, RFC 6532; groups, RFC
6854).

Display names and comments are passed over, encoded-words in them left alone; the members of a group count.
What the RFC calls obsolete is accepted: empty list elements, blanks and comments around dots, source routes,
dots in display names. Linear in the length of the field, and nothing recurses.
"""

from __future__ import annotations

from mailstrom_cli.mail.address import (
    ATEXT,
    AddressError,
    Mailbox,
    complete,
    is_dotted,
    mailbox,
    shown,
)
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

    # What it is ("atom", "quoted", "literal", one of `<>@,;:.`, or "" at the end), its text, and where it
    # starts and ends.
    Token = tuple[str, str, int, int]

BLANK = " \t\r\n"
PUNCTUATION = "<>@,;:."
SPECIALS = PUNCTUATION + '()[]\\"'
ENDS_ATOM = frozenset(BLANK + SPECIALS)
NAME = ATEXT + "." + BLANK
ENDS = str.maketrans(dict.fromkeys(BLANK + SPECIALS, ","))  # a comma for whatever ends an atom


@value
class AddressList:
    """mailboxes: in order.  alone: the first that is a member of no group, or None.
    bare: of every name that stands without a domain, its index in `mailboxes` and where it ends in the text.
    names: where the display names, and those of groups, start and end in the text.
    unquoted: where those start that are an address, as in `a@example.org <a@example.org>`."""

    mailboxes: tuple[Mailbox, ...]
    alone: Mailbox | None = None
    bare: tuple[tuple[int, int], ...] = ()
    names: tuple[tuple[int, int], ...] = ()
    unquoted: tuple[int, ...] = ()


def decoded(raw: bytes) -> str:
    """A field's octets as text. Raises AddressError where they are neither ASCII nor UTF-8 (RFC 6532,
    3.1)."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        octet = raw[error.start]
        before = len(raw[: error.start].decode())
        raise AddressError(f"octet 0x{octet:02X} is neither ASCII nor part of UTF-8", before) from None


def parse_address_list(text: str, origin: str = "", known: Container[str] = ()) -> AddressList:
    """Every mailbox in an address field's value, folded or not, in order; a bare local name gets `origin` for
    its domain. Where no origin is given, a bare name is an error, but for those that are `known` in lower
    case. Raises AddressError; the characters it counts are those of a line, from 1."""
    return _alone(text) or _Parser(text, origin, known).parse()


def _alone(text: str) -> AddressList | None:
    """The list that is one address, or one name of plain words with an address, as nearly all are; None for
    any other, and for a fault, which the parser tells of."""
    value = text.strip(BLANK)
    name, bracket, address = value.partition("<")
    if not bracket:
        name, address = "", value
    elif not value.endswith(">"):
        return None
    else:
        name, address = name.rstrip(BLANK), address[:-1]
    local, _, domain = address.partition("@")
    if name.strip(NAME) or not is_dotted(local, ATEXT):
        return None
    try:
        box = mailbox(local, domain)
    except AddressError:
        return None
    start = text.find(value)
    return AddressList((box,), box, names=((start, start + len(name)),) if name else ())


class _Parser:
    """Walks the tokens of one field, once."""

    def __init__(self, text: str, origin: str, known: Container[str]) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.origin = origin
        self.known = known
        self.at = 0
        self.found: list[Mailbox] = []
        self.group: Token | None = None  # the one that is open
        self.alone: Mailbox | None = None
        self.bare: list[tuple[int, int]] = []
        self.names: list[tuple[int, int]] = []
        self.unquoted: list[int] = []

    def parse(self) -> AddressList:
        while True:
            words = self.words()
            mark = self.take()
            kind = mark[0]
            if kind == "<":
                if words:
                    self.names.append((words[0][2], words[-1][3]))
                self.angle(mark)
            elif kind == "@" and words and self.stands_before_angle():
                self.unquoted.append(words[0][2])
                self.domain()
                self.names.append((words[0][2], self.tokens[self.at - 1][3]))
                self.angle(self.take())
            elif kind == "@":
                self.add(words, mark)
            elif kind == ":":
                if self.group:
                    raise self.error("a group starts", mark, " inside another")
                if not words:
                    raise self.error("the group", mark, " has no name")
                self.names.append((words[0][2], words[-1][3]))
                self.group = mark
                continue
            elif kind in ("literal", ">"):
                raise self.error(shown(mark[1]), mark, " stands where it has no meaning")
            else:
                if words:
                    self.add_bare(words, mark)
                self.at -= 1  # the separator, once more
            self.separator()
            if not self.tokens[self.at - 1][0]:
                positions = tuple(self.bare), tuple(self.names), tuple(self.unquoted)
                return AddressList(tuple(self.found), self.alone, *positions)

    def separator(self) -> None:
        """Takes what follows an address or a group."""
        token = self.take()
        kind = token[0]
        if kind == ";":
            if not self.group:
                raise self.error("`;`", token, " ends no group; addresses are separated by commas")
            self.group = None
            token = self.take()
            if token[0] not in (",", ""):
                raise self.error(shown(token[1]), token, " follows a group without a comma between")
        elif kind == "":
            if self.group:
                raise self.error("the group", self.group, " is not ended by a semicolon")
        elif kind == "<":
            raise self.error(
                "`<`", token, " follows an address; a display name with an @ in it must be in quotes"
            )
        elif kind != ",":
            raise self.error(shown(token[1]), token, " follows an address without a comma between")

    def words(self) -> list[Token]:
        """Takes words and dots: a display name or a local part, as what follows tells."""
        start = self.at
        while self.tokens[self.at][0] in ("atom", "quoted", "."):
            self.at += 1
        return self.tokens[start : self.at]

    def stands_before_angle(self) -> bool:
        """Whether the domain from here on is followed by a `<`: then the address is meant as a name."""
        at = self.at
        while self.tokens[at][0] in ("atom", "."):
            at += 1
        return at > self.at and self.tokens[at][0] == "<"

    def take(self) -> Token:
        self.at += 1
        return self.tokens[self.at - 1]

    def add(self, words: list[Token], mark: Token) -> None:
        """Takes the domain that follows an @, and keeps the mailbox."""
        local = self.local(words, mark)
        try:
            self.keep(mailbox(local, self.domain()))
        except AddressError as error:
            error.at = error.at or mark[2]
            raise

    def add_bare(self, words: list[Token], mark: Token) -> None:
        """Keeps the mailbox of a bare local name."""
        local = self.local(words, mark)
        self.bare.append((len(self.found), words[-1][3]))
        if not self.origin and local.lower() in self.known:
            self.keep(Mailbox(local, ""))
            return
        try:
            self.keep(complete(local, self.origin))
        except AddressError as error:
            error.at = words[0][2]
            raise

    def keep(self, box: Mailbox) -> None:
        self.found.append(box)
        if self.alone is None and not self.group:
            self.alone = box

    def local(self, words: list[Token], mark: Token) -> str:
        """The local part that words and dots in turn make, unquoted (RFC 5322, 3.4.1 and 4.4)."""
        if not words:
            raise self.error("there is nothing before the @", mark)
        for number, word in enumerate(words):
            if (word[0] == ".") is not (number % 2 == 1):
                what = "a dot is out of place" if word[0] == "." else f"a second word {shown(word[1])} stands"
                if mark[0] == "@":
                    raise self.error(f"{what} in the local part", word)
                name = shown(self.text[words[0][2] : words[-1][3]])
                raise self.error(f"{name} is no address: it has no @, and {what}", word)
        if words[-1][0] == ".":
            raise self.error("the local part ends with a dot", words[-1])
        return "".join([word[1] for word in words])

    def domain(self) -> str:
        """Takes a domain or an address literal."""
        start = self.at
        if self.tokens[start][0] == "literal":
            self.at += 1
            return self.tokens[start][1]
        expected = "atom"
        while self.tokens[self.at][0] == expected:
            expected = "." if expected == "atom" else "atom"
            self.at += 1
        if self.at == start:
            raise self.error("there is no domain after the @", self.tokens[start - 1])
        return "".join([token[1] for token in self.tokens[start : self.at]])

    def angle(self, opening: Token) -> None:
        """Takes an addr-spec, with the source route it may have, and the `>` (RFC 5322, 3.4 and 4.4)."""
        if self.tokens[self.at][0] in ("@", ","):
            while self.tokens[self.at][0] in ("@", ","):
                if self.take()[0] == "@":
                    self.domain()
            if self.take()[0] != ":":
                raise self.error("the source route", opening, " is not ended by a colon")
        words = self.words()
        mark = self.take()
        if mark[0] == ">" and not words:
            raise self.error("there is no address between `<` and `>`", opening)
        if mark[0] == "@":
            self.add(words, mark)
            mark = self.take()
        elif mark[0] == ">":
            self.add_bare(words, mark)
        if not mark[0]:
            raise self.error("the `<`", opening, " has no `>`")
        if mark[0] != ">":
            raise self.error(shown(mark[1]), mark, " stands where a `>` should")

    def error(self, what: str, token: Token, more: str = "") -> AddressError:
        return _error(self.text, what, token[2], more)


def _error(text: str, what: str, at: int, more: str = "") -> AddressError:
    return AddressError(f"{what} at character {at - text.rfind(chr(10), 0, at)}{more}", at)


# --- lexical tokens (RFC 5322, 3.2) ---


def _tokens(text: str) -> list[Token]:
    """The field as tokens, without blanks and comments, ended by one of kind ""."""
    tokens: list[Token] = []
    ends = text.translate(ENDS)
    at, end = len(text) - len(text.lstrip(BLANK)), len(text)
    while at < end:
        character = text[at]
        start = at
        if character in BLANK:
            at += 1
        elif character in PUNCTUATION:
            at += 1
            tokens.append((character, character, start, at))
        elif character == "(":
            from mailstrom_cli.mail.comment import comment_end

            at = comment_end(text, at)
            if at < 0:
                raise _error(text, "the comment", start, " has no closing parenthesis")
        elif character == '"':
            content, at = quoted_string(text, at)
            tokens.append(("quoted", content, start, at))
        elif character == "[":
            at = text.find("]", at) + 1
            if not at:
                raise _error(text, "the address literal", start, " has no closing bracket")
            tokens.append(("literal", "".join(text[start:at].split()), start, at))
        elif character in SPECIALS:
            raise _error(text, shown(character), at, " stands where it has no meaning")
        else:
            at = ends.find(",", at)
            at = at if at >= 0 else end
            tokens.append(("atom", text[start:at], start, at))
    tokens.append(("", "", end, end))
    return tokens


def quoted_string(text: str, start: int) -> tuple[str, int]:
    """The content of the quoted string at `start`, and where it ends (RFC 5322, 3.2.4)."""
    parts, at, end = [], start + 1, len(text)
    while at < end and text[at] != '"':
        if text[at] == "\\":
            at += 1
        parts.append(text[at : at + 1])
        at += 1
    if at >= end:
        raise _error(text, "the quote", start, " has no closing one")
    return "".join(parts).replace("\r\n", ""), at + 1
