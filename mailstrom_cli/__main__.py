"""The entry point: a plain `submit` goes straight to work, everything else through the click command tree."""

from __future__ import annotations

import sys

from mailstrom_cli.cli.report import guarded


def main() -> int:
    """Run the command line of this process; its exit code (see `errors.py`)."""
    arguments = sys.argv[1:]
    return guarded(lambda: _dispatch(arguments), arguments)


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
    from mailstrom_cli.cli import app

    return app.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
