"""What only a look at the files that a configuration names can tell; `config check` takes it."""

from __future__ import annotations

import os

from mailstrom_cli.config.problems import Problem
from mailstrom_cli.config.secret import open_secret
from mailstrom_cli.errors import MailstromError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailstrom_cli.config.load import Loaded


def verify(loaded: Loaded) -> tuple[Problem, ...]:
    """Password files that are missing or that others can read, and a ca_file that cannot be read."""
    problems = []
    for host, auth in loaded.settings.auth.items():
        for name in ("password_file", "client_secret_file"):
            if path := getattr(auth, name):
                key = f'auth."{host}".{name}'
                try:
                    os.close(open_secret(path))
                except MailstromError as error:
                    problems.append(Problem(loaded.source(key), f"`{key}`: {error.message}", error.hint))
    ca_file = loaded.settings.tls.ca_file
    if ca_file:
        try:
            with open(ca_file, "rb") as file:
                file.read(1)
        except OSError as error:
            what = f"`tls.ca_file`: {ca_file} cannot be read: {error.strerror}"
            problems.append(Problem(loaded.source("tls.ca_file"), what))
    return tuple(problems)
