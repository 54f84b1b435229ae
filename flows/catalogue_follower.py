"""A flow worker's copy of the catalogue: loaded once, then kept fresh from the table's changes."""

from __future__ import annotations

from collections.abc import Iterable

from retrieval.catalogue import CatalogueColumns
from retrieval.follow import past_of
from retrieval.intake import Intake
from retrieval.live import Start
from state.table_changes import ChangesTrimmed
from state.tables import TableReader

SLICE = 500
"""Changes taken in at once: bounds how long a click behind them waits."""


class CatalogueFollower:
    """Fills `columns` from the catalogue table, from one thread, a slice at a time.

    `start`: what they hold already, from a snapshot.
    """

    def __init__(
        self, reader: TableReader, columns: CatalogueColumns, *, refresh_ms: int, start: Start | None = None
    ) -> None:
        self._reader, self.columns, self._start = reader, columns, start
        self._intake = Intake(columns)
        self._refresh_ms = refresh_ms
        self._next_change: int | None = None
        self._looked_ms = 0

    def load(self) -> None:
        """Take in every row there is; what came since the snapshot, where the table still has that past. Raises
        StateUnavailable.
        """
        if self._start is not None and past_of(self._reader, self._start) is not None:
            self._next_change, self._start = self._start.number, None
            return
        self._start = None
        end = self._reader.begin()
        for rows in self._reader.rows():
            self._take(rows)
        self._next_change = end

    def move_to(self, columns: CatalogueColumns, start: Start | None) -> None:
        """Go on with other columns, which hold the catalogue as far as `start`."""
        self.columns, self._start, self._next_change = columns, start, None
        self._intake = Intake(columns)

    def refresh(self, now_ms: int) -> None:
        """Take in the next slice of changes, at most one in each refresh interval. Raises StateUnavailable."""
        if now_ms - self._looked_ms >= self._refresh_ms:
            self._looked_ms = now_ms
            self.take_slice()

    def take_slice(self) -> bool:
        """Take in the next slice of changes; loads everything when that is no longer kept. Tells whether there may be
        more. Raises StateUnavailable.
        """
        if self._next_change is None:
            self.load()
            return True
        try:
            changes = self._reader.changes(self._next_change, count=SLICE)
        except ChangesTrimmed:
            self._next_change = None
            return True
        if changes:
            self._take((change.key, change.row) for change in changes)
            self._next_change = changes[-1].number + 1
        return bool(changes)

    def _take(self, rows: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Apply rows; one that the columns refuse is left out alone, and said.

        Raising would end the worker at this row each time it starts, and no click would be applied any more.
        """
        self._intake.take_each([(int.from_bytes(key, "little"), row) for key, row in rows])
