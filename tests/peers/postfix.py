"""A real Postfix from a configuration of its own: as the receiving MX, or as a relay to a further server."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
from typing import TYPE_CHECKING

from .maildir import Mailbox
from .process import Daemon, find, free_port, greets, in_other_place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .certs import Certificates
    from .dns import Dns

MAIN = """
compatibility_level = 3.6
config_directory = {folder}/etc
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/postfix.log
maillog_file_prefixes = /tmp
myhostname = {hostname}
mydestination =
mynetworks = 127.0.0.0/8 [::1]/128
inet_interfaces = all
inet_protocols = all
alias_maps =
alias_database =
local_recipient_maps =
local_header_rewrite_clients =
append_dot_mydomain = no
biff = no
smtputf8_enable = yes
message_size_limit = {size}
mailbox_size_limit = 0
virtual_mailbox_limit = 0
recipient_delimiter =

# no host looks anything up where all next hops are addresses
smtpd_peername_lookup = no
smtp_dns_support_level = {lookups}

# tests open many connections and make many mistakes
smtpd_client_connection_count_limit = 0
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 10000
smtpd_hard_error_limit = 10000
in_flow_delay = 0
default_process_limit = 60
minimal_backoff_time = 2s
maximal_backoff_time = 4s
queue_run_delay = 2s
"""
RECEIVER = """
virtual_mailbox_domains = {domains}
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = regexp:{folder}/etc/mailboxes
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
smtpd_relay_restrictions = reject_unauth_destination
default_transport = discard
smtpd_recipient_restrictions = check_recipient_access regexp:{folder}/etc/access
"""
RELAY = """
relayhost = [{relay_host}]:{relay_port}
smtpd_relay_restrictions = {restrictions} reject
smtpd_recipient_restrictions = check_recipient_access regexp:{folder}/etc/access
"""
CLIENT = """
smtpd_relay_restrictions = permit_mynetworks reject
smtp_tls_security_level = dane
smtp_tls_loglevel = 1
"""
TLS = """
smtpd_tls_security_level = may
smtpd_tls_cert_file = {chain}
smtpd_tls_key_file = {key}
smtpd_tls_received_header = yes
smtpd_tls_auth_only = yes
"""
SASL = """
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {path}
smtpd_sasl_authenticated_header = yes
"""
ACCESS = """
/^defer/ 450 4.2.0 Mailbox busy, try again later
/^reject/ 550 5.1.1 No such user here
/^full/ 452 4.2.2 Mailbox full
/^refused/ 554 5.7.1 Not from you
"""
MAILBOXES = """
if !/^unknown/
/@/ inbox/
endif
"""
SERVICES = """
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

# What `postfix check` would make, in two seconds.
PRIVATE = (
    "active",
    "bounce",
    "corrupt",
    "defer",
    "deferred",
    "flush",
    "hold",
    "incoming",
    "private",
    "saved",
    "trace",
)
QUEUE = dict.fromkeys(PRIVATE, (0o700, "")) | {
    "public": (0o710, "postdrop"),
    "maildrop": (0o730, "postdrop"),
    "pid": (0o755, ""),
}


class Postfix(Daemon):
    """Needs root (Postfix drops its privileges itself).

    As a receiver (the default) it delivers every recipient of `domains` to the maildirs of `.mailbox`, except
    by local part: defer* 450, reject* and unknown* 550, full* 452, refused* 554; all other domains get 554.
    With `relay_to` it accepts mail for anybody (with `auth`: only after AUTH) and passes it on there.
    `tls` offers STARTTLS with the certificate `kind`, and TLS from the first byte on `smtps_port`.
    `auth` is the path of a Dovecot auth socket (`Dovecot.auth_socket`).
    `settings` are further lines of main.cf; `listeners` further ports, each with its own ones.
    With `names`, a resolver on port 53 that validates, it passes mail on to MX hosts, with DANE.
    """

    name = "postfix"

    def __init__(
        self,
        domains: Sequence[str] = ("example.test", "example.org", "example.net", "example.com"),
        *,
        hosts: Sequence[str] = ("127.0.0.1",),
        port: int = 0,
        hostname: str = "mx.example.test",
        relay_to: tuple[str, int] | None = None,
        tls: Certificates | None = None,
        kind: str = "good",
        auth: str = "",
        size: int = 60 * 1024 * 1024,
        settings: str = "",
        listeners: Mapping[int, Mapping[str, str]] | None = None,
        names: Dns | None = None,
    ) -> None:
        super().__init__()
        self.listeners, self.names = dict(listeners or {}), names
        self.domains, self.hosts, self.hostname = tuple(domains), tuple(hosts), hostname
        self.port = port or free_port(*hosts)
        self.smtps_port = free_port(*hosts) if tls else 0
        self.relay_to, self.tls, self.kind, self.auth = relay_to, tls, kind, auth
        self.size, self.settings = size, settings

    @property
    def host(self) -> str:
        return self.hosts[0]

    @property
    def address(self) -> tuple[str, int]:
        return (self.host, self.port)

    @property
    def mailbox(self) -> Mailbox:
        return Mailbox(self.folder / "mail")

    def queued(self) -> int:
        """How many messages are in Postfix's own queue."""
        folders = ("maildrop", "incoming", "active", "deferred", "hold")
        return sum(len(files) for f in folders for _, _, files in os.walk(self.folder / "queue" / f))

    def ready(self) -> bool:
        return greets(self.address)

    def prepare(self) -> list[str]:
        for part in ("etc", "queue", "data", "mail"):
            (self.folder / part).mkdir(mode=0o755)
        owner, nobody = pwd.getpwnam("postfix"), pwd.getpwnam("nobody")
        os.chown(self.folder / "data", owner.pw_uid, owner.pw_gid)
        os.chown(self.folder / "mail", nobody.pw_uid, nobody.pw_gid)
        for part, (mode, group) in QUEUE.items():
            (self.folder / "queue" / part).mkdir()
            os.chown(self.folder / "queue" / part, owner.pw_uid, grp.getgrnam(group).gr_gid if group else -1)
            (self.folder / "queue" / part).chmod(mode)
        self._configure(nobody)
        postconf = find("postconf")
        assert postconf is not None
        folder = str(self.folder / "etc")
        question = [postconf, "-c", folder, "-hx", "daemon_directory"]
        daemons = subprocess.run(question, check=True, capture_output=True, text=True).stdout.strip()
        command = [f"{daemons}/master", "-c", folder, "-d"]
        if self.names is None:
            return command
        assert self.names.port == 53, "resolv.conf knows no other port"
        resolv_conf = self.folder / "resolv.conf"
        resolv_conf.write_text(f"nameserver {self.names.host}\noptions edns0 trust-ad\n")
        return in_other_place({str(resolv_conf): "/etc/resolv.conf"}, command)

    def _configure(self, mail_owner: pwd.struct_passwd) -> None:
        restrictions = "permit_sasl_authenticated" if self.auth else "permit_mynetworks"
        relay_host, relay_port = self.relay_to or ("", 0)
        parts = [MAIN, RELAY if self.relay_to else CLIENT if self.names else RECEIVER]
        chain, key = self.tls.files(self.kind) if self.tls else ("", "")
        if self.tls:
            parts.append(TLS)
        if self.auth:
            parts.append(SASL)
        text = "".join(parts).format(
            folder=self.folder, hostname=self.hostname, size=self.size, domains=" ".join(self.domains),
            uid=mail_owner.pw_uid, gid=mail_owner.pw_gid, relay_host=relay_host, relay_port=relay_port,
            restrictions=restrictions, chain=chain, key=key, path=self.auth,
            lookups="dnssec" if self.names else "disabled",
        )  # fmt: skip
        services = [SERVICES]
        for host in self.hosts:
            inet = f"[{host}]" if ":" in host else host
            services.append(f"{inet}:{self.port} inet n - n - - smtpd\n")
            if self.tls:
                services.append(
                    f"{inet}:{self.smtps_port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes\n"
                )
            for port, options in self.listeners.items():
                given = "".join(f" -o {{ {name} = {held} }}" for name, held in options.items())
                services.append(f"{inet}:{port} inet n - n - - smtpd{given}\n")
        files = {"main.cf": text + self.settings, "master.cf": "".join(services), "access": ACCESS}
        for name, content in {**files, "mailboxes": MAILBOXES}.items():
            file = self.folder / "etc" / name
            file.write_text(content.lstrip("\n"))
            os.utime(file, (0, 0))  # Postfix reads a file again and again while it looks just written
