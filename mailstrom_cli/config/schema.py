"""The settings as values, and their defaults. Times are seconds, sizes are octets.

What each key expects and means is in the table in `keys`, which most submits have no need of.
"""

from __future__ import annotations

from mailstrom_cli.config.via import MX, Via
from mailstrom_cli.values import fields, replace, value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


MIB = 1024 * 1024
HOUR = 3600
DAY = 24 * HOUR


@value
class Route:
    """Mail that one of the patterns given matches (both, if both are given) leaves by `via`, the first that
    works. A pattern is `local@domain`, `*@domain`, a domain, or `*`; a domain may be `*.domain`, which
    matches subdomains. The sender `<>` is the null reverse-path."""

    sender: str | None
    recipient: str | None
    via: tuple[Via, ...]


@value
class Auth:
    """Credentials for one next hop; exactly one of the four places of a password and oauth is set.

    oauth: google | microsoft | custom; it goes with client_id, and with the keys below it.
    """

    username: str
    password_command: tuple[str, ...] | None = None
    password_file: str | None = None
    mechanism: str = "auto"  # or one of keys.MECHANISMS
    password_credential: str | None = None
    password_keyring: str | None = None
    oauth: str | None = None
    client_id: str | None = None
    client_secret_file: str | None = None
    scope: str | None = None
    device_endpoint: str | None = None
    token_endpoint: str | None = None
    token_file: str | None = None


@value
class TlsPolicy:
    """For one destination; what is None is as [tls] has it, or as it follows from the destination."""

    level: str | None = None
    match: tuple[str, ...] | None = None
    fingerprints: tuple[str, ...] | None = None
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None


@value
class Dkim:
    """What mail from one domain is signed with: a selector and the file of a private key for each
    signature."""

    selector: tuple[str, ...]
    key_file: tuple[str, ...]


@value
class Tls:
    """policy: by destination, in A-labels and lower case."""

    level: str = "may"  # none | may | encrypt | verify | dane
    require_tls: bool = False
    ca_file: str = ""
    client_cert: str = ""
    client_key: str = ""
    policy: Mapping[str, TlsPolicy] = {}
    auth_loopback: bool = False
    mta_sts: bool = True


@value
class Dns:
    """resolver: ("system",), or what `resolvers.parse_server` reads."""

    resolver: tuple[str, ...] = ("system",)
    trust_ad: bool = False


@value
class Timeout:
    """By stage (RFC 5321, 4.5.3.2), in seconds."""

    connect: float = 30
    greeting: float = 300
    ehlo: float = 300
    starttls: float = 300
    auth: float = 300
    mail: float = 300
    rcpt: float = 300
    data: float = 120
    block: float = 180
    dot: float = 600
    rset: float = 20
    quit: float = 5


@value
class Smtp:
    port: int = 25
    source_address: str = ""
    ip: str = "both"  # both | ipv4 | ipv6
    timeout: Timeout = Timeout()


@value
class Retry:
    retries: int = 3
    base_delay: float = 300
    factor: float = 6
    max_delay: float = 6 * HOUR
    jitter: float = 0.1
    max_age: float = 5 * DAY


@value
class Rate:
    """At most `count` messages in any `seconds` seconds; a count of 0 is no limit."""

    count: int = 0
    seconds: int = 0


@value
class Limits:
    message_size: int = 50 * MIB
    recipients: int = 10_000
    min_free: int = 50 * MIB
    connections: int = 100
    per_destination: int = 20
    recipients_per_transaction: int = 100
    messages_per_connection: int = 1000
    rate: Rate = Rate()
    total_rate: Rate = Rate()


@value
class Retention:
    delivered: float = 7 * DAY
    failed: float = 30 * DAY


@value
class Log:
    format: str = "text"  # text | json
    level: str = "info"  # error | warning | info | debug


@value
class Sendmail:
    t_args: str = "add"  # add | remove
    not_stored_exit: int = 71


@value
class Tlsrpt:
    """contact: "" makes no reports."""

    contact: str = ""
    organization: str = ""


@value
class Settings:
    """helo_name: "" means `config.load.host_name()`.  origin: "" means none.  spool: never "" once loaded.
    auth: by next-hop host, in lower case.  dkim: by domain, in A-labels and lower case.
    aliases: by local name, in lower case."""

    helo_name: str = ""
    origin: str = ""
    via: tuple[Via, ...] = (MX,)
    spool: str = ""
    route: tuple[Route, ...] = ()
    auth: Mapping[str, Auth] = {}
    dkim: Mapping[str, Dkim] = {}
    aliases: Mapping[str, tuple[str, ...]] = {}
    tls: Tls = Tls()
    dns: Dns = Dns()
    smtp: Smtp = Smtp()
    retry: Retry = Retry()
    limits: Limits = Limits()
    retention: Retention = Retention()
    log: Log = Log()
    sendmail: Sendmail = Sendmail()
    tlsrpt: Tlsrpt = Tlsrpt()


DEFAULTS = Settings()
GROUPS = (Tls, Dns, Smtp, Timeout, Retry, Limits, Retention, Log, Sendmail, Tlsrpt)
PREFIX = "MAILSTROM_"  # of environment variables


def build(changed: Mapping[str, Any]) -> Settings:
    """The settings with these keys (dotted names, "route", "auth", "tls.policy" and "dkim") other than by
    default."""
    built: Settings = _build(DEFAULTS, "", changed)
    return built


def _build(default: Any, prefix: str, changed: Mapping[str, Any]) -> Any:
    changes = {}
    for name in fields(default):
        key = prefix + name
        if key in changed:
            changes[name] = changed[key]
        elif isinstance(held := getattr(default, name), GROUPS):
            built = _build(held, key + ".", changed)
            if built is not held:
                changes[name] = built
    return replace(default, **changes) if changes else default
