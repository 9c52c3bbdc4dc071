"""SASLprep (RFC 4013): names and passwords that look the same are the same, as SCRAM hashes them."""

from __future__ import annotations


def saslprep(text: str) -> str:
    """The prepared text, as a query (code points that Unicode 3.2 does not know may be in it). Raises
    ValueError, which says what is forbidden, without the text itself."""
    if text.isascii() and text.isprintable():
        return text
    import stringprep
    from unicodedata import ucd_3_2_0

    spaces = "".join(" " if stringprep.in_table_c12(c) else c for c in text)
    mapped = "".join(c for c in spaces if not stringprep.in_table_b1(c))
    prepared = ucd_3_2_0.normalize("NFKC", mapped)
    for forbidden, what in (
        (stringprep.in_table_c12, "a space that is not U+0020"),
        (stringprep.in_table_c21_c22, "a control character"),
        (stringprep.in_table_c3, "a private character"),
        (stringprep.in_table_c4, "what is no character"),
        (stringprep.in_table_c5, "a surrogate"),
        (stringprep.in_table_c6, "a character that stands for text which is lost"),
        (stringprep.in_table_c7, "an ideographic description"),
        (stringprep.in_table_c8, "a character that changes how others are shown"),
        (stringprep.in_table_c9, "a tag"),
    ):
        if any(map(forbidden, prepared)):
            raise ValueError(f"it has {what}")
    right = [stringprep.in_table_d1(c) for c in prepared]
    if any(right) and (any(map(stringprep.in_table_d2, prepared)) or not (right[0] and right[-1])):
        raise ValueError("it mixes text from left to right with text from right to left")
    return prepared
