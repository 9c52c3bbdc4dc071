"""The entry point: `sendmail` and a plain `submit` go straight to work, all else through click."""

from __future__ import annotations

import os
import sys

from mailstrom_cli.cli.report import guarded
from mailstrom_cli.errors import OK, OS_ERROR, TEMPORARY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SENDMAIL = ("sendmail", "send-mail", "mailq", "newaliases")  # names of links to this program


def main() -> int:
    """Run the command line of this process; its exit code (see `errors.py`)."""
    arguments = sys.argv[1:]
    name = os.path.basename(sys.argv[0])
    if name in SENDMAIL:
        return _sendmail(name, arguments)
    ended: list[int] = []

    def work() -> int:
        ended.append(_dispatch(arguments))
        return ended[0]

    code = guarded(work, arguments)
    command = next((word for word in arguments if not word.startswith("-")), "")
    return OS_ERROR if not ended and command == "sendmail" and code == TEMPORARY else code


def _dispatch(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        from mailstrom_cli import __version__
        from mailstrom_cli.cli.report import write_out

        write_out(f"mailstrom {__version__}\n")
        return 0
    if "submit" in arguments:
        from mailstrom_cli.cli import options

        parsed = options.parse_submit(arguments)
        if parsed is not None:
            from mailstrom_cli.cli import accept

            return accept.run(*parsed)
    if "sendmail" in arguments and arguments[-1] != "--help":
        from mailstrom_cli.cli import options

        given = options.parse_global(arguments)
        if given is not None and given[1][:1] == ["sendmail"]:
            values, words = given
            return _sendmail("sendmail", words[1:], values["config"], values["spool"], values["via"])
    from mailstrom_cli.cli import app

    return app.run(arguments)


def _sendmail(name: str, words: list[str], *given: Any) -> int:
    """As sendmail. That it cannot even be loaded is 71 too: some callers take the usual 75 for success."""
    run: list[Callable[..., int]] = []

    def load() -> int:
        from mailstrom_cli.cli.sendmail import main as sendmail

        run.append(sendmail.run)
        return OK

    code = guarded(load, words)
    return run[0](name, words, *given) if run else OS_ERROR if code == TEMPORARY else code


if __name__ == "__main__":
    sys.exit(main())
