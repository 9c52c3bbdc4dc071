"""The log of `run` and `flush`: lines on stderr, as text or as one JSON object each."""

from __future__ import annotations

import json
import logging
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from mailstrom_cli.cli.report import one_line

if TYPE_CHECKING:
    from mailstrom_cli.config.schema import Log

LINE = 4000


class _Text(logging.Formatter):
    """`TIME LEVEL text`, one line; a traceback follows indented, so that nothing in it passes for a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname.lower()}: {one_line(record.getMessage(), LINE)}"
        return "\n    ".join([line, *_traceback(record)])


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {"time": _time(record), "level": record.levelname.lower(), "text": record.getMessage()}
        if trace := _traceback(record):
            fields["traceback"] = "\n".join(trace)
        return json.dumps(fields)


def _time(record: logging.LogRecord) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{whole}.{int(record.msecs):03d}Z"


def _traceback(record: logging.LogRecord) -> list[str]:
    if record.exc_info is None:
        return []
    return [one_line(line, LINE) for line in logging.Formatter().formatException(record.exc_info).split("\n")]


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:
        """What keeps a line from being written, which is that memory or stderr is gone, is told if it can be,
        and without a traceback of Python's."""
        with suppress(OSError, ValueError, MemoryError):
            self.stream.write("error: a line of the log could not be written\n")


def start(settings: Log, level: str | None = None) -> None:
    """Log to stderr in the format of the settings. level: instead of theirs."""
    handler = _Handler(sys.stderr)
    handler.setFormatter(_Json() if settings.format == "json" else _Text())
    log = logging.getLogger("mailstrom")
    log.handlers[:] = [handler]
    log.setLevel((level or settings.level).upper())
