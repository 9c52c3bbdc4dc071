"""The front imports nothing outside the standard library, and little of that."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ..test_imports import ALLOWED, CONFIG, MOST, MOST_OF_FILE, ROOMS
from .conftest import MESSAGE

if TYPE_CHECKING:
    from .conftest import Front

MOST_OF_SENDMAIL = MOST + 3

REPORT = (
    "import sys; before = set(sys.modules)\n"
    "from {module} import main\n"
    "sys.argv[0] = {name!r}\n"
    "code = main()\n"
    "print(*sorted(set(sys.modules) - before), file=sys.stderr)\n"
    "sys.exit(code)\n"
)


def modules(front: Front, name: str, *words: str, input: bytes, module: str) -> tuple[set[str], set[str]]:
    """What a call has imported when it ends: of ours, and of others."""
    for variable in ("MAILSTROM_ORIGIN", "MAILSTROM_LIMITS_MIN_FREE"):
        del front.env[variable]  # these need the table of settings
    code = REPORT.format(module=module, name=name)
    done = front(*words, input=input, program=[sys.executable, "-c", code])
    loaded = set(done.err.splitlines()[-1].split())
    ours = {one for one in loaded if one.partition(".")[0] == "mailstrom_cli"}
    return ours, loaded - ours


@pytest.mark.parametrize("module", ["mailstrom_cli.__main__", "mailstrom_cli.cli.sendmail.main"])
@pytest.mark.parametrize(
    "line",
    [
        ["-t", "-i"],
        ["-oem", "-oi", "-f", "ann@example.org", "--", "bob@example.net"],
        ["-FCron", "-t", "carol@example.net"],
        ["-v", "root"],
        ["-bv", "-t"],
    ],
    ids=" ".join,
)
def test_a_message_imports_little(front: Front, module: str, line: list[str]) -> None:
    ours, others = modules(front, "/usr/sbin/sendmail", *line, input=MESSAGE, module=module)
    assert others - ALLOWED == set() if "-bv" not in line else "click" not in others
    rooms = {one.split(".")[1] for one in ours if one.count(".") > 1}
    if "-bv" not in line:
        assert len(ours) <= MOST_OF_SENDMAIL, sorted(ours)
    assert rooms <= {*ROOMS, "policy"} if "-bv" in line else rooms <= set(ROOMS)


@pytest.mark.parametrize("module", ["mailstrom_cli.__main__", "mailstrom_cli.cli.sendmail.main"])
def test_a_configuration_file_imports_little_more(front: Front, module: str) -> None:
    path = front.folder / "c.toml"
    path.write_text(CONFIG)
    ours, others = modules(front, "sendmail", "-t", "-C", str(path), input=MESSAGE, module=module)
    assert "mailstrom_cli.config.toml" in ours
    assert others - ALLOWED == set()
    assert len(ours) <= MOST_OF_SENDMAIL + MOST_OF_FILE, sorted(ours)


def test_bs_imports_little(front: Front) -> None:
    talk = b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n"
    _, others = modules(front, "sendmail", "-bs", input=talk, module="mailstrom_cli.cli.sendmail.main")
    assert others - ALLOWED == set()


def test_mailq_imports_little(front: Front) -> None:
    front("b@example.net")
    _, others = modules(front, "mailq", input=b"", module="mailstrom_cli.cli.sendmail.main")
    assert {"click", "rich", "asyncio", "email", "typing", "socket"} & others == set()


def test_newaliases_imports_next_to_nothing(front: Front) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mailstrom_cli", "sendmail", "-bi"],
        env=front.env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "click" not in done.stderr and "mailstrom_cli.store.spool" not in done.stderr
