"""`python -m mailstrom_cli.cli.generate [--check] [CHECKOUT]`: write what is generated in a checkout."""

from __future__ import annotations

import os
import sys

from mailstrom_cli.cli.generate.bash import bash
from mailstrom_cli.cli.generate.fish import fish
from mailstrom_cli.cli.generate.man import man
from mailstrom_cli.cli.generate.reference import filled
from mailstrom_cli.cli.generate.zsh import zsh

MADE = {
    "man/mailstrom.1": man,
    "completions/mailstrom.bash": bash,
    "completions/_mailstrom": zsh,
    "completions/mailstrom.fish": fish,
}


def generated(root: str) -> dict[str, tuple[str, str]]:
    """For each file below the checkout: what it holds, and what it should."""
    files = {name: (_read(os.path.join(root, name)), make()) for name, make in MADE.items()}
    readme = _read(os.path.join(root, "README.md"))
    return {**files, "README.md": (readme, filled(readme))}


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def main(arguments: list[str]) -> int:
    """Write the files that differ; with --check only name them, and give 1 when there are any."""
    root = next((word for word in arguments if not word.startswith("-")), ".")
    stale = {name: made for name, (held, made) in generated(root).items() if held != made}
    for name, made in stale.items():
        print(name)
        if "--check" not in arguments:
            with open(os.path.join(root, name), "w", encoding="utf-8") as file:
                file.write(made)
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
