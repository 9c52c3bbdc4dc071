"""The options of `mailstrom` itself and of `submit`, as one table that two parsers serve.

`parse_submit` is the short way: importing click takes longer than a durable write, and a script that
submits pays for it every time. It understands plain command lines and gives None for anything odd
(help, an unknown or glued option, a missing value); then the click command, built from the same table,
answers, and it alone reports errors.
"""

from __future__ import annotations

from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    Values = dict[str, Any]

NO_LIMIT = "forever"  # what a bare --wait means


@value
class Option:
    """names: as typed.  metavar: None for a flag.  many: may be repeated, its value is a tuple.

    optional: the value may be left out, and is only taken from `--name=VALUE`; left out it is NO_LIMIT.
    """

    names: tuple[str, ...]
    help: str
    metavar: str | None = None
    many: bool = False
    optional: bool = False
    choices: tuple[str, ...] = ()

    @property
    def dest(self) -> str:
        """The option's key among the parsed values."""
        return self.names[-1].lstrip("-").replace("-", "_")

    @property
    def default(self) -> Any:
        """What it is when it is not given."""
        if self.metavar is None:
            return False
        return () if self.many else None


VERBOSITY = (
    Option(("-v", "--verbose"), "Tell more, on stderr; an SMTP transcript, or the traceback of a bug."),
    Option(("-q", "--quiet"), "Tell nothing but errors."),
)

GLOBAL = (
    Option(("--config",), "Configuration file (default: the first of the standard ones).", "FILE"),
    Option(
        ("--spool",),
        "Spool directory, which may be relative or begin with ~/; or the URL of another store.",
        "DIR",
    ),
    Option(
        ("--via",), "How mail leaves, in place of what is configured; repeat for fail-over.", "URL", many=True
    ),
    *VERBOSITY,
)

SUBMIT = (
    Option(("-f", "--from"), "Reverse-path; <> is the null one (default: from the header).", "ADDR"),
    Option(
        ("-t", "--to"),
        "Recipient; repeatable (default: To, Cc and Bcc, or the Resent- ones).",
        "ADDR",
        many=True,
    ),
    Option(
        ("--at",), "Not to be tried before: ISO 8601, HH:MM, @EPOCH, or from now on like +5m or +2h.", "TIME"
    ),
    Option(("--expires",), "Give up after this long: 90s, 5m, 2h, 5d.", "DURATION"),
    Option(
        ("--key",),
        "Idempotency key: the same key and message give the same id, another message is refused.",
        "KEY",
    ),
    Option(
        ("--notify",),
        "Ask for notifications (RFC 3461): never, or a list of success, failure, delay.",
        "WHEN",
    ),
    Option(("--ret",), "What a failure notification returns (RFC 3461).", "WHAT", choices=("full", "hdrs")),
    Option(("--envid",), "Envelope id that a notification repeats (RFC 3461).", "ID"),
    Option(
        ("--require-tls",),
        "Only through servers that prove who they are, all the way (REQUIRETLS, RFC 8689), or fail.",
    ),
    Option(("--mbox",), "Submit every message of an mbox file (- is stdin); repeatable.", "FILE", many=True),
    Option(
        ("--wait",),
        "Wait until every recipient is final, at most SECONDS; where no `run` is at work, try at once, here.",
        "SECONDS",
        optional=True,
    ),
    Option(("--check",), "Validate only; store nothing, and compare no --key."),
    Option(("--json",), "One JSON object a line in place of ids."),
    *VERBOSITY,
)

_SHARED = {option.dest: option for option in SUBMIT}

SEND = (
    Option(
        ("-t", "--to"),
        "Recipient, or a list of them: ADDRESS or 'NAME <ADDRESS>'; repeatable.",
        "ADDR",
        many=True,
    ),
    Option(("--cc",), "Recipient of a copy; repeatable.", "ADDR", many=True),
    Option(("--bcc",), "Recipient that the message does not name; repeatable.", "ADDR", many=True),
    Option(("-f", "--from"), "Author and sender (default: the login name at `origin`).", "ADDR"),
    Option(("--reply-to",), "Where answers go; repeatable.", "ADDR", many=True),
    Option(("-s", "--subject"), "Subject; '' for none.", "TEXT"),
    Option(("-a", "--attach"), "Attach a file, unaltered; repeatable.", "FILE", many=True),
    Option(("--html",), "HTML beside the text on stdin, or alone if that is empty; - is stdin.", "FILE"),
    Option(("--header",), "A further field of the header, NAME:VALUE; repeatable.", "FIELD", many=True),
    *(
        _SHARED[name]
        for name in ("at", "expires", "key", "notify", "ret", "envid", "require_tls", "wait", "json")
    ),
    *VERBOSITY,
)


def defaults(table: Iterable[Option]) -> Values:
    """Every option of the table as it is when not given."""
    return {option.dest: option.default for option in table}


def parse_submit(arguments: Sequence[str]) -> tuple[Values, list[str]] | None:
    """The options and files of a plain `mailstrom [OPTION]... submit [OPTION]... [FILE]...`, or None."""
    values = defaults((*GLOBAL, *SUBMIT))
    rest = _scan(list(arguments), GLOBAL, values, stop_at_word=True)
    if not rest or rest[0] != "submit":
        return None
    files = _scan(rest[1:], SUBMIT, values, stop_at_word=False)
    return None if files is None else (values, files)


def parse_global(arguments: Sequence[str]) -> tuple[Values, list[str]] | None:
    """The options before the command of a plain command line, and the words from the command on, or None."""
    values = defaults(GLOBAL)
    rest = _scan(list(arguments), GLOBAL, values, stop_at_word=True)
    return None if rest is None else (values, rest)


def _scan(
    arguments: list[str], table: Sequence[Option], values: Values, *, stop_at_word: bool
) -> list[str] | None:
    """Take options off the arguments into values; the words that are left, or None when anything is odd."""
    known = {name: option for option in table for name in option.names}
    words: list[str] = []
    i = 0
    while i < len(arguments):
        argument = arguments[i]
        i += 1
        if argument == "-" or not argument.startswith("-"):
            if stop_at_word:
                return [argument, *arguments[i:]]
            words.append(argument)
            continue
        if argument == "--":
            return None if stop_at_word else words + arguments[i:]
        name, equals, given = argument.partition("=")
        option = known.get(name)
        if option is None or (equals and not name.startswith("--")):
            return None
        if option.metavar is None:
            if equals:
                return None
            values[option.dest] = True
            continue
        if option.optional:
            given = given if equals else NO_LIMIT
        elif not equals:
            if i == len(arguments) or arguments[i].startswith("-"):
                return None
            given = arguments[i]
            i += 1
        if option.choices:
            given = given.lower()
            if given not in option.choices:
                return None
        values[option.dest] = (*values[option.dest], given) if option.many else given
    return None if stop_at_word else words
