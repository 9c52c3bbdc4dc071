"""A list of messages shared out among processes: what one of them meets is told by the first."""

from __future__ import annotations

import errno
import os

import pytest

from mailstrom_cli.cli.share import Share
from mailstrom_cli.errors import TEMPORARY, MailstromError


def test_an_error_of_the_disk_is_told_once_and_as_such(capfd: pytest.CaptureFixture[str]) -> None:
    def fails() -> list[object]:
        raise OSError(errno.EIO, os.strerror(errno.EIO), "spool/format")

    with pytest.raises(MailstromError, match=r"^spool/format: Input/output error$") as told:
        Share(fails).outcomes()  # type: ignore[arg-type]
    assert told.value.exit_code == TEMPORARY
    assert capfd.readouterr() == ("", "")
