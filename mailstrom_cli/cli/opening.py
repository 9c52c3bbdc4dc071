"""How commands open settings and spool: as the Python face does, but never one that would lose mail."""

from __future__ import annotations

from mailstrom_cli.api import Mailstrom
from mailstrom_cli.errors import CONFIG, MailstromError
from mailstrom_cli.store.registry import is_memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailstrom_cli.config.load import Loaded


def open_mail(config: str | None, spool: str | None, via: Sequence[str], *, create: bool) -> Mailstrom:
    """The settings and the spool that the global options name. create: make a spool where there is none.

    Raises MailstromError: 64 for an empty --spool, 78 for the configuration and for a store in memory, which
    would end with the command.
    """
    refuse_empty(spool)
    mail = Mailstrom.open(config, spool, via, create=create)
    if is_memory(mail.settings.spool):
        raise MailstromError(
            f"the spool {mail.settings.spool!r} would end with this command, and all mail in it",
            "name a directory; a store in memory is for programs that use the Python face",
            CONFIG,
        )
    return mail


def read_settings(config: str | None, spool: str | None, via: Sequence[str]) -> Loaded:
    """The settings that the global options name, and where each is from. Raises as `open_mail`."""
    import os

    from mailstrom_cli.config.load import load

    refuse_empty(spool)
    overrides = {}
    if spool is not None:
        overrides["spool"] = spool
    if via:
        overrides["via"] = ",".join(via)
    return load(config, os.environ, overrides)


def refuse_empty(spool: str | None) -> None:
    """Refuse an empty --spool, which is a variable without a value rather than a wish for the default."""
    if spool == "":
        raise MailstromError("--spool is empty", "name a directory, or leave it out for the default one")
