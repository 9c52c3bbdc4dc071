"""What tests need of a machine: without a program they are skipped, but in CI, where all belong, fail."""

from __future__ import annotations

import os
import subprocess
from typing import NoReturn

import pytest

from . import exim
from .process import find

PACKAGES = {
    "dovecot": "dovecot-lmtpd",
    "kzonesign": "knot-dnssecutils",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "gpg": "gnupg",
    "gpgconf": "gnupg",
    "php": "php-cli",
    "exim4": "exim4-daemon-light, or .ci/run, which unpacks it beside Postfix",
}


def lacking(reason: str) -> NoReturn:
    """Skip the test that runs, with the reason; fail it when the environment has CI set."""
    if os.environ.get("CI"):
        pytest.fail(f"in CI nothing is skipped: {reason}", pytrace=False)
    pytest.skip(reason)


def need(program: str) -> str:
    """The path of a program that the test runs; without the program the test is skipped, or in CI fails."""
    path = exim.program() if program == "exim4" else find(program)
    return path or lacking(f"{program} is not installed (Debian package {PACKAGES.get(program, program)})")


def need_root() -> None:
    """For servers that start as root and then drop it."""
    if os.geteuid() != 0:
        lacking("only root can start this server")


def need_other_place() -> None:
    """For servers that see some files as others (`process.in_other_place`)."""
    need_root()
    done = subprocess.run([need("unshare"), "--mount", "true"], capture_output=True, check=False)
    if done.returncode:
        lacking("this machine allows no mount namespace")


def need_files(folder: str) -> None:
    """For data that some installations of Python leave out."""
    if not os.path.isdir(folder):
        lacking(f"there is no {folder} (Debian package libpython3-testsuite)")
