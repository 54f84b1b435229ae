"""Fields of items as expressions read them: columns of the catalogue, and columns of what documents hold.

Columns of document fields (`supplier`, `attributes.colour`) are made when an expression first names them, and kept up
to date from then on. What a clause says of every item is kept as well, for searches under a filter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from expressions.columns import Codes, Float64s, Mask, Numbers, Open, Words
from expressions.program import Clause
from expressions.types import Field, Scope, Type
from retrieval.columns import grown
from retrieval.key_rows import Rows

if TYPE_CHECKING:
    from retrieval.catalogue import CatalogueColumns

HOUR_MS: Final = 3_600_000.0
MAX_MASKS: Final = 256
"""Filters of whose items it is remembered which they keep."""
UNKNOWN: Final = -1
_NO_CODE: Final = 0

_NUMBERS: Final = ("price", "margin", "stock", "min_age")
_DOCUMENT_TEXTS: Final = ("item_id", "title", "description", "supplier", "image_url")

ITEM_FIELDS: Final[Mapping[str, Field]] = {
    one.name: one
    for one in (
        *(Field(name, Type.NUMBER, Scope.ITEM) for name in _NUMBERS),
        *(Field(name, Type.TEXT, Scope.ITEM, (name,)) for name in _DOCUMENT_TEXTS),
        Field("category", Type.TEXT, Scope.ITEM),
        Field("brand", Type.TEXT, Scope.ITEM),
        Field("regions", Type.LIST, Scope.ITEM, ("regions",)),
        Field("created", Type.TIME, Scope.ITEM),
        Field("age_hours", Type.NUMBER, Scope.CLOCK),
    )
}
"""What is told of an item, by name; `attributes.NAME` beside them."""


@dataclass(eq=True, frozen=True)
class ItemMask:
    """What items must be for a search to find them: clauses that read items alone. Equal texts are equal masks."""

    text: str
    clauses: Sequence[Clause] = field(compare=False)


class ItemFields:
    """Columns of document fields of one catalogue, and masks of every item. For one thread, as the catalogue.

    The catalogue is an argument: it may be exchanged in place, and takes its fields along.
    """

    def __init__(self) -> None:
        self._columns: dict[tuple[str, ...], _Column] = {}
        self._masks: dict[ItemMask, _Kept] = {}
        self._words: dict[str, list[object]] = {}

    def put(self, rows: NDArray[np.int32], catalogue: CatalogueColumns) -> None:
        """Look again at rows that changed."""
        if not self._columns and not self._masks:
            return
        changed = rows.tolist()
        for path, column in self._columns.items():
            column.read(catalogue, path, changed)
        for kept in self._masks.values():
            kept.changed.update(changed)

    def column(self, catalogue: CatalogueColumns, wanted: Field, rows: Rows, now_ms: float) -> Numbers | Words | Open:
        """Return what a field holds of rows (n,)."""
        name = wanted.name
        if wanted.path:
            return self._of_documents(catalogue, wanted, rows)
        if name in ("category", "brand"):
            return self._coded(catalogue, name, rows)
        if name == "age_hours":
            return Numbers(((now_ms - catalogue.created_ms[rows]) / HOUR_MS).astype(np.float64))
        values: Float64s = getattr(catalogue, _COLUMN_OF.get(name, name))[rows].astype(np.float64)
        return Numbers(values)

    def mask(self, catalogue: CatalogueColumns, wanted: ItemMask) -> Mask:
        """Return which of the catalogue's rows the clauses keep, (count,); not to be written."""
        kept = self._masks.get(wanted)
        if kept is None:
            while len(self._masks) >= MAX_MASKS:
                del self._masks[next(iter(self._masks))]
            kept = self._masks[wanted] = _Kept()
        if len(kept.mask) < catalogue.count:
            kept.changed.update(range(len(kept.mask), catalogue.count))
            kept.mask = np.concatenate([kept.mask, np.zeros(catalogue.count - len(kept.mask), np.bool_)])
        if kept.changed:
            rows = np.fromiter(kept.changed, np.int32, len(kept.changed))
            kept.mask[rows] = keeps(catalogue, wanted, rows)
            kept.changed.clear()
        return kept.mask

    def _coded(self, catalogue: CatalogueColumns, name: str, rows: Rows) -> Words:
        vocabulary = catalogue.words.categories if name == "category" else catalogue.words.brands
        words = self._words.setdefault(name, [])
        if len(words) < len(vocabulary):
            words += islice(vocabulary, len(words), None)
        codes: Codes = getattr(catalogue, name)[rows]
        return Words(codes - (codes == _NO_CODE), words)

    def _of_documents(self, catalogue: CatalogueColumns, wanted: Field, rows: Rows) -> Words | Open:
        column = self._columns.get(wanted.path)
        if column is None:
            column = self._columns[wanted.path] = _Column()
        if column.rows < catalogue.count:
            column.read(catalogue, wanted.path, range(column.rows, catalogue.count))
        codes = column.codes[rows]
        if wanted.type is Type.ANY:
            return Open(column.numbers[rows], codes, column.words)
        return Words(codes, column.words)


_COLUMN_OF: Final = {"created": "created_ms"}


class _Column:
    """A field of documents: numbers, and every value as a code into distinct ones."""

    def __init__(self) -> None:
        self.rows = 0
        self.numbers: Float64s = np.zeros(0)
        self.codes: Codes = np.zeros(0, np.int32)
        self.words: list[object] = []
        self._code_of: dict[tuple[type, object], int] = {}

    def read(self, catalogue: CatalogueColumns, path: tuple[str, ...], rows: Sequence[int]) -> None:
        if not rows:
            return
        self.rows = max(self.rows, max(rows) + 1)
        self.numbers = grown(self.numbers, self.rows, fill=np.nan)
        self.codes = grown(self.codes, self.rows, fill=UNKNOWN)
        value_of = _reader(catalogue, path)
        for row in rows:
            value = value_of(row)
            self.numbers[row] = value if isinstance(value, float) else np.nan
            self.codes[row] = UNKNOWN if value is None else self._code(value)

    def _code(self, value: object) -> int:
        key = (type(value), value)  # True is not 1.0
        code = self._code_of.get(key)
        if code is None:
            code = self._code_of[key] = len(self.words)
            self.words.append(value)
        return code


class _Kept:
    """Which rows a filter keeps, and which have changed since that was seen."""

    def __init__(self) -> None:
        self.mask: Mask = np.zeros(0, np.bool_)
        self.changed: set[int] = set()


def _reader(catalogue: CatalogueColumns, path: tuple[str, ...]) -> Callable[[int], object]:
    if path == ("item_id",):
        return lambda row: catalogue.item_ids[row] or None
    if path[0] == "attributes":
        return lambda row: plain_value(inner(catalogue.documents[row].attributes, path[1:]))
    return lambda row: plain_value(getattr(catalogue.documents[row], path[0]))


def inner(document: object, path: Sequence[str]) -> object:
    """Return what a JSON document holds at a path, or under a name with dots in it; None for nothing."""
    for at, part in enumerate(path):
        if not isinstance(document, Mapping):
            return None
        whole = ".".join(path[at:])
        if whole in document:
            return document[whole]
        document = document.get(part)
    return document


def plain_value(value: Any) -> object:
    """Return a JSON value as expressions know it: numbers as floats, arrays as tuples of texts; an object is None."""
    if isinstance(value, bool | str | None):
        return value
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return None
    if isinstance(value, list | tuple):
        return tuple(part for part in value if isinstance(part, str))
    return None


@dataclass(frozen=True, slots=True)
class ItemFrame:
    """Rows (n,) of a catalogue, as an expression is evaluated over them."""

    catalogue: CatalogueColumns
    rows: Rows
    now_ms: float = 0.0

    @property
    def size(self) -> int:
        return len(self.rows)

    def column(self, field: Field) -> Numbers | Words | Open:
        return self.catalogue.fields.column(self.catalogue, field, self.rows, self.now_ms)


def keeps(catalogue: CatalogueColumns, wanted: ItemMask, rows: Rows) -> Mask:
    """Return which of rows (n,) the clauses keep."""
    frame, mask = ItemFrame(catalogue, rows), np.ones(len(rows), np.bool_)
    for clause in wanted.clauses:
        mask &= clause.keeps(frame)
    return mask
