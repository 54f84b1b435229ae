"""Tables of items, as shops export them: CSV and Parquet. A column is a field of the item, by its name or by a map.

What a cell says is typed by the field: `price` is a number, `regions` a list split by `|`. Cells of `attributes.NAME`
and of a shop's own columns say what they are: `42` is a number, `true` a truth value, `a|b` a list, all else text. An
empty cell is no value. A column `attributes.tags[]` holds a list in every cell. Parquet says its own types.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from functools import partial
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from contracts.errors import ImportFormatError, SettingsError
from contracts.events import shown
from contracts.items import Item
from eventlog.csv_rows import csv_rows
from eventlog.files import BrokenLine, OnError, OnItem, read_items
from eventlog.packed import PACKINGS, opened_text

CSV: Final = (".csv", ".tsv", ".txt")
PARQUET: Final = ".parquet"
SEPARATORS: Final = ",;\t|"
_ID: Final = "item_id"
_FIELDS: Final = (_ID, *Item.model_fields)
_LISTS: Final = frozenset({"regions", "image_vector"})
_TEXTS: Final = frozenset({"title", "description", "category", "brand", "supplier", "image_url"})
_NUMBER: Final = re.compile(r"-?(0|[1-9]\d{0,17})(\.\d{1,17})?")
_EUROPEAN: Final = re.compile(r"-?(\d+|\d{1,3}(\.\d{3})+)(,\d+)?")
_WORDS: Final = {"true": True, "false": False}
_AT_ONCE: Final = 1000
_LISTED: Final = "[]"
"""Ends the name of a column whose cells are lists, of one part too."""

Row = Mapping[str, object]


def column_map(pairs: Sequence[str]) -> dict[str, str]:
    """Return field by column from `price=Preis` and the like. Raises SettingsError."""
    columns: dict[str, str] = {}
    for pair in pairs:
        field, equals, column = (part.strip() for part in pair.partition("="))
        if not equals or not column:
            raise SettingsError(f"expected a field and its column, price=Preis, got {pair!r}")
        is_attribute = field.startswith("attributes.") and len(field) > len("attributes.")
        if field.removesuffix(_LISTED) not in _FIELDS and not is_attribute:
            raise SettingsError(f"expected one of {', '.join(_FIELDS)}, attributes.NAME before `=`, got {field!r}")
        if column in columns or field in columns.values():
            raise SettingsError(f"expected each field and each column once, got {pair!r} again")
        columns[column] = field
    return columns


@dataclass(frozen=True, slots=True)
class ItemTable:
    """An items file and how it is read: columns with their fields, and fields whose cells are lists."""

    path: Path
    columns: tuple[tuple[str, str], ...] = ()
    lists: tuple[str, ...] = ()

    def read(self) -> Iterator[tuple[str, Item]]:
        """Yield (item id, item). Raises as `read_any_items` does, ImportFormatError for the first broken row too."""
        return read_any_items(self.path, dict(self.columns), lists=self.lists, on_error=None)


def of_table(items: Path | ItemTable) -> ItemTable:
    """Return how a file is read whose columns, if it has any, are named as the fields."""
    return ItemTable(items) if isinstance(items, Path) else items


def read_any_items(
    path: Path,
    columns: Mapping[str, str],
    *,
    lists: Sequence[str] = (),
    on_error: OnError | None,
    on_item: OnItem | None = None,
) -> Iterator[tuple[str, Item]]:
    """Yield (item id, item) from an items file, a CSV or a Parquet file, by the end of its name.

    `columns` names fields by column where the names differ; `lists` are fields whose cells are lists split by `|`, of
    one part too. Broken rows are handed to `on_error` and left out; without it the first is raised. `on_item` is told
    each item's id and line. Raises ImportFormatError for a file that is no such table, SettingsError where Parquet
    cannot be read here.
    """
    broken = on_error or _raised
    plain = path.with_suffix("") if path.suffix in PACKINGS else path
    kind = plain.suffix.lower()
    if kind in CSV:
        yield from _items(path, _csv_rows(path, columns, lists, broken), broken, on_item)
    elif kind == PARQUET:
        if plain != path:
            raise ImportFormatError(f"{path}: Parquet is packed already, and cannot be read packed again: unpack it")
        yield from _items(path, _parquet_rows(path, columns, lists), broken, on_item)
    elif columns or lists:
        what = "a map is" if columns else "--list is"
        raise SettingsError(f"{path.name}: {what} for CSV and Parquet ({', '.join((*CSV, PARQUET))})")
    else:
        yield from read_items(path, on_error=on_error, on_item=on_item)


def _raised(broken: BrokenLine) -> None:
    raise ImportFormatError(str(broken))


def _items(
    path: Path, rows: Iterator[tuple[int, Row]], on_error: OnError, on_item: OnItem | None
) -> Iterator[tuple[str, Item]]:
    for line, row in rows:
        fields = dict(row)
        item_id = fields.pop(_ID, None)
        item_id = str(item_id) if isinstance(item_id, int) and not isinstance(item_id, bool) else item_id
        if not isinstance(item_id, str) or not 1 <= len(item_id) <= 256:
            problem = f"item_id: expected 1 to 256 characters, got {shown(item_id, 60)}"
            on_error(BrokenLine(path, line, "invalid", problem))
            continue
        try:
            item = Item.model_validate(fields)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            got = f", got {shown(first['input'], 60)}" if first["type"] != "missing" else ""
            detail = f"{'.'.join(map(str, first['loc']))}: {first['msg']}{got}"
            on_error(BrokenLine(path, line, "invalid", detail))
            continue
        if on_item is not None:
            on_item(item_id, line)
        yield item_id, item


def _csv_rows(
    path: Path, columns: Mapping[str, str], lists: Sequence[str], on_error: OnError
) -> Iterator[tuple[int, Row]]:
    with opened_text(path) as file:
        head = file.readline()
        separator = max(SEPARATORS, key=_outside_quotes(head).count)
        fields, listed = _fields_of(path, next(csv.reader([head], delimiter=separator), []), columns, lists)
        read = partial(_typed, european=separator == ";", lists=listed)
        for line, cells in csv_rows(path, file, separator, on_error, first=2):
            if not any(cells):
                continue
            if len(cells) > len(fields):
                problem = f"expected {len(fields)} cells, got {len(cells)}: quote a cell that holds {separator!r}"
                on_error(BrokenLine(path, line, "invalid", problem))
                continue
            yield line, _row(fields, [cell.strip() for cell in cells], read)


def _outside_quotes(head: str) -> str:
    return re.sub(r'"[^"]*"', "", head)


def _fields_of(
    path: Path, header: Sequence[str], columns: Mapping[str, str], lists: Sequence[str]
) -> tuple[list[str], frozenset[str]]:
    """Return the field of each column, and those fields whose cells are lists.

    Raises ImportFormatError without an id and a title, with a field twice, or for a list that is no column's.
    """
    names = [name.strip() for name in header]
    missing = [column for column in columns if column not in names]
    if missing:
        raise ImportFormatError(f"{path}: there is no column {missing[0]!r}; there are {', '.join(names)[:300]}")
    mapped = {field.removesuffix(_LISTED) for field in columns.values()}
    said = [columns.get(name, _by_name(name)) for name in names]
    fields = [field.removesuffix(_LISTED) for field in said]
    listed = {field.removesuffix(_LISTED) for field in (*lists, *said) if field in lists or field.endswith(_LISTED)}
    # a column of that name gives way to the one that was mapped
    fields = [
        "" if field in mapped and name not in columns else field for name, field in zip(names, fields, strict=True)
    ]
    for field in (_ID, "title"):
        if field not in fields:
            raise ImportFormatError(
                f"{path}: expected a column {field!r}, got {', '.join(names)[:300]}: name it by --map {field}=COLUMN"
            )
    twice = next((field for field in fields if field and fields.count(field) > 1), None)
    if twice is not None:
        raise ImportFormatError(f"{path}: expected each column once, got {twice!r} again")
    for field in sorted(listed):
        if field not in fields:
            raise ImportFormatError(
                f"{path}: --list {field}: no column is that field; there are {', '.join(fields)[:300]}"
            )
        if field in _FIELDS and field not in (*_LISTS, "attributes"):
            raise ImportFormatError(f"{path}: {field} is no list: expected attributes.NAME or a field of your own")
    return fields, _LISTS | listed


def _by_name(name: str) -> str:
    return name.lower() if name.lower().removesuffix(_LISTED) in _FIELDS else name


def _row(fields: Sequence[str], cells: Sequence[object], read: Callable[[str, Any], object]) -> dict[str, object]:
    """Return the fields of a row; what is empty is left out, `attributes.NAME` go into one document."""
    row: dict[str, object] = {}
    attributes: dict[str, object] = {}
    for field, cell in zip(fields, cells, strict=False):
        value = read(field, cell) if field and cell not in ("", None) else None
        if value is None:
            continue
        prefix, _, name = field.partition(".")
        if prefix == "attributes" and name:
            attributes[name] = value
        elif field == "attributes" and isinstance(value, dict):
            attributes = {**value, **attributes}
        else:
            row[field] = value
    return {**row, "attributes": attributes} if attributes else row


def _typed(field: str, cell: str, *, european: bool, lists: frozenset[str] = _LISTS) -> object:
    """Return what a CSV cell says. Numbers of a file with semicolons may have a decimal comma."""
    if field in lists:
        parts = [part.strip() for part in cell.split("|") if part.strip()]
        return [_vector_part(part) for part in parts] if field == "image_vector" else parts
    if field in ("price", "margin", "stock", "min_age"):
        return _point(cell) if european else cell
    if field in _FIELDS:
        return cell
    if "|" in cell:
        return [part.strip() for part in cell.split("|") if part.strip()]
    text = _point(cell) if european and "," in cell else cell
    if _NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    return _WORDS.get(cell.lower(), cell)


def _point(cell: str) -> str:
    return cell.replace(".", "").replace(",", ".") if "," in cell and _EUROPEAN.fullmatch(cell) else cell


def _vector_part(part: str) -> object:
    try:
        return float(part)
    except ValueError:
        return part  # for the item to refuse


def _parquet_rows(path: Path, columns: Mapping[str, str], lists: Sequence[str]) -> Iterator[tuple[int, Row]]:
    if find_spec("pyarrow") is None:
        raise SettingsError("reading Parquet needs pyarrow, which serving does without: install the `parquet` extra")
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            fields, listed = _fields_of(path, file.schema_arrow.names, columns, lists)
            read = partial(_plain, lists=listed)
            line = 0
            for batch in file.iter_batches(_AT_ONCE):
                for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    line += 1
                    yield line, _row(fields, cells, read)
    except (pyarrow.ArrowException, EOFError) as error:
        why = " ".join(str(error).split())[:200]
        raise ImportFormatError(f"{path}: expected a Parquet file that is whole, got another ({why})") from error


def _plain(field: str, value: object, *, lists: frozenset[str] = _LISTS) -> object:
    """Return a Parquet value as JSON has it; None for what is no value."""
    if field in _TEXTS and isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # ids of categories and the like
    if field in lists and isinstance(value, str):
        return _typed(field, value, european=False, lists=lists)
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, list):
        parts = [_plain("", part) for part in value]
        return parts if field == "image_vector" else [part for part in parts if part is not None]
    if isinstance(value, dict):
        return {
            name: part for name, part in ((name, _plain("", part)) for name, part in value.items()) if part is not None
        }
    if isinstance(value, bytes):
        return None
    return value
