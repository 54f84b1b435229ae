"""A flow worker's copy of the catalogue: loaded once, then kept fresh from the table's changes."""

from __future__ import annotations

from collections.abc import Iterable

from contracts.codec import decode_row
from contracts.ids import ItemKey
from contracts.items import CatalogueRow
from retrieval.catalogue import CatalogueColumns
from state.tables import ChangesTrimmed, TableReader


class CatalogueFollower:
    """Fills `columns` from the catalogue table, from one thread."""

    def __init__(self, reader: TableReader, columns: CatalogueColumns, *, refresh_ms: int) -> None:
        self._reader, self.columns = reader, columns
        self._refresh_ms = refresh_ms
        self._next_change: int | None = None
        self._looked_ms = 0

    def refresh(self, now_ms: int) -> None:
        """Take in what changed, at most once per refresh interval; loads everything the first time.

        Raises StateUnavailable.
        """
        if self._next_change is not None and now_ms - self._looked_ms < self._refresh_ms:
            return
        self._looked_ms = now_ms
        try:
            if self._next_change is None:
                self._next_change = self._load()
            while changes := self._reader.changes(self._next_change):
                self.columns.apply(_decoded((change.key, change.row) for change in changes))
                self._next_change = changes[-1].number + 1
        except ChangesTrimmed:
            self._next_change = None

    def _load(self) -> int:
        end = self._reader.end()
        for rows in self._reader.rows():
            self.columns.apply(_decoded(rows))
        return end


def _decoded(rows: Iterable[tuple[bytes, bytes | None]]) -> list[tuple[ItemKey, CatalogueRow | None]]:
    return [(ItemKey(int.from_bytes(key, "little")), decode_row(row) if row is not None else None) for key, row in rows]
