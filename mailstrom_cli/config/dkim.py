"""The table `dkim`: by domain, selectors and the files of the keys that belong to them."""

from __future__ import annotations

from mailstrom_cli.config import kinds
from mailstrom_cli.config.schema import Dkim
from mailstrom_cli.config.text import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from mailstrom_cli.config.problems import Problem
    from mailstrom_cli.config.toml import Path

    class Reader(Protocol):
        """As much of `tables` as this needs."""

        problems: list[Problem]

        def problem(self, path: Path, what: str, hint: str | None = None) -> None: ...
        def items(self, held: Any, path: Path, name: str, pattern: str) -> dict[str, Any]: ...


def is_selector(text: str) -> bool:
    """Whether it is a selector (RFC 6376, 3.1): one or more labels of letters, digits and inner hyphens."""
    return all(
        0 < len(label) <= 63
        and label.isascii()
        and label.replace("-", "").isalnum()
        and label.strip("-") == label
        for label in text.split(".")
    )


def fits(selector: str, domain: str) -> bool:
    """Whether the DNS can have the name of the record (RFC 1035, 2.3.4)."""
    return len(f"{selector}._domainkey.{domain}") <= 253


def signing_domain(text: str) -> str:
    """A domain in A-labels and lower case. Raises ValueError, with a sentence about it."""
    from mailstrom_cli.mail.address import canonical_domain

    domain = canonical_domain(text)
    if domain.startswith("["):
        raise ValueError(f"{quoted(text)} is no domain")
    return domain


def _listed(read: Callable[[Any], Any]) -> Callable[[object], tuple[str, ...]]:
    def of_one_or_more(held: object) -> tuple[str, ...]:
        items = [held] if isinstance(held, str) else held
        if not isinstance(items, list) or not items:
            raise ValueError
        return tuple(read(item) for item in items)

    return of_one_or_more


def _selector(held: object) -> str:
    if not isinstance(held, str) or not is_selector(held):
        raise ValueError
    return held.lower()


def _key_file(held: object) -> str:
    if not held:
        raise ValueError
    path: str = kinds.PATH.read(held)
    return path


read_selectors = _listed(_selector)
read_key_files = _listed(_key_file)


def read_domains(reader: Reader, held: object, path: Path) -> dict[str, Dkim]:
    """What [dkim] says; what is wrong with it goes to the reader."""
    if not isinstance(held, dict):
        reader.problem(path, "`dkim` is a table by domain", 'write [dkim."example.org"]')
        return {}
    found: dict[str, Dkim] = {}
    for text, item in held.items():
        here = (*path, text)
        if not isinstance(item, dict):
            what = f"`dkim` is a table by domain, and {quoted(text)} in it is not a table"
            reader.problem(here, what, 'write [dkim."example.org"], and its keys in the lines below')
            continue
        try:
            domain = signing_domain(text)
        except ValueError as error:
            reader.problem(here, f"{quoted(text)} in `dkim`: {error}")
            continue
        if domain in found:
            reader.problem(here, f"{quoted(text)} in `dkim` is there twice, in other letters")
            continue
        keys = _keys(reader, item, here, domain)
        if keys is not None:
            found[domain] = keys
    return found


def _keys(reader: Reader, held: Any, path: Path, domain: str) -> Dkim | None:
    name = f'dkim."{domain}"'
    before = len(reader.problems)
    found = reader.items(held, path, name + ".", "dkim.*.")
    if len(reader.problems) > before:
        return None
    selectors, files = found.get("selector", ()), found.get("key_file", ())
    if not selectors or not files:
        reader.problem(path, f"`{name}` lacks `{'key_file' if selectors else 'selector'}`")
    elif len(selectors) != len(files):
        what = f"`{name}` has {_count(selectors, 'selector')} and {_count(files, 'key file')}"
        reader.problem(path, what, "write as many of the one as of the other, in the same order")
    elif len(set(selectors)) != len(selectors):
        reader.problem(path, f"`{name}` has one selector for two keys", "give each key a selector of its own")
    elif not all(fits(selector, domain) for selector in selectors):
        reader.problem(path, f"`{name}`: with the selector it is too long for a name in the DNS")
    else:
        return Dkim(selectors, files)
    return None


def _count(items: tuple[str, ...], noun: str) -> str:
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"
