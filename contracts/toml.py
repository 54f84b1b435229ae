"""TOML texts that may hold anything: the one place that parses one."""

from __future__ import annotations

import tomllib
from typing import Any


def toml_of(text: str) -> dict[str, Any]:
    """Return a document. Raises tomllib.TOMLDecodeError, also for one nested too deep to be read."""
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise tomllib.TOMLDecodeError("lists or tables nested too deep") from error
