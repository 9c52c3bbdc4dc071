"""python -m tests.hostile [STAGE ...]: the cells of these stages, or of all; exit 1 on any fault."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from ..peers.certs import Certificates
from .cells import cells
from .running import run, table


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        chosen = [cell for cell in cells() if not sys.argv[1:] or cell.stage in sys.argv[1:]]
        found = run(chosen, Path(folder), Certificates(Path(folder)))
    for line in table(found):
        print(line)
    faulty = {cell: faults for cell, faults in found.items() if faults}
    for cell, faults in faulty.items():
        print(f"\n{cell}:", *faults, sep="\n    ")
    print(f"\n{len(found)} cells, each delivered twice beside another message; {len(faulty)} with faults")
    return 1 if faulty else 0


if __name__ == "__main__":
    sys.exit(main())
