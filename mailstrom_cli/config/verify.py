"""What only a look at the files that a configuration names can tell; `config check` takes it."""

from __future__ import annotations

import os

from mailstrom_cli.config.problems import Problem
from mailstrom_cli.config.resolvers import DOH_HINT, DOH_LACKS, lacks_http2
from mailstrom_cli.config.secret import open_secret
from mailstrom_cli.errors import MailstromError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailstrom_cli.config.load import Loaded


def verify(loaded: Loaded) -> tuple[Problem, ...]:
    """Password files that are missing or that others can read, a ca_file that cannot be read, and a package
    that is not installed."""
    problems = []
    for host, auth in loaded.settings.auth.items():
        if auth.password_file:
            key = f'auth."{host}".password_file'
            try:
                os.close(open_secret(auth.password_file))
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
    if lacks_http2(loaded.settings.dns.resolver):
        problems.append(Problem(loaded.source("dns.resolver"), DOH_LACKS, DOH_HINT))
    return tuple(problems)
