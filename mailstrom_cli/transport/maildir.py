"""Into a Maildir on this machine: a relay that needs no server, for the desk and for tests.

Written to tmp/, synced, and renamed to new/, with Return-Path and Delivered-To on top (RFC 5321, 4.4) and the
line ends of this system, as mail readers expect it there.
"""

from __future__ import annotations

import errno
import os

from mailstrom_cli.mail.status import DEFERRED, DELIVERED
from mailstrom_cli.net.background import in_thread
from mailstrom_cli.policy import classify
from mailstrom_cli.policy.classify import Verdict
from mailstrom_cli.transport.base import result, unreadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from mailstrom_cli.config.via import Via
    from mailstrom_cli.mail.status import Result
    from mailstrom_cli.transport.base import Job

CHUNK = 1024 * 1024


class MaildirTransport:
    """One copy a job, whoever its recipients are. host: the name of this machine in the names of files."""

    def __init__(self, host: str) -> None:
        self._host = host.replace("/", "\\057").replace(":", "\\072")

    async def close(self) -> None:
        """Nothing is kept open."""

    async def deliver(self, job: Job, via: Via) -> list[Result]:
        try:
            message = job.open_message()
        except OSError as error:
            verdict = classify.failure(unreadable(error), job.circumstances)
            return [result(r.address, verdict, str(via)) for r in job.recipients]
        try:
            name = await in_thread(self._write, job, message, via.path)
        except OSError as error:
            text = f"cannot write to {via.path}: {error.strerror}"
            verdict = Verdict(DEFERRED, text, enhanced="4.3.0", unreachable=True, next_host=True)
        else:
            verdict = Verdict(DELIVERED, f"stored as {name}", enhanced="2.0.0")
        return [result(r.address, verdict, str(via)) for r in job.recipients]

    def _write(self, job: Job, message: BinaryIO, path: str) -> str:
        for folder in ("tmp", "new", "cur"):
            os.makedirs(f"{path}/{folder}", 0o700, exist_ok=True)
        # The same attempt repeated after a crash gives another name, a repeated write within it does not.
        name = f"{job.id}.{os.urandom(6).hex()}.{self._host}"
        draft = f"{path}/tmp/{name}"  # noqa: S108  (a Maildir's own)
        try:
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(f"Return-Path: <{job.envelope.reverse_path}>\n".encode())
                for recipient in job.recipients:
                    file.write(f"Delivered-To: {recipient.address}\n".encode())
                with message:
                    while chunk := message.read(CHUNK):
                        if chunk.endswith(b"\r"):
                            chunk += message.read(1)
                        file.write(chunk.replace(b"\r\n", b"\n"))
                file.flush()
                os.fsync(file.fileno())
            _publish(draft, f"{path}/new", name)
        except BaseException:
            if os.path.exists(draft):
                os.unlink(draft)
            raise
        return name


def _publish(draft: str, folder: str, name: str) -> None:
    """Rename into the folder and sync that; what cannot be made sure is taken back, as it will come again."""
    new = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.rename(draft, name, dst_dir_fd=new)
        try:
            os.fsync(new)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems sync no directories
                os.unlink(name, dir_fd=new)
                raise
    finally:
        os.close(new)
