"""How every process logs: a line on stderr with its time, level, process and logger, and no secret in it."""

from __future__ import annotations

import logging

from contracts.masked import masked


class MaskedFormatter(logging.Formatter):
    """Hides the secrets of a record's text, traceback included."""

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


def log_as(process: str, level: int = logging.INFO) -> None:
    """Have what this process logs on stderr, unless something has been done about its logs already.

    `process` is what it is called: `gateway[4711]` begins its lines, with the process id.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(MaskedFormatter(f"%(asctime)s %(levelname)s {process}[%(process)d] %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
