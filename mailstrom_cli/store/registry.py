"""From a URL to a store: a path or `spool://`, `memory:`, and what other packages add.

A package adds a scheme by an entry point of the group `mailstrom.stores`: its name is the scheme, and it
names a function `(url: str) -> Store`.
"""

from __future__ import annotations

from mailstrom_cli.errors import CONFIG, MailstromError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailstrom_cli.store.base import Store

GROUP = "mailstrom.stores"


def open_store(url: str, min_free: int = 0, create: bool = True) -> Store:
    """The store at a path or URL; a path is a spool.

    min_free: octets that a spool leaves free on its file system.  create: make a spool where there is none.
    Raises MailstromError: what the store's own `open_store` does, and exit code 78 for an unknown scheme.
    """
    scheme = _scheme(url)
    if is_spool(url):
        from mailstrom_cli.store import spool

        return spool.open_store(url, min_free, create)
    if is_memory(url):
        from mailstrom_cli.store import memory

        return memory.open_store(url)
    return _added(scheme, url)


def is_spool(url: str) -> bool:
    """Whether a URL names a directory, which any number of processes may use."""
    return _scheme(url) in ("", "spool")


def spool_path(url: str) -> str:
    """The directory of the spool at a path or URL. Raises MailstromError (78) for a store of another kind."""
    if is_memory(url) or _scheme(url) not in ("", "spool"):
        raise MailstromError(
            f"{url!r} is no directory that could be checked", "name a spool directory", CONFIG
        )
    return url.removeprefix("spool://")


def is_memory(url: str) -> bool:
    """Whether a URL names a store that ends with this process."""
    return url.startswith("memory:")


def _scheme(url: str) -> str:
    if is_memory(url):
        return "memory"
    scheme, separator, _ = url.partition("://")
    return scheme if separator and "/" not in scheme else ""


def _added(scheme: str, url: str) -> Store:
    from importlib.metadata import entry_points

    found = {point.name: point for point in entry_points(group=GROUP)}
    if scheme not in found:
        known = ", ".join(f"{name}:" for name in sorted({"spool", *found}))
        raise MailstromError(
            f"{url!r} names a store of the unknown scheme {scheme!r}",
            f"give a directory, or a URL of one of {known}; packages add others",
            CONFIG,
        )
    try:
        opener = found[scheme].load()
    except (ImportError, AttributeError) as error:
        raise MailstromError(
            f"the package that adds {scheme}: ({found[scheme].value}) cannot be loaded: {error}", None, CONFIG
        ) from None
    store: Store = opener(url)
    return store
