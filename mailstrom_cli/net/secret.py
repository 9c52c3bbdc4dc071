"""Passwords and access tokens: asked for when they are needed, shown in no error."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

from mailstrom_cli.config.secret import LONGEST, credential, read_secret
from mailstrom_cli.errors import MailstromError
from mailstrom_cli.net.background import in_thread
from mailstrom_cli.smtp.auth import BEARER, Credentials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailstrom_cli.config.schema import Auth

COMMAND_SECONDS = 60.0
KEYRING_SECONDS = 120.0
"""As long as somebody may take to unlock it."""
TOKEN_SECONDS = 90.0
END_SECONDS = 1.0


class NoSecret(Exception):
    """The password cannot be had; the text says why. refused: whoever gives access tokens wants a new login,
    which is the same as a relay that refuses one."""

    def __init__(self, text: str, *, refused: bool = False) -> None:
        super().__init__(text)
        self.refused = refused


async def credentials(auth: Auth, host: str, ca_file: str) -> Credentials:
    """What to log in with at a relay. Raises NoSecret."""
    if auth.oauth:
        token = await _token(auth, host, ca_file)
        return Credentials(auth.username, token, auth.mechanism, oauth=True, host=host)
    if auth.password_command:
        password = await _from_command(auth.password_command)
    elif auth.password_keyring:
        password = await _from_keyring(auth.password_keyring, auth.username)
    else:
        password = _from_file(auth)
    if not password or any(c in password for c in "\r\n\0"):
        raise NoSecret("the password is empty or has more than one line")
    return Credentials(auth.username, password, auth.mechanism, host=host)


def lasting(auth: Auth) -> bool:
    """Whether what was asked for once may be used again: an access token ends soon."""
    return not auth.oauth and auth.mechanism.upper() not in BEARER


async def refused(auth: Auth, host: str, login: Credentials) -> None:
    """A relay does not take these."""
    if auth.oauth:
        from mailstrom_cli.net.oauth import forget

        with contextlib.suppress(OSError, MailstromError):  # it ends by itself
            await in_thread(forget, auth, host, login.password)


async def _token(auth: Auth, host: str, ca_file: str) -> str:
    from mailstrom_cli.net.oauth import NoToken, access_token

    try:
        async with asyncio.timeout(TOKEN_SECONDS):
            return await in_thread(access_token, auth, host, ca_file)
    except NoToken as error:
        raise NoSecret(str(error), refused=error.login) from None
    except TimeoutError:
        raise NoSecret(f"no access token within {TOKEN_SECONDS:.0f} seconds") from None


async def _from_keyring(service: str, username: str) -> str:
    try:
        async with asyncio.timeout(KEYRING_SECONDS):
            password = await in_thread(_ask_keyring, service, username)
    except TimeoutError:
        raise NoSecret(f"the keyring took more than {KEYRING_SECONDS:.0f} seconds") from None
    if password is None:
        raise NoSecret(f"the keyring has no password of {username!r} for {service!r}")
    return password


def _ask_keyring(service: str, username: str) -> str | None:
    try:
        import keyring
    except ImportError:
        text = "password_keyring needs the package keyring: pip install 'mailstrom[keyring]'"
        raise NoSecret(text) from None
    try:
        password: str | None = keyring.get_password(service, username)
    except Exception as error:  # each back-end has its own
        raise NoSecret(f"the keyring gives no password: {type(error).__name__}") from None
    return password


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


def _from_file(auth: Auth) -> str:
    name = "password_file" if auth.password_file else "password_credential"
    try:
        return _first_line(read_secret(auth.password_file or credential(auth.password_credential or "")))
    except MailstromError as error:
        raise NoSecret(f"{name} {error.message}" if auth.password_file else error.message) from None


def _first_line(output: bytes) -> str:
    return output.decode("utf-8", "replace").rstrip("\r\n")
