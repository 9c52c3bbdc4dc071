"""The line of every key in a TOML text, which tomllib does not tell.

A scan of a text that tomllib has already accepted, so it looks only for where things begin and end: keys,
tables, strings, arrays and inline tables. It never raises; at worst a key has no line.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    Path = tuple[str | int, ...]

BLANK = " \t"
SPACE = " \t\n"


def lines(text: str) -> dict[Path, int]:
    """The line, from 1, of every table and key by its path: ("auth", "smtp.example.org", "username"), or
    ("route", 0, "via"), with the index of an array's item. What is named twice has the line of the first."""
    return _Scan(text.replace("\r\n", "\n")).document()


class _Scan:
    def __init__(self, text: str) -> None:
        self.text = text + "\n"
        self.at = 0
        self.found: dict[Path, int] = {}
        self.items: dict[Path, int] = {}  # how many [[tables]] an array has so far
        self.counted, self.line = 0, 1  # the line of the offset `counted`

    def document(self) -> dict[Path, int]:
        table: Path = ()
        while self._skip(SPACE):
            if self.text.startswith("[[", self.at):
                table = self._header(2)
                self.items[table] = self.items.get(table, -1) + 1
                table = (*table, self.items[table])
                self._note(table)
            elif self.text[self.at] == "[":
                table = self._header(1)
            else:
                self._pair(table)
        return self.found

    def _header(self, brackets: int) -> Path:
        """The path of a table's header; in an array of tables it continues the last item."""
        start = self.at
        self.at += brackets
        path: Path = ()
        parts = self._key()
        for part in parts[:-1]:
            path = (*path, part)
            self._note(path, start)
            if path in self.items:
                path = (*path, self.items[path])
        path = (*path, parts[-1]) if parts else path
        self.at = self._find("]", self.at) + brackets
        self._note(path, start)
        return path

    def _pair(self, table: Path) -> None:
        """A key, `=` and a value."""
        start = self.at
        path = (*table, *self._key())
        for length in range(len(table) + 1, len(path) + 1):
            self._note(path[:length], start)
        self.at = self._find("=", self.at) + 1
        self._skip(BLANK)
        self._value(path)

    def _value(self, path: Path) -> None:
        character = self.text[self.at]
        if character in "\"'":
            self._string()
        elif character == "[":
            self._array(path)
        elif character == "{":
            self._inline_table(path)
        else:
            while self.text[self.at] not in ",]}#\n":
                self.at += 1

    def _array(self, path: Path) -> None:
        self.at += 1
        index = 0
        while self._skip(SPACE + ",") and self.text[self.at] != "]":
            self._note((*path, index))
            before = self.at
            self._value((*path, index))
            self.at += self.at == before
            index += 1
        self.at += 1

    def _inline_table(self, path: Path) -> None:
        self.at += 1
        while self._skip(SPACE + ",") and self.text[self.at] != "}":
            self._pair(path)
        self.at += 1

    def _key(self) -> tuple[str, ...]:
        """A dotted key; ends before `=` or `]`."""
        parts: list[str] = []
        while self._skip(BLANK) and self.text[self.at] not in "=]\n":
            start = self.at
            if self.text[start] == ".":
                self.at += 1
            elif self.text[start] in "\"'":
                self._string()
                parts.append(_unquoted(self.text[start : self.at]))
            else:
                while self.text[self.at] not in " \t.=]\n":
                    self.at += 1
                parts.append(self.text[start : self.at])
        return tuple(parts)

    def _string(self) -> None:
        """Moves behind the string that begins here."""
        quote = self.text[self.at]
        end = quote * 3 if self.text.startswith(quote * 3, self.at) else quote
        self.at += len(end)
        while self.at < len(self.text) and not self.text.startswith(end, self.at):
            self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
        self.at += len(end)
        while len(end) == 3 and self.text.startswith(quote, self.at):  # one or two quotes before the end
            self.at += 1

    def _skip(self, blanks: str) -> bool:
        """Moves over blanks, and over comments where lines may end; whether anything is left."""
        while self.at < len(self.text):
            if self.text[self.at] in blanks:
                self.at += 1
            elif self.text[self.at] == "#":
                self.at = self._find("\n", self.at)
            else:
                return True
        return False

    def _find(self, sought: str, start: int) -> int:
        found = self.text.find(sought, start)
        return len(self.text) if found < 0 else found

    def _note(self, path: Path, start: int | None = None) -> None:
        start = self.at if start is None else start
        self.line += self.text.count("\n", self.counted, start)
        self.counted = start
        self.found.setdefault(path, self.line)


def _unquoted(key: str) -> str:
    if key[0] == "'" or "\\" not in key:
        return key[1:-1]
    import tomllib

    return str(tomllib.loads(f"key = {key}")["key"])
