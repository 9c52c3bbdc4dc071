"""The MIME fields of a header (RFC 2045): looked at, and added where a text beyond ASCII has none.

Only what can be told from the header, and from whether the body is ASCII or UTF-8, is told here.
"""

from __future__ import annotations

from mailstrom_cli.mail.address import shown
from mailstrom_cli.mail.comment import without_comments
from mailstrom_cli.mail.structure import MIME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailstrom_cli.mail.content import Content
    from mailstrom_cli.mail.finding import Findings
    from mailstrom_cli.mail.header import Field
    from mailstrom_cli.mail.structure import Fields

KEYS = (*MIME, "content-disposition", "content-id")
ENCODINGS = ("7bit", "8bit", "binary", "quoted-printable", "base64")
IDENTITY = ENCODINGS[:3]  # these change nothing (RFC 2045, 6.2)
TOKEN_ENDS = frozenset(' \t\r\n()<>@,;:\\"/[]?=')


def check_mime_fields(fields: Fields, body: Content, findings: Findings) -> None:
    """Notes what other software is likely to take in another way than it is meant, in a header with one of
    the first three fields."""
    for key in KEYS:
        same = fields.by_key.get(key, ())
        if len(same) > 1:
            what = f"it is on line {same[0].line} already, and not everybody takes the same of them"
            findings.note(what, "RFC 2045, 3", line=same[1].line, field=same[1].name)
    version, kind, encoding = (fields.first(key) for key in MIME)
    if version and _value(version) != "1.0":
        findings.note("it is not `1.0`", "RFC 2045, 4", line=version.line, field=version.name)
    if not version and kind and not body.eight_bit:  # else it is added
        what = "without a MIME-Version it counts for nothing"
        findings.note(what, "RFC 2045, 4", line=kind.line, field=kind.name)
    main = _check_type(kind, findings) if kind else "text"
    named = _value(encoding).lower() if encoding else "7bit"
    if encoding and named not in ENCODINGS and not named.startswith("x-"):
        what = f"it is none of {', '.join(ENCODINGS)}"
        findings.note(what, "RFC 2045, 6.1", line=encoding.line, field=encoding.name)
    elif encoding and main in ("multipart", "message") and named not in IDENTITY:
        what = f"parts within {main} have their own encodings; their whole has none"
        findings.note(what, "RFC 2045, 6.4", line=encoding.line, field=encoding.name)
    elif body.eight_bit and (version or encoding) and named not in ("8bit", "binary"):
        what = f"the text is not ASCII, and its encoding is said to be {shown(named)}"
        line = encoding.line if encoding else None
        findings.note(what, "RFC 2045, 6.2", line=line, field="Content-Transfer-Encoding")


def _value(field: Field) -> str:
    return without_comments(field.body.decode("utf-8", "replace")).strip(" \t")


def _check_type(field: Field, findings: Findings) -> str:
    """Notes what is wrong with a Content-Type; its type, such as "multipart"."""
    value = without_comments(field.body.decode("utf-8", "replace"))
    essence, _, parameters = value.partition(";")
    main, slash, sub = essence.strip(" \t").lower().partition("/")
    if not slash or not _is_token(main.rstrip(" \t")) or not _is_token(sub.lstrip(" \t")):
        what = "it has not the form type/subtype"
        findings.note(what, "RFC 2045, 5.1", line=field.line, field=field.name)
    elif main == "multipart" and "boundary" not in parameters.lower():
        what = "a multipart without a boundary has no parts"
        findings.note(what, "RFC 2046, 5.1.1", line=field.line, field=field.name)
    return main


def _is_token(text: str) -> bool:
    return text != "" and text.isascii() and text.isprintable() and TOKEN_ENDS.isdisjoint(text)


def declaration(fields: Fields, body: Content) -> list[tuple[str, str]]:
    """The MIME fields (name, value) that a text beyond ASCII lacks, where it has no MIME-Version. The charset
    is not guessed: it is UTF-8 if all of the text is, else unknown (RFC 1428)."""
    encoding = fields.first("content-transfer-encoding")
    if "mime-version" in fields.by_key:
        return []
    if encoding and _value(encoding).lower() not in IDENTITY:
        return []  # then the text is not what it says it is, and better not declared to be
    lacking = [("MIME-Version", "1.0")]
    if "content-type" not in fields.by_key:
        charset = "utf-8" if body.is_utf8() else "unknown-8bit"
        lacking.append(("Content-Type", f"text/plain; charset={charset}"))
    if not encoding:
        lacking.append(("Content-Transfer-Encoding", "8bit"))
    return lacking
