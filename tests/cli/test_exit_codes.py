"""The exit codes that scripts rely on, each from a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from .conftest import MESSAGE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Done

    Run = Callable[..., Done]


def told(done: Done) -> str:
    """stderr, in which every line is an error or a hint."""
    assert done.out == ""
    assert all(line.startswith(("error: ", "hint: ")) for line in done.err.splitlines()), done.err
    return done.err


@pytest.mark.parametrize(
    "line", [["submit"], ["queue"], ["flush"], ["status", "--recent"], ["--version"], ["--help"]]
)
def test_0_done(process: Run, line: list[str]) -> None:
    process("submit", input=MESSAGE)
    assert process(*line, input=MESSAGE).code == 0


@pytest.mark.parametrize(
    "line",
    [
        ["nope"],
        ["--nope"],
        ["status"],
        ["hold"],
        ["flush", "--all", "06h0rpy7wnbbjrkv"],
        ["show", "--log", "--sidecar", "06h0rpy7wnbbjrkv"],
        ["-v", "-q", "queue"],
        ["-v", "queue", "-q"],
        ["--spool", "a\nb", "queue"],
        ["--spool", "", "queue"],
        ["--spool", "", "submit"],
        ["--spool=", "config", "show"],
        ["config", "nope"],
    ],
)
def test_64_usage(process: Run, line: list[str]) -> None:
    done = process(*line)
    assert done.code == 64
    told(done)


def test_64_no_command_shows_the_help(process: Run) -> None:
    done = process()
    assert (done.code, done.out) == (64, "")
    assert "Commands:" in done.err


def test_65_the_message_is_not_valid(process: Run) -> None:
    done = process("submit", input=b"Subject: x\n\n")
    assert done.code == 65
    assert "RFC 5322" in told(done)


@pytest.mark.parametrize("command", ["status", "show", "hold", "release", "retry", "cancel", "flush"])
def test_66_no_such_id(process: Run, command: str) -> None:
    process("submit", input=MESSAGE)
    done = process(command, "06h0rpy7wnbbjrkv")
    assert done.code == 66
    assert "06h0rpy7wnbbjrkv" in told(done)


@pytest.mark.parametrize(
    "line",
    [["queue"], ["status", "--recent"], ["flush"], ["flush", "--all"]]
    + [[command, "06h0rpy7wnbbjrkv"] for command in ("status", "show", "hold", "release", "retry", "cancel")],
)
def test_66_no_such_spool(process: Run, spool: Path, line: list[str]) -> None:
    done = process(*line)
    assert done.code == 66
    assert f"no spool at {spool}\n" in told(done)
    assert not spool.exists()


def test_66_input_unreadable(process: Run) -> None:
    assert "No such file" in told(process("submit", "/nonexistent/message.eml"))
    assert process("submit", "/nonexistent/message.eml").code == 66


@pytest.mark.usefixtures("receiver")
def test_69_and_75_of_wait(process: Run) -> None:
    for to, code in (("unknown@example.net", 69), ("busy@example.net", 75), ("good@example.net", 0)):
        id = process("submit", "-t", to, input=MESSAGE).out.strip()
        assert process("status", "--wait=0", id).code == 75  # not even tried
        assert process("flush", id) == (0, "", "")
        assert process("status", "--wait=0", id).code == code
        assert process("status", id).code == 0


def test_70_a_bug_is_one_line(process: Run, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import mailstrom_cli.api as api\napi.Mailstrom.open = lambda *a, **k: 1 // 0\n"
    )
    done = process("queue", PYTHONPATH=os.pathsep.join([str(tmp_path), os.getcwd()]))
    assert done.code == 70
    assert told(done).startswith("error: internal error, ZeroDivisionError: ")


def test_73_the_spool_cannot_be_created(process: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = process("--spool", str(tmp_path / "file" / "spool"), "submit", input=MESSAGE)
    assert done.code == 73
    told(done)


def test_75_not_now(process: Run) -> None:
    done = process("submit", input=MESSAGE, MAILSTROM_LIMITS_MIN_FREE="8000TiB")
    assert done.code == 75
    told(done)


def test_77_a_spool_that_others_may_write(process: Run, spool: Path) -> None:
    process("submit", input=MESSAGE)
    spool.chmod(0o777)
    done = process("submit", input=MESSAGE)
    assert done.code == 77
    told(done)


@pytest.mark.parametrize("url", ["memory:", "memory://x"])
@pytest.mark.parametrize("line", [["submit"], ["queue"], ["sendmail", "-t"]])
def test_78_a_store_that_ends_with_the_command(process: Run, url: str, line: list[str]) -> None:
    done = process("--spool", url, *line, input=MESSAGE)
    assert done.code == 78
    assert "would end with this command" in told(done)
    assert process(*line, input=MESSAGE, MAILSTROM_SPOOL=url).code == 78


def test_78_configuration(process: Run, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[tls]\nlevl = "may"\n')
    done = process("--config", str(tmp_path / "config.toml"), "submit", input=MESSAGE)
    assert done.code == 78
    assert "config.toml:2" in told(done)


def test_130_interrupted() -> None:
    child = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "mailstrom_cli", "submit"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with child:
        assert child.stderr is not None
        for line in child.stderr:  # the last import before it reads stdin
            if b"mailstrom_cli.cli.accept" in line:
                break
        child.send_signal(signal.SIGINT)
        rest = child.stderr.read()
        assert child.wait(timeout=60) == 130
        assert b"Traceback" not in rest


@pytest.mark.parametrize("line", ["queue", "queue --json", "queue --count", "status ID", "show ID", "--help"])
def test_a_closed_stdout_is_as_quiet_as_a_broken_pipe(process: Run, line: str) -> None:
    id = process("submit", input=MESSAGE).out.strip()
    words = line.replace("ID", id)
    done = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m mailstrom_cli {words} >&-"],
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0 if line == "--help" else 141, b"")


def test_a_broken_pipe_is_quiet(process: Run) -> None:
    for _ in range(3):
        process("submit", input=MESSAGE)
    out, into = os.pipe()
    os.close(out)
    done = subprocess.run(
        [sys.executable, "-m", "mailstrom_cli", "queue", "--json"],
        stdout=into,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(into)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(
    ("line", "code"), [(["submit", "-v"], 0), (["submit", "/nonexistent"], 66), (["status", "zzzz"], 66)]
)
def test_a_stderr_that_cannot_be_written_changes_no_exit_code(
    process: Run, line: list[str], code: int
) -> None:
    """Python would exit with 120, also when the message is stored."""
    process("submit", input=MESSAGE)
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mailstrom_cli", *line],
            input=MESSAGE,  # without Date and Message-ID, of which -v notes that they were added
            stdout=subprocess.DEVNULL,
            stderr=full,
            timeout=60,
            check=False,
            env={name: held for name, held in os.environ.items() if name != "PYTHONUNBUFFERED"},
        )
    assert done.returncode == code
