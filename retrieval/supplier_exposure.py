"""How often the items of each supplier were shown: totals that follow the catalogue and the showings."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from expressions.columns import Words
from retrieval.catalogue import CatalogueColumns
from retrieval.columns import grown
from retrieval.item_columns import Follows, Journal
from retrieval.item_fields import ITEM_FIELDS
from retrieval.key_rows import Rows
from retrieval.trend_columns import TrendColumns

SUPPLIER: Final = ITEM_FIELDS["supplier"]
SMALL_SHARE: Final = 0.25
"""A supplier is small whose items were shown no more often than those of the quarter that was shown least."""
ROWS_AT_ONCE: Final = 4096
"""Items that one request looks at again, at most: totals of a larger catalogue lag a few requests behind."""
_DIGITS: Final = 6
"""Totals are compared to so many digits: what is taken off again leaves a rest."""

Mask = NDArray[np.bool_]


class SupplierExposure:
    """Totals by supplier, of one catalogue and its trends. For one thread, as the catalogue."""

    def __init__(self) -> None:
        self._words: object = None
        self._follows = Follows(Journal())
        self._showings = -1

    def small(self, catalogue: CatalogueColumns, trends: TrendColumns, rows: Rows) -> Mask:
        """Return which of rows (n,) are of small suppliers, among those that have an item in the catalogue."""
        found = _suppliers(catalogue, rows)
        most = ROWS_AT_ONCE
        if found.words is not self._words:  # a column that was made anew has other codes
            self._begin(catalogue, found)
            most = catalogue.count
        self._catch_up(catalogue, trends, most)
        small = self._small_of(len(found.words))
        named = found.codes >= 0
        named[named] = small[found.codes[named]]
        return named

    def _begin(self, catalogue: CatalogueColumns, found: Words) -> None:
        self._words, self._follows = found.words, catalogue.fields.follower()
        self._codes, self._shown = np.zeros(0, np.int32), np.zeros(0)
        self._totals, self._items = np.zeros(0), np.zeros(0)
        self._small: Mask | None = None

    def _catch_up(self, catalogue: CatalogueColumns, trends: TrendColumns, most: int) -> None:
        self._follows.hear(catalogue.count)
        if self._showings != trends.showings_version and not self._follows.behind:
            self._follows.note(np.arange(catalogue.count, dtype=np.int32))
        if not self._follows.behind:
            return
        self._showings = trends.showings_version
        rows = self._follows.next_behind(most)
        self._count(catalogue, trends, rows)
        self._follows.looked_at(rows)

    def _count(self, catalogue: CatalogueColumns, trends: TrendColumns, rows: Rows) -> None:
        """Count rows (n,), each once, instead of what was counted of them."""
        self._codes = grown(self._codes, catalogue.count, fill=-1)
        self._shown = grown(self._shown, catalogue.count)
        self._add(self._codes[rows], self._shown[rows], -1.0)
        codes = np.where(catalogue.alive[rows], _suppliers(catalogue, rows).codes, -1).astype(np.int32)
        shown = trends.shown_at(trends.rows_of(catalogue.keys[rows]))[:, 0].astype(np.float64)
        self._codes[rows], self._shown[rows] = codes, shown
        self._add(codes, shown, 1.0)
        self._small = None

    def _add(self, codes: NDArray[np.int32], shown: NDArray[np.float64], sign: float) -> None:
        named = codes >= 0
        codes, shown = codes[named], shown[named]
        self._totals = grown(self._totals, int(codes.max(initial=-1)) + 1)
        self._items = grown(self._items, len(self._totals))
        self._totals += sign * np.bincount(codes, shown, len(self._totals))
        self._items += sign * np.bincount(codes, minlength=len(self._items))

    def _small_of(self, suppliers: int) -> Mask:
        """Return which suppliers are small, by code; one that no item was counted of yet is."""
        if self._small is None or len(self._small) < suppliers:
            self._totals = grown(self._totals, suppliers)
            self._items = grown(self._items, len(self._totals))
            there, totals = self._items > 0, np.round(self._totals, _DIGITS)
            edge = np.quantile(totals[there], SMALL_SHARE) if there.any() else 0.0
            self._small = totals <= edge
        return self._small


def _suppliers(catalogue: CatalogueColumns, rows: Rows) -> Words:
    found = catalogue.fields.column(catalogue, SUPPLIER, rows, 0.0, keeps_columns=True)
    assert isinstance(found, Words)
    return found
