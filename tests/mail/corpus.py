"""The message files that CPython's own tests of `email` have, and what is promised to become of each."""

from __future__ import annotations

import glob
import os
import re
import sysconfig
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACE = os.path.join("test", "test_email", "data")
FOLDERS = [
    os.path.join(sysconfig.get_path("stdlib"), PLACE),
    *sorted(glob.glob(f"/usr/lib/python3.*/{PLACE}")),
]
"""The running interpreter's, else that of the system's test package (libpython3-testsuite and the like)."""
FOLDER = next((folder for folder in FOLDERS if os.path.isdir(folder)), FOLDERS[0])
FILES = sorted(os.listdir(FOLDER)) if os.path.isdir(FOLDER) else []
REMOVED = (b"bcc", b"resent-bcc", b"return-path")


def read(name: str) -> bytes:
    with open(os.path.join(FOLDER, name), "rb") as file:
        return file.read()


def fields(lines: list[bytes]) -> Iterator[list[bytes]]:
    """The header of a message given in lines, a field at a time with its continuations."""
    field: list[bytes] = []
    for line in lines:
        if not line:
            break
        if field and line[:1] not in (b" ", b"\t"):
            yield field
            field = []
        field.append(line)
    if field:
        yield field


def promised(data: bytes, date: bytes, message_id: bytes) -> bytes:
    """What must leave, worked out line by line without any of what is tested; the last two are what is added
    where it is missing."""
    lines = re.split(rb"\r+\n|\r|\n", data)
    if b"\n" in data:  # then a lone CR ends no line of a header
        first = re.split(rb"\r*\n", data)
        top = first.index(b"") if b"" in first else len(first)
        assert not any(b"\r" in line for line in first[:top]), "it should have been refused"
    if lines[-1] == b"":
        lines.pop()
    if re.match(rb"From (?!\s*:)", lines[0]):
        lines.pop(0)
    header = list(fields(lines))
    body = lines[sum(map(len, header)) :]
    names = [field[0].split(b":")[0].strip().lower() for field in header]
    kept = [field for field, name in zip(header, names, strict=True) if name not in REMOVED]
    if b"date" not in names:
        kept.append([b"Date: " + date])
    if b"message-id" not in names:
        kept.append([b"Message-ID: " + message_id])
    return b"".join(line + b"\r\n" for field in kept for line in field) + b"".join(
        line + b"\r\n" for line in body
    )
