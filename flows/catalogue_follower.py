"""A flow worker's copy of the catalogue: loaded once, then kept fresh from the table's changes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from contracts.codec import decode_row
from contracts.ids import ItemKey
from contracts.items import CatalogueRow
from retrieval.catalogue import CatalogueColumns
from state.tables import ChangesTrimmed, TableReader

log = logging.getLogger(__name__)

SLICE = 500
"""Changes taken in at once: bounds how long a click behind them waits."""


class CatalogueFollower:
    """Fills `columns` from the catalogue table, from one thread, a slice at a time."""

    def __init__(self, reader: TableReader, columns: CatalogueColumns, *, refresh_ms: int) -> None:
        self._reader, self.columns = reader, columns
        self._refresh_ms = refresh_ms
        self._next_change: int | None = None
        self._looked_ms = 0

    def load(self) -> None:
        """Take in every row there is. Raises StateUnavailable."""
        end = self._reader.end()
        for rows in self._reader.rows():
            self._take(_decoded(rows))
        self._next_change = end

    def refresh(self, now_ms: int) -> None:
        """Take in the next slice of changes, at most one in each refresh interval. Raises StateUnavailable."""
        if now_ms - self._looked_ms >= self._refresh_ms:
            self._looked_ms = now_ms
            self.take_slice()

    def take_slice(self) -> None:
        """Take in the next slice of changes; loads everything when that is no longer kept. Raises StateUnavailable."""
        if self._next_change is None:
            self.load()
            return
        try:
            changes = self._reader.changes(self._next_change, count=SLICE)
        except ChangesTrimmed:
            self._next_change = None
            return
        if changes:
            self._take(_decoded((change.key, change.row) for change in changes))
            self._next_change = changes[-1].number + 1

    def _take(self, rows: Sequence[tuple[ItemKey, CatalogueRow | None]]) -> None:
        """Apply rows; one that the columns refuse (not finite, of a wrong size) is left out alone and said so.

        Raising would end the worker at this row each time it starts, and no click would be applied any more.
        """
        try:
            self.columns.apply(rows)
        except ValueError as error:
            if len(rows) > 1:
                for row in rows:
                    self._take([row])
                return
            log.error("catalogue row %016x is left out: %s", rows[0][0], error)


def _decoded(rows: Iterable[tuple[bytes, bytes | None]]) -> list[tuple[ItemKey, CatalogueRow | None]]:
    return [(ItemKey(int.from_bytes(key, "little")), decode_row(row) if row is not None else None) for key, row in rows]
