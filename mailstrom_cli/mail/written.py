"""The fields of a new message, written in ASCII and folded: texts, mailboxes with names, names of files.

A text is always meant as it stands: what looks like an encoded-word is encoded, so that it is shown as given.
Every function refuses control characters, as they could end a field.
"""

from __future__ import annotations

from mailstrom_cli.errors import DATA, MailstromError
from mailstrom_cli.mail.address import ATEXT, AddressError
from mailstrom_cli.mail.address_list import BLANK, parse_address_list, quoted_string
from mailstrom_cli.mail.comment import comment_end
from mailstrom_cli.mail.encoded_word import encoded_words
from mailstrom_cli.mail.header_text import MAX_COLUMN, in_ascii
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from mailstrom_cli.mail.address import Mailbox

LONGEST_WORD = 900  # octets of what is not encoded and has no blank to fold at
LONGEST_QUOTED = 60  # octets of a name in quotes; a longer one is encoded, which can be folded
LONGEST_FILENAME = 128
SECTION = 50  # octets of a parameter's section (RFC 2231, 3)
ATOM = frozenset(ATEXT)
# RFC 2231, 7: attribute-char, without what some readers take for something else.
UNESCAPED = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")


@value
class Named:
    """A mailbox with its display name, decoded; "" for none.  bare: it came without a domain."""

    name: str
    box: Mailbox
    bare: bool = False


def parse_named(text: str, origin: str = "", known: Container[str] = ()) -> tuple[Named, ...]:
    """The mailboxes of a list as a person types it, with their display names; comments are left out. A bare
    local name gets `origin`, but for those that are `known`. Raises AddressError, for groups too."""
    _check(text)
    parse_address_list(text, origin, known)  # for errors that tell of the whole
    found: list[Named] = []
    for piece in _pieces(text):
        parsed = parse_address_list(piece, origin, known)
        name = "".join([_said(piece[start:end]) for start, end in parsed.names])
        found += [Named(name, box, parsed.bare != ()) for box in parsed.mailboxes]
    if not found:
        raise AddressError("it names no address")
    return tuple(found)


def address_field(name: str, mailboxes: Sequence[Named]) -> str:
    """The value of an address field (RFC 5322, 3.4; RFC 2047, 5 (3))."""
    words: list[str] = []
    for number, named in enumerate(mailboxes, 1):
        start = 1 if words else len(name) + 2
        phrase = _phrase(named.name, MAX_COLUMN - start)
        end = "," if number < len(mailboxes) else ""
        words += [*phrase, f"<{named.box}>{end}" if phrase else f"{named.box}{end}"]
    return _folded(name, words)


def text_field(name: str, text: str) -> str:
    """The value of an unstructured field that says `text`, without blanks at its ends (RFC 5322, 3.2.5)."""
    _check(text)
    words = list(_words(text.strip(BLANK)))
    if not text.isascii() or "=?" in text or max(map(len, words), default=0) > LONGEST_WORD:
        words = encoded_words(text.strip(BLANK), MAX_COLUMN - len(name) - 2)
    return _folded(name, words)


def other_field(name: str, text: str) -> str:
    """The value of any other field: ASCII stays as it is, folded; other text is encoded where the syntax of
    the field has room for it. Raises MailstromError where it has none."""
    _check(text)
    text = text.strip(BLANK)
    if text.isascii():
        return _folded(name, list(_words(text)))
    value = in_ascii(name.lower(), name, f" {text}")
    if value is None:
        what = f"field `{name}`: it cannot have text beyond ASCII, or is no list of addresses"
        raise MailstromError(what, None, DATA)
    return value[1:].removesuffix("\r\n")


def content_type(essence: str, charset: str, filename: str) -> str:
    """The value of Content-Type, with the name of the file as old readers know it: encoded-words in quotes,
    against RFC 2047 and never in use otherwise."""
    words = [f"{essence};"]
    if charset:
        words.append(f"charset={charset};")
    if _is_plain(filename):
        words.append(f'name="{filename}"')
    else:
        encoded = encoded_words(filename, MAX_COLUMN - len('name=""'))
        words += [*_between('name="', encoded, '"')]
    return _folded("Content-Type", words)


def attached(filename: str) -> str:
    """The value of Content-Disposition for an attached file (RFC 2183; RFC 2231, 3 and 4)."""
    words = ["attachment;"]
    if _is_plain(filename):
        words.append(f'filename="{filename}"')
    else:
        sections = list(_sections(filename))
        for number, section in enumerate(sections):
            star = "" if len(sections) == 1 else f"*{number}"
            charset = "" if number else "utf-8''"
            end = ";" if number < len(sections) - 1 else ""
            words.append(f"filename{star}*={charset}{section}{end}")
    return _folded("Content-Disposition", words)


def _check(text: str) -> None:
    for character in text:
        if character < " " or "\x7f" <= character <= "\x9f" or "\ud800" <= character <= "\udfff":
            raise AddressError(f"it has the character U+{ord(character):04X} in it")


def _folded(name: str, words: Iterable[str]) -> str:
    """Words with a blank or a fold before each, but the first, which stands behind the name of the field."""
    out: list[str] = []
    column = len(name) + 1
    for word in words:
        if out and column + 1 + len(word) > MAX_COLUMN:
            out.append("\r\n")
            column = 0
        out.append(f" {word}")
        column += 1 + len(word)
    return "".join(out)[1:]


def _words(text: str) -> Iterator[str]:
    """The words between single blanks; where there are more blanks, the word has the others before it."""
    more = ""
    for word in text.split(" "):
        if not word:
            more += " "
            continue
        yield more + word
        more = ""


def _phrase(name: str, room: int) -> list[str]:
    """The words of a display name: atoms, a quoted string, or encoded-words (RFC 5322, 3.2.5)."""
    _check(name)
    words = name.split(" ")
    if not name:
        return []
    if name.isascii() and "=?" not in name:
        if all(word and ATOM.issuperset(word) for word in words):
            return words
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        if len(escaped) <= LONGEST_QUOTED:
            return [f'"{escaped}"']
    return encoded_words(name, room)


def _between(before: str, words: list[str], after: str) -> list[str]:
    words = [before + words[0], *words[1:]]
    return [*words[:-1], words[-1] + after]


def _is_plain(filename: str) -> bool:
    """Whether every reader knows this name in simple quotes."""
    _check(filename)
    strange = '"' in filename or "\\" in filename or "=?" in filename
    return filename.isascii() and not strange and len(filename) <= LONGEST_FILENAME


def _sections(filename: str) -> Iterator[str]:
    """The name percent-encoded, in sections of whole characters."""
    section = ""
    for character in filename:
        octets = character.encode()
        escaped = "".join([chr(octet) if octet in UNESCAPED else f"%{octet:02X}" for octet in octets])
        if len(section) + len(escaped) > SECTION:
            yield section
            section = ""
        section += escaped
    yield section


# --- lists of mailboxes ---


def _pieces(text: str) -> Iterator[str]:
    """What stands between the commas of a list that is known to be well formed."""
    start = at = 0
    angle = False
    while at < len(text):
        character = text[at]
        if character == '"':
            at = quoted_string(text, at)[1]
            continue
        if character == "(":
            at = comment_end(text, at)
            continue
        if character == "[":
            at = text.index("]", at)
        elif character in "<>":
            angle = character == "<"
        elif not angle and character in ":;":
            raise AddressError(f"a group starts or ends at character {at + 1}; name its members instead")
        elif not angle and character == ",":
            yield text[start:at]
            start = at + 1
        at += 1
    yield text[start:]


def _said(phrase: str) -> str:
    """A display name without its quotes and comments."""
    said: list[str] = []
    at = 0
    while at < len(phrase):
        character = phrase[at]
        if character == '"':
            content, at = quoted_string(phrase, at)
            said.append(content)
        elif character == "(":
            at = comment_end(phrase, at)
        else:
            if character not in BLANK or said[-1:] != [" "]:
                said.append(character)
            at += 1
    return "".join(said).strip(BLANK)
