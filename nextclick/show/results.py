"""Results of an evaluation as JSON: with the machine that made them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from contracts.outputs import FileKind, write_output
from evaluation.machine import describe_machine


def write_result(path: Path, result: Mapping[str, Any], kind: FileKind) -> None:
    """Write a result with the machine that made it."""
    document = {"machine": str(describe_machine()), **result}
    options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY
    write_output(path, orjson.dumps(document, default=_plain, option=options) + b"\n", kind)


def _plain(value: Any) -> Any:
    """Return a named tuple by its names."""
    return value._asdict()
