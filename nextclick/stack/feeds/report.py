"""What was wrong in a pull, line by line: the first faults of it, in a file of bounded size."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Final, Self

import orjson

from connect.feeds.rows import Fault

LONGEST: Final = 500
"""Characters of one fault's words."""


class Report:
    """Writes the faults of one pull; the file of the pull before stays until this one ends well (`keep`)."""

    def __init__(self, path: Path, most: int) -> None:
        self._path, self._most = path, most
        self._aside = path.with_name(f".{path.name}.{os.getpid()}")
        self._file: IO[bytes] = os.fdopen(os.open(self._aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
        self.written = self.left_out = self.noted = self.repeated = 0

    def say(self, fault: Fault, page: int = 1) -> None:
        """Count a fault, and write it unless enough were written."""
        if fault.left_out:
            self.left_out += 1
        else:
            self.noted += 1
        if self.written < self._most:
            self.written += 1
            self._file.write(_line(fault, page))

    def repeat(self, item_id: str, line: int, page: int) -> None:
        self.repeated += 1
        self.say(Fault(line, "this id came before: the later line counts", item_id, left_out=False), page)

    def keep(self) -> None:
        """Have it take the place of the one before."""
        self._file.close()
        os.replace(self._aside, self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._file.close()
        self._aside.unlink(missing_ok=True)


def say_also(path: Path, faults: list[Fault], most: int) -> None:
    """Add what the gateway refused to a report, within its bound."""
    if not faults:
        return
    held = len(read_report(path, most))
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
        file.writelines(_line(fault, 1) for fault in faults[: max(0, most - held)])


def read_report(path: Path, most: int) -> list[dict[str, object]]:
    """Return the first faults of a report; none where there is no report."""
    found: list[dict[str, object]] = []
    try:
        with path.open("rb") as file:
            for raw in file:
                if len(found) >= most:
                    break
                found.append(orjson.loads(raw))
    except (FileNotFoundError, ValueError):  # cut by a full disk
        return found
    return found


def _line(fault: Fault, page: int) -> bytes:
    said = {"line": fault.line, "reason": fault.reason[:LONGEST], "left_out": fault.left_out}
    if page > 1:
        said["page"] = page
    if fault.item_id is not None:
        said["item_id"] = fault.item_id[:256]
    return orjson.dumps(said, option=orjson.OPT_APPEND_NEWLINE)
