"""Passwords: asked for when they are needed, kept nowhere on disk, shown in no error."""

from __future__ import annotations

import asyncio

from mailstrom_cli.config.secret import open_secret
from mailstrom_cli.errors import MailstromError
from mailstrom_cli.smtp.auth import Credentials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailstrom_cli.config.schema import Auth

COMMAND_SECONDS = 60.0


class NoSecret(Exception):
    """The password cannot be had; the text says why."""


async def credentials(auth: Auth) -> Credentials:
    """What to log in with. Raises NoSecret."""
    if auth.password_command:
        password = await _from_command(auth.password_command)
    else:
        password = _from_file(auth.password_file or "")
    if not password or any(c in password for c in "\r\n\0"):
        raise NoSecret("the password is empty or has more than one line")
    return Credentials(auth.username, password, auth.mechanism)


async def _from_command(command: tuple[str, ...]) -> str:
    name = command[0]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError as error:
        raise NoSecret(f"password_command {name!r}: {error.strerror}") from None
    try:
        output, _ = await asyncio.wait_for(process.communicate(), COMMAND_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise NoSecret(f"password_command {name!r} took more than {COMMAND_SECONDS:.0f} seconds") from None
    if process.returncode != 0:
        raise NoSecret(f"password_command {name!r} ended with exit code {process.returncode}")
    return _first_line(output)


def _from_file(path: str) -> str:
    try:
        with open(open_secret(path), "rb") as file:
            return _first_line(file.read(65_536))
    except MailstromError as error:
        raise NoSecret(f"password_file {error.message}") from None


def _first_line(output: bytes) -> str:
    return output.decode("utf-8", "replace").rstrip("\r\n")
