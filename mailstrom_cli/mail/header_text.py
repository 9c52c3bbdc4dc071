"""Header fields with text beyond ASCII, written in ASCII: encoded-words where the field's syntax has room for
them (RFC 2047, 5), so that no server needs SMTPUTF8 for the sake of a Subject or of a name.

Words that are ASCII, blanks and folds stay as they are, so far as no line grows beyond what it should have.
"""

from __future__ import annotations

from mailstrom_cli.mail.address import AddressError
from mailstrom_cli.mail.address_list import BLANK, parse_address_list, quoted_string
from mailstrom_cli.mail.comment import comment_end
from mailstrom_cli.mail.encoded_word import encoded_words, is_encoded_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    # The blanks before a word, the word as written, and what it says.
    Word = tuple[str, str, str]

MAX_COLUMN = 76  # octets of a line with an encoded-word (RFC 2047, 2)
LEAST = 36  # room for the first encoded-word on a line; with less of it, a new line is begun
ADDRESSES = frozenset(
    f"{prefix}{name}"
    for prefix in ("", "resent-")
    for name in ("from", "sender", "reply-to", "to", "cc", "bcc")
) | {"mail-followup-to", "mail-reply-to", "errors-to", "disposition-notification-to", "return-receipt-to"}
STRUCTURED = frozenset(
    (
        *("received", "return-path", "date", "message-id", "in-reply-to", "references", "keywords"),
        *("resent-date", "resent-message-id", "mime-version", "content-type", "content-disposition"),
        *("content-transfer-encoding", "content-id", "content-language", "content-location", "autocrypt"),
        *("authentication-results", "received-spf", "auto-submitted", "dkim-signature", "openpgp"),
    )
)
STRUCTURED_FAMILIES = ("list-", "arc-")


def in_ascii(key: str, name: str, value: str) -> str | None:
    """A field's value (what follows its colon, with folds and the last CRLF) in ASCII; None where its syntax
    has no room for encoded-words, and where the addresses in it are not ASCII."""
    if key in STRUCTURED or key.startswith(STRUCTURED_FAMILIES):
        return None
    out = _Out(len(name) + 1)
    body = value.removesuffix("\r\n")
    if key in ADDRESSES:
        try:
            _encode_addresses(body, out)
        except AddressError:
            return None
    else:
        out.words(list(_words(body)))
        out.put(body[len(body.rstrip(BLANK)) :])
    result = "".join(out.parts)
    return result + "\r\n" if result.isascii() else None


class _Out:
    """Gathers text, and knows in which column of which line it is."""

    def __init__(self, column: int) -> None:
        self.parts: list[str] = []
        self.column = column
        self.grown = False  # the line has an encoded-word, or a comment with one

    def put(self, text: str) -> None:
        self.parts.append(text)
        last = text.rfind("\n")
        if last < 0:
            self.column += len(text)
        else:
            self.column = len(text) - last - 1
            self.grown = False

    def blanks(self, blanks: str, width: int) -> None:
        """Blanks before what has so many octets; on a new line when these would not fit."""
        if blanks and "\n" not in blanks and self.column + len(blanks) + width > MAX_COLUMN:
            self.put("\r\n")
        self.put(blanks)

    def words(self, words: list[Word]) -> None:
        """Words that stand one after the other, those beyond ASCII as encoded-words. Blanks between two
        encoded-words are not shown, so those that are to be shown go into one of them."""
        at, encoded = 0, False
        while at < len(words):
            blanks, source, _ = words[at]
            if source.isascii():
                if self.grown:
                    self.blanks(blanks or (" " if encoded else ""), len(source))
                else:
                    self.put(blanks)
                self.put(source)
                at, encoded = at + 1, False
                continue
            start = at
            text = [_unfolded(blanks)] if at and is_encoded_word(words[at - 1][1]) else []
            while at < len(words) and not words[at][1].isascii():
                if at > start:
                    text.append(_unfolded(words[at][0]))
                text.append(words[at][2])
                at += 1
            if at < len(words) and is_encoded_word(words[at][1]):
                text.append(_unfolded(words[at][0]))
            self.blanks(blanks or (" " if start else ""), LEAST)
            self.put("\r\n ".join(encoded_words("".join(text), MAX_COLUMN - self.column)))
            encoded = self.grown = True


def _unfolded(blanks: str) -> str:
    return blanks.replace("\r\n", "") or " "


def _words(text: str) -> Iterator[Word]:
    """The words of an unstructured text; blanks at its end belong to none."""
    at, end = 0, len(text)
    while at < end:
        start = at
        while at < end and text[at] in BLANK:
            at += 1
        word = at
        while at < end and text[at] not in BLANK:
            at += 1
        if at > word:
            yield text[start:word], text[word:at], text[word:at]


# --- address fields ---


def _encode_addresses(text: str, out: _Out) -> None:
    """Encodes display names, names of groups, and comments. Raises AddressError where the text is no list."""
    names = iter(parse_address_list(text, "localhost").names)
    name = next(names, None)
    at, plain, end = 0, 0, len(text)
    while at < end:
        character = text[at]
        if name and at == name[0]:
            phrase = text[at : name[1]]
            if not phrase.isascii():
                before = text[plain:at].rstrip(" \t")
                out.put(before)
                out.blanks(text[plain + len(before) : at] or " ", LEAST)
                out.words(list(_phrase(phrase)))
                plain = name[1]
                if text[plain] not in BLANK:
                    out.put(" ")
            at = name[1]
            name = next(names, None)
        elif character == "(":
            comment = text[at : comment_end(text, at)]
            if not comment.isascii():
                before = text[plain:at].rstrip(" \t")
                out.put(before)
                out.blanks(text[plain + len(before) : at], LEAST)
                out.put(_comment(comment, out.column))
                plain = at + len(comment)
            at += len(comment)
        elif character == '"':
            at = quoted_string(text, at)[1]
        elif character == "[":
            at = text.index("]", at) + 1
        else:
            at += 1
    out.put(text[plain:])


def _phrase(text: str) -> Iterator[Word]:
    """The words of a display name; a comment between them counts as one, encoded on its own."""
    at, end = 0, len(text)
    while at < end:
        start = at
        while at < end and text[at] in BLANK:
            at += 1
        word, meaning = at, []
        while at < end and text[at] not in BLANK:
            if text[at] == '"':
                content, at = quoted_string(text, at)
                meaning.append(content)
            elif text[at] == "(":
                if at > word:
                    break
                at = comment_end(text, at)
                comment = _comment(text[word:at], 0)
                yield text[start:word], comment, comment
                start = word = at
            else:
                meaning.append(text[at])
                at += 1
        if at > word:
            yield text[start:word], text[word:at], "".join(meaning)


def _comment(text: str, column: int) -> str:
    """A comment with its parentheses, its words encoded where they must be."""
    if text.isascii():
        return text
    out = _Out(column)
    words: list[Word] = []
    at, end, blanks = 0, len(text), ""
    while at < end:
        start = at
        while at < end and text[at] in BLANK:
            at += 1
        blanks = text[start:at]
        word, meaning = at, []
        while at < end and text[at] not in BLANK and text[at] not in "()":
            at += text[at] == "\\"
            meaning.append(text[at : at + 1])
            at += 1
        if at > word:
            words.append((blanks, text[word:at], "".join(meaning)))
            blanks = ""
        if at < end and text[at] in "()":
            out.words(words)
            words = []
            out.put(blanks + text[at])
            at += 1
    return "".join(out.parts)
