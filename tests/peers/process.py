"""What every peer that is a process of its own needs: a free port, readiness by event, a certain end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Self

SYSTEM_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"))


def find(program: str) -> str | None:
    """The program's path, the sbin folders looked through too (they are not on every user's PATH)."""
    return shutil.which(program, path=SYSTEM_PATH)


def free_port(*hosts: str) -> int:
    """A port that is free for TCP and UDP on all `hosts` (127.0.0.1 when none is given) at this moment."""
    names = hosts or ("127.0.0.1",)
    for _ in range(50):
        with contextlib.ExitStack() as taken:
            port = 0
            try:
                for host in names:
                    family = socket.AF_INET6 if ":" in host else socket.AF_INET
                    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                        one = taken.enter_context(socket.socket(family, kind))
                        one.bind((host, port))
                        port = one.getsockname()[1]
            except OSError:
                continue
            return port
    raise RuntimeError(f"no port is free on all of {names}")


@contextlib.contextmanager
def blackhole(host: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    """An address where a connection attempt gets no answer at all: a listener whose queue is full."""
    with contextlib.ExitStack() as open_sockets:
        listener = open_sockets.enter_context(socket.create_server((host, 0), backlog=0))
        address = listener.getsockname()[:2]
        for _ in range(8):
            filler = open_sockets.enter_context(socket.socket(listener.family, socket.SOCK_STREAM))
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(address)
        yield address


class Daemon:
    """A server process in a process group of its own, with a short folder that all users may walk into.

    A subclass sets `command` and `ready` (None until the server answers) in `prepare`. Use it as a
    context manager; leaving it ends the whole group, also when the start itself failed.
    """

    name = "daemon"
    start_seconds = 15.0
    stop_seconds = 5.0

    def __init__(self) -> None:
        self.folder = Path()
        self.process: subprocess.Popen[bytes] | None = None
        self.started_in = 0.0

    def prepare(self) -> Sequence[str]:
        """Write the configuration below `self.folder`; returns the command that stays in the foreground."""
        raise NotImplementedError

    def ready(self) -> bool:
        """True once the server does its job; may raise OSError while it does not."""
        raise NotImplementedError

    def log(self) -> str:
        """What the server has written to its log and to stderr so far."""
        logs = sorted(self.folder.glob("*.log"))
        return "".join(p.read_text(errors="replace") for p in logs)

    def start(self) -> None:
        """Start (again) and wait until the server is ready; RuntimeError with its log when it is not."""
        begun = time.monotonic()
        if self.folder == Path():
            self.folder = Path(tempfile.mkdtemp(prefix=f"ms-{self.name}-", dir="/tmp"))
            self.folder.chmod(0o755)
            self.command = list(self.prepare())
        with (self.folder / "stderr.log").open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd=self.folder,
            )
        try:
            wait_for(self._ready, self.start_seconds, f"{self.name} to be ready")
        except BaseException as failure:
            failure.add_note(f"log of {self.name}:\n{self.log()}")
            self.stop()
            raise
        self.started_in = time.monotonic() - begun

    def _ready(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended at once with status {self.process.returncode}")
        with contextlib.suppress(OSError):
            return self.ready()
        return False

    def pids(self) -> list[int]:
        """The processes of the group that are alive now."""
        return [] if self.process is None else group_members(self.process.pid)

    def stop(self) -> None:
        """End every process of the group: SIGTERM, and after `stop_seconds` SIGKILL."""
        if self.process is None:
            return
        group = self.process.pid
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, number)
            with contextlib.suppress(TimeoutError):
                wait_for(lambda: self._ended(group), self.stop_seconds, f"{self.name} to end")
                break
        self.process.wait()
        self.process = None

    def _ended(self, group: int) -> bool:
        if self.process is not None:
            self.process.poll()
        return not group_members(group)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"log of {self.name}:\n{self.log()[-8000:]}")
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def group_members(group: int) -> list[int]:
    """The processes of a process group that have not ended (a zombie has)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, _, its_group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
                if int(its_group) == group and state != "Z":
                    found.append(int(entry.name))
    return found


def in_other_place(files: Mapping[str, str], command: Sequence[str]) -> list[str]:
    """A command that sees some files and folders of the machine as others, by the path of what is seen: the
    rest of the machine does not notice. Needs root."""
    mounts = "".join(f"mount --bind {seen} {place} && " for seen, place in files.items())
    return ["unshare", "--mount", "sh", "-c", f'{mounts}exec "$@"', "sh", *command]


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Return as soon as `condition()` holds; TimeoutError naming `what` after `seconds`."""
    end = time.monotonic() + seconds
    pause = 0.005
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} seconds for {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def greets(address: tuple[str, int] | str) -> bool:
    """Whether a server on a TCP address or Unix socket says 220 first; OSError when nothing accepts."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    if family == socket.AF_INET and ":" in address[0]:
        family = socket.AF_INET6
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(5)
        probe.connect(address)
        greeted = probe.recv(512).startswith(b"220")
        probe.sendall(b"QUIT\r\n")
        while probe.recv(512):
            pass
        return greeted
