"""Password files, new files, the name of this host."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.config.load import load
from mailstrom_cli.config.places import host_name, user_config
from mailstrom_cli.config.secret import open_secret
from mailstrom_cli.config.verify import verify
from mailstrom_cli.config.write import write_new
from mailstrom_cli.errors import CONFIG, MailstromError

if TYPE_CHECKING:
    from pathlib import Path


def secret(tmp_path: Path, mode: int = 0o600) -> Path:
    path = tmp_path / "password"
    path.write_text("s3cret\n")
    path.chmod(mode)
    return path


def refused(path: Path | str) -> str:
    with pytest.raises(MailstromError) as caught:
        open_secret(str(path))
    assert caught.value.exit_code == CONFIG
    return caught.value.message


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_password_file_is_opened(mode: int, tmp_path: Path) -> None:
    descriptor = open_secret(str(secret(tmp_path, mode)))
    with open(descriptor) as file:
        assert file.read() == "s3cret\n"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602])
def test_a_password_file_that_others_may_read_or_write_is_refused(mode: int, tmp_path: Path) -> None:
    path = secret(tmp_path, mode)
    assert refused(path) == f"{path} has mode {mode:04o}: it is not private"


def test_a_refused_password_file_is_closed(tmp_path: Path) -> None:
    path = secret(tmp_path, 0o644)
    before = os.listdir("/proc/self/fd")
    refused(path)
    assert os.listdir("/proc/self/fd") == before


def test_a_password_file_is_a_file_that_exists(tmp_path: Path) -> None:
    assert refused(tmp_path / "none") == f"{tmp_path}/none cannot be read: No such file or directory"
    assert refused(tmp_path) == f"{tmp_path} is not a regular file"
    os.mkfifo(tmp_path / "fifo", 0o600)
    assert refused(tmp_path / "fifo") == f"{tmp_path}/fifo is not a regular file"


def test_a_password_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = secret(tmp_path)
    if os.geteuid() == 0:
        os.chown(path, 1234, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 1234)
    assert refused(path) == f"{path} belongs to another user"


def test_a_credential_of_systemd_may_show_its_access_list_as_the_mode_of_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = secret(tmp_path, 0o440)
    refused(path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    os.close(open_secret(str(path)))
    path.chmod(0o444)
    refused(path)


def test_verify_looks_at_the_files_that_are_named(tmp_path: Path) -> None:
    path = secret(tmp_path, 0o644)
    config = tmp_path / "c.toml"
    config.write_text(
        f'[auth.a]\nusername = "me"\npassword_file = "{path}"\n'
        '[auth.b]\nusername = "me"\npassword_command = ["none"]\n'
        '[tls]\nca_file = "/none.pem"\n'
    )
    loaded = load(str(config), {"HOME": str(tmp_path)}, {})
    assert [(str(problem), problem.hint) for problem in verify(loaded)] == [
        (
            f'{config}:3: `auth."a".password_file`: {path} has mode 0644: it is not private',
            f"chmod 600 {path}",
        ),
        (f"{config}:8: `tls.ca_file`: /none.pem cannot be read: No such file or directory", None),
    ]
    path.chmod(0o600)
    config.write_text(config.read_text().replace("/none.pem", str(config)))
    assert verify(load(str(config), {"HOME": str(tmp_path)}, {})) == ()


def test_verify_looks_at_the_certificates_that_are_named(tmp_path: Path) -> None:
    key = secret(tmp_path, 0o644)
    config = tmp_path / "c.toml"
    config.write_text(
        f'[tls]\nclient_cert = "{config}"\nclient_key = "{key}"\n'
        f'[tls.policy."*.example.net"]\nca_file = "/none.pem"\nclient_cert = "{key}"\n'
    )
    private, missing = f"{key} has mode 0644: it is not private", "cannot be read: No such file or directory"
    assert [str(problem) for problem in verify(load(str(config), {"HOME": str(tmp_path)}, {}))] == [
        f"{config}:3: `tls.client_key`: {private}",
        f'{config}:5: `tls.policy."*.example.net".ca_file`: /none.pem {missing}',
        f'{config}:6: `tls.policy."*.example.net".client_cert`: {private}',
    ]
    config.write_text(f'[tls]\nclient_key = "{key}"\n')
    key.chmod(0o600)
    (problem,) = verify(load(str(config), {"HOME": str(tmp_path)}, {}))
    assert str(problem) == f"{config}:2: `tls` has `client_key`, and no `client_cert`"


def test_a_new_file_is_private_and_replaces_nothing_unasked(tmp_path: Path) -> None:
    path = tmp_path / "a/b/config.toml"
    before = os.umask(0)
    try:
        write_new(str(path), b"1", 0o600, replace=False)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        with pytest.raises(FileExistsError):
            write_new(str(path), b"2", 0o600, replace=False)
        assert path.read_bytes() == b"1"
        write_new(str(path), b"3", 0o644, replace=True)
    finally:
        os.umask(before)
    assert path.read_bytes() == b"3"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(path.parent) == ["config.toml"]


def test_a_link_without_a_target_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        write_new(str(path), b"1", 0o600, replace=False)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("node", "files", "name"),
    [
        ("mx.example.org", ["short", "mail.example.net"], "mx.example.org"),
        ("mx.example.org.", [], "mx.example.org"),
        ("mx", ["mail.example.net\nx"], "mail.example.net"),
        ("mx", ["mx", " mail.example.net. \n"], "mail.example.net"),
        ("mx", [None, "a b.example"], "mx"),
        ("", [None], "localhost"),
        ("a b", [], "localhost"),
    ],
)
def test_the_name_of_this_host(node: str, files: list[str | None], name: str, tmp_path: Path) -> None:
    for index, text in enumerate(files):
        if text is not None:
            (tmp_path / str(index)).write_text(text)
    assert host_name(node, [str(tmp_path / str(index)) for index in range(len(files))]) == name


def test_the_name_of_this_host_is_found_by_itself() -> None:
    assert host_name()


def test_without_home_the_password_database_knows_it() -> None:
    assert user_config({}).endswith("/.config/mailstrom/config.toml")
    assert os.path.isabs(user_config({}))
