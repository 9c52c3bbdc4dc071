"""What is said of a wrong configuration, word for word: the place, the key, what is expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.config import load as load_module
from mailstrom_cli.config.load import load
from mailstrom_cli.config.problems import ConfigError
from mailstrom_cli.errors import CONFIG

if TYPE_CHECKING:
    from pathlib import Path

LISTS = "`mailstrom config init FILE` writes a file with every key"
POLICY = 'write [tls.policy."*.example.net"], and its keys in the lines below'
NO_NAME = 'no domain, host or IP address; subdomains are "*.example.net", and [tls] is for everything else'
SHA = "must be a SHA-256 in hexadecimal, or a list of them"
ELSEWHERE = "name a file in `password_file`, or a command in `password_command`; a password is not kept here"

WAYS = "write one of system, google, cloudflare, quad9, an address, tls://ADDRESS#NAME or https://HOST/PATH"
OVER_TLS = "tls://ADDRESS#NAME, as in tls://9.9.9.9#dns.quad9.net"
OVER_HTTPS = "https://HOST/PATH, as in https://dns.quad9.net/dns-query"

# the file: its problems, "LINE: what" or "LINE: what | hint"
FILES = {
    # unknown keys
    'helo_nam = "x"': ["1: `helo_nam` is not a key | did you mean `helo_name`?"],
    "\nretires = 3": ["2: `retires` is not a key | did you mean `retry.retries`?"],
    'level = "may"': ["1: `level` is not a key | did you mean `tls.level` or `log.level`?"],
    '[tls]\nvia = "mx:"': [
        "2: `tls.via` is not a key | did you mean `via`? It belongs above the first [table]"
    ],
    '[tls]\nlevle = "may"': ["2: `tls.levle` is not a key | did you mean `tls.level`?"],
    "[smtp.timout]\ndot = 1": ["1: `smtp.timout` is not a key | did you mean `smtp.timeout`?"],
    "smtp.timeout.conect = 1": [
        "1: `smtp.timeout.conect` is not a key | did you mean `smtp.timeout.connect`?"
    ],
    '[hooks]\ncommand = "x"': [f"1: `hooks` is not a table | {LISTS}"],
    '[tsl]\nlevel = "may"': ["1: `tsl` is not a table | did you mean [tls]?"],
    "[rety]\nmax_age = 5": ["1: `rety` is not a table | did you mean [retry]?"],
    "retry.max_age = 5": ["1: `retry.max_age`: 5 has no unit; write 90s, 5m, 2h or 5d"],
    'retry.max_age = "5"': ['1: `retry.max_age`: "5" has no unit; write 90s, 5m, 2h or 5d'],
    "[limits]\nquantity = 1": [f"2: `limits.quantity` is not a key | {LISTS}"],
    "[limits]\nrate = 1": [
        '2: `limits.rate` must be a rate such as "100/m", with s, m, h or d, or "", not 1'
    ],
    '[limits]\nrate = "0/m"': [
        '2: `limits.rate` must be a rate such as "100/m", with s, m, h or d, or "", not "0/m"'
    ],
    '[limits]\nrate = "5/w"': [
        '2: `limits.rate` must be a rate such as "100/m", with s, m, h or d, or "", not "5/w"'
    ],
    '"tls.level" = "may"': ['1: `"tls.level"` is not a key | did you mean `tls.level`?'],
    '"a\\nb" = 1': [f'1: `"a\\nb"` is not a key | {LISTS}'],
    # wrong types and ranges
    'tls = "may"': ["1: `tls` is a table | write [tls], and its keys in the lines below"],
    "origin = 5": ['1: `origin` must be a domain such as "example.org", not 5'],
    "origin = true": ['1: `origin` must be a domain such as "example.org", not true'],
    "[[origin]]\nx = 1": ['1: `origin` must be a domain such as "example.org", not this list'],
    "[origin]": ['1: `origin` must be a domain such as "example.org", not a table'],
    "origin = 1979-05-27": ['1: `origin` must be a domain such as "example.org", not a date or a time'],
    'tls.level = "always"': ['1: `tls.level` must be one of none, may, encrypt, verify, dane, not "always"'],
    'smtp.port = "25"': ['1: `smtp.port` must be a port from 1 to 65535, not "25"'],
    "smtp.port = 0": ["1: `smtp.port` must be a port from 1 to 65535, not 0"],
    "retry.retries = -2": ["1: `retry.retries` must be a whole number from -1 to 1000, not -2"],
    "retry.jitter = nan": ["1: `retry.jitter` must be a number from 0 to 1, not nan"],
    'retry.base_delay = "soon"': [
        (
            '1: `retry.base_delay` must be a duration such as "90s", "5m", "2h" or "5d" and longer than 0, '
            'not "soon"'
        )
    ],
    'limits.message_size = "50M"': [
        '1: `limits.message_size` must be a size such as "50MiB" or "10MB", at least 1KiB, not "50M"'
    ],
    'tls.ca_file = "ca.pem"': ['1: `tls.ca_file`: "ca.pem" is not an absolute path; it may begin with ~/'],
    "via = []": ["1: `via` must be a URL, or a list of URLs that is not empty, not an empty list"],
    'via = [\n  "mx:",\n  "pop3://x",\n]': [
        '1: `via`: "pop3://x" does not begin with mx:, smtp://, smtps://, lmtp:// or maildir://'
    ],
    'dns.resolver = "dns.example.org"': [
        f'1: `dns.resolver`: "dns.example.org" is not an IP address; {WAYS}'
    ],
    'dns.resolver = ["9.9.9.9#dns.quad9.net"]': [
        f'1: `dns.resolver`: "9.9.9.9#dns.quad9.net" is not an IP address; {WAYS}'
    ],
    'dns.resolver = ["system", "::1"]': [
        "1: `dns.resolver`: `system` stands alone, without other servers in the list"
    ],
    "dns.resolver = []": [
        (
            "1: `dns.resolver` must be system, google, cloudflare, quad9, an IP address, tls://ADDRESS#NAME "
            "or https://HOST/PATH, or a list, not an empty list"
        )
    ],
    '\n[dns]\nresolver = "tls://dns.quad9.net"': [
        f'3: `dns.resolver`: "dns.quad9.net" is not an IP address; write {OVER_TLS}'
    ],
    'dns.resolver = "tls://9.9.9.9#"': [
        f'1: `dns.resolver`: "tls://9.9.9.9#" has no host name after the #; write {OVER_TLS}'
    ],
    'dns.resolver = "tls://9.9.9.9:0#x"': [
        f'1: `dns.resolver`: "0" is not a port: a number from 1 to 65535; write {OVER_TLS}'
    ],
    'dns.resolver = "https://dns.quad9.net"': [
        f'1: `dns.resolver`: "https://dns.quad9.net" has no path; write {OVER_HTTPS}'
    ],
    'dns.resolver = "https://dns.example/dns-query{?dns}"': [
        (
            '1: `dns.resolver`: "https://dns.example/dns-query{?dns}" is more than a host and a path; '
            f"write {OVER_HTTPS}"
        )
    ],
    'dns.resolver = "http://dns.example/dns-query"': [
        (
            '1: `dns.resolver`: "http://dns.example/dns-query" is neither tls://ADDRESS#NAME nor '
            "https://HOST/PATH"
        )
    ],
    'dns.resolver = "https://me:s3cret@dns.example/q"': [
        "1: `dns.resolver`: no user and no password belong here; resolvers are asked without"
    ],
    'dns.resolver = "tls://9.9.9.9\\n"': ["1: `dns.resolver`: the text contains a line feed"],
    'dns.trust_ad = "yes"': ['1: `dns.trust_ad` must be true or false, not "yes"'],
    # nothing may end a line
    'helo_name = "a\\r\\nQUIT"': ["1: `helo_name`: the text contains a carriage return"],
    'origin = "a\\u0000"': ["1: `origin`: the text contains a NUL"],
    'spool = "/a\\u001b[2J"': ["1: `spool`: the text contains a control character"],
    'via = "smtp://a\\n"': ["1: `via`: the URL contains a line feed"],
    # routes
    "route = 1": ["1: `route` is a list of tables | write [[route]], with two brackets on each side"],
    '[route]\nvia = "mx:"': [
        "1: `route` is a list of tables | write [[route]], with two brackets on each side"
    ],
    '[[route]]\nrecipient = "*"': ["1: `route[0]` lacks `via`"],
    '[[route]]\nvia = "mx:"': [
        "1: `route[0]` has neither `sender` nor `recipient` | for all mail set `via` at the top level"
    ],
    '[[route]]\nsender = "*"\nvia = "mx:"\n[[route]]\nrecipent = "*"\nvia = "mx:"': [
        "5: `route[1].recipent` is not a key | did you mean `recipient`?",
        "4: `route[1]` has neither `sender` nor `recipient` | for all mail set `via` at the top level",
    ],
    '[[route]]\nrecipient = "a b"\nvia = "mx:"': [
        (
            '2: `route[0].recipient` must be a pattern such as "*@example.net", "*.example.net" or '
            '"me@example.net", not "a b"'
        )
    ],
    # credentials
    # how destinations are protected
    'tls.policy = "x"': [f"1: `tls.policy` is a table by destination | {POLICY}"],
    'tls.policy."*.a" = "may"': [
        f'1: `tls.policy` is a table by destination, and "*.a" in it is not a table | {POLICY}'
    ],
    '[tls.policy.example.net]\nlevel = "may"': [
        '1: `tls.policy."example".net` is not a key | quote the destination: [tls.policy."example.net"]'
    ],
    '[tls.policy."*"]\nlevel = "may"': [f'1: "*" in `tls.policy`: {NO_NAME}'],
    '[tls.policy."a b"]\nlevel = "may"': [f'1: "a b" in `tls.policy`: {NO_NAME}'],
    '[tls.policy."*.192.0.2.1"]\nlevel = "may"': [f'1: "*.192.0.2.1" in `tls.policy`: {NO_NAME}'],
    '[tls.policy."B.example"]\nlevel = "may"\n[tls.policy."b.example."]\nlevel = "may"': [
        '3: "b.example." in `tls.policy` is there twice, written differently'
    ],
    '[tls.policy.a]\nlevle = "may"': ['2: `tls.policy."a".levle` is not a key | did you mean `level`?'],
    '[tls.policy.a]\nlevel = "always"': [
        '2: `tls.policy."a".level` must be one of none, may, encrypt, verify, dane, not "always"'
    ],
    '[tls.policy.a]\nlevel = "may"\nmatch = "mx.example.net"': [
        (
            '1: `tls.policy."a"` says by `match` how a certificate is verified, and its `level` is may '
            '| level = "verify", or no level, goes with it'
        )
    ],
    '[tls.policy.a]\nfingerprints = "%s"\nmatch = "a"' % ("ab" * 32): [
        (
            '1: `tls.policy."a"` has both `match` and `fingerprints` '
            "| what has a known fingerprint may have any name: keep one of them"
        )
    ],
    '[tls.policy.a]\nfingerprints = "%s"\nca_file = "/ca"' % ("ab" * 32): [
        (
            '1: `tls.policy."a"` has both `ca_file` and `fingerprints` '
            "| no authority is asked about a known fingerprint: keep one of them"
        )
    ],
    '[tls.policy.a]\nclient_key = "/k"': ['1: `tls.policy."a"` has `client_key`, and no `client_cert`'],
    '[tls.policy.a]\nfingerprints = ["ab:cd"]': [
        (
            '2: `tls.policy."a".fingerprints`: "ab:cd" is no SHA-256: 64 hexadecimal digits, as '
            "`openssl x509 -in FILE -noout -fingerprint -sha256` prints them"
        )
    ],
    "[tls.policy.a]\nfingerprints = []": [f'2: `tls.policy."a".fingerprints` {SHA}, not an empty list'],
    '[tls.policy.a]\nmatch = ["a b"]': [
        '2: `tls.policy."a".match`: "a b" is neither a host name, nor *. and a domain, nor an IP address'
    ],
    "tls.require_tls = 1": ["1: `tls.require_tls` must be true or false, not 1"],
    'auth = "x"': [
        '1: `auth` is a table by host | write [auth."smtp.example.org"], and its keys in the lines below'
    ],
    'auth.relay = "s3cret"': [
        (
            '1: `auth` is a table by host, and "relay" in it is not a table '
            '| write [auth."smtp.example.org"], and its keys in the lines below'
        )
    ],
    '[auth.smtp.example.org]\nusername = "me"': [
        '1: `auth."smtp".example` is not a key | quote the host: [auth."smtp.example.org"]'
    ],
    '[auth."a b"]\nusername = "me"': ['1: "a b" in `auth`: neither a host name nor an IP address'],
    '[auth.relay]\nusername = "me"\npassword = "s3cret"': [
        f'3: `auth."relay".password` is not a key | {ELSEWHERE}'
    ],
    '[auth.relay]\nusername = "me"': [
        (
            '1: `auth."relay"` lacks `password_command` or `password_file` '
            "| or `password_credential`, `password_keyring` or `oauth`"
        )
    ],
    '[auth.relay]\nusername = "me"\noauth = "google"\npassword_keyring = "x"\nclient_id = "y"': [
        '1: `auth."relay"` has both `password_keyring` and `oauth` | keep one of them'
    ],
    '[auth.relay]\nusername = "me"\noauth = "google"': [
        (
            '1: `auth."relay"` lacks `client_id` '
            "| register mailstrom with the provider as an application; it gives you one"
        )
    ],
    '[auth.relay]\nusername = "me"\noauth = "custom"\nclient_id = "x"': [
        '1: `auth."relay"` lacks `device_endpoint`',
        '1: `auth."relay"` lacks `token_endpoint`',
    ],
    '[auth.relay]\nusername = "me"\npassword_file = "/p"\nclient_id = "x"': [
        ('1: `auth."relay"` has `client_id` without `oauth` | with endpoints of your own, oauth = "custom"')
    ],
    '[auth.relay]\nusername = "me"\noauth = "google"\nclient_id = "x"\nmechanism = "plain"': [
        '1: `auth."relay"` has `oauth`, with which nobody can log in by plain | leave `mechanism` out'
    ],
    '[auth.relay]\nusername = "me"\npassword_credential = "a/b"': [
        '3: `auth."relay".password_credential` must be a name without `/`'
    ],
    '[auth.relay]\nusername = "me"\noauth = "custom"\nclient_id = "x"\ndevice_endpoint = "https://a/d"\n'
    'token_endpoint = "http://a.example.org/token"': [
        '6: `auth."relay".token_endpoint`: http:// would send secrets in plain text; write https://'
    ],
    '[auth.relay]\nusername = "me"\noauth = "custom"\nclient_id = "x"\ndevice_endpoint = "ftp://a/d"': [
        '5: `auth."relay".device_endpoint` must be an https:// URL'
    ],
    '[tls]\nauth_loopback = "yes"': ['2: `tls.auth_loopback` must be true or false, not "yes"'],
    '[auth.relay]\npassword_file = "/p"': ['1: `auth."relay"` lacks `username`'],
    '[auth.relay]\nusername = "me"\npassword_file = "/p"\npassword_command = ["pass"]': [
        '1: `auth."relay"` has both `password_command` and `password_file` | keep one of them'
    ],
    '[auth.relay]\nusername = "me"\npassword_command = "echo s3cret"': [
        (
            '3: `auth."relay".password_command`: no shell reads it, so write a list of words, such as '
            '["pass", "show", "smtp"]'
        )
    ],
    '[auth.relay]\nusername = "me"\nmechanism = "s3cret"\npassword_file = "/p"': [
        (
            '3: `auth."relay".mechanism` must be one of auto, scram-sha-256-plus, scram-sha-256, '
            "scram-sha-1-plus, scram-sha-1, cram-md5, plain, login, oauthbearer, xoauth2"
        )
    ],
    '[auth.relay]\nuser = "me"': [
        '2: `auth."relay".user` is not a key | did you mean `username`?',
    ],
    '[auth.relay]\nusername = "me"\npassword_file = "/p"\n[auth.Relay]\nusername = "me"': [
        '4: "Relay" in `auth` is there twice, written differently'
    ],
    # signing keys
    'dkim = "x"': [
        '1: `dkim` is a table by domain | write [dkim."example.org"], and its keys in the lines below'
    ],
    'dkim.example = "x"': [
        (
            '1: `dkim` is a table by domain, and "example" in it is not a table '
            '| write [dkim."example.org"], and its keys in the lines below'
        )
    ],
    '[dkim.example.org]\nselector = "x"\nkey_file = "/k"': [
        '1: `dkim."example".org` is not a key | quote the domain: [dkim."example.org"]'
    ],
    '[dkim."a..b"]\nselector = "x"\nkey_file = "/k"': [
        '1: "a..b" in `dkim`: the domain `a..b` has a dot at its start or two in a row'
    ],
    '[dkim."[192.0.2.1]"]\nselector = "x"\nkey_file = "/k"': [
        '1: "[192.0.2.1]" in `dkim`: "[192.0.2.1]" is no domain'
    ],
    '[dkim.a]\nselector = "x"': ['1: `dkim."a"` lacks `key_file`'],
    '[dkim.a]\nkey_file = "/k"': ['1: `dkim."a"` lacks `selector`'],
    '[dkim.a]\nselektor = "x"': ['2: `dkim."a".selektor` is not a key | did you mean `selector`?'],
    '[dkim.a]\nselector = "a_b"\nkey_file = "/k"': [
        '2: `dkim."a".selector` must be a selector such as "rsa-202611", or a list of them, not "a_b"'
    ],
    '[dkim.a]\nselector = []\nkey_file = ["/k", 1]': [
        (
            '2: `dkim."a".selector` must be a selector such as "rsa-202611", or a list of them, '
            "not an empty list"
        ),
        '3: `dkim."a".key_file` must be an absolute path, or a list of them, not this list',
    ],
    '[dkim.a]\nselector = "x"\nkey_file = "k"': [
        '3: `dkim."a".key_file`: "k" is not an absolute path; it may begin with ~/'
    ],
    '[dkim.a]\nselector = ["x", "y"]\nkey_file = "/k"': [
        (
            '1: `dkim."a"` has 2 selectors and 1 key file '
            "| write as many of the one as of the other, in the same order"
        )
    ],
    '[dkim.a]\nselector = ["x", "X"]\nkey_file = ["/k", "/l"]': [
        '1: `dkim."a"` has one selector for two keys | give each key a selector of its own'
    ],
    '[dkim.a]\nselector = "x"\nkey_file = "/k"\n[dkim.A]\nselector = "x"\nkey_file = "/k"': [
        '4: "A" in `dkim` is there twice, written differently'
    ],
    f'[dkim."{".".join(["a" * 61] * 4)}"]\nselector = "x"\nkey_file = "/k"': [
        (f'1: `dkim."{".".join(["a" * 61] * 4)}"` is too long for a name in the DNS, with the selector')
    ],
    # across keys
    '[retry]\nbase_delay = "7h"': ["2: `retry.max_delay` (6h) is shorter than `retry.base_delay` (7h)"],
    '[retry]\nbase_delay = "7h"\nmax_delay = "1h"': [
        "3: `retry.max_delay` (1h) is shorter than `retry.base_delay` (7h)"
    ],
    # not TOML
    "a = 1\nb = \n": ["2:5: not TOML: Invalid value"],
    "a = [1,": ["not TOML: Invalid value at the end of the text"],
    "a = 1\na = 2\n": ["2:6: not TOML: Cannot overwrite a value"],
    "a = " + "[" * 100_000: ["not TOML: nested too deeply"],
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr(load_module, "SYSTEM_CONFIG", str(tmp_path / "none"))
    return {"HOME": str(tmp_path)}


def problems(config: str | None, environ: dict[str, str], overrides: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(config, environ, overrides)
    assert caught.value.exit_code == CONFIG
    assert caught.value.message == str(caught.value.problems[0])
    return [f"{p} | {p.hint}" if p.hint else str(p) for p in caught.value.problems]


@pytest.mark.parametrize("text", FILES, ids=lambda text: text[:40])
def test_of_a_file(text: str, tmp_path: Path, home: dict[str, str]) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    told = problems(str(path), home, {})
    assert [line.removeprefix(f"{path}:").lstrip() for line in told] == FILES[text]
    assert not any("s3cret" in line for line in told)


ENVIRONMENTS = {
    (
        "MAILSTROM_TLS_LEVLE",
        "may",
    ): "MAILSTROM_TLS_LEVLE: no such setting | did you mean MAILSTROM_TLS_LEVEL?",
    ("MAILSTROM_CONFI", "x"): "MAILSTROM_CONFI: no such setting | did you mean MAILSTROM_CONFIG?",
    ("MAILSTROM_", ""): f"MAILSTROM_: no such setting | {LISTS}",
    (
        "MAILSTROM_SMTP_PORT",
        "smtp",
    ): 'MAILSTROM_SMTP_PORT: `smtp.port` must be a port from 1 to 65535, not "smtp"',
    (
        "MAILSTROM_TLS_LEVEL",
        "",
    ): 'MAILSTROM_TLS_LEVEL: `tls.level` must be one of none, may, encrypt, verify, dane, not ""',
    ("MAILSTROM_VIA", "mx:,"): "MAILSTROM_VIA: `via` must be a URL, or a list of URLs that is not empty, not "
    '"mx:,"',
    (
        "MAILSTROM_VIA",
        "smtp://a:s3cret@b",
    ): "MAILSTROM_VIA: `via`: credentials do not belong in a URL; name the user "
    'in [auth."b"], with password_file or password_command',
    ("MAILSTROM_ORIGIN", "a\nb"): "MAILSTROM_ORIGIN: `origin`: the text contains a line feed",
    ("MAILSTROM_ORIGIN", "a\udcff"): "MAILSTROM_ORIGIN: `origin`: the text is not UTF-8",
    ("MAILSTROM_ROUTE", "mx:"): "MAILSTROM_ROUTE: `route` must be a value in TOML "
    '| write it as in [{recipient = "*@example.net", via = "lmtp:///run/lmtp.sock"}]',
    ("MAILSTROM_ROUTE", '[]\norigin = "x"'): "MAILSTROM_ROUTE: `route` must be a value in TOML "
    '| write it as in [{recipient = "*@example.net", via = "lmtp:///run/lmtp.sock"}]',
    (
        "MAILSTROM_ROUTE",
        '[{via = "mx:"}]',
    ): "MAILSTROM_ROUTE: `route[0]` has neither `sender` nor `recipient` "
    "| for all mail set `via` at the top level",
    (
        "MAILSTROM_TLS_POLICY",
        "may",
    ): "MAILSTROM_TLS_POLICY: `tls.policy` must be a value in TOML | write it as "
    'in {"*.example.net" = {level = "verify"}}',
    (
        "MAILSTROM_TLS_POLICY",
        '{a = {level = "x"}}',
    ): 'MAILSTROM_TLS_POLICY: `tls.policy."a".level` must be '
    'one of none, may, encrypt, verify, dane, not "x"',
    ("MAILSTROM_AUTH", "s3cret"): "MAILSTROM_AUTH: `auth` must be a value in TOML | write it as in "
    '{"smtp.example.org" = {username = "me", password_file = "/etc/mailstrom/password"}}',
    ("MAILSTROM_AUTH", '{a = {password = "s3cret"}}'): 'MAILSTROM_AUTH: `auth."a".password` is not a key '
    f"| {ELSEWHERE}",
}


@pytest.mark.parametrize(("name", "text"), ENVIRONMENTS)
def test_of_the_environment(name: str, text: str, home: dict[str, str]) -> None:
    assert problems(None, {**home, name: text}, {}) == [ENVIRONMENTS[name, text]]


def test_of_the_command_line(home: dict[str, str]) -> None:
    assert problems(None, home, {"via": "relay"}) == [
        'command line: `via`: "relay" does not begin with mx:, smtp://, smtps://, lmtp:// or maildir://'
    ]


def test_of_a_file_that_is_not_there(tmp_path: Path, home: dict[str, str]) -> None:
    path = str(tmp_path / "none.toml")
    hint = f"`mailstrom config init {path}` writes one"
    missing = "the configuration cannot be read (named by {}): No such file or directory"
    assert problems(path, home, {}) == [f"{path}: {missing.format('--config')} | {hint}"]
    environ = {**home, "MAILSTROM_CONFIG": path}
    assert problems(None, environ, {}) == [f"{path}: {missing.format('MAILSTROM_CONFIG')} | {hint}"]


def test_of_a_name_that_is_no_file(tmp_path: Path, home: dict[str, str]) -> None:
    assert problems(str(tmp_path), home, {}) == [
        f"{tmp_path}: the configuration cannot be read: Is a directory"
    ]
    assert problems("", home, {}) == [
        '"": the configuration cannot be read (named by --config): No such file or directory'
    ]
    assert problems("a\0b", home, {}) == [
        '"a\\x00b": the configuration cannot be read (named by --config): not a file name'
    ]


def test_of_a_file_that_is_not_utf_8(tmp_path: Path, home: dict[str, str]) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b'origin = "x"\nhelo_name = "\xe9"\n')
    assert problems(str(path), home, {}) == [f"{path}:2: not UTF-8, which TOML must be"]


def test_all_problems_are_told_and_the_first_one_stands_for_them(
    tmp_path: Path, home: dict[str, str]
) -> None:
    path = tmp_path / "c.toml"
    path.write_text("helo_nam = 1\nsmtp.port = 0\n")
    with pytest.raises(ConfigError) as caught:
        load(str(path), {**home, "MAILSTROM_LOG_LEVEL": "loud"}, {})
    assert [p.where for p in caught.value.problems] == [f"{path}:1", f"{path}:2", "MAILSTROM_LOG_LEVEL"]
    assert caught.value.message == f"{path}:1: `helo_nam` is not a key"
    assert caught.value.hint == (
        "did you mean `helo_name`? `mailstrom config check` tells of 2 other problems"
    )
