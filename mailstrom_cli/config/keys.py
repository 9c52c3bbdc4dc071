"""The one table of every key: its kind and its help; its default is what the class in `schema` says.

`config init`, `config show`, the names in the environment and the reference in README and man page all come
from these two.
"""

from __future__ import annotations

from mailstrom_cli.config import kinds
from mailstrom_cli.config.aliases import ALIASES
from mailstrom_cli.config.schema import DEFAULTS, PREFIX, Auth
from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mailstrom_cli.config.kinds import Kind


NAMED = ("auth", "tls.policy", "dkim")
"""Tables of tables that have a name each; see `named`."""


@value
class Key:
    """name: dotted, as in "smtp.timeout.connect"; "route[].via" is a key of each [[route]], "auth.*.username"
    one of each [auth."HOST"], "tls.policy.*.level" of each [tls.policy."NAME"], "dkim.*.selector" of each
    [dkim."DOMAIN"]."""

    name: str
    kind: Kind
    help: str

    @property
    def default(self) -> Any:
        """None for the keys of tables that are repeated, where they have none."""
        if self.name.startswith("auth.*."):
            return getattr(Auth(""), self.last) or None
        if self.repeated:
            return None
        held: Any = DEFAULTS
        for part in self.name.split("."):
            held = getattr(held, part)
        return held

    @property
    def repeated(self) -> bool:
        """Whether it is a key of [[route]], [auth."HOST"], [tls.policy."NAME"] or [dkim."DOMAIN"]."""
        return self.name.startswith(("route[]", *(f"{table}.*" for table in NAMED)))

    @property
    def last(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def variable(self) -> str:
        """The environment variable; all routes have one together, and so have all credentials and all
        policies and all signing keys."""
        name = self.name.partition(".*")[0].partition("[]")[0]
        return PREFIX + name.upper().replace(".", "_")


MECHANISMS = (
    "scram-sha-256-plus", "scram-sha-256", "scram-sha-1-plus", "scram-sha-1", "cram-md5", "plain", "login",
    "oauthbearer", "xoauth2",
)  # fmt: skip


def _endpoint(held: object) -> str:
    from mailstrom_cli.config.credentials import endpoint

    return endpoint(held)


def _file_name(held: object) -> str:
    if not isinstance(held, str) or not held or "/" in held or held in (".", "..") or not held.isprintable():
        raise ValueError
    return held


ENDPOINT = kinds.Kind("an https:// URL", _endpoint)
FILE_NAME = kinds.Kind("a name without `/`", _file_name)
TIMEOUT = kinds.duration()
COUNT = kinds.integer(1, 1_000_000)
LEVEL = kinds.choice("none", "may", "encrypt", "verify", "dane")


def _match(held: object) -> tuple[str, ...]:
    from mailstrom_cli.config.protection import read_match

    return read_match(held)


def _fingerprints(held: object) -> tuple[str, ...]:
    from mailstrom_cli.config.protection import read_fingerprints

    return read_fingerprints(held)


MATCH = kinds.Kind("a host name, or a list of them; *.domain is every host below it", _match)
FINGERPRINTS = kinds.Kind("a SHA-256 in hexadecimal, or a list of them", _fingerprints)


def _selectors(held: object) -> tuple[str, ...]:
    from mailstrom_cli.config.dkim import read_selectors

    return read_selectors(held)


def _key_files(held: object) -> tuple[str, ...]:
    from mailstrom_cli.config.dkim import read_key_files

    return read_key_files(held)


def _one_or_more(held: tuple[str, ...]) -> str:
    return kinds.toml_text(held if len(held) > 1 else held[0])


SELECTORS = kinds.Kind('a selector such as "rsa-202611", or a list of them', _selectors, _one_or_more)
KEY_FILES = kinds.Kind("an absolute path, or a list of them", _key_files, _one_or_more)


def _contact(held: object) -> str:
    from mailstrom_cli.mail.address import AddressError, parse_mailbox

    if not isinstance(held, str):
        raise ValueError
    try:
        made = str(parse_mailbox(held)) if held else ""
    except AddressError as error:
        raise ValueError(str(error)) from None
    if not made.isascii():
        raise ValueError("it has to be an ASCII address")
    return made


CONTACT = kinds.Kind('an address such as "tlsrpt@example.org", or ""', _contact)

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
    Key("auth.*.password_command", kinds.WORDS,
        "a command that prints the password, or with xoauth2 and oauthbearer an access token"),
    Key("auth.*.password_file", kinds.PATH, "or a file that holds it, with mode 0600"),
    Key("auth.*.password_credential", FILE_NAME,
        "or the name of a systemd credential (LoadCredential=) that holds it"),
    Key("auth.*.password_keyring", kinds.TEXT,
        "or the name under which the system's keyring has it, for this username (the extra `keyring`)"),
    Key("auth.*.mechanism", kinds.choice("auto", *MECHANISMS), "auto (the strongest that the server offers), "
        "scram-sha-256(-plus), scram-sha-1(-plus), cram-md5, plain, login; oauthbearer, xoauth2"),
    Key("auth.*.oauth", kinds.choice("google", "microsoft", "custom"),
        "or whom OAuth 2.0 tokens come from, once `mailstrom auth login HOST` was run: google, microsoft, "
        "custom"),
    Key("auth.*.client_id", kinds.TEXT, "as which application mailstrom was registered there"),
    Key("auth.*.client_secret_file", kinds.PATH, "a file that holds its secret, with mode 0600"),
    Key("auth.*.scope", kinds.TEXT, "what the tokens are to be good for"),
    Key("auth.*.device_endpoint", ENDPOINT, "where the device flow begins (RFC 8628)"),
    Key("auth.*.token_endpoint", ENDPOINT, "where tokens are given"),
    Key("auth.*.token_file", kinds.PATH, "where they are kept, with mode 0600; without it HOST.json in "
        "/var/lib/mailstrom-tokens for root, and in $XDG_STATE_HOME/mailstrom-tokens for everybody else"),
    Key("dkim.*.selector", SELECTORS, "published as SELECTOR._domainkey.DOMAIN; or a list of them"),
    Key("dkim.*.key_file", KEY_FILES, "the private key in PEM, with mode 0600; or one a selector"),
    Key("tls.level", LEVEL, "none, may (where offered, unverified), encrypt (always), verify (and the "
        "certificate is valid), dane (TLSA records where the zone is signed and has them, else as may)"),
    Key("tls.require_tls", kinds.FLAG, "true: at least encrypt, whatever the levels say"),
    Key("tls.ca_file", kinds.PATH, "certificate authorities to trust beside the system's, in PEM"),
    Key("tls.mta_sts", kinds.FLAG, "with mx: a domain gets the TLS that it asks for (MTA-STS, RFC 8461), but "
        "where dane has TLSA records, where [tls.policy] says another level, or where the level is none"),
    Key("tls.auth_loopback", kinds.FLAG, "true: log in at 127.0.0.1 and ::1 without verified TLS, too"),
    Key("tls.client_cert", kinds.PATH, "the certificate that is shown to servers which ask for one, in PEM"),
    Key("tls.client_key", kinds.PATH, 'its private key, with mode 0600; "": it is in client_cert'),
    Key("tls.policy.*.level", LEVEL, "as above; verify where match or fingerprints is set"),
    Key("tls.policy.*.match", MATCH,
        "names it has to be for; by default the relay's, or with mx: the domain's and those below"),
    Key("tls.policy.*.fingerprints", FINGERPRINTS,
        "SHA-256 of the certificate or of its public key: one of these, and nothing else counts"),
    Key("tls.policy.*.ca_file", kinds.PATH, "certificate authorities to trust instead of all others"),
    Key("tls.policy.*.client_cert", kinds.PATH, "as above"),
    Key("tls.policy.*.client_key", kinds.PATH, "as above"),
    Key("dns.resolver", kinds.RESOLVER, "who is asked: system, google, cloudflare, quad9, an address, "
        "tls://9.9.9.9#dns.quad9.net or https://dns.quad9.net/dns-query (extra doh); of a list the first "
        "that answers"),
    Key("dns.trust_ad", kinds.FLAG, "believe resolvers that say they have validated an answer (DNSSEC); "
        "false does so only if all are on this machine or asked over TLS or HTTPS"),
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
    Key("limits.connections", COUNT, "open at once; beside them, up to four times as many may wait for a "
        "slow server to begin"),
    Key("limits.per_destination", COUNT, "open at once to one next hop"),
    Key("limits.recipients_per_transaction", COUNT, "of one message, before another transaction is begun"),
    Key("limits.messages_per_connection", COUNT, "before another connection is made"),
    Key("limits.rate", kinds.RATE, 'messages to one next hop in a second, minute, hour or day: "100/m"; '
        'a tenth of them at once, the rest spread; "" is no limit'),
    Key("limits.total_rate", kinds.RATE, "messages to all next hops together"),
    Key("retention.delivered", kinds.duration(zero=True), "how long delivered messages are kept"),
    Key("retention.failed", kinds.duration(zero=True), "how long failed messages are kept"),
    Key("log.format", kinds.choice("text", "json"), "text or json"),
    Key("log.level", kinds.choice("error", "warning", "info", "debug"), "error, warning, info or debug"),
    Key("sendmail.t_args", kinds.choice("add", "remove"),
        "with -t the addresses on the command line are further recipients (add), or taken off (remove)"),
    Key("sendmail.not_stored_exit", kinds.integer(1, 255, "an exit code"),
        "when nothing could be stored now; not 75, which some callers take for success"),
    Key("tlsrpt.contact", CONTACT,
        'the address that reports on TLS (RFC 8460) come from; "": nothing is counted or reported'),
    Key("tlsrpt.organization", kinds.LINE, 'who reports; "" is helo_name'),
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
    "tlsrpt": "what `mailstrom tlsrpt` reports, to the domains that want to know how TLS went",
}


def reference() -> list[tuple[str, str, str, str]]:
    """Every key for README and man page: its name, its default in TOML ("" for none), its environment
    variable, its help."""
    return [(k.name, "" if k.default is None else k.kind.write(k.default), k.variable, k.help) for k in KEYS]
