"""Picks as files: JSON lines with a user a line; CSV and Parquet with a row an item."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import orjson

from campaigns.picks import OF_ITEM, OF_USER, columns_of, rows_of
from contracts.errors import SettingsError
from contracts.outputs import FileKind, lines_kind, text_kind, written_aside

_NUMBERS: Final = frozenset({"price", "margin", "stock", "min_age", "score"})
_WHOLE: Final = frozenset({"at_ms", "version", "position"})
_MARK: Final = b"nextclick.picks"
_ROWS: Final = 50_000
"""Of a row group: what memory holds."""

Write = Callable[[Sequence[bytes]], None]
"""Takes picks as JSON, in their order."""


def _is_parquet(path: Path) -> bool:
    if find_spec("pyarrow") is None:
        return False
    import pyarrow
    from pyarrow import parquet

    try:
        return _MARK in (parquet.read_schema(path).metadata or {})
    except (pyarrow.ArrowException, OSError):
        return False


KINDS: Final[dict[str, FileKind]] = {
    ".jsonl": lines_kind("picks of a campaign", lambda first: {"campaign", "request_id", "items"} <= set(first)),
    ".csv": text_kind("picks of a campaign", ",".join(columns_of(()))),
    ".parquet": FileKind("picks of a campaign", _is_parquet),
}


def kind_of(out: Path) -> FileKind:
    """Return what kind of file an output is, by its ending. Raises SettingsError for another."""
    kind = KINDS.get(out.suffix.lower())
    if kind is None:
        raise SettingsError(f"{out}: expected an output that ends in {', '.join(KINDS)}, got {out.suffix!r}")
    if out.suffix.lower() == ".parquet" and find_spec("pyarrow") is None:
        raise SettingsError("writing Parquet needs pyarrow: install the `parquet` extra, or name a .jsonl or .csv")
    return kind


@contextmanager
def written(out: Path, fields: Sequence[str]) -> Iterator[Write]:
    """Write picks aside, and in their place at the end. The same picks are the same bytes."""
    with written_aside(out, kind_of(out)) as aside:
        writers = {".jsonl": _lines, ".csv": _csv, ".parquet": _parquet}
        with writers[out.suffix.lower()](aside, fields) as write:
            yield write


@contextmanager
def _lines(aside: Path, fields: Sequence[str]) -> Iterator[Write]:
    with aside.open("wb") as file:

        def write(picks: Sequence[bytes]) -> None:
            file.writelines(line + b"\n" for line in picks)

        yield write


@contextmanager
def _csv(aside: Path, fields: Sequence[str]) -> Iterator[Write]:
    with aside.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(columns_of(fields))

        def write(picks: Sequence[bytes]) -> None:
            for pick in picks:
                for row in rows_of(orjson.loads(pick), fields):
                    rows.writerow([_text(cell) for cell in row])

        yield write


@contextmanager
def _parquet(aside: Path, fields: Sequence[str]) -> Iterator[Write]:
    import pyarrow
    from pyarrow import parquet

    names = columns_of(fields)
    schema = pyarrow.schema([(name, _arrow(name)) for name in names], metadata={_MARK: b"1"})
    waiting: list[list[Any]] = []
    with parquet.ParquetWriter(aside, schema, compression="zstd") as writer:

        def flush() -> None:
            columns = [[_typed(name, row[at]) for row in waiting] for at, name in enumerate(names)]
            arrays = [pyarrow.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
            waiting.clear()

        def write(picks: Sequence[bytes]) -> None:
            for pick in picks:
                waiting.extend(rows_of(orjson.loads(pick), fields))
            if len(waiting) >= _ROWS:
                flush()

        yield write
        if waiting:
            flush()


def _arrow(name: str) -> Any:
    import pyarrow

    if name in _WHOLE:
        return pyarrow.int64()
    return pyarrow.float64() if name in _NUMBERS else pyarrow.string()


def _typed(name: str, value: object) -> object:
    if name in _WHOLE and name in (*OF_USER, *OF_ITEM):
        return value
    if name in _NUMBERS:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    return _text(value)


def _text(value: object) -> object:
    """Return a cell: texts and numbers as they are, whatever has parts as JSON; None for nothing."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    return orjson.dumps(value).decode()
