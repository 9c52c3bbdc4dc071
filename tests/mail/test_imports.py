"""What preparing a message imports: every `submit` pays for it."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
before = set(sys.modules)
from mailstrom_cli.mail.prepare import Context, Request, prepare
prepare(b"From: a@example.org\\nTo: b@example.net\\n\\nx", Request(), Context(now=0.0, token="t"))
print(*sorted(name for name in set(sys.modules) - before if not name.startswith("mailstrom_cli")))
"""


def test_preparing_a_message_imports_next_to_nothing() -> None:
    run = subprocess.run(
        [sys.executable, "-S", "-c", SCRIPT], capture_output=True, text=True, check=True, cwd="."
    )
    assert set(run.stdout.split()) <= {"__future__"}
