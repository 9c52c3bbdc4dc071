"""opendkim as a verifier of message files, with keys from a DNS server of the test; nothing of it stays."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

from .needs import need

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .dns import Dns

UNBOUND = """
server:
    do-not-query-localhost: no
    module-config: "iterator"
forward-zone:
    name: "."
    forward-addr: {dns.host}@{dns.port}
"""
RESULT = re.compile(r"\bdkim=(\w+) .*\bheader\.s=(\S+)")
OPENDKIM = """
Mode v
Syslog no
ResolverConfiguration {folder}/unbound.conf
TemporaryDirectory {folder}
MaximumSignaturesToVerify 10
"""


def opendkim(messages: Sequence[bytes], dns: Dns, folder: Path) -> list[list[tuple[str, str]]]:
    """What opendkim says of each signature of each message: its selector and "pass", "fail" or the like."""
    program = need("opendkim")
    (folder / "unbound.conf").write_text(UNBOUND.format(dns=dns))
    (folder / "opendkim.conf").write_text(OPENDKIM.format(folder=folder))
    names = [f"message{number}" for number in range(len(messages))]
    for name, message in zip(names, messages, strict=True):
        (folder / name).write_bytes(message)
    command = [program, "-v", "-v", "-x", "opendkim.conf", "-t", ",".join(names)]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    said = done.stdout.decode(errors="replace")
    # A line that names the message, and before it the Authentication-Results that it would get.
    pieces = re.split(r"^opendkim: (\w+): .*\n", said, flags=re.MULTILINE)
    results = dict(zip(pieces[1::2], pieces[::2], strict=False))
    return [[(selector, verdict) for verdict, selector in RESULT.findall(results[name])] for name in names]
