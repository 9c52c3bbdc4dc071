"""Who calls: login and full name, for the default sender and for a From that is missing."""

from __future__ import annotations

import os

from mailstrom_cli.mail.address import ATEXT, AddressError, Mailbox, parse_reverse_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pwd import struct_passwd

ATOMS_AND_BLANKS = frozenset(ATEXT + " ")


def login(environ: Mapping[str, str]) -> str:
    """The login name: $LOGNAME if it is one of this user's names, else the first of them, else the uid."""
    account = _account(environ)
    return account.pw_name if account else environ.get("LOGNAME") or str(os.getuid())


def full_name(environ: Mapping[str, str]) -> str:
    """$NAME, or the full name in the password file; "" for none that can be printed."""
    name = environ.get("NAME")
    if name is None:
        account = _account(environ)
        name = (
            account.pw_gecos.partition(",")[0].replace("&", account.pw_name.capitalize()) if account else ""
        )
    return name if name.isprintable() else ""


def _account(environ: Mapping[str, str]) -> struct_passwd | None:
    try:
        import pwd
    except ImportError:
        return None
    uid = os.getuid()
    try:
        named = pwd.getpwnam(environ.get("LOGNAME", ""))
        if named.pw_uid == uid:
            return named
    except (KeyError, ValueError):
        pass
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None


def from_value(name: str, sender: str, user: str, origin: str) -> str | None:
    """What a From that is missing says: the full name, if any, and the sender's address, or the user's own
    for the null sender. None when the sender is no address."""
    try:
        address = parse_reverse_path(sender, origin) or str(Mailbox(user, origin))
    except AddressError:
        return None
    return f"{_phrase(name)} <{address}>" if name else address


def _phrase(name: str) -> str:
    """A display name for a header: as it is, in quotes, or encoded (RFC 5322, 3.2.5; RFC 2047, 5)."""
    if not name.isascii():
        from mailstrom_cli.mail.encoded_word import encoded_words

        return " ".join(encoded_words(name))
    if set(name) <= ATOMS_AND_BLANKS:
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
