"""Fields of items as expressions read them: columns of the catalogue, and columns of what documents hold.

Columns of document fields (`supplier`, `attributes.colour`) are made when a scenario reads them, and kept up to date
from then on. What a clause says of every item is kept as well, for searches under a filter. `catch_up` makes both ahead
of requests, in slices. All of it is bounded in bytes; what requests bring makes no column, and has little room of its
own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from expressions.columns import Codes, Float64s, Mask, Numbers, Open, Words
from expressions.program import Clause
from expressions.types import Field, Scope, Type
from retrieval.item_columns import Column, Follows, Journal, Values
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
LEAST_ROWS: Final = 16
"""To look at one row of a column costs about as much as to look at so many."""
KEPT: Final = -1
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


Ahead = Derivation | Field
"""What can be made ahead of requests: a derivation, or the column of a document field."""


class ItemFields:
    """Columns of document fields of one catalogue, and what expressions made of every item. For one thread, as the
    catalogue.

    The catalogue is an argument: it may be exchanged in place, and takes its fields along. A column looks at the rows
    that changed when they are next asked for, so a change costs the same however many columns there are.
    """

    def __init__(self, room: int = DERIVED_BYTES) -> None:
        """`room`: bytes for what scenarios made of every item."""
        self._room = room
        self._journal = Journal()
        self._columns: dict[tuple[str, ...], Column] = {}
        self._derived: dict[Derivation, Values] = {}
        self._passing: dict[Derivation, Values] = {}
        self._words: dict[str, list[str]] = {}

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
        found = self._found(catalogue, wanted)
        if found.behind:
            self._derive(catalogue, wanted, found.next_behind(catalogue.count))
        return found.values[: catalogue.count]

    def catch_up(self, catalogue: CatalogueColumns, wanted: Sequence[Ahead], most_rows: int) -> int:
        """Look at `most_rows` rows at most for columns that `derived` and `column` are to be asked for, of which each
        counts as LEAST_ROWS at least. Returns how many are left to look at, over all of them.

        What does not fit into the room together is never done: whoever asks again until nothing is left must stop
        some time.
        """
        left = 0
        for one in wanted:
            found = self._kept(catalogue, one) if isinstance(one, Field) else self._found(catalogue, one)
            found.hear(catalogue.count)
            if found.behind and most_rows > 0:
                rows = found.next_behind(most_rows)
                most_rows -= max(len(rows), LEAST_ROWS)
                if isinstance(one, Field):
                    self.column(catalogue, one, rows, 0.0, keeps_columns=True)
                else:
                    self._derive(catalogue, one, rows)
            left += found.behind
        return left

    def follower(self) -> Follows:
        """Return what follows the catalogue's changes as columns do, from all rows on. Once a column is kept."""
        return Follows(self._journal)

    @property
    def is_full(self) -> bool:
        """Whether half of the room for what scenarios read of every item is taken."""
        return 2 * sum(one.nbytes for one in self._derived.values()) > self._room

    def _found(self, catalogue: CatalogueColumns, wanted: Derivation) -> Values:
        passing = isinstance(wanted, ItemMask) and wanted.passing
        held, room = (self._passing, PASSING_BYTES) if passing else (self._derived, self._room)
        found = held.pop(wanted, None)
        if found is None:
            _make_room(held, room)
            found = Values(self._journal)
        held[wanted] = found  # the last one used stands last
        found.hear(catalogue.count)
        return found

    def _derive(self, catalogue: CatalogueColumns, wanted: Derivation, rows: Rows) -> None:
        found = self._found(catalogue, wanted)
        found.write(rows, wanted.derive(ItemFrame(catalogue, rows, keeps_columns=True)), catalogue.count)

    def categories(self, catalogue: CatalogueColumns) -> list[str]:
        """Return the category paths by their codes; not to be written."""
        return self._by_code(catalogue.words.categories, "category")

    def _by_code(self, vocabulary: Mapping[str, int], name: str) -> list[str]:
        words = self._words.setdefault(name, [])
        if len(words) < len(vocabulary):
            words += islice(vocabulary, len(words), None)
        return words

    def _coded(self, catalogue: CatalogueColumns, name: str, rows: Rows) -> Words:
        vocabulary = catalogue.words.categories if name == "category" else catalogue.words.brands
        words = self._by_code(vocabulary, name)
        codes: Codes = getattr(catalogue, name)[rows]
        return Words(codes - (codes == _NO_CODE), words)

    def _of_documents(
        self, catalogue: CatalogueColumns, wanted: Field, rows: Rows, *, keeps_columns: bool
    ) -> Words | Open:
        """Return a document field of rows: from its column, which is made where `keeps_columns`, or row by row."""
        keeps_columns = keeps_columns and wanted.name not in _OWN_TEXTS
        if keeps_columns or wanted.path in self._columns:
            column, at = self._kept(catalogue, wanted), rows
            column.read(catalogue, wanted.path, rows)
        else:
            column, at = Column.of(catalogue, wanted.path, rows), np.arange(len(rows), dtype=np.int32)
        codes = column.codes[at]
        return Open(column.numbers[at], codes, column.words) if wanted.type is Type.ANY else Words(codes, column.words)

    def _kept(self, catalogue: CatalogueColumns, wanted: Field) -> Column:
        """Return the column of a document field, which stands last from then on."""
        column = self._columns.pop(wanted.path, None)
        if column is None or column.is_worn:
            _make_room(self._columns, max(COLUMN_BYTES, _ROW_BYTES * catalogue.count))
            column = Column(self._journal)
        self._columns[wanted.path] = column
        return column


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


def _make_room(held: dict[Any, Any], most_bytes: int) -> None:
    """Let go of what was used longest ago, until there is room for more."""
    size = sum(one.nbytes for one in held.values())
    while held and size > most_bytes:
        size -= held.pop(next(iter(held))).nbytes


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
