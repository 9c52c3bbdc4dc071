"""Postfix, real, from a configuration of its own. It takes mail in and holds it until it is released."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import time
from typing import TYPE_CHECKING

from .group import Group, sh, until, within
from .sinks import HOST, PORT, listens

if TYPE_CHECKING:
    from pathlib import Path

SMTP_PORT = 2526
PRIVATE = [
    "active",
    "bounce",
    "corrupt",
    "defer",
    "deferred",
    "flush",
    "hold",
    "incoming",
    "private",
    "saved",
]
PRIVATE += ["trace"]
SHARED = {"public": (0o710, "postdrop"), "maildrop": (0o730, "postdrop"), "pid": (0o755, "root")}
WAITING = ("maildrop", "incoming", "active", "deferred")
SERVICES = """
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
smtp unix - - n - - smtp
relay unix - - n - - smtp
proxymap unix - - n - - proxymap
showq unix n - n - - showq
retry unix - - n - - error
error unix - - n - - error
scache unix - - n - 1 scache
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
"""
QMGR = "qmgr unix n - n 300 1 qmgr\n"


class Postfix:
    """settings: further lines of main.cf by name. Nobody logs: there is no syslog here."""

    def __init__(self, state: Path, relay: str = HOST, netns: str = "", **settings: object) -> None:
        self.folder, self.netns = state / "postfix", netns
        self.group = Group("postfix")
        owner = pwd.getpwnam("postfix").pw_uid
        shutil.rmtree(self.folder, ignore_errors=True)
        for part in ("etc", "data", "queue"):
            (self.folder / part).mkdir(parents=True)
        os.chown(self.folder / "data", owner, -1)
        for part, (mode, group_name) in {**dict.fromkeys(PRIVATE, (0o700, "root")), **SHARED}.items():
            path = self.folder / "queue" / part
            path.mkdir()
            os.chown(path, 0 if part == "pid" else owner, grp.getgrnam(group_name).gr_gid)
            path.chmod(mode)
        main = {
            "compatibility_level": "3.6", "config_directory": self.folder / "etc",
            "queue_directory": self.folder / "queue", "data_directory": self.folder / "data",
            "inet_interfaces": HOST, "inet_protocols": "ipv4", "myhostname": "bench.test",
            "mydestination": "", "relayhost": f"[{relay}]:{PORT}", "alias_maps": "", "alias_database": "",
            "mynetworks": "127.0.0.0/8", "smtpd_peername_lookup": "no", "smtp_host_lookup": "native",
            "in_flow_delay": 0, **settings,
        }  # fmt: skip
        self._write("main.cf", "".join(f"{k} = {v}\n" for k, v in main.items()))
        self._services = SERVICES + f"{HOST}:{SMTP_PORT} inet n - n - - smtpd\n"
        self._write("master.cf", self._services)
        daemons = sh(["postconf", "-hx", "daemon_directory"]).strip()
        etc = str(self.folder / "etc")
        self.master = self.group.spawn([f"{daemons}/master", "-c", etc, "-d"], netns)
        if netns:
            time.sleep(3)  # it takes nearly 2 s to listen
        elif not until(15, lambda: listens(SMTP_PORT)):
            raise RuntimeError("postfix does not listen")

    def _write(self, name: str, text: str) -> None:
        path = self.folder / "etc" / name
        path.write_text(text)
        os.utime(path, (0, 0))  # it reads a file again and again while it looks just written

    def inject(self, count: int, sessions: int) -> float:
        """Take in so many 4 kB messages over SMTP; messages per second."""
        began = time.perf_counter()
        source = ["smtp-source", "-s", str(sessions), "-m", str(count), "-l", "4096"]
        ends = ["-f", "a@bench.test", "-t", "c@dest.test", f"{HOST}:{SMTP_PORT}"]
        sh(within(self.netns) + source + ends)
        return count / (time.perf_counter() - began)

    def release(self) -> None:
        self._write("master.cf", self._services + QMGR)
        self.master.send_signal(1)

    def count(self) -> int:
        folders = (self.folder / "queue" / part for part in WAITING)
        return sum(len(files) for folder in folders for _, _, files in os.walk(folder))

    def listing(self) -> float:
        """Seconds that `mailq` takes."""
        began = time.perf_counter()
        sh(["postqueue", "-c", str(self.folder / "etc"), "-p"])
        return time.perf_counter() - began

    def __enter__(self) -> Postfix:
        return self

    def __exit__(self, *_: object) -> None:
        self.group.stop()
        with contextlib.suppress(OSError):
            shutil.rmtree(self.folder)
