"""A real Dovecot from a configuration of its own: LMTP over TCP and a Unix socket, and SASL for Postfix."""

from __future__ import annotations

import os
import pwd
import subprocess
from typing import TYPE_CHECKING

from .maildir import Mailbox
from .process import Daemon, find, free_port, greets

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMON = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = lmtp
listen = {host}
ssl = no
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
first_valid_uid = 1
hostname = lmtp.example.test
postmaster_address = postmaster@example.test
default_vsz_limit = 1G
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  unix_listener {folder}/auth {{
    mode = 0666
  }}
}}
service lmtp {{
  process_limit = 20
  inet_listener lmtp {{
    {listen} = {host}
    port = {port}
  }}
  unix_listener {folder}/lmtp {{
    mode = 0666
  }}
}}
"""
VERSION_2_3 = """
disable_plaintext_auth = no
mail_location = maildir:{folder}/mail/%u
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = passwd-file
  args = {folder}/users
}}
"""
OAUTH_2_3 = """
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {folder}/oauth2.conf
}}
"""
INTROSPECTION_2_3 = """
introspection_mode = post
introspection_url = {introspection}
active_attribute = active
active_value = true
username_attribute = username
"""
OAUTH_2_4 = """
oauth2 {{
  introspection_mode = post
  introspection_url = {introspection}
  active_attribute = active
  active_value = true
  username_attribute = username
}}
passdb oauth2 {{
  mechanisms_filter = xoauth2 oauthbearer
}}
"""
VERSION_2_4_HEAD = """
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
"""
VERSION_2_4 = """
auth_allow_cleartext = yes
mail_driver = maildir
mail_path = {folder}/mail/%{{user}}
passdb passwd-file {{
  passwd_file_path = {folder}/users
}}
userdb passwd-file {{
  passwd_file_path = {folder}/users
}}
"""


class Dovecot(Daemon):
    """Needs root. `users` maps addresses to passwords; all others get 550 5.1.1 at RCPT.

    `mechanisms` are those of SASL; xoauth2 and oauthbearer ask at the URL `introspection` (RFC 7662).
    LMTP at `address` (TCP) and `lmtp_socket` (Unix); every user has a maildir below `.mailbox`. Postfix takes
    `auth_socket` for SASL PLAIN and LOGIN.
    """

    name = "dovecot"

    def __init__(
        self,
        users: Mapping[str, str],
        host: str = "127.0.0.1",
        *,
        mechanisms: str = "plain login",
        introspection: str = "",
    ) -> None:
        super().__init__()
        self.mechanisms, self.introspection = mechanisms, introspection
        self.users = dict(users)
        self.host, self.port = host, free_port(host)

    @property
    def address(self) -> tuple[str, int]:
        return (self.host, self.port)

    @property
    def lmtp_socket(self) -> str:
        return str(self.folder / "lmtp")

    @property
    def auth_socket(self) -> str:
        return str(self.folder / "auth")

    @property
    def mailbox(self) -> Mailbox:
        return Mailbox(self.folder / "mail")

    def prepare(self) -> list[str]:
        nobody = pwd.getpwnam("nobody")
        (self.folder / "mail").mkdir()
        os.chown(self.folder / "mail", nobody.pw_uid, nobody.pw_gid)
        lines = [
            f"{name}:{{PLAIN}}{secret}:{nobody.pw_uid}:{nobody.pw_gid}::{self.folder}/mail/{name}::\n"
            for name, secret in self.users.items()
        ]
        (self.folder / "users").write_text("".join(lines))
        (self.folder / "users").chmod(0o644)
        program = find("dovecot")
        assert program is not None
        version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
        old = version.startswith("2.3.")
        text = COMMON + VERSION_2_3 if old else VERSION_2_4_HEAD + COMMON + VERSION_2_4
        if self.introspection:
            text += OAUTH_2_3 if old else OAUTH_2_4
            (self.folder / "oauth2.conf").write_text(
                INTROSPECTION_2_3.format(introspection=self.introspection).lstrip()
            )
        listen = "address" if old else "listen"
        configuration = self.folder / "dovecot.conf"
        configuration.write_text(
            text.format(
                folder=self.folder,
                host=self.host,
                port=self.port,
                listen=listen,
                mechanisms=self.mechanisms,
                introspection=self.introspection,
            ).lstrip()
        )
        return [program, "-F", "-c", str(configuration)]

    def ready(self) -> bool:
        return greets(self.address) and greets(self.lmtp_socket)
