"""The machine: what is installed, and the namespaces in which everything is measured."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .group import Group, program, sh, until

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("MAILSTROM_BENCH_CACHE", "/var/tmp/mailstrom-bench"))
PROGRAMS = {"/usr/sbin/postfix": "postfix", "/usr/sbin/smtp-sink": "postfix", "/usr/sbin/ip": "iproute2"}
NEAR, FAR = "198.18.0.1", "198.18.0.2"  # RFC 2544: for benchmarks
NEAR_NS, FAR_NS = "bench-near", "bench-far"


def install(*, project: bool) -> Path:
    """Postfix, and a venv with the project as its users have it. Returns the venv's python."""
    if missing := {package for path, package in PROGRAMS.items() if not Path(path).exists()}:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        sh(["apt-get", "update"], env=environment)
        choice = "postfix postfix/main_mailer_type select No configuration\n"
        sh(["debconf-set-selections"], input=choice)
        sh(["apt-get", "install", "-y", "--no-install-recommends", *sorted(missing)], env=environment)
    python = CACHE / "venv/bin/python"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    if not python.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        sh([sys.executable, "-m", "venv", str(CACHE / "venv")], env=environment)
        project = True
    if project:
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        sh([*pip, str(ROOT)], env=environment)
        # Once more without its dependencies: the same version may have changed since the last time.
        sh([*pip, "--force-reinstall", "--no-deps", str(ROOT)], env=environment)
    return python


def facts() -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "log", "-1", "--format=%h"], capture_output=True, text=True
    ).stdout.strip()
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "commit": commit,
        "python": platform.python_version(),
        "kernel": os.uname().release,
        "cpus": os.cpu_count(),
        "cpu": model[0].partition(": ")[2] if model else "",
        "postfix": sh(["postconf", "-hd", "mail_version"]).strip(),
        "load": os.getloadavg()[0],
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


UNSHARE = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
UNSHARE += ["--propagation", "private"]


def enter() -> None:
    """In the namespaces: loopback is the only way out, and what was started ends with this process."""
    sh(["ip", "link", "set", "lo", "up"])
    sh(["mount", "-t", "tmpfs", "tmpfs", "/run"])


def delayed_link(made: Group, one_way: float) -> None:
    """Two network namespaces, joined by a link that takes so many seconds each way."""
    devices = ("bench0", "bench1")
    relay = made.spawn(program("delay", one_way, *devices), stdout=subprocess.PIPE)
    assert relay.stdout
    if relay.stdout.readline().strip() != "ready":
        raise RuntimeError("there are no tun devices")
    for device, netns, address in zip(devices, (NEAR_NS, FAR_NS), (NEAR, FAR), strict=True):
        for words in (
            f"netns add {netns}", f"link set {device} netns {netns}",
            f"-n {netns} addr add {address}/30 dev {device}",
            f"-n {netns} link set {device} up", f"-n {netns} link set lo up",
        ):  # fmt: skip
            sh(["ip", *words.split()])
    if not until(5, lambda: Path(f"/run/netns/{FAR_NS}").exists()):
        raise RuntimeError("no network namespace")


def unlink() -> None:
    for netns in (NEAR_NS, FAR_NS):
        subprocess.run(["ip", "netns", "del", netns], capture_output=True)
