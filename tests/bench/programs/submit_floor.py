"""The least that a durable submit can be in Python: stdin to two synced files in a synced directory.

python -I -S submit_floor.py DIRECTORY
"""

import os
import sys

folder, name = sys.argv[1], f"{os.getpid()}-{os.urandom(6).hex()}"
data = sys.stdin.buffer.read()
sidecar = b'{"from": "a@bench.test", "rcpt": ["c@dest.test"], "next": 1700000000.5, "tries": 0}\n'
for suffix, held in (("eml", data), ("json", sidecar)):
    fd = os.open(f"{folder}/tmp-{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    os.write(fd, held)
    os.fsync(fd)
    os.close(fd)
    os.rename(f"{folder}/tmp-{name}", f"{folder}/{name}.{suffix}")
fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
os.fsync(fd)
sys.stdout.write(name + "\n")
