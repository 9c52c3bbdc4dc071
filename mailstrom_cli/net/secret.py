"""Passwords: asked for when they are needed, kept nowhere on disk, shown in no error."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

from mailstrom_cli.config.secret import open_secret
from mailstrom_cli.errors import MailstromError
from mailstrom_cli.smtp.auth import Credentials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailstrom_cli.config.schema import Auth

COMMAND_SECONDS = 60.0
END_SECONDS = 1.0
LONGEST = 65_536  # octets of a password and what stands around it


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
            start_new_session=True,
        )
    except OSError as error:
        raise NoSecret(f"password_command {name!r}: {error.strerror}") from None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(COMMAND_SECONDS):
            output = b""
            while len(output) < LONGEST and (more := await process.stdout.read(LONGEST)):
                output += more
            code = await process.wait() if len(output) < LONGEST else None
    except TimeoutError:
        raise NoSecret(f"password_command {name!r} took more than {COMMAND_SECONDS:.0f} seconds") from None
    finally:
        await _end(process)
    if code is None:
        raise NoSecret(f"password_command {name!r} printed more than a password")
    if code != 0:
        raise NoSecret(f"password_command {name!r} ended with exit code {code}")
    return _first_line(output)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the command with all that it has begun; an agent that took a session of its own lives on."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process._transport.close()  # type: ignore[attr-defined]  # else `wait` waits for whoever has the pipe
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), END_SECONDS)


def _from_file(path: str) -> str:
    try:
        with open(open_secret(path), "rb") as file:
            return _first_line(file.read(LONGEST))
    except MailstromError as error:
        raise NoSecret(f"password_file {error.message}") from None


def _first_line(output: bytes) -> str:
    return output.decode("utf-8", "replace").rstrip("\r\n")
