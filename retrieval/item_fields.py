"""Fields of items as expressions read them: columns of the catalogue, and columns of what documents hold.

Columns of document fields (`supplier`, `attributes.colour`) are made when an expression first names them, and kept up
to date from then on. What a clause says of every item is kept as well, for searches under a filter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol

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
DERIVED_BYTES: Final = 64_000_000
"""Room for columns of what expressions made of every item; the ones that were used last are kept."""
KEPT: Final = -1
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


Derived = NDArray[Any]


class Derivation(Protocol):
    """A column that expressions make of items: equal ones are made once. Must be hashable."""

    def derive(self, frame: ItemFrame) -> Derived:
        """Return the values of the frame's rows (n,)."""


@dataclass(eq=True, frozen=True)
class ItemMask:
    """What items must be for a search to find them: clauses that read items alone. Equal texts are equal masks."""

    text: str
    clauses: Sequence[Clause] = field(compare=False)

    def derive(self, frame: ItemFrame) -> NDArray[np.int8]:
        """Return the first clause that is not true of each row, (n,); KEPT where all are."""
        failing = np.full(frame.size, KEPT, np.int8)
        for at in reversed(range(len(self.clauses))):
            failing[~self.clauses[at].keeps(frame)] = at
        return failing


class ItemFields:
    """Columns of document fields of one catalogue, and masks of every item. For one thread, as the catalogue.

    The catalogue is an argument: it may be exchanged in place, and takes its fields along.
    """

    def __init__(self) -> None:
        self._columns: dict[tuple[str, ...], _Column] = {}
        self._derived: dict[Derivation, _Derived] = {}
        self._words: dict[str, list[object]] = {}

    def put(self, rows: NDArray[np.int32], catalogue: CatalogueColumns) -> None:
        """Look again at rows that changed."""
        if not self._columns and not self._derived:
            return
        changed = rows.tolist()
        for path, column in self._columns.items():
            column.read(catalogue, path, changed)
        for derived in self._derived.values():
            derived.changed.update(changed)

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
        """Return which of the catalogue's rows the clauses keep, (count,)."""
        kept: Mask = self.derived(catalogue, wanted) == KEPT
        return kept

    def derived(self, catalogue: CatalogueColumns, wanted: Derivation) -> Derived:
        """Return what is derived of all of the catalogue's rows, (count,); not to be written."""
        found = self._derived.pop(wanted, None) or self._made_room()
        self._derived[wanted] = found  # the last one used stands last
        if found.rows < catalogue.count:
            found.changed.update(range(found.rows, catalogue.count))
        if found.changed:
            rows = np.fromiter(found.changed, np.int32, len(found.changed))
            found.write(rows, wanted.derive(ItemFrame(catalogue, rows)), catalogue.count)
        return found.values[: catalogue.count]

    def _made_room(self) -> _Derived:
        held = sum(one.values.nbytes for one in self._derived.values())
        while self._derived and held > DERIVED_BYTES:
            held -= self._derived.pop(next(iter(self._derived))).values.nbytes
        return _Derived()

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


class _Derived:
    """A derived column, and which rows have changed since they were derived."""

    def __init__(self) -> None:
        self.rows = 0
        self.values: Derived = np.zeros(0)
        self.changed: set[int] = set()

    def write(self, rows: Rows, values: Derived, count: int) -> None:
        if not self.rows:
            self.values = self.values.astype(values.dtype)
        self.values = grown(self.values, count)
        self.values[rows] = values
        self.rows = count
        self.changed.clear()


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
