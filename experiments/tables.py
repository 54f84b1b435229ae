"""Columns of a CSV or Parquet file as arrays: tables of units, logs of policies. Needs pyarrow (`experiments` extra).

A CSV may be packed (.gz, .zst), or lie in a zip: `archive.zip/folder/table.csv`. Only what is asked for is kept.
"""

from __future__ import annotations

import csv as plain_csv
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from contracts.errors import ImportFormatError, SettingsError
from eventlog.packed import PACKINGS, opened, opened_member
from experiments.moments import Floats

PARQUET: Final = ".parquet"
CSV: Final = (".csv", ".tsv", ".txt")
SEPARATORS: Final = ",;\t|"
LARGEST: Final = 1e15
"""What a number may be, either side of 0: fourth powers of it, over small sums, are still numbers."""
_LONGEST_HEADER: Final = 1 << 20
_NAMED: Final = 30
_COLUMN: Final = re.compile(r"In CSV column #(\d+)")


@dataclass(frozen=True, slots=True)
class Texts:
    """A column of words (n,): `codes` into `names`, which are in the order of their first row."""

    codes: NDArray[np.int64]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """What was asked for, by column. Numbers (n,) are finite, NaN where the cell is empty."""

    rows: int
    numbers: Mapping[str, Floats]
    texts: Mapping[str, Texts]


def names_in(path: Path) -> tuple[str, ...]:
    """Return the columns of a file. Raises ImportFormatError for a file that is no such table."""
    with _read_errors(path):
        if path.suffix.lower() == PARQUET:
            from pyarrow import parquet

            return tuple(parquet.read_schema(path).names)
        return _header(path)[0]


def read_table(path: Path, *, numbers: Sequence[str], texts: Sequence[str], either: Sequence[str] = ()) -> Table:
    """Read columns as numbers, others as words, and `either` as what they hold. Raises ImportFormatError: a column that
    is missing, a cell that is no number, an empty word, no rows.
    """
    expect_columns(path, names_in(path), (*numbers, *texts, *either))
    with _read_errors(path):
        reads = _read_parquet if path.suffix.lower() == PARQUET else _read_csv
        read, found = reads(path, numbers, texts, either)
    numbers = (*numbers, *(name for name in either if name in found))
    texts = (*texts, *(name for name in either if name not in found))
    if not read.num_rows:
        raise ImportFormatError(f"{path}: expected rows, got a header alone")
    return Table(
        read.num_rows,
        {name: _numbers(path, name, read.column(name)) for name in dict.fromkeys(numbers)},
        {name: _texts(path, name, read.column(name)) for name in dict.fromkeys(texts)},
    )


def expect_columns(path: Path, there: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise ImportFormatError for a wanted column that is not there, with those that are and the nearest."""
    missing = next((name for name in wanted if name not in there), None)
    if missing is None:
        return
    near = get_close_matches(missing, there, 1, 0.6)
    shown = ", ".join(there[:_NAMED]) + (f" and {len(there) - _NAMED} more" if len(there) > _NAMED else "")
    hint = f": did you mean {near[0]}?" if near else ""
    raise ImportFormatError(f"{path}: expected a column {missing!r}, got {shown}{hint}")


def _header(path: Path) -> tuple[tuple[str, ...], str]:
    with _opened(path) as file:
        line = file.readline(_LONGEST_HEADER).decode("utf-8-sig")
    separator = max(SEPARATORS, key=re.sub(r'"[^"]*"', "", line).count)
    names = tuple(next(plain_csv.reader([line.rstrip("\r\n")], delimiter=separator), []))
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ImportFormatError(f"{path}: expected each column once, got {twice!r} again")
    return names, separator


def _read_csv(
    path: Path, numbers: Sequence[str], texts: Sequence[str], either: Sequence[str]
) -> tuple[Any, frozenset[str]]:
    """Return what was read, and which of `either` are numbers."""
    import pyarrow
    from pyarrow import csv

    names, separator = _header(path)
    types = {**dict.fromkeys(numbers, pyarrow.float64()), **dict.fromkeys(texts, pyarrow.string())}
    kept = list(dict.fromkeys((*types, *either)))
    convert = csv.ConvertOptions(include_columns=kept, column_types=types, null_values=[""], strings_can_be_null=True)
    # one thread: its errors say the row
    reading = csv.ReadOptions(column_names=list(names), skip_rows=1, use_threads=False)
    with _opened(path) as file:
        parsing = csv.ParseOptions(delimiter=separator, newlines_in_values=True)
        try:
            return _by_kind(csv.read_csv(file, reading, parsing, convert), types, either)
        except pyarrow.ArrowInvalid as error:
            _refuse(path, _COLUMN.sub(lambda at: f"column {names[int(at[1])]!r}", str(error)))


def _read_parquet(
    path: Path, numbers: Sequence[str], texts: Sequence[str], either: Sequence[str]
) -> tuple[Any, frozenset[str]]:
    """Return what was read, and which of `either` are numbers."""
    import pyarrow
    from pyarrow import parquet

    read = parquet.read_table(path, columns=list(dict.fromkeys((*numbers, *texts, *either))))
    types = {**dict.fromkeys(numbers, pyarrow.float64()), **dict.fromkeys(texts, pyarrow.string())}
    return _by_kind(read, types, either)


def _by_kind(read: Any, types: Mapping[str, Any], either: Sequence[str]) -> tuple[Any, frozenset[str]]:
    import pyarrow
    from pyarrow import types as kinds

    found = {name: read.schema.field(name).type for name in either}
    numeric = {
        name
        for name, kind in found.items()
        if kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind)
    }
    wanted = {name: pyarrow.float64() if name in numeric else pyarrow.string() for name in either} | dict(types)
    return pyarrow.table({name: read.column(name).cast(kind) for name, kind in wanted.items()}), frozenset(numeric)


def _numbers(path: Path, name: str, column: Any) -> Floats:
    values = np.asarray(column.to_numpy(), dtype=np.float64)
    wrong = np.abs(values) > LARGEST
    if wrong.any():
        row = int(np.argmax(wrong)) + 1
        raise ImportFormatError(
            f"{path}: column {name!r}, row {row}: expected a finite number up to {LARGEST:g}, got {values[row - 1]:g}"
        )
    return values


def _texts(path: Path, name: str, column: Any) -> Texts:
    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy())) + 1
        raise ImportFormatError(f"{path}: column {name!r}, row {row}: expected a word, got an empty cell")
    coded = column.combine_chunks().dictionary_encode()
    return Texts(coded.indices.to_numpy().astype(np.int64), tuple(coded.dictionary.to_pylist()))


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    archive = next((above for above in path.parents if above.suffix.lower() == ".zip" and above.is_file()), None)
    if archive is not None:
        with ExitStack() as stack:
            try:
                member = stack.enter_context(opened_member(archive, path.relative_to(archive).as_posix()))
            except KeyError:
                raise ImportFormatError(f"{path}: there is no such file in the archive") from None
            yield member
        return
    plain = path.with_suffix("") if path.suffix in PACKINGS else path
    if plain.suffix.lower() not in CSV:
        raise ImportFormatError(f"{path}: expected a table, its name ending in {', '.join((*CSV, PARQUET))}")
    with opened(path) as file:
        yield file


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    """Say in one line what pyarrow cannot read."""
    if find_spec("pyarrow") is None:
        raise SettingsError("reading tables needs pyarrow: install the `experiments` extra, or `make training`")
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError, UnicodeDecodeError, plain_csv.Error) as error:
        _refuse(path, str(error))


def _refuse(path: Path, why: str) -> NoReturn:
    shown = " ".join(why.split())[:200]
    raise ImportFormatError(f"{path}: expected a whole table with numbers where they are due, got: {shown}")
