"""Fields of items as expressions read them: columns of the catalogue, and columns of what documents hold.

Columns of document fields (`supplier`, `attributes.colour`) are made when a scenario looks at every item by them, and
kept up to date from then on. What a clause says of every item is kept as well, for searches under a filter. All of it
is bounded in bytes; what requests bring makes no column, and has little room of its own.
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
"""Room for what scenarios made of every item; what was used last is kept."""
PASSING_BYTES: Final = 8_000_000
"""Room for what filters of requests made of every item: anybody may send any number of them."""
COLUMN_BYTES: Final = 64_000_000
"""Room for columns of document fields; more in a catalogue that one scenario's would fill it with."""
_ROW_BYTES: Final = 240
KEPT_CHANGES: Final = 100_000
"""Changed rows that are remembered for those who look again; whoever is further behind looks at all rows."""
KEPT: Final = -1
UNKNOWN: Final = -1
_NO_CODE: Final = 0

_NUMBERS: Final = ("price", "margin", "stock", "min_age")
_OWN_TEXTS: Final = ("item_id", "title", "description", "image_url")
"""Texts that each item has one of its own of: nothing is gained by a column, so they are read of candidates alone."""
CHEAP: Final = frozenset({*_NUMBERS, "created", "category", "brand"})
"""Fields that are columns already: what a request may have looked up of every item."""

ITEM_FIELDS: Final[Mapping[str, Field]] = {
    one.name: one
    for one in (
        *(Field(name, Type.NUMBER, Scope.ITEM) for name in _NUMBERS),
        *(Field(name, Type.TEXT, Scope.CLOCK, (name,)) for name in _OWN_TEXTS),
        Field("supplier", Type.TEXT, Scope.ITEM, ("supplier",)),
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
    """What items must be for a search to find them: clauses that read items alone. Equal texts are equal masks.

    `passing`: of a request, not of a scenario.
    """

    text: str
    clauses: Sequence[Clause] = field(compare=False)
    passing: bool = False

    def derive(self, frame: ItemFrame) -> NDArray[np.int8]:
        """Return the first clause that is not true of each row, (n,); KEPT where all are."""
        failing = np.full(frame.size, KEPT, np.int8)
        for at in reversed(range(len(self.clauses))):
            failing[~self.clauses[at].keeps(frame)] = at
        return failing


class ItemFields:
    """Columns of document fields of one catalogue, and what expressions made of every item. For one thread, as the
    catalogue.

    The catalogue is an argument: it may be exchanged in place, and takes its fields along. A column looks at the rows
    that changed when it is next asked for, so a change costs the same however many columns there are.
    """

    def __init__(self) -> None:
        self._journal = _Journal()
        self._columns: dict[tuple[str, ...], _Column] = {}
        self._derived: dict[Derivation, _Derived] = {}
        self._passing: dict[Derivation, _Derived] = {}
        self._words: dict[str, list[object]] = {}

    def put(self, rows: NDArray[np.int32]) -> None:
        """Note rows that changed."""
        if self._columns or self._derived or self._passing:
            self._journal.add(rows)

    def column(
        self, catalogue: CatalogueColumns, wanted: Field, rows: Rows, now_ms: float, *, keeps_columns: bool = False
    ) -> Numbers | Words | Open:
        """Return what a field holds of rows (n,)."""
        name = wanted.name
        if wanted.path:
            return self._of_documents(catalogue, wanted, rows, keeps_columns=keeps_columns)
        if name in ("category", "brand"):
            return self._coded(catalogue, name, rows)
        if name == "age_hours":
            return Numbers(((now_ms - catalogue.created_ms[rows]) / HOUR_MS).astype(np.float64))
        values = getattr(catalogue, _COLUMN_OF.get(name, name))[rows]
        return Numbers(as_written(values) if values.dtype == np.float32 else values.astype(np.float64))

    def mask(self, catalogue: CatalogueColumns, wanted: ItemMask) -> Mask:
        """Return which of the catalogue's rows the clauses keep, (count,)."""
        kept: Mask = self.derived(catalogue, wanted) == KEPT
        return kept

    def derived(self, catalogue: CatalogueColumns, wanted: Derivation) -> Derived:
        """Return what is derived of all of the catalogue's rows, (count,); not to be written."""
        passing = isinstance(wanted, ItemMask) and wanted.passing
        held, room = (self._passing, PASSING_BYTES) if passing else (self._derived, DERIVED_BYTES)
        found = held.pop(wanted, None)
        if found is None:
            _make_room(held, room)
            found = _Derived(self._journal)
        held[wanted] = found  # the last one used stands last
        rows = found.behind(catalogue.count)
        if len(rows):
            found.write(rows, wanted.derive(ItemFrame(catalogue, rows, keeps_columns=True)), catalogue.count)
        return found.values[: catalogue.count]

    def _coded(self, catalogue: CatalogueColumns, name: str, rows: Rows) -> Words:
        vocabulary = catalogue.words.categories if name == "category" else catalogue.words.brands
        words = self._words.setdefault(name, [])
        if len(words) < len(vocabulary):
            words += islice(vocabulary, len(words), None)
        codes: Codes = getattr(catalogue, name)[rows]
        return Words(codes - (codes == _NO_CODE), words)

    def _of_documents(
        self, catalogue: CatalogueColumns, wanted: Field, rows: Rows, *, keeps_columns: bool
    ) -> Words | Open:
        """Return a document field of rows: from its column, which is made where `keeps_columns`, or row by row."""
        column = self._columns.pop(wanted.path, None)
        if column is None and keeps_columns and wanted.name not in _OWN_TEXTS:
            _make_room(self._columns, max(COLUMN_BYTES, _ROW_BYTES * catalogue.count))
            column = _Column(self._journal)
        if column is not None:
            self._columns[wanted.path] = column
            column.read(catalogue, wanted.path)
            at = rows
        else:
            column, at = _Column.of(catalogue, wanted.path, rows), np.arange(len(rows), dtype=np.int32)
        codes = column.codes[at]
        return Open(column.numbers[at], codes, column.words) if wanted.type is Type.ANY else Words(codes, column.words)


def as_written(values: NDArray[np.float32]) -> Float64s:
    """Return what 32-bit numbers (n,) were written as, by seven digits: 57.38, and not 57.38000106811523."""
    wide = values.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        digits = 6 - np.floor(np.log10(np.abs(wide)))
        scale = _POWERS[np.clip(np.nan_to_num(digits), 0, len(_POWERS) - 1).astype(np.intp)]
        rounded: Float64s = np.rint(wide * scale) / scale
    return rounded


_POWERS: Final = np.array([10.0**power for power in range(16)])
_COLUMN_OF: Final = {"created": "created_ms"}


class _Journal:
    """Rows that changed, in order, from number `first` on."""

    def __init__(self) -> None:
        self.first = 0
        self._rows: list[int] = []

    @property
    def end(self) -> int:
        return self.first + len(self._rows)

    def add(self, rows: Rows) -> None:
        self._rows += rows.tolist()
        if len(self._rows) > KEPT_CHANGES:
            gone = len(self._rows) - KEPT_CHANGES // 2
            self.first += gone
            del self._rows[:gone]

    def since(self, number: int) -> list[int] | None:
        """Return the rows that changed from a number on; None where that is no longer known."""
        return None if number < self.first else self._rows[number - self.first :]


class _Follows:
    """How far something has looked at the rows of a catalogue."""

    def __init__(self, journal: _Journal) -> None:
        self._journal, self._seen, self._rows = journal, journal.end, 0

    def behind(self, count: int) -> Rows:
        """Return the rows to look at again, each once; they count as looked at."""
        if self._seen == self._journal.end and self._rows == count:
            return _NO_ROWS
        changed, known = self._journal.since(self._seen), self._rows
        self._seen, self._rows = self._journal.end, count
        if changed is None:
            return np.arange(count, dtype=np.int32)
        again = [row for row in set(changed) if row < known]
        return np.concatenate([np.array(again, np.int32), np.arange(known, count, dtype=np.int32)])


_NO_ROWS: Final = np.zeros(0, np.int32)


class _Column(_Follows):
    """A field of documents: numbers, and every value as a code into distinct ones."""

    def __init__(self, journal: _Journal) -> None:
        super().__init__(journal)
        self.numbers: Float64s = np.zeros(0)
        self.codes: Codes = np.zeros(0, np.int32)
        self.words: list[object] = []
        self._code_of: dict[tuple[type, object], int] = {}

    @classmethod
    def of(cls, catalogue: CatalogueColumns, path: tuple[str, ...], rows: Rows) -> _Column:
        """Return the field of a few rows, which count from 0 in it."""
        column, value_of = cls(_Journal()), _reader(catalogue, path)
        column._grow(len(rows))
        for at, row in enumerate(rows.tolist()):
            column._put(at, value_of(row))
        return column

    @property
    def nbytes(self) -> int:
        """About how much memory it takes."""
        return self.numbers.nbytes + self.codes.nbytes + _WORD_BYTES * len(self.words)

    def read(self, catalogue: CatalogueColumns, path: tuple[str, ...]) -> None:
        """Look at what changed."""
        rows = self.behind(catalogue.count)
        if not len(rows):
            return
        self._grow(catalogue.count)
        value_of = _reader(catalogue, path)
        for row in rows.tolist():
            self._put(row, value_of(row))

    def _grow(self, rows: int) -> None:
        self.numbers = grown(self.numbers, rows, fill=np.nan)
        self.codes = grown(self.codes, rows, fill=UNKNOWN)

    def _put(self, row: int, value: object) -> None:
        self.numbers[row] = value if isinstance(value, float) else np.nan
        self.codes[row] = UNKNOWN if value is None else self._code(value)

    def _code(self, value: object) -> int:
        key = (type(value), value)  # True is not 1.0
        code = self._code_of.get(key)
        if code is None:
            code = self._code_of[key] = len(self.words)
            self.words.append(value)
        return code


_WORD_BYTES: Final = 200


class _Derived(_Follows):
    """What was derived of every row."""

    def __init__(self, journal: _Journal) -> None:
        super().__init__(journal)
        self.values: Derived = np.zeros(0)

    @property
    def nbytes(self) -> int:
        return self.values.nbytes

    def write(self, rows: Rows, values: Derived, count: int) -> None:
        if not len(self.values):
            self.values = self.values.astype(values.dtype)
        self.values = grown(self.values, count)
        self.values[rows] = values


def _make_room(held: dict[Any, Any], most_bytes: int) -> None:
    """Let go of what was used longest ago, until there is room for more."""
    size = sum(one.nbytes for one in held.values())
    while held and size > most_bytes:
        size -= held.pop(next(iter(held))).nbytes


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
    keeps_columns: bool = False
    """Whether columns are made of document fields: worth it where the rows are all there are."""

    @property
    def size(self) -> int:
        return len(self.rows)

    def column(self, field: Field) -> Numbers | Words | Open:
        fields = self.catalogue.fields
        return fields.column(self.catalogue, field, self.rows, self.now_ms, keeps_columns=self.keeps_columns)
