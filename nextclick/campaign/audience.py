"""Audiences as files: CSV, JSON lines and Parquet with a `user_id`, and lists of users to leave out."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import orjson

from campaigns.recipients import COLUMNS, LONGEST, Recipient, Skip, recipient_of
from contracts.errors import ImportFormatError, SettingsError
from eventlog.csv_rows import csv_rows
from eventlog.files import BrokenLine
from eventlog.packed import PACKINGS, opened, opened_text

_CSV: Final = (".csv", ".tsv")
_LINES: Final = (".jsonl", ".ndjson")
_PARQUET: Final = ".parquet"
_PLAIN: Final = ".txt"
_SEPARATORS: Final = ",;\t|"
_LONGEST_LINE: Final = 1 << 20
_AT_ONCE: Final = 10_000
KINDS: Final = "CSV, TSV, JSON lines (.jsonl, .ndjson), each also packed (.gz, .zst); Parquet"

Told = Callable[[str], None]
Row = Mapping[str, object]


def recipients_in(path: Path, told: Told) -> Iterator[Recipient | Skip]:
    """Yield the recipients of a file in its order; for a row that is none, that it is not, and `told` hears why.

    Raises ImportFormatError for a file that is no such table, SettingsError where Parquet cannot be read here.
    """
    for line, row in _rows(path):
        try:
            if not isinstance(row, Mapping):
                raise ValueError(row)
            yield recipient_of(row)
        except ValueError as error:
            told(f"{path.name}, row {line:,}: {error}")
            yield Skip.INVALID


def users_in(path: Path) -> Iterator[str]:
    """Yield the users of a suppression list: of a table its column `user_id`, of a .txt a user a line.

    Raises ImportFormatError for a row that names none: a list that cannot be read must leave nobody in.
    """
    if _kind(path) == _PLAIN:
        with opened_text(path) as file:
            for line in file:
                if user := line.strip():
                    yield user
        return

    def broken(text: str) -> None:
        raise ImportFormatError(f"{text}: a suppression list must be whole, so nothing was begun")

    for one in recipients_in(path, broken):
        assert isinstance(one, Recipient)
        yield one.user_id


def expect_readable(path: Path) -> None:
    """Raise SettingsError for a file that is not there, or of no kind that is read."""
    if not path.is_file():
        raise SettingsError(f"{path}: expected a file of users, there is none (a filter of users goes into --where)")
    if _kind(path) not in (*_CSV, *_LINES, _PARQUET, _PLAIN):
        raise SettingsError(f"{path}: expected {KINDS}, got the ending {path.suffix!r}")
    if _kind(path) == _PARQUET and find_spec("pyarrow") is None:
        raise SettingsError("reading Parquet needs pyarrow: install the `parquet` extra")


def _kind(path: Path) -> str:
    return (path.with_suffix("") if path.suffix in PACKINGS else path).suffix.lower()


def _rows(path: Path) -> Iterator[tuple[int, Row | str]]:
    """Yield (row number from 1, row); a text in place of a row that cannot be read."""
    kind = _kind(path)
    if kind in _LINES:
        return _json_rows(path)
    return _parquet_rows(path) if kind == _PARQUET else _csv_rows(path)


def _json_rows(path: Path) -> Iterator[tuple[int, Row | str]]:
    with opened(path) as file:
        number = 0
        while line := file.readline(_LONGEST_LINE):
            number += 1
            if len(line) == _LONGEST_LINE:
                raise ImportFormatError(f"{path}, line {number:,}: expected at most {_LONGEST_LINE:,} bytes")
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except ValueError as error:
                row = f"expected a JSON object ({error})"
            yield number, row if isinstance(row, dict | str) else "expected a JSON object"


def _csv_rows(path: Path) -> Iterator[tuple[int, Row | str]]:
    broken: list[BrokenLine] = []
    with opened_text(path) as file:
        head = file.readline()
        separator = max(_SEPARATORS, key=head.count)
        names = [name.strip().lower() for name in next(csv.reader([head], delimiter=separator), [])]
        _expect_columns(path, names)
        for line, cells in csv_rows(path, file, separator, broken.append, first=2):
            if any(cells):
                yield line, dict(zip(names, (cell.strip() for cell in cells), strict=False))
            while broken:
                one = broken.pop()
                yield one.line, one.detail
    for one in broken:
        yield one.line, one.detail


def _parquet_rows(path: Path) -> Iterator[tuple[int, Row | str]]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            names = [name for name in file.schema_arrow.names if name in COLUMNS]
            _expect_columns(path, names)
            number = 0
            for batch in file.iter_batches(_AT_ONCE, columns=names):
                for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    number += 1
                    yield number, dict(zip(names, cells, strict=True))
    except (pyarrow.ArrowException, EOFError) as error:
        why = " ".join(str(error).split())[:200]
        raise ImportFormatError(f"{path}: expected a Parquet file that is whole, got another ({why})") from error


def _expect_columns(path: Path, names: list[str]) -> None:
    if "user_id" not in names:
        raise ImportFormatError(f"{path}: expected a column `user_id`, got {', '.join(names)[:300] or 'none'}")
    twice: Any = next((name for name in names if names.count(name) > 1 and name in COLUMNS), None)
    if twice is not None:
        raise ImportFormatError(f"{path}: expected each column once, got {twice!r} again")


def stored_users(user_ids: Iterator[str]) -> Iterator[Recipient]:
    """Yield the users who have a document, each once, in the order of their ids."""
    yield from (Recipient(user_id) for user_id in sorted(set(user_ids)) if 0 < len(user_id) <= LONGEST)
