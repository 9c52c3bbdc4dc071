"""`python -m tests.limits [MIB]`: a message of 2 GiB (or so many MiB) through a pipe, out by BDAT, by DATA
and converted, within 48 MiB of data; a table of peak memory and time."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.sinks import HOST
from tests.peers.process import free_port

from .command import Limited
from .test_large import HEAD, LINE, MEMORY, MIB, WRITE

SINK = Path(__file__).parents[1] / "bench/programs/sink.py"
WAYS = {
    "BDAT": "PIPELINING,CHUNKING,SIZE,8BITMIME",
    "DATA": "PIPELINING,SIZE,8BITMIME",
    "converted": "PIPELINING,SIZE",
}
HOURS = 3600.0


def main() -> int:
    size = int(sys.argv[1] if len(sys.argv) > 1 else 2048) * MIB
    times, wrong = size // len(LINE) // 1000, 0
    exact = len(HEAD) + times * 1000 * len(LINE)
    print(f"{'way':12}{'command':10}{'code':>5}{'peak MiB':>10}{'cpu s':>8}{'wall s':>8}{'octets':>14}")
    for way, extensions in WAYS.items():
        with tempfile.TemporaryDirectory(prefix="mailstrom-limits-") as folder:
            port = free_port()
            sink = subprocess.Popen(
                [sys.executable, str(SINK), str(port), extensions, HOST],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert sink.stdin is not None
            assert sink.stdout is not None
            assert sink.stdout.readline() == "ready\n"
            mail = Limited(Path(folder) / "spool", Path(folder) / "log")
            mail.environment |= {
                "MAILSTROM_VIA": f"smtp://{HOST}:{port}",
                "MAILSTROM_LIMITS_MESSAGE_SIZE": str(2 * size),
                "TMPDIR": folder,
            }
            program = [sys.executable, "-c", WRITE.format(times)]
            with subprocess.Popen(program, stdout=subprocess.PIPE) as writer:
                done = [mail.under("submit", stdin=writer.stdout, data=MEMORY, seconds=HOURS)]
            done.append(mail.under("flush", data=MEMORY, seconds=HOURS))
            sink.stdin.write("\n")
            sink.stdin.flush()
            seen = json.loads(sink.stdout.readline())
            sink.stdin.close()
            sink.wait()
            for command, each in zip(("submit", "flush"), done, strict=True):
                octets = int(seen["octets"]) if command == "flush" else exact
                numbers = f"{each.code:5}{each.peak / 1024:10.0f}{each.cpu:8.1f}{each.wall:8.1f}{octets:14}"
                print(f"{way:12}{command:10}{numbers}", flush=True)
                wrong += each.code != 0
            wrong += seen["messages"] != 1 or seen["octets"] < exact or mail.states() != ["delivered"]
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
