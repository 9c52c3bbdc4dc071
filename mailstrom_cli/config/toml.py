"""TOML with the line of every key, which tomllib does not tell; and most of it without tomllib, whose import
takes as long as a whole `submit`.

One scan tells lines and values. It is strict at first, and gives up where a text is more than plain: then
tomllib decides, and a second scan of what that has accepted tells the lines, and none of the values.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Path = tuple[str | int, ...]
    Table = dict[str, Any]
    Lines = dict[Path, int]

BLANK = " \t"
SPACE = " \t\n"
BOOLEANS = {"true": True, "false": False}
EXACT = 15  # digits of a number that every reader reads alike


def read(text: str) -> tuple[Table, Lines]:
    """What the text says, and the line, from 1, of every table and key by its path: ("auth",
    "smtp.example.org", "username"), or ("route", 0, "via"), with the index of an array's item. What is named
    twice has the line of the first. Raises ValueError and RecursionError as `tomllib.loads` does."""
    plain = read_plain(text)
    if plain is not None:
        return plain
    import tomllib

    return tomllib.loads(text), lines(text)


def read_plain(text: str) -> tuple[Table, Lines] | None:
    """As `read`, but None unless the text is certainly TOML of the kind that most files are: no escapes, no
    strings of several lines, no dates, no numbers but decimal ones, no table that is named after a part of
    it."""
    scan = _Scan(text, strict=True)
    try:
        return scan.document(), scan.lines
    except (LookupError, ValueError, RecursionError):
        return None


def lines(text: str) -> Lines:
    """The lines alone, of a text that tomllib has accepted. At worst a key has none."""
    scan = _Scan(text, strict=False)
    try:
        scan.document()
    except (LookupError, ValueError, RecursionError):
        pass
    return scan.lines


class _Scan:
    def __init__(self, text: str, *, strict: bool) -> None:
        self.text = text.replace("\r\n", "\n") + "\n"
        self.strict = strict
        self.at = 0
        self.lines: Lines = {}
        self.tables: dict[Path, Table] = {(): {}}  # those that may be added to
        self.last: dict[Path, int] = {}  # the index of the last [[table]] of an array
        self.counted, self.line = 0, 1  # the line of the offset `counted`

    def document(self) -> Table:
        self.sure(self.text.replace("\n", "").replace("\t", "").isprintable())
        table: Path = ()
        while self.skip(SPACE) < len(self.text):
            if self.text.startswith("[[", self.at):
                table = self.header("]]")
            elif self.text[self.at] == "[":
                table = self.header("]")
            else:
                self.pair(table)
            self.sure(self.text[self.skip(BLANK)] == "\n")
        return self.tables[()]

    def header(self, end: str) -> Path:
        """The path of a table's header; in an array of tables it continues the last item."""
        start = self.at
        self.at += len(end)
        path: Path = ()
        *parents, name = self.key()
        for parent in parents:
            path = (*path, parent)
            self.note(path, start)
            if path in self.last:
                path = (*path, self.last[path])
        holder = self.table(path)
        path = (*path, name)
        self.expect(end)
        self.sure(path not in self.lines or (end == "]]" and path in self.last))
        self.note(path, start)
        if end == "]]":
            index = self.last[path] = self.last.get(path, -1) + 1
            item: Table = {}
            holder.setdefault(name, []).append(item)
            path = (*path, index)
            self.note(path, start)
            self.tables[path] = item
        self.table(path)
        return path

    def table(self, path: Path) -> Table:
        """The table of a path, which is made where it is not there; so are those that it is in."""
        if path not in self.tables:
            parent, name = self.table(path[:-1]), str(path[-1])
            self.sure(name not in parent)
            parent[name] = self.tables[path] = {}
        return self.tables[path]

    def pair(self, table: Path) -> None:
        """A key, `=` and a value."""
        start = self.at
        key = self.key()
        path = table
        for part in key:
            path = (*path, part)
            self.note(path, start)
        self.expect("=")
        self.skip(BLANK)
        held = self.value(path)
        holder = self.table(path[:-1])
        self.sure(key[-1] not in holder)
        holder[key[-1]] = held

    def value(self, path: Path) -> Any:
        character = self.text[self.at]
        if character in "\"'":
            return self.string()
        if character == "[":
            return self.array(path)
        if character == "{":
            return self.inline_table(path)
        start = self.at
        while self.text[self.at] not in ",]}#\n":
            self.at += 1
        word = self.text[start : self.at].rstrip(BLANK)
        return BOOLEANS[word] if word in BOOLEANS else self.number(word)

    def number(self, word: str) -> float | None:
        digits = word[1:] if word[:1] in "+-" else word
        whole, point, part = digits.partition(".")
        plain = (
            digits.isascii()
            and len(digits) <= EXACT
            and whole.isdigit()
            and (whole[0] != "0" or whole == "0")
            and (part.isdigit() or not point)
        )
        if not self.sure(plain):
            return None
        return float(word) if point else int(word)

    def array(self, path: Path) -> list[Any]:
        self.at += 1
        held: list[Any] = []
        while self.text[self.skip(SPACE)] != "]":
            here = (*path, len(held))
            self.note(here, self.at)
            held.append(self.value(here))
            if self.text[self.skip(SPACE)] != "]":
                self.expect(",")
        self.at += 1
        return held

    def inline_table(self, path: Path) -> Table:
        blanks = BLANK if self.strict else SPACE  # later versions of TOML allow line ends
        outer, self.tables = self.tables, {path: {}}  # nothing is added to it later
        self.at += 1
        while self.text[self.skip(blanks)] != "}":
            self.pair(path)
            if self.text[self.skip(blanks)] != "}":
                self.expect(",")
                self.sure(self.text[self.skip(blanks)] != "}")
        self.at += 1
        held, self.tables = self.tables[path], outer
        return held

    def key(self) -> list[str]:
        """The parts of a dotted key; ends before `=` or `]`."""
        parts: list[str] = []
        while True:
            start = self.skip(BLANK)
            if self.text[start] in "\"'":
                parts.append(self.string())
            else:
                while self.text[self.at] not in " \t.=]\n":
                    self.at += 1
                bare = self.text[start : self.at]
                self.sure(bare.isascii() and bare.replace("-", "").replace("_", "").isalnum())
                parts.append(bare)
            if self.text[self.skip(BLANK)] != ".":
                return parts
            self.at += 1

    def string(self) -> str:
        """What the string that begins here says."""
        start, quote = self.at, self.text[self.at]
        end = quote * 3 if self.text.startswith(quote * 3, start) else quote
        begin = start + len(end)
        self.at = self.text.index(end, begin)
        held = self.text[begin : self.at]
        if self.sure(end == quote and "\n" not in held and (quote == "'" or "\\" not in held)):
            self.at += 1
            return held
        self.at = begin
        while not self.text.startswith(end, self.at):
            self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
        self.at += len(end)
        while len(end) == 3 and self.text.startswith(quote, self.at):  # one or two quotes before the end
            self.at += 1
        import tomllib

        return str(tomllib.loads(f"said = {self.text[start : self.at]}")["said"])

    def skip(self, blanks: str) -> int:
        """Moves over blanks and comments; the offset of what follows."""
        while self.at < len(self.text):
            if self.text[self.at] == "#":
                self.at = self.text.index("\n", self.at)
            elif self.text[self.at] not in blanks:
                break
            else:
                self.at += 1
        return self.at

    def expect(self, sign: str) -> None:
        self.sure(self.text.startswith(sign, self.at))
        self.at += len(sign)

    def sure(self, fact: bool) -> bool:
        """Gives up, where the scan is strict, unless this is a fact."""
        if self.strict and not fact:
            raise ValueError
        return fact

    def note(self, path: Path, start: int) -> None:
        self.line += self.text.count("\n", self.counted, start)
        self.counted = start
        self.lines.setdefault(path, self.line)
