"""Rows of a CSV file with the line that each begins in; a quote that never closes is an error, not a very long cell."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from contracts.errors import ImportFormatError
from eventlog.files import BrokenLine, OnError

MOST_LINES: Final = 1000
"""Lines of one row: what is longer has a quote that does not close."""


def csv_rows(
    path: Path, lines: Iterable[str], separator: str, on_error: OnError, *, first: int = 1
) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of the rows of a CSV; the first of the lines is line `first` of the file.

    Raises ImportFormatError with the line in which a quote opened that does not close where a cell ends: all rows
    behind it would be one cell. Other rows that cannot be read are handed to `on_error`.
    """
    of_row = _OfRow(path, lines)
    rows = csv.reader(of_row, delimiter=separator)
    while True:
        line = rows.line_num + first
        of_row.begin(line)
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            if len(of_row.lines) > 1:
                raise of_row.unclosed(f"has no end ({error})") from error
            on_error(BrokenLine(path, line, "not_csv", str(error)))
            continue
        of_row.expect_closed(separator)
        yield line, cells


class _OfRow:
    """Hands lines on, and remembers those of the row that is being read. Mutable."""

    def __init__(self, path: Path, lines: Iterable[str]) -> None:
        self._path, self._from, self._began = path, iter(lines), 0
        self._ended = False
        self.lines: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self.lines) == MOST_LINES:
            raise self.unclosed(f"is not closed within {MOST_LINES:,} lines")
        line = next(self._from, None)
        if line is None:
            self._ended = True
            raise StopIteration
        self.lines.append(line)
        return line

    def begin(self, line: int) -> None:
        self.lines, self._began = [], line

    def expect_closed(self, separator: str) -> None:
        """Raise ImportFormatError unless the row ended with its cells. The reader itself takes what comes."""
        if self._ended:  # it looked for more
            raise self.unclosed("is not closed before the end of the file")
        if len(self.lines) < 2:
            return
        try:
            list(csv.reader(self.lines, delimiter=separator, strict=True))
        except csv.Error:
            where = f"closes in line {self._began + len(self.lines) - 1} where no cell ends"
            raise self.unclosed(where, self.lines[:-1]) from None

    def unclosed(self, what: str, lines: list[str] | None = None) -> ImportFormatError:
        held = self.lines if lines is None else lines
        opened = max((at for at, line in enumerate(held) if not at or '"' in line.replace('""', "")), default=0)
        return ImportFormatError(
            f"{self._path}: line {self._began + opened}: the quote that opens here {what}: close it, or write a quote "
            'within a cell twice ("")'
        )
