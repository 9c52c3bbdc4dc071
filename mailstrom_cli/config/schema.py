"""The settings as values, their defaults, and the one table of every key.

The classes hold the defaults; KEYS gives each key its kind and its help. `config init`, `config show`, the
names in the environment and the reference in README and man page all come from these two.
Times are seconds, sizes are octets.
"""

from __future__ import annotations

from mailstrom_cli.config import kinds
from mailstrom_cli.config.aliases import ALIASES
from mailstrom_cli.config.via import MX, Via
from mailstrom_cli.values import fields, replace, value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from mailstrom_cli.config.kinds import Kind

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
    """Credentials for one next hop; exactly one of password_command and password_file is set."""

    username: str
    password_command: tuple[str, ...] | None = None
    password_file: str | None = None
    mechanism: str = "auto"  # auto | plain | login


@value
class Tls:
    level: str = "may"  # none | may | encrypt | verify
    ca_file: str = ""


@value
class Dns:
    """resolver: ("system",), or `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1`, `[2001:db8::1]:5353` (see
    `text.split_address`)."""

    resolver: tuple[str, ...] = ("system",)


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
class Limits:
    message_size: int = 50 * MIB
    recipients: int = 10_000
    min_free: int = 50 * MIB
    connections: int = 100
    per_destination: int = 20
    recipients_per_transaction: int = 100
    messages_per_connection: int = 1000


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
class Settings:
    """helo_name: "" means `config.load.host_name()`.  origin: "" means none.  spool: never "" once loaded.
    auth: by next-hop host, in lower case.  aliases: by local name, in lower case."""

    helo_name: str = ""
    origin: str = ""
    via: tuple[Via, ...] = (MX,)
    spool: str = ""
    route: tuple[Route, ...] = ()
    auth: Mapping[str, Auth] = {}
    aliases: Mapping[str, tuple[str, ...]] = {}
    tls: Tls = Tls()
    dns: Dns = Dns()
    smtp: Smtp = Smtp()
    retry: Retry = Retry()
    limits: Limits = Limits()
    retention: Retention = Retention()
    log: Log = Log()
    sendmail: Sendmail = Sendmail()


DEFAULTS = Settings()
GROUPS = (Tls, Dns, Smtp, Timeout, Retry, Limits, Retention, Log, Sendmail)


@value
class Key:
    """name: dotted, as in "smtp.timeout.connect"; "route[].via" is a key of each [[route]], "auth.*.username"
    one of each [auth."HOST"]."""

    name: str
    kind: Kind
    help: str

    @property
    def default(self) -> Any:
        """None for the keys of [[route]] and [auth."HOST"] that have none."""
        if self.name.startswith("auth.*."):
            return getattr(Auth(""), self.last) or None
        if self.name.startswith("route[]."):
            return None
        held: Any = DEFAULTS
        for part in self.name.split("."):
            held = getattr(held, part)
        return held

    @property
    def repeated(self) -> bool:
        """Whether it is a key of [[route]] or of [auth."HOST"]."""
        return self.name.startswith(("route[]", "auth.*"))

    @property
    def last(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def variable(self) -> str:
        """The environment variable; all routes have one together, and so have all credentials."""
        name = self.name.partition(".*")[0].partition("[]")[0]
        return PREFIX + name.upper().replace(".", "_")


PREFIX = "MAILSTROM_"
TIMEOUT = kinds.duration()
COUNT = kinds.integer(1, 1_000_000)

KEYS = (
    Key("helo_name", kinds.HELO_NAME, 'the name given in EHLO; "" is this host\'s full name'),
    Key("origin", kinds.DOMAIN, 'the domain that completes bare local parts; "" completes none'),
    Key("aliases", ALIASES, "the address, or list of addresses, that mail for a bare local name goes to: "
        'root = "ops@example.org"'),
    Key("via", kinds.VIAS, "how mail leaves: mx:, smtp://host:port, smtps://host, lmtp://host, "
        "lmtp:///socket or maildir:///path; a list is tried in order"),
    Key("spool", kinds.SPOOL, 'where messages are kept; "" is /var/spool/mailstrom for root, and '
        "$XDG_STATE_HOME/mailstrom for everybody else"),
    Key("route[].sender", kinds.SENDER_PATTERN, 'only mail from here; "<>" is the null sender'),
    Key("route[].recipient", kinds.PATTERN, "only mail to here: an address or a domain, with *"),
    Key("route[].via", kinds.VIAS, "how it leaves, as above"),
    Key("auth.*.username", kinds.TEXT, "the name to log in with"),
    Key("auth.*.password_command", kinds.WORDS, "a command that prints the password"),
    Key("auth.*.password_file", kinds.PATH, "or a file that holds it, with mode 0600"),
    Key("auth.*.mechanism", kinds.choice("auto", "plain", "login"), "auto, plain or login"),
    Key("tls.level", kinds.choice("none", "may", "encrypt", "verify"),
        "none, may (where offered, unverified), encrypt (always), verify (and the certificate is valid)"),
    Key("tls.ca_file", kinds.PATH, "certificate authorities to trust beside the system's, in PEM"),
    Key("dns.resolver", kinds.RESOLVER, "who is asked: system, google, cloudflare, quad9, or addresses"),
    Key("smtp.port", kinds.integer(1, 65535, "a port"), "the port of MX hosts"),
    Key("smtp.source_address", kinds.ADDRESS, 'the address of this host that mail leaves from; "" is any'),
    Key("smtp.ip", kinds.choice("both", "ipv4", "ipv6"), "both, ipv4 or ipv6"),
    Key("smtp.timeout.connect", TIMEOUT, "until the connection stands"),
    Key("smtp.timeout.greeting", TIMEOUT, "for the server's greeting"),
    Key("smtp.timeout.ehlo", TIMEOUT, "for the reply to EHLO or HELO"),
    Key("smtp.timeout.starttls", TIMEOUT, "for the reply to STARTTLS and the handshake"),
    Key("smtp.timeout.auth", TIMEOUT, "for each reply to AUTH"),
    Key("smtp.timeout.mail", TIMEOUT, "for the reply to MAIL"),
    Key("smtp.timeout.rcpt", TIMEOUT, "for the reply to each RCPT"),
    Key("smtp.timeout.data", TIMEOUT, "for the reply to DATA"),
    Key("smtp.timeout.block", TIMEOUT, "for each block of the message to be taken"),
    Key("smtp.timeout.dot", TIMEOUT, "for the reply to the end of the message"),
    Key("smtp.timeout.rset", TIMEOUT, "for the reply to RSET"),
    Key("smtp.timeout.quit", TIMEOUT, "for the reply to QUIT"),
    Key("retry.retries", kinds.integer(-1, 1000),
        "further attempts after the first deferral by a server, then failed; -1: until max_age"),
    Key("retry.base_delay", kinds.duration(), "until the second attempt"),
    Key("retry.factor", kinds.decimal(1, 1000), "what each further delay is multiplied by"),
    Key("retry.max_delay", kinds.duration(), "no delay is longer"),
    Key("retry.jitter", kinds.decimal(0, 1), "the share by which a delay may vary at random"),
    Key("retry.max_age", kinds.duration(), "after this the message has failed, reachable next hop or not"),
    Key("limits.message_size", kinds.size(1024), "no message is larger"),
    Key("limits.recipients", COUNT, "no message has more"),
    Key("limits.min_free", kinds.size(0), "nothing is accepted with less free space at the spool"),
    Key("limits.connections", COUNT, "open at once"),
    Key("limits.per_destination", COUNT, "open at once to one next hop"),
    Key("limits.recipients_per_transaction", COUNT, "of one message, before another transaction is begun"),
    Key("limits.messages_per_connection", COUNT, "before another connection is made"),
    Key("retention.delivered", kinds.duration(zero=True), "how long delivered messages are kept"),
    Key("retention.failed", kinds.duration(zero=True), "how long failed messages are kept"),
    Key("log.format", kinds.choice("text", "json"), "text or json"),
    Key("log.level", kinds.choice("error", "warning", "info", "debug"), "error, warning, info or debug"),
    Key("sendmail.t_args", kinds.choice("add", "remove"),
        "with -t the addresses on the command line are further recipients (add), or taken off (remove)"),
    Key("sendmail.not_stored_exit", kinds.integer(1, 255, "an exit code"),
        "when nothing could be stored now; not 75, which some callers take for success"),
)  # fmt: skip

TABLES = {
    "tls": "how connections are protected",
    "dns": "how names are looked up",
    "smtp": "how servers are reached",
    "smtp.timeout": "how long to wait, by stage (RFC 5321, 4.5.3.2)",
    "retry": "when a deferred message is tried again",
    "limits": "what is accepted, and how much goes on at once",
    "retention": "when finished messages are removed from the spool",
    "log": "what is told on stderr",
    "sendmail": "how `mailstrom sendmail` differs from other sendmails",
}


def build(changed: Mapping[str, Any]) -> Settings:
    """The settings with these keys (dotted names, "route" and "auth") other than by default."""
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


def reference() -> list[tuple[str, str, str, str]]:
    """Every key for README and man page: its name, its default in TOML ("" for none), its environment
    variable, its help."""
    return [(k.name, "" if k.default is None else k.kind.write(k.default), k.variable, k.help) for k in KEYS]
