"""A flow worker's copy of the catalogue: loaded once, then kept fresh from the table's changes."""

from __future__ import annotations

from collections.abc import Iterable

from retrieval.catalogue import CatalogueColumns
from retrieval.follow import past_of
from retrieval.intake import Intake
from retrieval.live import Start
from state.shards import CatalogueReader
from state.table_changes import ChangesTrimmed

SLICE = 500
"""Changes taken in at once: bounds how long a click behind them waits."""


class CatalogueFollower:
    """Fills `columns` from the catalogue table, from one thread, a slice at a time.

    `start`: what they hold already, from a snapshot.
    """

    def __init__(
        self, reader: CatalogueReader, columns: CatalogueColumns, *, refresh_ms: int, start: Start | None = None
    ) -> None:
        self._reader, self.columns, self._start = reader, columns, start
        self._intake = Intake(columns)
        self._refresh_ms = refresh_ms
        self._next: list[int | None] = [None] * len(reader.shards)
        """The next change of each shard; None: it is to be loaded."""
        self._looked_ms = 0

    def load(self) -> None:
        """Take in every row there is; what came since the snapshot, where the table still has that past. Raises
        StateUnavailable, ShardsDiffer.
        """
        start = self._start
        if start is not None and past_of(self._reader, start) is not None:
            self._next, self._start = [one.number for one in start.shards or (start,)], None
            return
        self._start = None
        for shard in range(len(self._next)):
            self._load(shard)

    def _load(self, shard: int) -> None:
        reader = self._reader.shards[shard]
        end = reader.begin()
        for rows in reader.rows():
            self._take(rows)
        self._next[shard] = end

    def move_to(self, columns: CatalogueColumns, start: Start | None) -> None:
        """Go on with other columns, which hold the catalogue as far as `start`."""
        self.columns, self._start, self._next = columns, start, [None] * len(self._next)
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
        if all(number is None for number in self._next):
            self.load()
            return True
        more = [self._take_changes(shard, number) for shard, number in enumerate(self._next)]
        return any(more)

    def _take_changes(self, shard: int, number: int | None) -> bool:
        if number is None:
            self._load(shard)
            return True
        try:
            changes = self._reader.shards[shard].changes(number, count=-(-SLICE // len(self._next)))
        except ChangesTrimmed:
            self._next[shard] = None
            return True
        if changes:
            self._take((change.key, change.row) for change in changes)
            self._next[shard] = changes[-1].number + 1
        return bool(changes)

    def _take(self, rows: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Apply rows; one that the columns refuse is left out alone, and said.

        Raising would end the worker at this row each time it starts, and no click would be applied any more.
        """
        self._intake.take_each([(int.from_bytes(key, "little"), row) for key, row in rows])
