"""Encoded-words: text beyond ASCII in a header that is ASCII (RFC 2047)."""

from __future__ import annotations

MAX_WORD = 75  # octets (RFC 2047, 2)
START, END = "=?utf-8?q?", "?="  # B has as many octets
BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
HEX = "0123456789ABCDEFabcdef"
SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!*+-/")  # RFC 2047, 5 (3)
NOT_IN_TOKEN = frozenset(' \t\r\n()<>@,;:"/[]?.=')  # RFC 2047, 2
Q = [chr(octet) if octet in SAFE else "_" if octet == 32 else f"={octet:02X}" for octet in range(256)]
ROOM = 24  # the least that takes any character


def encoded_words(text: str, room: int = MAX_WORD) -> list[str]:
    """Encoded-words that together say `text`, each of whole characters; the first has at most `room` octets,
    and ROOM at least. In Q or in B, whichever is shorter."""
    octets = text.encode()
    in_q = sum([len(Q[octet]) for octet in octets]) <= (len(octets) + 2) // 3 * 4
    words: list[str] = []
    pending: list[bytes] = []
    left = _fitting(min(max(room, ROOM), MAX_WORD), in_q)
    for character in text:
        encoded = character.encode()
        cost = sum([len(Q[octet]) for octet in encoded]) if in_q else len(encoded)
        if cost > left and pending:
            words.append(_word(b"".join(pending), in_q))
            pending.clear()
            left = _fitting(MAX_WORD, in_q)
        pending.append(encoded)
        left -= cost
    words.append(_word(b"".join(pending), in_q))
    return words


def _fitting(room: int, in_q: bool) -> int:
    """What a word of so many octets holds: in Q of them encoded, in B of them before."""
    room -= len(START) + len(END)
    return room if in_q else room // 4 * 3


def _word(octets: bytes, in_q: bool) -> str:
    if in_q:
        return START + "".join([Q[octet] for octet in octets]) + END
    from binascii import b2a_base64

    return START.replace("q", "b") + b2a_base64(octets, newline=False).decode("ascii") + END


def is_encoded_word(word: str) -> bool:
    """Whether a reader will decode this word: then blanks between it and another are not shown."""
    return word.startswith("=?") and word.endswith("?=") and word_fault(word) is None


def word_fault(text: str) -> str | None:
    """What is wrong with the first of the encoded-words in a text that a reader will not decode as it is
    meant; None when there is none. `=?` that starts nothing of the kind is plain text."""
    at = text.find("=?")
    while at >= 0:
        charset, mark, rest = text[at + 2 : at + 2 + MAX_WORD].partition("?")
        encoding = rest[:1]
        if not mark or rest[1:2] != "?" or not encoding.isalpha():
            at = text.find("=?", at + 2)
            continue
        start = at + len(charset) + 5
        end = text.find("?=", start)
        if end < 0:
            return "an encoded-word has no end `?=`"
        fault = _fault(charset, encoding.lower(), text[start:end])
        if fault is None and end + 2 - at > MAX_WORD:
            fault = f"has {end + 2 - at} octets; {MAX_WORD} are the most"
        if fault is None and (
            text[at - 1 : at].strip(" \t\r\n(") or text[end + 2 : end + 3].strip(" \t\r\n),<:;")
        ):
            fault = "stands at other text, with no blank between"
        if fault:
            return f"an encoded-word {fault}"
        at = text.find("=?", end + 2)
    return None


def _fault(charset: str, encoding: str, content: str) -> str | None:
    if not charset or not charset.isascii() or not NOT_IN_TOKEN.isdisjoint(charset.partition("*")[0]):
        return "names no charset"
    if encoding not in "qb":
        return "has an encoding that is neither Q nor B"
    if any(blank in content for blank in " \t\r\n"):
        return "has a blank in it"
    if not content.isascii() or "?" in content:
        return "has characters that must be encoded"
    if encoding == "b":
        data = content.rstrip("=")
        fits = len(content) % 4 == 0 and len(content) - len(data) < 3 and not data.strip(BASE64)
        return None if fits else "is no good base64"
    parts = content.split("=")
    fits = all(len(part) > 1 and part[0] in HEX and part[1] in HEX for part in parts[1:])
    return None if fits else "has an `=` that encodes nothing"
