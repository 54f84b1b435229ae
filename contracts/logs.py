"""How every process logs: a line on stderr with its time, level, process and logger, and no secret in it; or, by
setting, the same as one JSON object a line.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from contracts.errors import SettingsError
from contracts.masked import masked
from contracts.observed import LogsOptions
from contracts.read_settings import ReadSettings

REQUEST_ID: Final[ContextVar[str]] = ContextVar("request_id", default="")
"""The request that this task answers, where logs are JSON or requests are traced; else empty."""
TRACE: Final[ContextVar[tuple[str, str]]] = ContextVar("trace", default=("", ""))
"""The trace and the span that this task is in, as hex digits; empty where it is in none."""


class _LogSettings(ReadSettings):
    """What of the settings is read before all of them are: how to say what is wrong with those."""

    logs: LogsOptions = LogsOptions()


class MaskedFormatter(logging.Formatter):
    """Hides the secrets of a record's text, traceback included."""

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time` (RFC 3339, UTC), `level`, `process`, `pid`, `logger`, `message`; `error`, a
    traceback, and `request_id`, `trace_id` and `span_id` where there are any.
    """

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "process": self._process,
            "pid": record.process,
            "logger": record.name,
            "message": masked(record.getMessage()),
        }
        if record.exc_info:
            said["error"] = masked(self.formatException(record.exc_info))
        trace_id, span_id = TRACE.get()
        for name, value in (("request_id", REQUEST_ID.get()), ("trace_id", trace_id), ("span_id", span_id)):
            if value:
                said[name] = value
        return _encoded(said)


def log_as(process: str, level: int = logging.INFO) -> None:
    """Have what this process logs on stderr, unless something has been done about its logs already.

    `process` is what it is called: `gateway[4711]` begins its lines, with the process id.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_formatter(process))
    logging.basicConfig(level=level, handlers=[handler])


def _formatter(process: str) -> logging.Formatter:
    try:
        as_json = _LogSettings().logs.format == "json"
    except SettingsError:  # the service says what is wrong, in a line for people
        as_json = False
    if as_json:
        return JsonFormatter(process)
    return MaskedFormatter(f"%(asctime)s %(levelname)s {process}[%(process)d] %(name)s: %(message)s")


def _encoded(said: dict[str, Any]) -> str:
    try:
        return orjson.dumps(said).decode()
    except TypeError:  # half a surrogate pair, out of what somebody sent
        plain = {
            name: value.encode(errors="replace").decode() if isinstance(value, str) else value
            for name, value in said.items()
        }
        return orjson.dumps(plain).decode()
