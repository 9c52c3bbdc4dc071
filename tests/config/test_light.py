"""Every `submit` loads the settings first, so that must cost nothing that can be avoided."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

HEAVY = (
    *("tomllib", "re", "dataclasses", "typing", "enum", "pathlib", "ipaddress", "difflib", "json"),
    *("click", "rich", "asyncio", "dns", "filelock", "email", "logging", "tempfile", "shutil", "datetime"),
    *("textwrap", "socket", "mailstrom_cli.config.tables", "mailstrom_cli.config.problems"),
)

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from mailstrom_cli.config.load import host_name, load
environ = {"HOME": "/nonexistent", "MAILSTROM_TLS_LEVEL": "encrypt"}
load(None, environ, {"via": "smtp://relay.example.org", "spool": "/s"})
host_name()
print([name for name in sys.argv[2:] if name in sys.modules])
"""


def test_settings_without_a_file_import_nothing_heavy(request: pytest.FixtureRequest) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PROGRAM, str(request.config.rootpath), *HEAVY],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
