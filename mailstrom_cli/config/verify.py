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
    from mailstrom_cli.config.schema import Tls, TlsPolicy


def verify(loaded: Loaded) -> tuple[Problem, ...]:
    """Password files and private keys that are missing or that others can read, certificates that cannot be
    read, and a package that is not installed."""
    problems = []
    for host, auth in loaded.settings.auth.items():
        for name in ("password_file", "client_secret_file"):
            if path := getattr(auth, name):
                key = f'auth."{host}".{name}'
                try:
                    os.close(open_secret(path))
                except MailstromError as error:
                    problems.append(Problem(loaded.source(key), f"`{key}`: {error.message}", error.hint))
    tls = loaded.settings.tls
    tables: dict[str, Tls | TlsPolicy] = {"tls": tls}
    tables |= {f'tls.policy."{name}"': policy for name, policy in tls.policy.items()}
    for prefix, held in tables.items():
        private = "client_key" if held.client_key else "client_cert"
        for name in ("ca_file", "client_cert", "client_key"):
            key, path = f"{prefix}.{name}", getattr(held, name)
            if path and (problem := _unusable(path, name == private)):
                problems.append(Problem(loaded.source(key), f"`{key}`: {problem.message}", problem.hint))
    if tls.client_key and not tls.client_cert:
        problems.append(
            Problem(loaded.source("tls.client_key"), "`tls` has `client_key`, and no `client_cert`")
        )
    if lacks_http2(loaded.settings.dns.resolver):
        problems.append(Problem(loaded.source("dns.resolver"), DOH_LACKS, DOH_HINT))
    return tuple(problems)


def _unusable(path: str, private: bool) -> MailstromError | None:
    try:
        if private:
            os.close(open_secret(path))
        else:
            with open(path, "rb") as file:
                file.read(1)
    except OSError as error:
        return MailstromError(f"{path} cannot be read: {error.strerror}")
    except MailstromError as error:
        return error
    return None
