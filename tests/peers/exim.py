"""A real Exim from a configuration of its own, as the receiving MX: another code base than Postfix."""

from __future__ import annotations

import os
import pwd
import shutil
from typing import TYPE_CHECKING

from .maildir import Mailbox
from .process import Daemon, find, free_port, greets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .certs import Certificates

# Exim's package excludes Postfix's; .ci/run unpacks it here, beside the installed Postfix.
UNPACKED = "/var/cache/mailstrom-test/exim/usr/sbin/exim4"

CONFIG = """
spool_directory = {folder}/spool
log_file_path = {folder}/%slog.log
write_rejectlog = false
pid_file_path = {folder}/exim.pid
exim_path = {program}
deliver_drop_privilege = true
primary_hostname = {hostname}
local_interfaces = <; {interfaces}
domainlist here = {domains}
message_size_limit = {size}
smtputf8_advertise_hosts = *
pipelining_connect_advertise_hosts =
prdr_enable = false
smtp_accept_max = 0
smtp_accept_queue_per_connection = 0
host_lookup =
rfc1413_query_timeout = 0s
helo_accept_junk_hosts =
keep_environment =
never_users =
acl_smtp_rcpt = recipient
acl_smtp_data = accept
{tls}

begin acl
recipient:
  defer  local_parts = ^defer
         message = 450 4.2.0 Mailbox busy, try again later
  deny   local_parts = ^reject : ^unknown
         message = 550 5.1.1 No such user here
  defer  local_parts = ^full
         message = 452 4.2.2 Mailbox full
  deny   local_parts = ^refused
         message = 554 5.7.1 Not from you
  accept domains = +here
  deny   message = 550 5.7.1 Relay not permitted

begin routers
maildir:
  driver = accept
  domains = +here
  transport = maildir
discard:
  driver = redirect
  data = :blackhole:

begin transports
maildir:
  driver = appendfile
  directory = {folder}/mail/inbox
  maildir_format
  create_directory
  delivery_date_add
  envelope_to_add
  return_path_add
  user = {user}

begin retry
* * F,1h,5s
"""
TLS = """
tls_advertise_hosts = *
tls_certificate = {folder}/$received_port.pem
tls_privatekey = {folder}/$received_port.key
tls_require_ciphers = {ciphers}
"""


def program() -> str | None:
    """Exim as it is installed, or unpacked for the tests."""
    return find("exim4") or find("exim") or shutil.which(UNPACKED)


class Exim(Daemon):
    """Needs root. Delivers the recipients of `domains` to `.mailbox`; local parts decide as with Postfix.
    `listeners` are further ports, each with the kind of its certificate and its ciphers, in GnuTLS's words.
    """

    name = "exim"

    def __init__(
        self,
        domains: Sequence[str] = ("example.test", "example.org", "example.net", "example.com"),
        *,
        hosts: Sequence[str] = ("127.0.0.1",),
        port: int = 0,
        hostname: str = "mx.example.test",
        tls: Certificates | None = None,
        kind: str = "good",
        size: int = 60 * 1024 * 1024,
        listeners: Mapping[int, tuple[str, str]] | None = None,
    ) -> None:
        super().__init__()
        self.listeners = dict(listeners or {})
        self.domains, self.hosts, self.hostname = tuple(domains), tuple(hosts), hostname
        self.port = port or free_port(*hosts)
        self.tls, self.kind, self.size = tls, kind, size

    @property
    def host(self) -> str:
        return self.hosts[0]

    @property
    def address(self) -> tuple[str, int]:
        return (self.host, self.port)

    @property
    def mailbox(self) -> Mailbox:
        return Mailbox(self.folder / "mail")

    def ready(self) -> bool:
        return greets(self.address)

    def prepare(self) -> list[str]:
        executable = program()
        assert executable is not None
        user = pwd.getpwnam("Debian-exim")
        for part in ("spool", "mail"):
            (self.folder / part).mkdir(mode=0o755)
            os.chown(self.folder / part, user.pw_uid, user.pw_gid)
        os.chown(self.folder, user.pw_uid, user.pw_gid)
        tls = "tls_advertise_hosts ="
        if self.tls:
            wanted = "NORMAL"
            for port, (kind, ciphers) in {self.port: (self.kind, ""), **self.listeners}.items():
                for file, suffix in zip(self.tls.files(kind), (".pem", ".key"), strict=True):
                    self._readable(file, f"{port}{suffix}", user)
                if ciphers:
                    wanted = f"${{if eq{{$received_port}}{{{port}}}{{{ciphers}}}{{{wanted}}}}}"
            tls = TLS.format(folder=self.folder, ciphers=wanted)
        configuration = self.folder / "exim.conf"
        configuration.write_text(
            CONFIG.format(
                folder=self.folder,
                program=executable,
                hostname=self.hostname,
                interfaces=" ; ".join(
                    f"[{host}]:{port}" for host in self.hosts for port in (self.port, *self.listeners)
                ),
                domains=" : ".join(self.domains),
                size=self.size,
                tls=tls,
                user=user.pw_name,
            )
        )
        configuration.chmod(0o644)
        return [executable, "-C", str(configuration), "-bdf"]

    def _readable(self, file: str, name: str, user: pwd.struct_passwd) -> None:
        """A copy that Exim can read after it has dropped root."""
        copy = shutil.copy(file, self.folder / name)
        os.chown(copy, user.pw_uid, user.pw_gid)
