"""Comments in structured fields (RFC 5322, 3.2.2): they nest, and say nothing to a program."""

from __future__ import annotations


def comment_end(text: str, start: int) -> int:
    """Where the comment that opens at `start` ends, or -1 when it does not."""
    depth, at, end = 1, start + 1, len(text)
    while at < end:
        character = text[at]
        at += 1
        if character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if not depth:
                return at
        elif character == "\\":
            at += 1
    return -1


def without_comments(text: str) -> str:
    """A value without its comments; one that does not end stays. Not for values with quoted strings."""
    if "(" not in text:
        return text
    parts, at = [], 0
    while (start := text.find("(", at)) >= 0:
        end = comment_end(text, start)
        if end < 0:
            break
        parts += [text[at:start], " "]
        at = end
    return "".join(parts) + text[at:]
