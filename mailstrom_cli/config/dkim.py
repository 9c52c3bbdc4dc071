"""The table `dkim`: by domain, selectors and the files of the keys that belong to them."""

from __future__ import annotations

from mailstrom_cli.config import kinds
from mailstrom_cli.config.text import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any


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


def faults(found: Mapping[str, Any], domain: str) -> Iterator[tuple[str, str | None]]:
    """What is wrong with the keys of one, to follow its name, and what to do."""
    selectors, files = found.get("selector", ()), found.get("key_file", ())
    if not selectors or not files:
        yield f"lacks `{'key_file' if selectors else 'selector'}`", None
    elif len(selectors) != len(files):
        what = f"has {_count(selectors, 'selector')} and {_count(files, 'key file')}"
        yield what, "write as many of the one as of the other, in the same order"
    elif len(set(selectors)) != len(selectors):
        yield "has one selector for two keys", "give each key a selector of its own"
    elif not all(fits(selector, domain) for selector in selectors):
        yield "is too long for a name in the DNS, with the selector", None


def _count(items: tuple[str, ...], noun: str) -> str:
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"
