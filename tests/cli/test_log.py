"""The log of `run` and `flush`."""

from __future__ import annotations

import io
import logging
import ssl

import pytest

from mailstrom_cli.cli import log
from mailstrom_cli.config.schema import Log
from mailstrom_cli.errors import exhausted


def without_memory(record: logging.LogRecord) -> str:
    raise MemoryError


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_line_for_which_there_is_no_memory_is_no_traceback(format: str, monkeypatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr("sys.stderr", stderr)
    monkeypatch.setattr(log, "_time", without_memory)
    monkeypatch.setattr(logging.getLogger("mailstrom"), "handlers", [])
    log.start(Log(format=format))
    logging.getLogger("mailstrom").error("what is not told")
    assert stderr.getvalue() == "error: a line of the log could not be written\n"


def test_memory_that_openssl_lacks_is_no_bug() -> None:
    assert exhausted(ssl.SSLError("[CRYPTO] malloc failure (_ssl.c:3098)")) == "out of memory"
    assert exhausted(ssl.SSLError("[SSL: WRONG_VERSION_NUMBER] wrong version number")) is None


def test_what_stands_in_for_a_library_that_could_not_be_loaded() -> None:
    with pytest.raises(ImportError) as raised:
        try:
            raise ImportError("_sha512.so: failed to map segment from shared object")
        except ImportError:
            raise ImportError("cannot import name 'sha512' from 'hashlib'")  # noqa: B904  (as in random.py)
    assert "failed to map segment" in (exhausted(raised.value) or "")
    assert exhausted(ImportError("cannot import name 'x'")) is None
