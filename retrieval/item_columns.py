"""Columns over all items of a catalogue that follow its changes, a few rows at a time.

A column knows which rows it has not looked at since they changed. Whoever reads some rows looks at these alone; looking
at all of them ahead is done in slices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from expressions.columns import Codes, Float64s
from retrieval.columns import grown
from retrieval.key_rows import Rows

if TYPE_CHECKING:
    from retrieval.catalogue import CatalogueColumns

KEPT_CHANGES: Final = 100_000
"""Changed rows that are remembered for those who look again; whoever is further behind looks at all rows."""
UNKNOWN: Final = -1
_WORD_BYTES: Final = 200
_WORN_BYTES: Final = 2_000_000
_NO_ROWS: Final = np.zeros(0, np.int32)


class Journal:
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


class Follows:
    """Which rows of a catalogue something has not looked at since they changed."""

    def __init__(self, journal: Journal) -> None:
        self._journal, self._seen, self._rows = journal, journal.end, 0
        self._stale: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.behind = 0
        """Rows to look at."""

    def hear(self, count: int) -> None:
        """Note what changed, in a catalogue of so many rows."""
        if self._seen == self._journal.end and self._rows == count:
            return
        self._stale = grown(self._stale, count, fill=True)
        changed = self._journal.since(self._seen)
        if changed is None:
            self._stale[:count] = True
        elif changed:
            self._stale[changed] = True
        self._seen, self._rows = self._journal.end, count
        self.behind = int(np.count_nonzero(self._stale[:count]))

    def note(self, rows: Rows) -> None:
        """Note rows that are to be looked at again for another reason than a change of the catalogue's."""
        self._stale[rows] = True
        self.behind = int(np.count_nonzero(self._stale[: self._rows]))

    def next_behind(self, most: int) -> Rows:
        """Return the first rows to look at, so many at most."""
        if not self.behind:
            return _NO_ROWS
        return np.flatnonzero(self._stale[: self._rows])[:most].astype(np.int32)

    def behind_of(self, rows: Rows) -> Rows:
        """Return which of rows (n,) are to be looked at, each once."""
        if not self.behind:
            return _NO_ROWS
        return np.unique(rows[self._stale[rows]])

    def looked_at(self, rows: Rows) -> None:
        """Say that rows, each once, were looked at."""
        self._stale[rows] = False
        self.behind -= len(rows)


class Column(Follows):
    """A field of documents: numbers, and every value as a code into distinct ones."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(journal)
        self.numbers: Float64s = np.zeros(0)
        self.codes: Codes = np.zeros(0, np.int32)
        self.words: list[object] = []
        self._code_of: dict[tuple[type, object], int] = {}
        self._uses: list[int] = []
        self._bytes = self._idle_bytes = 0

    @classmethod
    def of(cls, catalogue: CatalogueColumns, path: tuple[str, ...], rows: Rows) -> Column:
        """Return the field of a few rows, which count from 0 in it."""
        column, value_of = cls(Journal()), _reader(catalogue, path)
        column._grow(len(rows))
        for at, row in enumerate(rows.tolist()):
            column._put(at, value_of(row))
        return column

    @property
    def nbytes(self) -> int:
        """About how much memory it takes."""
        return self.numbers.nbytes + self.codes.nbytes + self._bytes

    @property
    def is_worn(self) -> bool:
        """Whether much of its memory is values that no item has any more: it is to be made anew."""
        return self._idle_bytes > _WORN_BYTES and 2 * self._idle_bytes > self._bytes

    def read(self, catalogue: CatalogueColumns, path: tuple[str, ...], rows: Rows) -> None:
        """Look at those of rows (n,) that changed."""
        self.hear(catalogue.count)
        again = self.behind_of(rows)
        if not len(again):
            return
        self._grow(catalogue.count)
        value_of = _reader(catalogue, path)
        for row in again.tolist():
            self._put(row, value_of(row))
        self.looked_at(again)

    def _grow(self, rows: int) -> None:
        self.numbers = grown(self.numbers, rows, fill=np.nan)
        self.codes = grown(self.codes, rows, fill=UNKNOWN)

    def _put(self, row: int, value: object) -> None:
        self.numbers[row] = value if isinstance(value, float) else np.nan
        was, code = int(self.codes[row]), UNKNOWN if value is None else self._code(value)
        if was == code:
            return
        self.codes[row] = code
        if code != UNKNOWN:
            self._uses[code] += 1
        if was != UNKNOWN:
            self._uses[was] -= 1
            self._idle_bytes += 0 if self._uses[was] else _size_of(self.words[was])

    def _code(self, value: object) -> int:
        key = (type(value), value)  # True is not 1.0
        code = self._code_of.get(key)
        if code is None:
            code = self._code_of[key] = len(self.words)
            self.words.append(value)
            self._uses.append(0)
            self._bytes += _size_of(value)
        elif not self._uses[code]:
            self._idle_bytes -= _size_of(value)
        return code


class Values(Follows):
    """What was derived of every row."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(journal)
        self.values: NDArray[Any] = np.zeros(0)

    @property
    def nbytes(self) -> int:
        return self.values.nbytes

    def write(self, rows: Rows, values: NDArray[Any], count: int) -> None:
        """Write what was derived of rows (n,), each once."""
        if not len(self.values):
            self.values = self.values.astype(values.dtype)
        self.values = grown(self.values, count)
        self.values[rows] = values
        self.looked_at(rows)


def _size_of(value: object) -> int:
    """Return about how much memory a value takes, with what knows it."""
    return _WORD_BYTES + sum(map(len, value)) if isinstance(value, tuple) else _WORD_BYTES + len(str(value))


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
