"""Where things are by default: the configuration file, the spool, the name of this host."""

from __future__ import annotations

import os

from mailstrom_cli.config.text import is_domain, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SYSTEM_CONFIG = "/etc/mailstrom/config.toml"
SYSTEM_SPOOL = "/var/spool/mailstrom"
SYSTEM_TOKENS = "/var/lib/mailstrom-tokens"
NAME_FILES = ("/etc/mailname", "/etc/hostname")


def user_config(environ: Mapping[str, str]) -> str:
    """This user's configuration file, by the XDG base directories."""
    return os.path.join(_base(environ, "XDG_CONFIG_HOME", ".config"), "mailstrom", "config.toml")


def default_spool(environ: Mapping[str, str]) -> str:
    """The spool where none is set: the system's for root, else one of this user."""
    if os.geteuid() == 0:
        return SYSTEM_SPOOL
    return os.path.join(_base(environ, "XDG_STATE_HOME", ".local/state"), "mailstrom")


def token_file(host: str, environ: Mapping[str, str]) -> str:
    """Where the OAuth tokens for a relay are kept, unless the configuration says."""
    if os.geteuid() == 0:
        folder = SYSTEM_TOKENS
    else:
        folder = os.path.join(_base(environ, "XDG_STATE_HOME", ".local/state"), "mailstrom-tokens")
    return os.path.join(folder, f"{host}.json")


def is_url(spool: str) -> bool:
    """Whether a spool is named by a URL."""
    return "://" in spool or spool.startswith("memory:")


def path_from_text(text: str) -> str:
    """In the environment and on the command line a path starts in the working directory."""
    expanded = os.path.expanduser(text)
    return os.path.abspath(expanded) if expanded and not is_url(text) else text


def spool_from_text(text: str) -> str:
    """The spool that the environment or the command line names; "" for one that needs a closer look."""
    try:
        spool = plain(path_from_text(text))
    except ValueError:
        return ""
    return spool if is_url(spool) or os.path.isabs(spool) else ""


def _base(environ: Mapping[str, str], variable: str, default: str) -> str:
    chosen = environ.get(variable, "")
    if os.path.isabs(chosen):  # by the XDG specification a relative one does not count
        return chosen
    return os.path.join(environ.get("HOME") or os.path.expanduser("~"), default)


def host_name(node: str | None = None, files: Sequence[str] = NAME_FILES) -> str:
    """This host's full name without asking the DNS: the kernel's, or, when that has no dot, the first of the
    files that has one; at worst the short name, or `localhost`."""
    node = (os.uname().nodename if node is None else node).strip().rstrip(".")
    if "." not in node:
        for path in files:
            try:
                with open(path, encoding="utf-8", errors="replace") as file:
                    name = file.readline(256).strip().rstrip(".")
            except OSError:
                continue
            if "." in name and is_domain(name):
                return name
    return node if is_domain(node) else "localhost"
