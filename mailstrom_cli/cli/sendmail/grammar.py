"""The command line of sendmail, as Postfix's getopt reads it, with values glued or not: words in, a Call out.

No library for command lines serves this grammar: `-q` may stand alone, `-qIID` and `-odi` are one word each,
and an option that some other sendmail knows must not make a caller fail.
"""

from __future__ import annotations

from mailstrom_cli.config.text import plain
from mailstrom_cli.errors import USAGE, MailstromError
from mailstrom_cli.mail.request import MAX_ENVID
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Found = dict[str, Any]

# Postfix's letters; -d has a value, too, which is always glued.
FLAGS = "GIUcimntvx"
VALUED = "ABCFLNORVXbefhopqr"

SEND, SMTP, LIST, VERIFY, FLUSH, NOTHING = "send", "smtp", "list", "verify", "flush", "nothing"
BY_NAME = {"mailq": LIST, "newaliases": NOTHING}
BY_LETTER = {"m": SEND, "s": SMTP, "p": LIST, "v": VERIFY, "i": NOTHING}  # -bm, -bs ...
QUEUE, NOW = "queue", "now"
DELIVERY = {"q": QUEUE, "d": QUEUE, "i": NOW, "f": NOW}  # -odq, -odd, -odi, -odf
PICKS = {"I": "id", "R": "recipient", "S": "sender"}  # -qI, -qR, -qS
VERP = "+="


@value
class Call:
    """What a command line asks for.

    mode: SEND a message from stdin, speak SMTP, LIST the queue, VERIFY addresses, FLUSH, or NOTHING.
    from_header: recipients are in the header (-t).  dot_ends: a line of one dot ends the message (not -i).
    sender: None for the caller, "" for the null reverse-path.  verp: the two delimiters of VERP, or "".
    delivery: QUEUE, NOW, or "" for whenever `run` or `flush` comes to it.
    pick: what to flush, such as ("recipient", "example.net"); None for everything.
    """

    mode: str = SEND
    addresses: tuple[str, ...] = ()
    from_header: bool = False
    dot_ends: bool = True
    sender: str | None = None
    full_name: str | None = None
    notify: tuple[str, ...] = ()
    ret: str | None = None
    envid: str | None = None
    requiretls: bool = False
    verp: str = ""
    delivery: str = ""
    config: str | None = None
    pick: tuple[str, str] | None = None
    verbose: bool = False


def parse(name: str, words: Sequence[str]) -> Call:
    """The call that these words after the program's name make. Raises MailstromError with exit code 64."""
    for word in words:
        try:
            plain(word)
        except ValueError as error:
            raise usage(f"an argument {error}") from None
    options, addresses = _split(list(words))
    found: Found = {"mode": BY_NAME.get(name, SEND), "addresses": tuple(addresses)}
    for letter, text in options:
        _take(letter, text, found)
    return Call(**found)


def usage(what: str, hint: str | None = "`man mailstrom-sendmail` tells how it is used") -> MailstromError:
    """An error of the command line."""
    return MailstromError(what, hint, USAGE)


def _split(words: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Options with their values, and the addresses: from the first word that is no option, or from `--`."""
    options: list[tuple[str, str]] = []
    at = 0
    while at < len(words) and len(words[at]) > 1 and words[at].startswith("-"):
        word = words[at]
        at += 1
        if word == "--":
            return options, words[at:]
        for place, letter in enumerate(word[1:], 2):
            if letter == "d":
                break
            if letter in FLAGS:
                options.append((letter, ""))
                continue
            if letter not in VALUED:
                raise usage(f"-{letter} is no option of sendmail")
            text = word[place:]
            # Alone, -q means everything; the letters of -qI, -qR and -qS take a value themselves.
            lacking = text in PICKS if letter == "q" else not text
            if lacking:
                if at == len(words):
                    raise usage(f"-{letter}{text} needs a value")
                text += words[at]
                at += 1
            options.append((letter, text))
            break
    for word in words[at:]:
        if word.startswith("-"):
            raise usage(f"the option {word} stands after an address", "options come first; `--` ends them")
    return options, words[at:]


def _take(letter: str, text: str, found: Found) -> None:
    """Adds what one option means; most letters of other sendmails mean nothing here."""
    if letter == "t":
        found["from_header"] = True
    elif letter == "i":
        found["dot_ends"] = False
    elif letter == "v":
        found["verbose"] = True
    elif letter == "I":
        found["mode"] = NOTHING
    elif letter in "fr":
        found["sender"] = "" if text == "<>" else text
    elif letter == "F":
        found["full_name"] = text
    elif letter == "C":
        found["config"] = text
    elif letter == "N":
        found["notify"] = _notify(text)
    elif letter == "R":
        found["ret"] = _ret(text)
    elif letter == "V":
        found["envid"] = _envid(text)
    elif letter == "X" and text.startswith("V"):
        found["verp"] = _verp(text[1:])
    elif letter == "b":
        found["mode"] = _mode(text)
    elif letter == "q":
        _flush(text, found)
    elif letter == "O":
        _long_option(text, found)
    elif letter == "o":
        _old_option(text, found)


def _mode(text: str) -> str:
    if text in BY_LETTER:
        return BY_LETTER[text]
    daemon = text[:1] in ("d", "D")
    hint = "`mailstrom run` is the daemon, and it takes no SMTP connections" if daemon else None
    raise usage(f"-b{text} is not supported", hint)


def _flush(text: str, found: Found) -> None:
    """-q, -qI id, -qR site, -qS sender; an interval (-q15m) belongs to a daemon and means nothing here."""
    if not text:
        found["mode"] = FLUSH
    elif text[0] in PICKS:
        found["mode"] = FLUSH
        found["pick"] = (PICKS[text[0]], text[1:])


def _long_option(text: str, found: Found) -> None:
    """-O requiretls=yes|no; every other -O is some other sendmail's."""
    name, _, given = text.lower().partition("=")
    if name.strip() == "requiretls":
        if given.strip() not in ("yes", "no"):
            raise usage(f"-O {text} is neither requiretls=yes nor requiretls=no")
        found["requiretls"] = given.strip() == "yes"


def _old_option(text: str, found: Found) -> None:
    """-oi and -od; every other -o is some other sendmail's."""
    if text.startswith("i"):
        found["dot_ends"] = False
    elif text.startswith("d"):
        found["delivery"] = DELIVERY.get(text[1:2], "")


def _notify(text: str) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(text.lower().split(",")))
    if words != ("never",) and not set(words) <= {"success", "failure", "delay"}:
        raise usage(f"-N {text} is neither `never` nor a list of success, failure and delay")
    return words


def _ret(text: str) -> str:
    if text.lower() not in ("full", "hdrs"):
        raise usage(f"-R {text} is neither `full` nor `hdrs`")
    return text.lower()


def _envid(text: str) -> str:
    if not (text.isascii() and text.isprintable() and 0 < len(text) <= MAX_ENVID):
        raise usage(f"-V takes 1 to {MAX_ENVID} printable ASCII characters")
    return text


def _verp(delimiters: str) -> str:
    if delimiters and (len(delimiters) != 2 or delimiters.strip("-+=")):
        raise usage(f"-XV{delimiters}: two delimiters are wanted, each one of + = -")
    return delimiters or VERP
