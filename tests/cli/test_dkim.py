"""`dkim keygen`, what `config check` says of keys, and what all say where the extra is not installed."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.config import places
from mailstrom_cli.dkim import keys
from mailstrom_cli.dkim.record import record

from .conftest import MESSAGE

if TYPE_CHECKING:
    from pathlib import Path

LACKING = (
    "error: {}[dkim] needs the Python package cryptography, which is not installed\n"
    "hint: pip install 'mailstrom[dkim]'\n"
)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "etc" / "config.toml"
    monkeypatch.setenv("MAILSTROM_CONFIG", str(path))
    return path


@pytest.mark.parametrize("type", ["rsa", "ed25519"])
def test_a_key_is_made_beside_the_configuration_and_its_record_printed(here, config: Path, type: str) -> None:
    done = here("dkim", "keygen", "Example.ORG", "--type", type)
    selector = f"{type}-{time.strftime('%Y%m')}"
    path = config.parent / f"example.org.{selector}.pem"
    assert done.code == 0
    assert path.stat().st_mode & 0o7777 == 0o600
    assert os.listdir(config.parent) == [path.name]
    key = keys.read(path.read_bytes())
    assert (key.type, key.bits) == (type, 2048 if type == "rsa" else 0)
    assert done.out == record("example.org", selector, key) + "\n"
    hints = [line.removeprefix("hint: ") for line in done.err.splitlines()]
    assert hints.pop(0) == f"when the record is published, mail is signed by these lines in {config}:"
    config.write_text("\n".join(hints))
    checked = here("config", "check")
    assert (checked.code, checked.err) == (0, "")


def test_a_key_that_is_there_is_kept(here, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("precious")
    done = here("dkim", "keygen", "example.org", "--type", "ed25519", "--out", str(path))
    assert (done.code, done.out) == (73, "")
    assert done.err == (
        f"error: {path} is there already, and is kept\nhint: give another --selector or --out\n"
    )
    assert path.read_text() == "precious"
    assert os.listdir(tmp_path) == ["key"]


def test_where_no_file_can_be(here, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = here("dkim", "keygen", "a.org", "--type", "ed25519", "--out", f"{tmp_path}/file/key")
    assert (done.code, done.err) == (73, f"error: {tmp_path}/file/key cannot be written: File exists\n")


def test_options(here, tmp_path: Path) -> None:
    line = ["--selector", "S1.a", "--bits", "1024", "--out", str(tmp_path / "k"), "-q"]
    done = here("dkim", "keygen", "bücher.example", *line)
    assert done.out.startswith('s1.a._domainkey.xn--bcher-kva.example. IN TXT "v=DKIM1; k=rsa; p=MIGf')
    assert done.err == "warning: 1024 bits are few; use 2048 where you can (RFC 8301)\n"


def test_root_makes_the_directory_of_the_system_for_all(here, tmp_path: Path, monkeypatch) -> None:
    system = tmp_path / "system" / "config.toml"
    monkeypatch.setattr("mailstrom_cli.cli.dkim.SYSTEM_CONFIG", str(system))
    monkeypatch.setattr("mailstrom_cli.cli.dkim.user_config", lambda environ: str(tmp_path / "no"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert here("dkim", "keygen", "example.org", "--type", "ed25519").code == 0
    assert system.parent.stat().st_mode & 0o777 == 0o755 & ~_umask()
    assert places.SYSTEM_CONFIG == "/etc/mailstrom/config.toml"


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a..b"], "the domain `a..b` has a dot at its start or two in a row"),
        (["[192.0.2.1]"], '"[192.0.2.1]" is no domain'),
        (["a.org", "--selector", "a_b"], "the selector 'a_b' is no name for the DNS"),
        (["a.org", "--selector", "a\nb"], "--selector: the value contains a line feed"),
        (["a.org", "--selector", ".".join(["a" * 60] * 4)], "selector and domain together are too long"),
        (["a.org", "--bits", "1023"], "--bits must be from 1024 to 4096, not '1023'"),
        (["a.org", "--bits", "4097"], "--bits must be from 1024 to 4096, not '4097'"),
        (["a.org", "--bits", "2k"], "--bits must be from 1024 to 4096, not '2k'"),
        (["a.org", "--bits", "2048", "--type", "ed25519"], "--bits is for RSA keys"),
        (["a.org", "--type", "dsa"], "invalid value for '--type'"),
        ([], "missing argument 'DOMAIN'"),
    ],
)
def test_what_cannot_be(here, config: Path, words: list[str], said: str) -> None:
    done = here("dkim", "keygen", *words)
    assert (done.code, done.out) == (64, "")
    assert done.err.startswith(f"error: {said}")
    assert not config.parent.exists()


def test_config_check_looks_at_the_keys(here, config: Path) -> None:
    here("dkim", "keygen", "example.org", "--bits", "1024", "--selector", "few")
    (config.parent / "none").write_text("s3cret")
    paths = [f"{config.parent}/{name}" for name in ("example.org.few.pem", "none")]
    (config.parent / "none").chmod(0o600)
    config.write_text(
        f'[dkim."example.org"]\nselector = ["a", "b"]\nkey_file = ["{paths[0]}", "{paths[1]}"]\n'
    )
    done = here("config", "check")
    where = f'{config}:3: `dkim."example.org".key_file`: '
    assert done.code == 78
    assert done.err.splitlines() == [
        f"warning: {where}{paths[0]} has only 1024 bits, and should have 2048 (RFC 8301)",
        f"error: {where}{paths[1]} holds no private key in PEM",
        "hint: `mailstrom dkim keygen` makes a key",
    ]
    config.write_text(f'[dkim."example.org"]\nselector = "a"\nkey_file = "{paths[0]}"\n')
    assert here("config", "check").code == 0


@pytest.fixture
def bare(tmp_path: Path, config: Path) -> str:
    """A PYTHONPATH on which cryptography cannot be imported; the configuration asks for it."""
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "sitecustomize.py").write_text("import sys\nsys.modules['cryptography'] = None\n")
    config.parent.mkdir()
    config.write_text('[dkim."example.org"]\nselector = "a"\nkey_file = "/nonexistent"\n')
    return os.pathsep.join(filter(None, (str(tmp_path / "bare"), os.environ.get("PYTHONPATH"))))


def test_without_the_extra_all_say_so_in_one_line_but_submit(process, bare: str, config: Path) -> None:
    submitted = process("submit", input=MESSAGE, PYTHONPATH=bare)
    assert (submitted.code, submitted.err) == (0, "")
    for words in (["run"], ["flush"], ["flush", submitted.out.strip()], ["dkim", "keygen", "a.org"]):
        done = process(*words, PYTHONPATH=bare)
        assert (words, done.code, done.out, done.err) == (words, 78, "", LACKING.format(""))
    checked = process("config", "check", PYTHONPATH=bare)
    assert (checked.code, checked.err) == (78, LACKING.format(f"{config}:3: "))
    assert '"status": "queued"' in process("status", "--json", submitted.out.strip(), PYTHONPATH=bare).out


def test_a_long_pass_says_so_once(process, bare: str) -> None:
    for _ in range(2):
        process("submit", input=MESSAGE)
    short = "from mailstrom_cli.queue import processes\nprocesses.SHARE = 1\n"
    path = bare.split(os.pathsep)[0] + "/sitecustomize.py"
    with open(path, "a") as file:
        file.write(short)
    assert process("flush", PYTHONPATH=bare).err == LACKING.format("")
