"""`mailstrom auth`: get the OAuth tokens that a relay wants instead of a password."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from mailstrom_cli.cli import report
from mailstrom_cli.cli.base import command
from mailstrom_cli.cli.options import Option
from mailstrom_cli.errors import CONFIG, DATA, TEMPORARY, MailstromError

if TYPE_CHECKING:
    from mailstrom_cli.cli.base import Given
    from mailstrom_cli.config.schema import Auth, Settings
    from mailstrom_cli.net.oauth import Prompt

LONGEST = 65_536
OTHERWISE = "the provider's device flow gives no such tokens; get a refresh token elsewhere, and use --stdin"


@command(
    "login", Option(("--stdin",), "Keep the refresh token on stdin instead, which was got in another way.")
)
@click.argument("host")
def login(given: Given, host: str, stdin: bool) -> None:
    """Get OAuth tokens for the relay HOST, and keep them in a file that nobody else can read.

    HOST has an [auth."HOST"] with `oauth` in the configuration. Shows an address and a code on stderr, and
    waits until somebody has entered the code there in a browser, on whatever machine. `run` and `flush` then
    get access tokens by themselves; they have to be the same user's.
    """
    from mailstrom_cli.cli.accept import refuse_controls

    refuse_controls({"host": host})
    settings = given.settings()
    auth = _oauth(settings, host.lower())
    from mailstrom_cli.net import oauth

    try:
        asking = oauth.client(auth, host.lower(), settings.tls.ca_file)
        if stdin:
            oauth.keep(asking, oauth.given(_token()))
        else:
            oauth.log_in(asking, lambda prompt: _show(prompt, given))
    except oauth.NoToken as error:
        hint = OTHERWISE if "invalid_scope" in str(error) else None
        raise MailstromError(f"no login at {host}: {error}", hint, TEMPORARY) from None
    if not given.quiet:
        report.tell("auth", f"logged in at {host}: the tokens are in {asking.file}")


def _oauth(settings: Settings, host: str) -> Auth:
    auth = settings.auth.get(host)
    if auth is not None and auth.oauth:
        return auth
    others = ", ".join(name for name, held in settings.auth.items() if held.oauth)
    raise MailstromError(
        f'[auth."{host}"] is not in the configuration, or has no `oauth`',
        f"those that have: {others}" if others else 'set oauth = "microsoft" and client_id there',
        CONFIG,
    )


def _show(prompt: Prompt, given: Given) -> None:
    report.tell("auth", f"go to {prompt.url} and enter the code {prompt.code}")
    if not given.quiet:
        report.tell("auth", "waiting ...")


def _token() -> str:
    held = sys.stdin.read(LONGEST).strip()
    if not held or len(held.split()) > 1 or not (held.isascii() and held.isprintable()):
        raise MailstromError("there is no refresh token on stdin", "it is one word", DATA)
    return held


auth = click.Group(
    "auth",
    commands={"login": login},
    help="Log in at a provider that gives OAuth tokens for a relay.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
