"""`mailstrom dkim`: keys to sign mail with."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import click

from mailstrom_cli.cli import report
from mailstrom_cli.cli.accept import refuse_controls
from mailstrom_cli.cli.base import command
from mailstrom_cli.cli.options import Option
from mailstrom_cli.config.dkim import fits, is_selector, signing_domain
from mailstrom_cli.config.kinds import toml_text
from mailstrom_cli.config.places import SYSTEM_CONFIG, user_config
from mailstrom_cli.config.write import write_new
from mailstrom_cli.dkim import keys
from mailstrom_cli.dkim.record import record
from mailstrom_cli.errors import CANT_CREATE, MailstromError

if TYPE_CHECKING:
    from mailstrom_cli.cli.base import Given

TYPES = ("rsa", "ed25519")
KEYGEN = (
    Option(("--selector",), "The name of the key (default: its type and this month).", "NAME"),
    Option(("--type",), "rsa, which every verifier knows (default), or ed25519.", "TYPE", choices=TYPES),
    Option(("--bits",), "The length of an RSA key, from 1024 to 4096 (default: 2048).", "BITS"),
    Option(("--out",), "The file for the private key (default: beside the configuration).", "FILE"),
)


@command("keygen", *KEYGEN)
@click.argument("domain")
def keygen(
    given: Given, domain: str, selector: str | None, type: str | None, bits: str | None, out: str | None
) -> None:
    """Make a key to sign mail from DOMAIN with, and print the TXT record to publish, for a zone file.

    The private key is written to a file that nobody else can read, by default beside the configuration as
    DOMAIN.SELECTOR.pem; one that is there is never replaced. Of DNS providers that take a record in a form,
    some want the strings of a long one put together. Mail is signed once the configuration names the key.
    """
    refuse_controls({"selector": selector, "out": out})
    type = type or TYPES[0]
    length = _length(type, bits)
    try:
        domain = signing_domain(domain)
    except ValueError as error:
        raise MailstromError(str(error)) from None
    selector = (selector or f"{type}-{time.strftime('%Y%m')}").lower()
    if not is_selector(selector):
        raise MailstromError(f"the selector {selector!r} is no name for the DNS", "use letters, digits and -")
    if not fits(selector, domain):
        raise MailstromError("selector and domain together are too long for a name in the DNS")
    config = _config_file(given)
    path = os.path.abspath(out or os.path.join(os.path.dirname(config), f"{domain}.{selector}.pem"))
    pem, key = keys.generate(type, length)
    try:
        if config == SYSTEM_CONFIG and out is None:
            os.makedirs(os.path.dirname(config), 0o755, exist_ok=True)  # the configuration is for all to read
        write_new(path, pem, 0o600, replace=False)
    except OSError as error:
        if os.path.lexists(path):
            raise MailstromError(
                f"{path} is there already, and is kept", "give another --selector or --out", CANT_CREATE
            ) from None
        raise MailstromError(f"{path} cannot be written: {error.strerror}", None, CANT_CREATE) from None
    report.write_out(record(domain, selector, key) + "\n")
    if 0 < key.bits < keys.GOOD_BITS:
        report.tell("warning", f"{key.bits} bits are few; use {keys.GOOD_BITS} where you can (RFC 8301)")
    if not given.quiet:
        report.tell("hint", f"when the record is published, mail is signed by these lines in {config}:")
        for line in (
            f'[dkim."{domain}"]',
            f"selector = {toml_text(selector)}",
            f"key_file = {toml_text(path)}",
        ):
            report.tell("hint", f"    {line}")


def _length(type: str, bits: str | None) -> int:
    if bits is None:
        return keys.GOOD_BITS
    if type != "rsa":
        raise MailstromError("--bits is for RSA keys", "an Ed25519 key has one length; leave it out")
    if bits.isascii() and bits.isdigit() and keys.LEAST_BITS <= int(bits[:9]) <= keys.MOST_BITS:
        return int(bits)
    raise MailstromError(f"--bits must be from {keys.LEAST_BITS} to {keys.MOST_BITS}, not {bits!r}")


def _config_file(given: Given) -> str:
    """The configuration that is read, or that would be if it were there."""
    named = given.config or os.environ.get("MAILSTROM_CONFIG")
    usual = (user_config(os.environ), SYSTEM_CONFIG)
    there = [path for path in usual if os.path.exists(path)]
    return os.path.abspath(named or (there[0] if there else usual[os.geteuid() == 0]))


dkim = click.Group(
    "dkim",
    commands={"keygen": keygen},
    help="Make a key to sign mail with (DKIM).",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
